"""Keyed, deterministic pseudonyms: the same on every machine that holds the key, meaningless without it.

Every kind of value has its own sub-key, so that no pseudonym of one kind says anything about one of another kind. After a
rotation new pseudonyms come from the new key; ``Pseudonyms(keyring.find("k1"))`` gives those of an older one.
"""

from __future__ import annotations

import hmac
import unicodedata

from toolkit.core.keys import Key, Keyring, base32

LONGEST_PATIENT_ID = 64  # characters of PatientID, VR LO (PS3.5 section 6.2)
MOST_DAYS = 730
_PATIENT = "patient"  # the domain of patient ids, for messages of visits too
_MOST_CACHED = 100_000  # about 25 MB


class Pseudonyms:
    """The pseudonyms under one key. Values are compared without the padding that DICOM allows around them."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._uid_key = key.derive("dicom uid")
        self._long_patient_key = key.derive("patient too long to seal")
        self._days_key = key.derive("patient days")
        self._hash_key = key.derive("dicom hash")
        self._token_keys: dict[str, bytes] = {}
        self._uids: dict[str, str] = {}
        self._patients: dict[str, str] = {}

    def __reduce__(self) -> tuple[type[Pseudonyms], tuple[Key]]:
        """To other processes without what is cached."""
        return Pseudonyms, (self.key,)

    def uid(self, original: str) -> str:
        """A UID for `original`: ``2.25.`` and a UUID as a decimal number, at most 44 characters (PS3.5 B.2).

        The UUID is HMAC-SHA-256 cut to 128 bits with version 8 and the variant of RFC 9562 set, which leaves 122 bits.
        """
        found = self._uids.get(original)
        if found is None:
            digest = hmac.digest(self._uid_key, original.rstrip("\0 ").encode("utf-8", "surrogatepass"), "sha256")
            number = int.from_bytes(digest[:16], "big") & ~(0xF << 76 | 0x3 << 62) | 0x8 << 76 | 0x2 << 62
            found = f"2.25.{number}"
            if len(self._uids) >= _MOST_CACHED:
                self._uids.clear()
            self._uids[original] = found
        return found

    def patient(self, patient_id: str) -> str:
        """A pseudonym for `patient_id`, at most 64 characters, that begins with the key's id: ``k1.MFRGG...``; "" for "".

        It is the id itself under AES-SIV, which `patient_id` undoes, for ids up to 22 bytes in UTF-8 (21 from k10 on); a
        longer id becomes HMAC-SHA-256 cut to 128 bits, which only the vault undoes.
        """
        found = self._patients.get(patient_id)
        if found is None:
            plain = _plain(patient_id)
            found = self.key.seal(_PATIENT, plain) if plain else ""
            if len(found) > LONGEST_PATIENT_ID:
                digest = hmac.digest(self._long_patient_key, plain.encode("utf-8", "surrogatepass"), "sha256")
                found = f"{self.key.id}.{base32(digest[:16])}"
            if len(self._patients) >= _MOST_CACHED:
                self._patients.clear()
            self._patients[patient_id] = found
        return found

    def token(self, domain: str, value: str) -> str:
        """16 base32 characters for `value` (80 bits of HMAC-SHA-256), which fit VR SH; "" for "". `domain`: accession, study-id."""
        key = self._token_keys.get(domain)
        if key is None:
            key = self._token_keys[domain] = self.key.derive(f"dicom token {domain}")
        plain = _plain(value)
        return base32(hmac.digest(key, plain.encode("utf-8", "surrogatepass"), "sha256")[:10]) if plain else ""

    def shift_days(self, patient_id: str) -> int:
        """By how many days this patient's dates move: from -730 to -1, the same for all objects of the patient."""
        digest = hmac.digest(self._days_key, _plain(patient_id).encode("utf-8", "surrogatepass"), "sha256")
        return -1 - int.from_bytes(digest[:8], "big") % MOST_DAYS

    def hash(self, domain: str, value: bytes) -> bytes:
        """32 bytes of HMAC-SHA-256 for `value`; values of different domains have nothing in common."""
        return hmac.digest(self._hash_key, len(domain.encode()).to_bytes(2, "big") + domain.encode() + value, "sha256")


def patient_id(keyring: Keyring, pseudonym: str) -> str:
    """The patient id that `Pseudonyms.patient` turned into `pseudonym`, by whichever key of the key file.

    Raises BadData when it was made by another key, was changed, or is one-way because the id is long.
    """
    return keyring.unseal(_PATIENT, pseudonym)


def _plain(value: str) -> str:
    """Without padding, composed: the same person however a device writes the id."""
    return unicodedata.normalize("NFC", value).strip("\0 ")
