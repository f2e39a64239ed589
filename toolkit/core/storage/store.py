"""What every store does: names, digests and errors are checked here; how bytes get there is in the modules beside this one."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from toolkit.core.errors import NoInput, UsageError
from toolkit.core.storage.failures import failures_named
from toolkit.core.storage.source import CHUNK, Source, compare

DAY = 86_400.0  # seconds
_WORD = re.compile(r"[A-Za-z0-9_=+,@-][A-Za-z0-9_=+,@.-]*")  # the same on every system: no colon (HDFS), no space, % or ? (URLs)
_TEMPORARY = re.compile(r"\..{1,40}\.[0-9a-f]{12}")


class Entry(NamedTuple):
    """One listed object: its name in the store, and its size in bytes."""

    name: str
    size: int


class Store:
    """Objects by name. What differs between kinds of store is in its subclasses; everything checked is checked here.

    Every method raises Unavailable when the server cannot be reached, NotPermitted when it refuses this user, InputOutput when reading
    or writing fails half-way, and UsageError for a name that is not plain.
    """

    url: str

    def put(self, name: str, data: bytes | str | os.PathLike[str] | BinaryIO, digest: str | None = None) -> str:
        """Keep `data`, bytes, the file of that path, or a stream from where it stands, as `name`; gives ``sha256:`` and its digest.

        An object of that name is replaced at once. When this returns the object is durable as far as the server promises it. With
        `digest` nothing becomes visible unless the bytes have it. Raises BadData when they do not, NoInput when there is no such file.
        """
        self._check(name)
        if isinstance(data, (str, os.PathLike)):
            try:
                opened = open(data, "rb")  # noqa: SIM115 - closed below, errors of the body must not be caught here
            except OSError as error:
                raise NoInput(os.fspath(data), error.strerror or str(error), "name a file that exists and can be read") from error
            with opened:
                return self.put(name, opened, digest)
        stream = io.BytesIO(data) if isinstance(data, (bytes, bytearray, memoryview)) else data
        with failures_named(self._place(name)):
            return self._write(name, Source(stream, self._place(name), digest))

    def get(self, name: str, digest: str | None = None) -> bytes:
        """All bytes of `name`. Raises NoInput when there is no such object, BadData when `digest` is given and they have another one."""
        with self.open(name) as stream:
            content = stream.read()
        if digest is not None:
            compare(self._place(name), digest, digest_of(content))
        return content

    def open(self, name: str) -> BinaryIO:
        """`name` for reading and seeking, buffered; a short answer of the server is InputOutput, never the end of the object."""
        self._check(name)
        with failures_named(self._place(name)):
            return self._open(name)

    def digest(self, name: str) -> str:
        """``sha256:`` and the digest of the bytes that the store gives now: they are all read."""
        state = hashlib.sha256()
        with self.open(name) as stream, failures_named(self._place(name)):
            while chunk := stream.read(CHUNK):
                state.update(chunk)
        return f"sha256:{state.hexdigest()}"

    def exists(self, name: str) -> bool:
        """Whether there is an object `name`; a directory is none."""
        try:
            self.size(name)
        except NoInput:
            return False
        return True

    def size(self, name: str) -> int:
        """Its bytes. Raises NoInput when there is no such object."""
        self._check(name)
        with failures_named(self._place(name)):
            return self._size(name)

    def delete(self, name: str) -> bool:
        """Remove the object `name`; False when there was none."""
        if not self.exists(name):
            return False
        with failures_named(self._place(name)):
            self._delete(name)
        return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The objects in the directory `prefix` and below, or in the whole store; none when there is no such directory."""
        prefix = prefix.strip("/")
        if prefix:
            self._check(prefix)
        with failures_named(self._place(prefix)):
            for entry in self._list(prefix):
                if not any(word.startswith(".") for word in entry.name.split("/")):
                    yield entry

    def tidy(self, age: float = DAY) -> int:
        """Remove what a `put` left behind whose process was killed; gives how many temporary files or unfinished uploads these were.

        `age` is in seconds: what was begun later may still be written.
        """
        with failures_named(self.url):
            return self._tidy(time.time() - age)

    def _place(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    @staticmethod
    def _check(name: str) -> None:
        if not plain(name):
            raise UsageError(repr(name), "cannot name an object", "use words of letters, digits and _=+,@.- between slashes")

    def _write(self, name: str, source: Source) -> str:
        raise NotImplementedError

    def _open(self, name: str) -> BinaryIO:
        raise NotImplementedError

    def _size(self, name: str) -> int:
        raise NotImplementedError

    def _delete(self, name: str) -> None:
        raise NotImplementedError

    def _list(self, prefix: str) -> Iterator[Entry]:
        """The objects below `prefix`; names that begin with a point may be among them."""
        raise NotImplementedError

    def _tidy(self, before: float) -> int:
        """As `tidy`; `before` is in seconds since 1970."""
        raise NotImplementedError


def digest_of(data: bytes) -> str:
    """``sha256:`` and the digest of `data` in hexadecimal."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def plain(name: str) -> bool:
    """Whether every word between the slashes of `name` is one that every kind of store takes."""
    return len(name) <= 1000 and all(_WORD.fullmatch(word) for word in name.split("/"))


def temporary_beside(path: str) -> str:
    """A name in the directory of `path` that is never listed, and that `is_temporary`."""
    directory, name = os.path.split(path)
    return f"{directory}/.{name[:40]}.{os.urandom(6).hex()}"


def is_temporary(path: str) -> bool:
    """Whether `path` is such a name, or one of `toolkit.core.streams.atomic_output`."""
    return _TEMPORARY.fullmatch(os.path.basename(path)) is not None
