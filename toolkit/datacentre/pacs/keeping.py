"""What the receiver asks of whoever keeps the objects, and a keeper that is a plain directory."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

from toolkit.core.errors import BadData, InputOutput

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # PS3.5, section 9.1; leading zeros are tolerated, peers send them


@dataclass(frozen=True)
class Instance:
    """What is known of an object; `digest` is ``sha256:`` and the hexadecimal SHA-256 of the Part 10 file as stored, `size` its bytes."""

    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class: str
    transfer_syntax: str
    patient: str
    accession: str
    modality: str
    study_date: str
    digest: str
    size: int

    @property
    def name(self) -> str:
        """``images/STUDY/SERIES/INSTANCE.dcm``. Raises BadData when a UID is none: it could lead out of the store."""
        for uid in (self.study_uid, self.series_uid, self.instance_uid):
            if len(uid) > 64 or not _UID.fullmatch(uid):
                raise BadData("object", "has no proper UIDs", "have it made anew")
        return f"images/{self.study_uid}/{self.series_uid}/{self.instance_uid}.dcm"


class Outcome(Enum):
    """What became of an object: new, there already with the same content, or its UID was taken by other content."""

    NEW = "new"
    KNOWN = "known"
    CONFLICT = "conflict"


class Incoming(Protocol):
    """A file that is being received."""

    @property
    def path(self) -> Path:
        """Where it is; what was written can be read there after `flush`."""

    def write(self, chunk: bytes) -> None:
        """Append. Raises InputOutput."""

    def flush(self) -> None:
        """Let readers of `path` see everything. Raises InputOutput."""

    def discard(self) -> None:
        """Remove it, if it was not kept; any number of times."""


class Keeper(Protocol):
    """Takes objects, durably."""

    def begin(self) -> Incoming:
        """A new, empty file. Raises InputOutput."""

    def receive(self, incoming: Incoming, instance: Instance, client: str) -> Outcome:
        """Keep it: durable when this returns. Raises InputOutput, BadData."""


class _File:
    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream, self._path = stream, path

    @property
    def path(self) -> Path:
        return self._path

    def write(self, chunk: bytes) -> None:
        try:
            self.stream.write(chunk)
        except OSError as error:
            raise InputOutput(str(self._path), error.strerror or str(error), "look at the disk") from error

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            raise InputOutput(str(self._path), error.strerror or str(error), "look at the disk") from error

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        self._path.unlink(missing_ok=True)


class PlainDirectory:
    """Keeps objects as ``images/STUDY/SERIES/INSTANCE.dcm`` below `directory`; conflicting ones below ``conflicts/`` for a person to
    look at."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._incoming = self._directory / "incoming"
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            for left in self._incoming.iterdir():  # of a receiver that was killed: never acknowledged
                left.unlink()
        except OSError as error:
            raise InputOutput(directory, error.strerror or str(error), "name a directory that can be written") from error

    def begin(self) -> _File:
        try:
            number, path = tempfile.mkstemp(dir=self._incoming)
            return _File(os.fdopen(number, "wb", buffering=1 << 18), Path(path))
        except OSError as error:
            raise InputOutput(str(self._incoming), error.strerror or str(error), "look at the disk") from error

    def receive(self, incoming: Incoming, instance: Instance, client: str) -> Outcome:
        """As `Keeper.receive`."""
        target = self._directory / instance.name
        try:
            _synchronise(incoming.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(incoming.path, target)  # unlike a rename, it never replaces another one
                outcome = Outcome.NEW
            except FileExistsError:
                if _digest(target) == instance.digest:
                    return Outcome.KNOWN
                target = self._directory / "conflicts" / instance.name / instance.digest.removeprefix("sha256:")
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(incoming.path, target)
                outcome = Outcome.CONFLICT
            for directory in [target.parent, *target.parent.parents]:
                _synchronise(directory)
                if directory == self._directory:
                    break
            return outcome
        except OSError as error:
            raise InputOutput(str(target), error.strerror or str(error), "look at the disk") from error
        finally:
            incoming.discard()


def _synchronise(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _digest(path: Path) -> str:
    made = sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            made.update(chunk)
    return f"sha256:{made.hexdigest()}"
