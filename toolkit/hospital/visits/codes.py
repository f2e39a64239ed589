"""Whether a code has the form of a code, so that no name and no number of a person can stand in its place."""

from __future__ import annotations

import re

from toolkit.hospital.visits.profile import listed

_CODE = re.compile(r"[A-Za-z0-9<>+-][A-Za-z0-9.+*†/_:^#<>-]{0,39}")
_INTERPRETATION = re.compile(r"[A-Z<>+-]{1,4}")
_SYSTEM = re.compile(r"[0-2](\.[0-9]{1,8}){2,20}")  # no part of one that is kept is as long as a telephone number
_NAME = re.compile(r"[A-Z][a-z]{2,}(-[A-Z][a-z]{2,})?")
_WITH_DIGITS = "2.16.840.1.113883.6."  # classifications: their codes hold digits, those of vocabularies need not
# Systems whose codes have one form, so that a name can never stand in one (ICD-10: WHO volume 2; LOINC and SNOMED CT: their manuals).
_FORMS = {
    "2.16.840.1.113883.6.3": re.compile(r"[A-Z][0-9][0-9A-Z](\.?[0-9A-Z-]{1,4})?[*+†]?"),
    "2.16.840.1.113883.6.90": re.compile(r"[A-Z][0-9][0-9A-Z](\.?[0-9A-Z]{1,4})?"),
    "2.16.840.1.113883.6.103": re.compile(r"[VE]?[0-9]{2,4}(\.[0-9]{1,2})?"),  # ICD-9-CM, diagnoses
    "2.16.840.1.113883.6.104": re.compile(r"[0-9]{2}(\.[0-9]{1,2})?"),  # and procedures
    "2.16.840.1.113883.6.73": re.compile(r"[A-Z]([0-9]{2}([A-Z]([A-Z]([0-9]{2})?)?)?)?"),  # ATC
    "2.16.840.1.113883.6.88": re.compile(r"[0-9]{1,7}"),  # RxNorm
    "2.16.840.1.113883.6.1": re.compile(r"(L[A-Z])?[0-9]{1,7}-[0-9]"),
    "2.16.840.1.113883.6.96": re.compile(r"[0-9]{6,18}"),
    "2.16.840.1.113883.6.69": re.compile(r"[0-9]{4,5}-[0-9]{3,4}-[0-9]{1,2}"),  # NDC; without hyphens it could be a telephone number
    "2.16.840.1.113883.3.26.1.5": re.compile(r"N[0-9]{10}"),  # NDF-RT
    "2.16.840.1.113883.3.4424.11.2.6": re.compile(r"[A-Z0-9]{1,3}(\.[0-9A-Z]{1,4}){0,3}"),
}
_SNOMED = "2.16.840.1.113883.6.96"
_DICOM_UID = re.compile(r"1\.2\.840\.10008(\.[0-9]{1,5}){1,8}")
# Telephone numbers and REGON have 9 digits, NIP 10, PESEL 11; codes of the systems that are not told above have fewer in a row.
_LONG = re.compile(r"[0-9]([ ./_:-]?[0-9]){8}")
# Tables of the Verhoeff check: the dihedral group D5 and a permutation applied over and over (SNOMED CT editorial and technical guide,
# "Check-digit computation").
_GROUP = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


def is_code(code: str, system: str, name: str, systems: tuple[str, ...]) -> bool:
    """Whether `code` of the coding system `system` (an OID) has a form that may stay in an element `name`; `systems` are those kept."""
    if not system:
        return name == "interpretationCode" and bool(_INTERPRETATION.fullmatch(code))
    if not (_SYSTEM.fullmatch(system) and listed(systems, system) and _FORMS.get(system, _CODE).fullmatch(code)):
        return False
    if _NAME.fullmatch(code) or system.startswith(_WITH_DIGITS) and not any(map(str.isdigit, code)):
        return False
    if is_pesel(re.sub(r"\D", "", code)):
        return False
    if system == _SNOMED:
        return is_snomed(code)
    return system in _FORMS or not _LONG.search(code) or bool(_DICOM_UID.fullmatch(code))


def is_pesel(text: str) -> bool:
    """Whether `text` is a number of the Polish register PESEL: 11 digits, of which the third to sixth are the month, with 0, 20, 40, 60 or
    80 for the century, and the day of birth, and the last checks the others.

    Source: Rozporządzenie w sprawie numeru PESEL; weights 1 3 7 9. Ids of SNOMED CT with 11 digits would be of month 00.
    """
    if len(text) != 11 or not (text.isascii() and text.isdigit()):
        return False
    if not (1 <= int(text[2:4]) % 20 <= 12 and 1 <= int(text[4:6]) <= 31):
        return False
    return sum(int(digit) * weight for digit, weight in zip(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True)) % 10 == 0


def is_snomed(text: str) -> bool:
    """Whether digits are an identifier of SNOMED CT: before the check digit the partition, of concepts, descriptions or relationships."""
    if text[-3:-1] not in ("00", "01", "02", "10", "11", "12"):
        return False
    check = 0
    for place, digit in enumerate(reversed(text)):
        check = int(_GROUP[check][int(_PERMUTED[place % 8][int(digit)])])
    return check == 0
