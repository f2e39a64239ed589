"""The vault: what de-identification took out of each object, encrypted, in a database that stays in the hospital.

Each entry is encrypted with AES-256-GCM under a key of its own, HMAC-SHA-256 of a random serial under the vault's key, so nonces
are mere counters and no limit on the number of messages is ever near. The three UIDs, the digest, the chunk's number and
whether it is the last are authenticated with every chunk: a row that was changed, moved, dropped or cut off is refused.
"""

from __future__ import annotations

import hmac
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from toolkit.core.database import READING, ensure_tables, failures_named, open_database, place_of
from toolkit.core.errors import BadData, NotPermitted, TryLater
from toolkit.core.keys import Key, Keyring, base32

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from sqlalchemy import Engine, Row

_AT_ONCE = 8 << 20  # bytes of chunks sent to the database in one call
_PREPARED = 16 << 20  # bytes encrypted before the transaction begins: others wait for it
_SERIAL_BYTES = 24
_REMEDY = "do not trust this row; restore the vault from its backup"


@dataclass(frozen=True)
class VaultEntry:
    """What restores one object: its anonymised UIDs, the SHA-256 of its anonymised data set, the original patient id, and the inverse
    patch as chunks of at most 8 MiB. `patch` may be an iterator, which can be walked through once."""

    study_uid: str
    series_uid: str
    instance_uid: str
    digest: bytes
    patient: str
    patch: Iterable[bytes]


@dataclass(frozen=True)
class AuditRow:
    """Who did what to which object, and when (an aware time)."""

    when: datetime
    who: str
    what: str
    instance_uid: str


def open_vault(url: str, keyring: Keyring, *, create: bool = True, patience: float = 60.0) -> Vault:
    """The vault in the database `url` (a path, ``sqlite:///PATH`` or ``postgresql://...``), made unless `create` is off.

    `patience` is how many seconds to wait while another process writes. Raises what `open_database` raises, and NotPermitted when the
    vault was written with other keys of the same ids, or with a newer one than the key file holds.
    """
    engine = open_database(url, create=create, patience=patience)
    try:
        return Vault(engine, keyring, create)
    except BaseException:
        engine.dispose()
        raise


class Vault:
    """An open vault; a context manager. Several processes may have one open at a time, each opened after it was forked."""

    def __init__(self, engine: Engine, keyring: Keyring, create: bool = True) -> None:
        from toolkit.hospital.dicom.restoring import vault_tables

        self._tables = vault_tables
        self._engine, self._keyring, self._place = engine, keyring, place_of(engine)
        ensure_tables(engine, "vault", vault_tables.VERSION, vault_tables.METADATA, create=create)
        self._secrets = {key.id: _Secrets(key) for key in keyring.keys}
        self._check_keys()

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; SQLite then folds its log into the file."""
        self._engine.dispose()

    def put(self, entries: Iterable[VaultEntry]) -> None:
        """Store `entries` in one transaction, on disk when this returns; an older entry of the same instance UID is replaced.

        When it raises, none of them is stored.
        """
        from sqlalchemy import bindparam, delete, insert

        secrets = self._secrets[self._keyring.current.id]
        newest = {entry.instance_uid: entry for entry in entries}
        # in one order, so that two processes with the same objects wait for each other and do not deadlock
        sealed = [_seal(newest[uid], secrets) for uid in sorted(newest)]
        if not sealed:
            return
        chunks = _prepare(itertools.chain.from_iterable(chunks for _, chunks in sealed), _PREPARED)
        table, entry_table = self._tables.CHUNKS, self._tables.ENTRIES
        with failures_named(self._place), self._engine.begin() as connection:
            connection.execute(self._upsert(entry_table), [row for row, _ in sealed])
            # one by one: PostgreSQL would look through the whole of a new table for a list of them
            connection.execute(delete(table).where(table.c.instance_uid == bindparam("uid")), [{"uid": uid} for uid in sorted(newest)])
            for rows in _batches(chunks, _AT_ONCE):
                connection.execute(insert(table), rows)

    def get(self, instance_uid: str) -> VaultEntry | None:
        """The entry of an anonymised instance UID, decrypted; None when there is none.

        The first chunk of its patch is read and checked at once, further ones as they are asked for. Raises BadData, here or while
        the patch is read, when anything was changed, moved, dropped or cut off, or the key file lacks its key.
        """
        row = self._row(instance_uid, 0)
        if row is None:
            return None
        secrets = self._secrets_of(row.key_id)
        bound = _bound(row.study_uid, row.series_uid, row.instance_uid, row.digest)
        place = f"{self._place}: {instance_uid}"
        cipher = secrets.cipher(row.serial)
        patient = _opened(cipher, 0, row.patient, bound, place).decode("utf-8", "surrogatepass")
        if not hmac.compare_digest(secrets.token(patient), row.patient_token):
            raise BadData(place, "its patient token was changed", _REMEDY)
        chunks = self._chunks(cipher, row, bound, place)
        first = next(chunks)
        return VaultEntry(row.study_uid, row.series_uid, instance_uid, row.digest, patient, itertools.chain([first], chunks))

    def instances_of(self, patient: str) -> Iterator[str]:
        """The anonymised instance UIDs of all objects of the patient id `patient`, found without decrypting anything."""
        from sqlalchemy import select

        table = self._tables.ENTRIES
        tokens = [secrets.token(patient) for secrets in self._secrets.values()]
        statement = select(table.c.instance_uid).where(table.c.patient_token.in_(tokens)).order_by(table.c.instance_uid)
        with failures_named(self._place), self._engine.connect().execution_options(**READING) as connection:
            yield from connection.scalars(statement)

    def audit(self, rows: Iterable[AuditRow]) -> None:
        """Record `rows` in one transaction; each is sealed with the key, so that it cannot be changed unnoticed."""
        from sqlalchemy import insert

        key_id = self._keyring.current.id
        secrets = self._secrets[key_id]
        values = []
        for row in rows:
            words = (row.when.astimezone(UTC).isoformat(), row.who, row.what, row.instance_uid)
            values.append(dict(zip(("at", "who", "what", "instance_uid"), words, strict=True), key_id=key_id, seal=secrets.seal(*words)))
        if values:
            with failures_named(self._place), self._engine.begin() as connection:
                connection.execute(insert(self._tables.AUDIT), values)

    def audit_rows(self, instance_uid: str | None = None) -> Iterator[AuditRow]:
        """What was recorded, of one object or of all, the oldest first. Raises BadData at a row that was changed."""
        from sqlalchemy import select

        table = self._tables.AUDIT
        statement = select(table).order_by(table.c.id)
        if instance_uid is not None:
            statement = statement.where(table.c.instance_uid == instance_uid)
        with failures_named(self._place), self._engine.connect().execution_options(**READING) as connection:
            for row in connection.execute(statement):
                expected = self._secrets_of(row.key_id).seal(row.at, row.who, row.what, row.instance_uid)
                if not hmac.compare_digest(expected, row.seal):
                    raise BadData(f"{self._place}: audit row {row.id}", "was changed", _REMEDY)
                yield AuditRow(datetime.fromisoformat(row.at), row.who, row.what, row.instance_uid)

    def _check_keys(self) -> None:
        """Refuse a key file whose keys have the ids of the vault's keys and are others; enter the current key."""
        table, current = self._tables.KEYS, self._keyring.current
        known = self._known_keys()
        if current.id not in known:
            statement = self._insert(table).on_conflict_do_nothing(index_elements=[table.c.id])
            with failures_named(self._place), self._engine.begin() as connection:
                connection.execute(statement, {"id": current.id, "fingerprint": current.fingerprint})
            known = self._known_keys()
        newest = max(known, key=lambda identifier: (len(identifier), identifier))
        if newest not in self._secrets:
            problem = f"was written with {newest}, which {self._keyring.path} lacks"
            raise NotPermitted(self._place, problem, "copy the rotated key file to this machine")
        for key in self._keyring.keys:
            if known.get(key.id, key.fingerprint) != key.fingerprint:
                raise NotPermitted(
                    self._place,
                    f"was written with another {key.id}, fingerprint {known[key.id]}; that of {self._keyring.path} is {key.fingerprint}",
                    "name the key file that belongs to this vault",
                )

    def _known_keys(self) -> dict[str, str]:
        from sqlalchemy import select

        with failures_named(self._place), self._engine.connect().execution_options(**READING) as connection:
            return {row.id: row.fingerprint for row in connection.execute(select(self._tables.KEYS))}

    def _secrets_of(self, key_id: str) -> _Secrets:
        self._keyring.find(key_id)  # says what is wrong when it is missing
        return self._secrets[key_id]

    def _row(self, instance_uid: str, number: int) -> Row[Any] | None:
        """The entry together with chunk `number`, whose columns are None where it is missing."""
        from sqlalchemy import and_, select

        entry, chunk = self._tables.ENTRIES, self._tables.CHUNKS
        joined = entry.outerjoin(chunk, and_(chunk.c.instance_uid == entry.c.instance_uid, chunk.c.number == number))
        statement = select(entry, chunk.c.last, chunk.c.data).select_from(joined).where(entry.c.instance_uid == instance_uid)
        with failures_named(self._place), self._engine.connect().execution_options(**READING) as connection:
            return connection.execute(statement).one_or_none()

    def _chunks(self, cipher: AESGCM, first: Row[Any], bound: bytes, place: str) -> Iterator[bytes]:
        row: Row[Any] | None = first
        for number in itertools.count():
            if number:
                row = self._row(first.instance_uid, number)
            if row is None or row.serial != first.serial:
                raise TryLater(place, "was replaced while it was read", "run the command again")
            if row.data is None:
                raise BadData(place, f"chunk {number} of its patch is missing", _REMEDY)
            yield _opened(cipher, number + 1, row.data, bound + _mark(number, row.last), place)
            if row.last:
                return

    def _insert(self, table: Any) -> Any:
        from sqlalchemy.dialects import postgresql, sqlite

        return postgresql.insert(table) if self._engine.dialect.name == "postgresql" else sqlite.insert(table)

    def _upsert(self, table: Any) -> Any:
        statement = self._insert(table)
        changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)


class _Secrets:
    """The sub-keys of one key that the vault uses."""

    def __init__(self, key: Key) -> None:
        self.id = key.id
        self._entries, self._tokens, self._audit = (key.derive(f"vault {purpose}") for purpose in ("entries", "patients", "audit"))

    def cipher(self, serial: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(self._entries, serial, "sha256"))

    def token(self, patient: str) -> str:
        return base32(hmac.digest(self._tokens, patient.encode("utf-8", "surrogatepass"), "sha256")[:20])

    def seal(self, *words: str) -> bytes:
        return hmac.digest(self._audit, _joined(word.encode("utf-8", "surrogatepass") for word in words), "sha256")


def _seal(entry: VaultEntry, secrets: _Secrets) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The row of an entry and those of its chunks."""
    serial = os.urandom(_SERIAL_BYTES)
    cipher = secrets.cipher(serial)
    bound = _bound(entry.study_uid, entry.series_uid, entry.instance_uid, entry.digest)
    row = {
        "instance_uid": entry.instance_uid,
        "series_uid": entry.series_uid,
        "study_uid": entry.study_uid,
        "digest": entry.digest,
        "key_id": secrets.id,
        "serial": serial,
        "patient": cipher.encrypt(_nonce(0), entry.patient.encode("utf-8", "surrogatepass"), bound),
        "patient_token": secrets.token(entry.patient),
    }

    def chunks() -> Iterator[dict[str, Any]]:
        source = iter(entry.patch)
        data, number = next(source, b""), 0
        while True:
            following = next(source, None)
            last = following is None
            sealed = cipher.encrypt(_nonce(number + 1), data, bound + _mark(number, last))
            yield {"instance_uid": entry.instance_uid, "number": number, "last": last, "data": sealed}
            if following is None:
                return
            data, number = following, number + 1

    return row, chunks()


def _bound(*parts: str | bytes) -> bytes:
    """What an entry's ciphertexts are tied to (AES-GCM's associated data)."""
    return _joined(part.encode() if isinstance(part, str) else part for part in parts)


def _joined(parts: Iterable[bytes]) -> bytes:
    """One string of bytes from which the parts could be told again."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _mark(number: int, last: bool) -> bytes:
    return number.to_bytes(8, "big") + (b"\1" if last else b"\0")


def _nonce(count: int) -> bytes:
    """Each entry has a key of its own: 0 is its patient id, n + 1 its chunk n."""
    return count.to_bytes(12, "big")


def _opened(cipher: AESGCM, count: int, data: bytes, bound: bytes, place: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(_nonce(count), data, bound)
    except (InvalidTag, ValueError) as error:
        what = f"chunk {count - 1} of its patch" if count else "its patient id"
        raise BadData(place, f"{what} does not belong to it: it was changed, moved or cut off", _REMEDY) from error


def _prepare(rows: Iterator[dict[str, Any]], limit: int) -> Iterator[dict[str, Any]]:
    """The same rows, the first `limit` bytes of them made now."""
    ready, size = [], 0
    while size < limit and (row := next(rows, None)) is not None:
        ready.append(row)
        size += len(row["data"])
    return itertools.chain(ready, rows)


def _batches(rows: Iterator[dict[str, Any]], limit: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of about `limit` bytes."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row["data"])
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
