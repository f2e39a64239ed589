"""A keeper of objects that is a plain directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from toolkit.core.errors import InputOutput
from toolkit.datacentre.images.instances import Incoming, Instance, Keeper, Outcome

__all__ = ["Incoming", "Instance", "Keeper", "Outcome", "PlainDirectory"]


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
