"""Key files: the secrets from which every pseudonym and every encryption key is derived; see hospital-key(5).

A key file is small text that only its owner may read. It holds one or more keys, the oldest first; the last one is used for
whatever is written now, the others keep readable what was written before. A secret leaves a `Key` only through `derive`,
one independent sub-key for each purpose.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import BadData, CannotCreate, InputOutput, NoInput, NotPermitted, TryLater
from toolkit.core.streams import synchronise

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SECRET_BYTES = 32
VERSION = 1
_LARGEST = 1 << 20  # bytes; a larger file is something else
_HEAD = """\
# Secret keys, see hospital-key(5). Whoever reads them can tell whom a pseudonym stands for; without them nobody can.
version = 1
"""
_SIV_BYTES = 16  # AES-SIV puts its 128-bit synthetic initialisation vector before the ciphertext (RFC 5297, 2.6)


@dataclass(frozen=True)
class Key:
    """One secret of 32 bytes, its id (``k1``, ``k2`` ...) and the time when it was made. Printing it shows no secret."""

    id: str
    created: datetime
    secret: bytes = field(repr=False)

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """The sub-key of `length` bytes for `purpose`: HKDF with SHA-256 (RFC 5869). Keep it: deriving takes 8 microseconds."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), length, salt=b"scape-toolkit", info=purpose.encode()).derive(self.secret)

    @cached_property
    def fingerprint(self) -> str:
        """64 bits that tell keys apart and say nothing about the secret, as ``0123-4567-89ab-cdef``."""
        digits = self.derive("fingerprint", 8).hex()
        return "-".join(digits[place : place + 4] for place in range(0, 16, 4))

    @property
    def created_text(self) -> str:
        """When it was made, as ``2026-01-31T12:00:00Z``."""
        return self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def seal(self, domain: str, text: str) -> str:
        """`text`, not empty, encrypted deterministically for `domain`, as ``k1.`` and base32 without padding.

        AES-SIV (RFC 5297) with two 128-bit keys; the domain is its associated data. The same text has the same result on every
        machine that holds the key. Texts that differ only in Unicode's composition count as the same. The length in bytes of
        the UTF-8 text n gives ceil((n + 16) * 8 / 5) characters after the point.
        """
        data = _encoded(text)
        if not data:
            raise ValueError("an empty text cannot be sealed")
        return f"{self.id}.{base32(self._siv.encrypt(data, [domain.encode()]))}"

    @cached_property
    def _siv(self) -> AESSIV:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        return AESSIV(self.derive("identifiers", 32))

    def __reduce__(self) -> tuple[Any, ...]:
        """To other processes without what is cached: cipher objects cannot be pickled."""
        return Key, (self.id, self.created, self.secret)


@dataclass(frozen=True)
class Keyring:
    """The keys of one key file, the oldest first; `path` is for messages."""

    path: str
    keys: tuple[Key, ...]

    @property
    def current(self) -> Key:
        """The key for whatever is written now."""
        return self.keys[-1]

    def find(self, identifier: str) -> Key:
        """The key of this id, an older one too. Raises BadData when the file does not hold it."""
        for key in self.keys:
            if key.id == identifier:
                return key
        raise BadData(self.path, f"holds no key {identifier}", "name the key file that was used then, or restore it from its backup")

    def unseal(self, domain: str, sealed: str) -> str:
        """The text that `Key.seal` turned into `sealed`, by whichever key of this file; letters may be of either case.

        Raises BadData when it is not a sealed text, is one of another domain or key, or was changed.
        """
        match = re.fullmatch(r"([kK][1-9][0-9]*)\.([A-Za-z2-7]+)", sealed)
        if match is None:
            raise BadData(sealed, "is not a pseudonym", "it begins with the id of a key and a point, as k1.")
        key = self.find(match[1].lower())
        data = _from_base32(match[2])
        if len(data) == _SIV_BYTES:
            raise BadData(sealed, "is a one-way pseudonym, made because the original is too long", "look it up in the vault")
        from cryptography.exceptions import InvalidTag

        try:
            return key._siv.decrypt(data, [domain.encode()]).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError) as error:
            raise BadData(sealed, f"was not made by {key.id} of {self.path}", "name the key file that was used then") from error


def base32(data: bytes) -> str:
    """RFC 4648 base32 in upper case without padding: safe in DICOM and HL7 ids, file names and systems that change case."""
    return base64.b32encode(data).decode().rstrip("=")


def _from_base32(text: str) -> bytes:
    """The bytes of `text`; b"" when no bytes give a text of this length."""
    try:
        return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return b""


def _encoded(text: str) -> bytes:
    """UTF-8 of the composed form; bytes that no character set explained (lone surrogates) survive the way there and back."""
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def read_keys(path: str) -> Keyring:
    """The keys in the file `path`.

    Raises NoInput when it cannot be read, NotPermitted when its permissions let others read or write it, BadData when it is
    not a key file.
    """
    with _opened(path) as descriptor:
        return _parse(path, _content(path, descriptor))


def create_keys(path: str) -> Keyring:
    """Make the key file `path` with one new key, ``k1``; permissions 0600; whole or not at all.

    Raises CannotCreate when a file of that name exists (it is never overwritten) or the directory does not take one.
    """
    keyring = Keyring(path, (_new_key(1),))
    target = os.path.abspath(path)
    with _written_beside(path, target, _HEAD + _table(keyring.current), None) as temporary:
        try:
            os.link(temporary, target)  # unlike a rename it fails where the name is taken
        except FileExistsError as error:
            raise CannotCreate(path, "exists, and a key file is never overwritten", "use rotate to add a key to it") from error
    return keyring


def rotate_keys(path: str) -> Keyring:
    """Add a newer key to the file `path` and replace the file atomically; older keys, comments and owner stay.

    Raises what `read_keys` raises, CannotCreate when its directory cannot be written, TryLater when another process is
    rotating it.
    """
    target = os.path.realpath(path)
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TryLater(path, "is being rotated by another process", "look with `hospital-key show` before you try again") from error
        owner = os.fstat(descriptor)
        if not os.path.samestat(owner, os.stat(target)):
            raise TryLater(path, "was replaced at this moment", "look with `hospital-key show` before you try again")
        text = _content(path, descriptor)
        newest = _new_key(int(_parse(path, text).current.id[1:]) + 1)
        text = text.rstrip("\n") + "\n" + _table(newest)
        keyring = _parse(path, text)
        with _written_beside(path, target, text, owner) as temporary:
            os.replace(temporary, target)
    return keyring


def _new_key(number: int) -> Key:
    return Key(f"k{number}", datetime.now(UTC).replace(microsecond=0), os.urandom(SECRET_BYTES))


def _table(key: Key) -> str:
    return f'\n[[key]]\nid = "{key.id}"\ncreated = {key.created_text}\nfingerprint = "{key.fingerprint}"\nsecret = "{key.secret.hex()}"\n'


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """A descriptor of `path`, once its permissions are found to be tight. What is checked is what is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a key file that exists and can be read") from error
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise NotPermitted(path, f"other users have access to it (permissions {mode:04o})", f"chmod 600 {path}")
        yield descriptor
    finally:
        os.close(descriptor)


def _content(path: str, descriptor: int) -> str:
    data = b""
    try:
        while len(data) <= _LARGEST and (piece := os.read(descriptor, _LARGEST)):
            data += piece
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a key file that exists and can be read") from error
    if len(data) > _LARGEST:
        raise _no_key_file(path, "is far too large")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _no_key_file(path, "is not text in UTF-8") from error


def _no_key_file(path: str, problem: str) -> BadData:
    return BadData(path, problem, "see hospital-key(5), or restore the key file from its backup")


def _parse(path: str, text: str) -> Keyring:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib may quote the line: say the place only, never the text
        place = re.search(r"at line (\d+)", str(error))
        raise _no_key_file(path, "is not a key file" + (f": line {place[1]} is not TOML" if place else ", it ends too early")) from None
    version = document.pop("version", None)
    if type(version) is int and version > VERSION:
        raise BadData(path, f"is a key file of version {version}", "install a newer scape-toolkit")
    if type(version) is not int or version != VERSION:
        raise _no_key_file(path, "is not a key file: it has no line `version = 1`")
    tables = document.pop("key", None)
    if document:
        raise _no_key_file(path, f"has something unknown: {_quoted(min(document))}")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise _no_key_file(path, "holds no [[key]]")
    keys = tuple(_read_table(path, number, table) for number, table in enumerate(tables, 1))
    numbers = [int(key.id[1:]) for key in keys]
    if any(after <= before for before, after in zip(numbers, numbers[1:], strict=False)):
        raise _no_key_file(path, f"has its keys out of order: {', '.join(key.id for key in keys)}")
    return Keyring(path, keys)


def _read_table(path: str, number: int, table: dict[str, Any]) -> Key:
    """One [[key]]; messages name the entry and never show its value."""
    place = f"[[key]] {number}"
    unknown, missing = set(table) - {"id", "created", "fingerprint", "secret"}, {"id", "created", "fingerprint", "secret"} - set(table)
    if unknown or missing:
        raise _no_key_file(path, f"{place}: " + (f"{_quoted(min(unknown))} is unknown" if unknown else f"`{min(missing)}` is missing"))
    identifier, created, secret = table["id"], table["created"], table["secret"]
    if not isinstance(identifier, str) or not re.fullmatch(r"k[1-9][0-9]{0,5}", identifier):
        raise _no_key_file(path, f"{place}: `id` is not k1, k2 and so on")
    if not isinstance(created, datetime) or created.tzinfo is None:
        raise _no_key_file(path, f"{place}: `created` is not a time such as 2026-01-31T12:00:00Z, without quotes")
    if not isinstance(secret, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{2 * SECRET_BYTES}}}", secret):
        raise _no_key_file(path, f"{place}: `secret` is not {2 * SECRET_BYTES} hexadecimal digits")
    key = Key(identifier, created, bytes.fromhex(secret))
    if table["fingerprint"] != key.fingerprint:  # one wrong digit would otherwise make other pseudonyms in silence
        raise _no_key_file(path, f"{place}: `secret` was changed: it does not belong to its `fingerprint`")
    return key


def _quoted(name: str) -> str:
    return f"`{name[:20]}`" if name.isidentifier() and len(name) <= 20 else "an entry"  # a secret pasted in the wrong place stays unsaid


@contextlib.contextmanager
def _written_beside(path: str, target: str, text: str, owner: os.stat_result | None) -> Iterator[str]:
    """A file in the directory of `target` that holds `text` safely on disk, readable by its owner only, for the body to name.

    Unlike `streams.atomic_output` it is never readable by others, not for a moment.
    """
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name[:40]}.{os.urandom(6).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "choose a directory that exists and can be written") from error
    try:
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, 0o600)  # whatever the umask says
                if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                stream.write(text.encode())
                stream.flush()
                os.fsync(descriptor)
            yield temporary
            synchronise(directory)
        except OSError as error:
            raise InputOutput(path, error.strerror or str(error), "nothing was changed") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
