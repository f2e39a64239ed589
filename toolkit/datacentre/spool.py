"""The receiver's spool: documents that were received and are not yet in a pack, durable on this machine's own disk.

A directory of append-only segments. A frame is a fixed head (magic, length of the record, length of the body, CRC-32 of all
these and the record, SHA-256 of the body), the record (JSON: who sent what and when) and the body as it came. One process writes;
it begins a new segment at each start and never changes what stands in an older one. So what a killed process left half-written
stays at a segment's end, where readers pass over it; it was never acknowledged. Whoever reads needs no lock, and keeps what it has
opened when that is dropped meanwhile. A segment that is being written is locked (flock), so that no packer drops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from toolkit.core.errors import BadData, CannotCreate, InputOutput, NoInput, TryLater
from toolkit.core.streams import synchronise

SEGMENT_BYTES = 64 << 20
SEGMENT_SECONDS = 600.0
_MAGIC = b"\x89MDCv1\r\n"
_HEAD = struct.Struct(">8sIQI32s")  # magic, bytes of the record, bytes of the body, CRC-32, SHA-256 of the body
_LARGEST_RECORD = 1 << 16
_SUFFIX = ".spool"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One document: its message id, the pseudonym of its visit, who sent it, when it was received (ISO 8601, UTC), and its bytes."""

    message_id: str
    mdc_visit: str
    client: str
    received: str
    body: bytes

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of the body."""
        return "sha256:" + hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Receipt:
    """Where an entry stands, as ``spool:SEGMENT:OFFSET``, and ``sha256:<hex>`` of its body."""

    place: str
    digest: str


class Spool:
    """The spool in `directory`; a context manager, safe for several threads.

    With `writing` it is made when it is missing, and this process is the one that may add to it. Raises CannotCreate when the
    directory cannot be made, TryLater when another process writes to it, NoInput when it is missing and not `writing`.
    """

    def __init__(
        self, directory: str, *, writing: bool = False, segment_bytes: int = SEGMENT_BYTES, segment_seconds: float = SEGMENT_SECONDS
    ) -> None:
        self.directory, self._largest, self._oldest = directory, segment_bytes, segment_seconds
        self._lock = threading.Lock()
        self._segment, self._name, self._size, self._begun = -1, "", 0, 0.0
        self._directory = _open_directory(directory, writing)
        self._writing = writing
        for segment in self.segments() if writing else ():
            if self._bytes(segment) == 0:  # begun by a process that wrote nothing to it
                with contextlib.suppress(NoInput, InputOutput):
                    self.drop(segment)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the segment and let other processes write."""
        with self._lock:
            self._end_segment()
            if self._directory >= 0:
                os.close(self._directory)
                self._directory = -1

    def add(self, entry: Entry) -> Receipt:
        """Append one entry; it is on disk when this returns. Raises what `add_all` raises."""
        return self.add_all([entry])[0]

    def add_all(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Append the entries with one fsync for all of them; all are on disk when this returns.

        Raises InputOutput when they could not be written: none of them counts as received then.
        """
        if not self._writing:
            raise ValueError("this spool was opened for reading")
        with self._lock:
            try:
                return self._append(entries)
            except OSError as error:
                # A failed fsync may have dropped pages that a second one would call clean: never go on with that segment.
                if self._segment >= 0:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._segment, self._size)
                    self._end_segment()
                place = os.path.join(self.directory, self._name + _SUFFIX)
                raise InputOutput(place, error.strerror or str(error), "make room or repair the disk; nothing was acknowledged") from error

    def end_old_segment(self) -> None:
        """End the segment when it is old enough, so that a packer can drop it on a quiet day."""
        with self._lock:
            if self._segment >= 0 and time.monotonic() - self._begun >= self._oldest:
                self._end_segment()

    def read(self, place: str) -> Entry:
        """The entry at ``spool:SEGMENT:OFFSET``.

        Raises NoInput when its segment is gone (a pack holds it then), BadData when no whole entry stands there, InputOutput when the
        disk cannot read it.
        """
        match = re.fullmatch(r"spool:([0-9]{20}):([0-9]+)", place)
        if match is None:
            raise BadData(place, "is no place in a spool", "it reads spool:SEGMENT:OFFSET")
        with self._opened(match[1]) as segment, _failures_named(self._path(match[1])):
            found = _entry_at(segment, int(match[2]), os.fstat(segment).st_size)
        if found is None:
            raise BadData(self._path(match[1]), f"holds no whole document at byte {match[2]}", "restore it with mdc-store verify")
        return found[0]

    def segments(self) -> list[str]:
        """The names of the segments, the oldest first. Raises InputOutput when the directory cannot be read."""
        try:
            names = os.listdir(self.directory)
        except OSError as error:
            raise InputOutput(self.directory, error.strerror or str(error), "put the spool's directory back") from error
        return sorted(name.removesuffix(_SUFFIX) for name in names if re.fullmatch(r"[0-9]{20}\.spool", name))

    def ended(self) -> list[str]:
        """The names of the segments that hold something and to which nothing will be written any more, the oldest first."""
        found = []
        for segment in self.segments():
            with contextlib.suppress(NoInput, BlockingIOError), self._opened(segment) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_size:
                    found.append(segment)
        return found

    def entries(self, segment: str) -> Iterator[tuple[str, Entry]]:
        """Each whole entry of a segment with its place, in the order in which they were written; what is not whole is passed over.

        Raises NoInput when the segment is gone, InputOutput when it cannot be read.
        """
        with self._opened(segment) as descriptor, _failures_named(self._path(segment)):
            size, offset, lost = os.fstat(descriptor).st_size, 0, 0
            while offset < size:
                found = _entry_at(descriptor, offset, size)
                if found is None:
                    begin, offset = offset, _next_magic(descriptor, offset + 1, size)
                    lost += offset - begin
                    continue
                if lost:  # an interrupted write is the last of its segment
                    _log.warning("%s: %d bytes before byte %d are damaged", self._path(segment), lost, offset)
                    lost = 0
                yield f"spool:{segment}:{offset}", found[0]
                offset = found[1]
        if lost:
            _log.info("%s: %d bytes are no whole document: a write that was interrupted and never acknowledged", self._path(segment), lost)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """All entries; those of a segment that is dropped meanwhile are in a pack."""
        for segment in self.segments():
            try:
                yield from self.entries(segment)
            except NoInput:
                continue

    def size(self) -> int:
        """Bytes of all segments."""
        return sum(map(self._bytes, self.segments()))

    def drop(self, segment: str) -> bool:
        """Remove a segment whose documents are all packed and archived; False when it is still being written, or another process has
        just removed it. It must have been among those that `ended` before its documents were counted: later ones would be lost.

        Raises NoInput when it was gone before, InputOutput when it cannot be removed.
        """
        with self._opened(segment) as descriptor, _failures_named(self._path(segment)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not self._stands(descriptor, segment):
                return False
            os.unlink(self._path(segment))
            synchronise(self.directory)
        return True

    def _append(self, entries: Sequence[Entry]) -> list[Receipt]:
        if self._segment >= 0 and (self._size >= self._largest or time.monotonic() - self._begun >= self._oldest):
            self._end_segment()
        if self._segment < 0:
            self._begin_segment()
        receipts: list[Receipt] = []
        parts: list[bytes] = []
        offset = self._size
        for entry in entries:
            frame, digest = _frame(entry)
            receipts.append(Receipt(f"spool:{self._name}:{offset}", digest))
            parts += frame
            offset += sum(map(len, frame))
        _write_whole(self._segment, b"".join(parts))
        os.fdatasync(self._segment)
        self._size = offset
        return receipts

    def _begin_segment(self) -> None:
        """Segments are numbered by the time, and upwards whatever the clock does."""
        while True:
            newest = max((int(name) for name in self.segments()), default=0)
            self._name = f"{max(time.time_ns(), newest + 1, int(self._name or 0) + 1):020d}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._segment = os.open(self._path(self._name), flags, 0o600)
            self._size, self._begun = 0, time.monotonic()
            fcntl.flock(self._segment, fcntl.LOCK_EX)
            if self._stands(self._segment, self._name):
                break
            self._end_segment()  # dropped between the two: what is written to it would be nowhere
        synchronise(self.directory)

    def _end_segment(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
            self._segment = -1

    def _path(self, segment: str) -> str:
        return os.path.join(self.directory, segment + _SUFFIX)

    def _bytes(self, segment: str) -> int:
        try:
            return os.path.getsize(self._path(segment))
        except FileNotFoundError:  # dropped
            return 0

    def _stands(self, descriptor: int, segment: str) -> bool:
        """Whether an open file is still the one that has the segment's name."""
        opened = os.fstat(descriptor)
        try:
            return opened.st_nlink > 0 and os.path.samestat(opened, os.stat(self._path(segment)))
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _opened(self, segment: str) -> Iterator[int]:
        try:
            descriptor = os.open(self._path(segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NoInput(self._path(segment), error.strerror or str(error), "look its document up again: it may be in a pack") from error
        except OSError as error:
            raise InputOutput(self._path(segment), error.strerror or str(error), "run as the gateway's user, or repair the disk") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _failures_named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputOutput(path, error.strerror or str(error), "repair the disk; packs and archive may hold its documents") from error


def _open_directory(directory: str, writing: bool) -> int:
    """A descriptor of the spool's directory, locked for the one process that writes."""
    try:
        if writing and not os.path.isdir(directory):
            made = [os.path.abspath(directory)]
            while not os.path.isdir(parent := os.path.dirname(made[-1])):
                made.append(parent)
            os.makedirs(directory, mode=0o700, exist_ok=True)
            for path in reversed(made):
                synchronise(os.path.dirname(path))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        kind, remedy = (CannotCreate, "name a directory that can be written") if writing else (NoInput, "name the gateway's spool")
        raise kind(directory, error.strerror or str(error), remedy) from error
    if writing:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise TryLater(directory, "another process writes to this spool", "stop the other gateway, or give this one its own") from error
    return descriptor


def _frame(entry: Entry) -> tuple[tuple[bytes, bytes, bytes], str]:
    fields = {"message_id": entry.message_id, "mdc_visit": entry.mdc_visit, "client": entry.client, "received": entry.received}
    record = json.dumps(fields).encode()
    if len(record) > _LARGEST_RECORD:
        raise ValueError("the record of an entry is too long")
    digest = bytes.fromhex(entry.digest.removeprefix("sha256:"))
    head = _HEAD.pack(_MAGIC, len(record), len(entry.body), _checksum(record, len(entry.body), digest), digest)
    return (head, record, entry.body), entry.digest


def _checksum(record: bytes, length: int, digest: bytes) -> int:
    return zlib.crc32(record, zlib.crc32(struct.pack(">IQ", len(record), length) + digest))


def _entry_at(descriptor: int, offset: int, size: int) -> tuple[Entry, int] | None:
    """The entry that begins at `offset` and the byte behind it; None when none stands there whole and undamaged."""
    head = os.pread(descriptor, _HEAD.size, offset)
    if len(head) < _HEAD.size:
        return None
    magic, record_length, body_length, checksum, digest = _HEAD.unpack(head)
    end = offset + _HEAD.size + record_length + body_length
    if magic != _MAGIC or record_length > _LARGEST_RECORD or end > size:
        return None
    record = os.pread(descriptor, record_length, offset + _HEAD.size)
    if len(record) < record_length or _checksum(record, body_length, digest) != checksum:
        return None
    body = _read_whole(descriptor, body_length, end - body_length)
    if hashlib.sha256(body).digest() != digest:
        return None
    return Entry(**json.loads(record), body=body), end


def _next_magic(descriptor: int, offset: int, size: int) -> int:
    """Where the next frame may begin, `size` when there is none."""
    while offset < size:
        portion = os.pread(descriptor, 1 << 20, offset)
        found = portion.find(_MAGIC)
        if found >= 0:
            return offset + found
        if len(portion) < len(_MAGIC):
            break
        offset += len(portion) - len(_MAGIC) + 1
    return size


def _read_whole(descriptor: int, length: int, offset: int) -> bytes:
    parts, end = [], offset + length
    while offset < end and (part := os.pread(descriptor, min(end - offset, 1 << 30), offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write_whole(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
