"""BagIt 1.0 bags (RFC 8493) with SHA-256 and SHA-512: written while the payload is copied, there whole or not at all.

The PyPI package bagit moves a directory's files into a bag of version 0.97 in place; here the files stay where they are, are read once
and hashed on the way, and large ones may be left where they can be fetched from (``fetch.txt``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from toolkit.core.errors import CannotCreate, InputOutput, NoInput
from toolkit.core.streams import synchronise

ALGORITHMS = ("sha256", "sha512")
DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Digests:
    """A file's length in bytes and its digests, hexadecimal."""

    size: int
    sha256: str
    sha512: str


class NewBag:
    """A bag while it is filled; several threads may add to it. Names are relative to its payload, ``data/``."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.entries: dict[str, Digests] = {}
        self.urls: dict[str, str] = {}

    def add_bytes(self, name: str, content: bytes) -> Digests:
        """A file with this content."""
        with self._create(name) as stream:
            stream.write(content)
        return self._enter(name, Digests(len(content), hashlib.sha256(content).hexdigest(), hashlib.sha512(content).hexdigest()))

    def add_file(self, name: str, source: str) -> Digests:
        """A copy of the file `source`. Raises NoInput where it cannot be read, InputOutput where the bag cannot be written."""
        with _reading(source) as reading, self._create(name) as stream:
            return self._enter(name, digest_stream(reading, stream))

    def add_reference(self, name: str, source: str, url: str) -> Digests:
        """A file like `source` that is not copied: whoever needs it fetches it from `url`."""
        with _reading(source) as reading:
            self.urls[name] = url
            return self._enter(name, digest_stream(reading))

    def _enter(self, name: str, digests: Digests) -> Digests:
        self.entries[name] = digests
        return digests

    @contextlib.contextmanager
    def _create(self, name: str) -> Iterator[BinaryIO]:
        path = os.path.join(self.directory, "data", name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise InputOutput(path, error.strerror or str(error), "nothing was left behind") from error

    def close(self, information: Mapping[str, str]) -> None:
        """Write the tag files: after this the directory is a bag."""
        octets = sum(digests.size for digests in self.entries.values())
        tags = {"bagit.txt": DECLARATION, "bag-info.txt": _lines({**information, "Payload-Oxum": f"{octets}.{len(self.entries)}"})}
        if self.urls:
            tags["fetch.txt"] = "".join(f"{url} {self.entries[name].size} data/{name}\n" for name, url in sorted(self.urls.items()))
        for algorithm in ALGORITHMS:
            rows = sorted((name, getattr(digests, algorithm)) for name, digests in self.entries.items())
            tags[f"manifest-{algorithm}.txt"] = "".join(f"{digest}  data/{name}\n" for name, digest in rows)
        for algorithm in ALGORITHMS:
            rows = [(name, hashlib.new(algorithm, text.encode()).hexdigest()) for name, text in tags.items()]
            self._write(f"tagmanifest-{algorithm}.txt", "".join(f"{digest}  {name}\n" for name, digest in rows))
        for name, text in tags.items():
            self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self.directory, name), "xb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def new_bag(target: str, information: Mapping[str, str]) -> Iterator[NewBag]:
    """A bag that appears as the directory `target` when the body ends well; otherwise nothing is left behind.

    `information` goes into bag-info.txt. Raises CannotCreate when `target` exists or its directory takes none.
    """
    target = os.path.abspath(target)
    if os.path.lexists(target):
        raise CannotCreate(target, "is there already", "choose another name, or remove it")
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:40]}.{os.urandom(6).hex()}")
    try:
        os.makedirs(os.path.join(temporary, "data"))
    except OSError as error:
        raise CannotCreate(target, error.strerror or str(error), "choose a directory that exists and can be written") from error
    try:
        bag = NewBag(temporary)
        yield bag
        bag.close(information)
        for directory, _, _ in os.walk(temporary):
            synchronise(directory)
        _appear(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def digest_stream(reading: BinaryIO, copy: BinaryIO | None = None) -> Digests:
    """The digests of all that comes from `reading`, which is also written to `copy`."""
    size, sha256, sha512 = 0, hashlib.sha256(), hashlib.sha512()
    while block := reading.read(_BLOCK):
        size += len(block)
        sha256.update(block)
        sha512.update(block)
        if copy is not None:
            copy.write(block)
    return Digests(size, sha256.hexdigest(), sha512.hexdigest())


def _appear(temporary: str, target: str) -> None:
    try:
        os.rename(temporary, target)  # an empty directory of that name would be replaced, a full one is not
        synchronise(os.path.dirname(target))
    except OSError as error:
        raise CannotCreate(target, error.strerror or str(error), "choose another name") from error


@contextlib.contextmanager
def _reading(source: str) -> Iterator[BinaryIO]:
    try:
        stream = open(source, "rb", buffering=0)  # noqa: SIM115 - closed below, errors of the body must not be caught here
    except OSError as error:
        raise NoInput(source, error.strerror or str(error), "name a file that exists and can be read") from error
    with stream:
        yield stream


def _lines(information: Mapping[str, str]) -> str:
    """The text of bag-info.txt: a value's line ends become blanks, so that it stays one line."""
    return "".join(f"{label}: {' '.join(value.split())}\n" for label, value in information.items() if value.strip())
