"""The spool of images: objects that were received and are not yet in the store, durable on this machine's own disk.

Below the spool's directory: ``images/incoming/`` holds what is being received, ``images/kept/UID.dcm`` what was, under its SOP instance
UID, and ``images/conflicts/UID.DIGEST.dcm`` objects whose UID other content has, for a person to look at. A file appears in ``kept`` when
all of it is on disk, and never takes another one's place. One process receives; whoever reads needs no lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import CannotCreate, InputOutput, TryLater
from toolkit.core.streams import synchronise
from toolkit.datacentre.images.instances import Incoming

_SUFFIX = ".dcm"
_BUFFER = 1 << 18


class ImageSpool:
    """The images in the spool `directory`; a context manager, safe for several threads.

    With `writing` it is made when it is missing, this process is the one that receives, and what an earlier one left half-received is
    removed: it was never acknowledged. Raises CannotCreate when it cannot be made, TryLater when another process receives into it.
    """

    def __init__(self, directory: str, *, writing: bool = False) -> None:
        self.directory = Path(directory, "images")
        self.incoming, self.kept, self.conflicts = (self.directory / name for name in ("incoming", "kept", "conflicts"))
        self._lock_file = -1
        self._round, self._tickets, self._ticket, self._done = threading.Lock(), itertools.count(1), 0, 0
        if not writing:
            return
        try:
            above = self.directory.absolute().parents
            entered = [self.directory, *(place for place in above if not place.exists() or place == above[0])]
            for place in (self.incoming, self.kept, self.conflicts):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in dict.fromkeys([*entered, *(place.parent for place in entered[1:])]):  # also those that had to be made
                synchronise(str(place))
            self._lock_file = os.open(self.directory / "receiver.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self.incoming.iterdir():
                left.unlink()
        except BlockingIOError as error:
            self.close()
            raise TryLater(str(self.directory), "another mdc-pacs receives into it", "stop that one, or name another --spool") from error
        except OSError as error:
            self.close()
            raise CannotCreate(directory, error.strerror or str(error), "name a directory that can be written") from error

    def __enter__(self) -> ImageSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process receive."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def begin(self) -> IncomingFile:
        """A new, empty file. Raises InputOutput."""
        try:
            number, path = tempfile.mkstemp(dir=self.incoming, suffix=_SUFFIX)
        except OSError as error:
            raise _unwritable(self.incoming, error) from error
        return IncomingFile(os.fdopen(number, "wb", buffering=_BUFFER), Path(path))

    def keep(self, incoming: Incoming, uid: str) -> bool:
        """Keep what was received as the object `uid`; it is on disk when this returns. False when another one is kept under that
        UID, which is on disk then. Raises InputOutput."""
        target = self.path(uid)
        try:
            incoming.flush()
            _synchronise_file(incoming.path)
            try:
                os.link(incoming.path, target)  # unlike a rename it never takes another one's place
                new = True
            except FileExistsError:
                new = False
            self._synchronise_kept()
        except OSError as error:
            raise _unwritable(target, error) from error
        if new:
            incoming.discard()
        return new

    def keep_apart(self, path: Path, uid: str, digest: str) -> None:
        """Move a file of this spool to those that conflict with another object of the same UID; durable. Raises InputOutput."""
        target = self.conflicts / f"{uid}.{digest.removeprefix('sha256:')[:16]}{_SUFFIX}"
        try:
            _synchronise_file(path)
            os.replace(path, target)
            for place in (self.conflicts, path.parent):
                synchronise(str(place))
        except OSError as error:
            raise _unwritable(target, error) from error

    def path(self, uid: str) -> Path:
        """Where the object is, or would be, kept."""
        return self.kept / f"{uid}{_SUFFIX}"

    def digest(self, uid: str) -> str:
        """``sha256:<hex>`` of a kept object; empty when it is gone. Raises InputOutput when it cannot be read."""
        try:
            with self.path(uid).open("rb") as stream:
                return _digest(stream)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InputOutput(str(self.path(uid)), error.strerror or str(error), "look at the disk") from error

    def heal(self, incoming: Incoming, uid: str, digest: str) -> bool:
        """Put what was received, which has `digest`, in the place of a kept object that was damaged; on disk when this returns. False when
        there is none, or when it has that digest after all. Raises InputOutput."""
        with self._damaged(uid, digest) as found:
            if found:
                incoming.flush()
                _synchronise_file(incoming.path)
                os.replace(incoming.path, self.path(uid))
                synchronise(str(self.kept))
        return found

    def put_aside(self, uid: str, digest: str) -> bool:
        """Rename a kept object that has not `digest` any more to ``UID.damaged``, for whoever wants to save what is left of it. False when
        it is gone, or whole after all. Raises InputOutput."""
        with self._damaged(uid, digest) as found:
            if found:
                os.replace(self.path(uid), self.path(uid).with_suffix(".damaged"))
                synchronise(str(self.kept))
        return found

    @contextlib.contextmanager
    def _damaged(self, uid: str, digest: str) -> Iterator[bool]:
        """Whether a kept object has another digest; locked, so that receiver and packer do not both do something about it: the one would
        put aside what the other has just replaced."""
        path = self.path(uid)
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            yield False
            return
        except OSError as error:
            raise _unwritable(path, error) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield _stands(stream, path) and not _has(stream, digest)
            except OSError as error:
                raise _unwritable(path, error) from error

    @property
    def receiving(self) -> bool:
        """Whether a process receives into it."""
        try:
            with open(self.directory / "receiver.lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def drop(self, uid: str) -> None:
        """Remove an object that the stores hold and the index knows. Raises InputOutput."""
        try:
            self.path(uid).unlink(missing_ok=True)
        except OSError as error:
            raise InputOutput(str(self.path(uid)), error.strerror or str(error), "look at the disk") from error

    def uids(self) -> Iterator[str]:
        """The UIDs of the objects that are kept, in no order. Raises InputOutput."""
        return _names(self.kept)

    def conflicting(self) -> list[str]:
        """The names of the files that conflict with other objects. Raises InputOutput."""
        return sorted(_names(self.conflicts))

    def _synchronise_kept(self) -> None:
        """Bring the directory to disk; threads that wait for each other share one round."""
        ticket = self._ticket = next(self._tickets)
        with self._round:
            if self._done >= ticket:
                return
            latest = self._ticket  # whoever has a ticket has linked its file
            synchronise(str(self.kept))
            self._done = latest


class IncomingFile:
    """A file that is being received."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path

    @property
    def path(self) -> Path:
        """Where it is; what was written can be read there after `flush`."""
        return self._path

    def write(self, chunk: bytes) -> None:
        """Append. Raises InputOutput."""
        try:
            self._stream.write(chunk)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def flush(self) -> None:
        """Let readers of `path` see everything. Raises InputOutput."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def discard(self) -> None:
        """Remove it, if it was not moved; any number of times."""
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _names(place: Path) -> Iterator[str]:
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    yield entry.name.removesuffix(_SUFFIX)
    except FileNotFoundError:
        return  # no image was ever received here
    except OSError as error:
        raise InputOutput(str(place), error.strerror or str(error), "look at the disk") from error


def _digest(stream: Any) -> str:
    return f"sha256:{file_digest(stream, 'sha256').hexdigest()}"


def _has(stream: BinaryIO, digest: str) -> bool:
    try:
        return _digest(stream) == digest
    except OSError:  # of which parts cannot be read is damaged, too
        return False


def _stands(stream: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one that has this name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _synchronise_file(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _unwritable(place: Path, error: OSError) -> InputOutput:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return InputOutput(str(place), error.strerror or str(error), "make room: run mdc-store pack" if full else "look at the disk")
