"""Directories, links and names on the far side: many questions at a time, each call a few round trips."""

from __future__ import annotations

import collections
import hashlib
import queue
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolkit.core.errors import BadData, NoInput, ToolError
from toolkit.experiment.staging import protocol
from toolkit.experiment.staging.channel import GONE, Channel
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.files import shown
from toolkit.experiment.staging.protocol import (
    ATTRS,
    CLOSE,
    DATA,
    END,
    FOR_READING,
    HANDLE,
    LSTAT,
    MKDIR,
    NAME,
    NO_SUCH_FILE,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RMDIR,
    SETSTAT,
    STAT,
    STATUS,
    SYMLINK,
    Attributes,
    Fields,
    long_number,
    number,
    text,
)
from toolkit.experiment.staging.questions import MOST_QUESTIONS, Answer, Request, asked, code, failure, forget, one_name, outcome

_MOST_DIRECTORIES = 100  # open at a time
_FIRST_LISTS, _MOST_LISTS = 4, 32  # questions for the next names of a directory at a time
_FEW = 8  # directories of which more is asked at first: a large one then costs one round trip, and small ones not much
_MOST_NAMES = 4_000_000  # in a tree; a server that sends more sends them without an end
_MOST_AGAIN = 1000  # names that a directory may have twice
_READ_BACK = 4 << 20  # bytes under way


@dataclass(frozen=True)
class Status:
    """Of something on the far side."""

    kind: str  # as in Entry
    size: int  # bytes
    mode: int  # permission bits
    mtime: int  # s since 1970
    owner: tuple[int, int] | None = None  # user, group


def walk(channel: Channel, top: bytes) -> Iterator[Entry | ToolError]:
    """All that is below the directory `top`, a directory before what is in it; one that cannot be read is an error in its place.

    Raises NoInput when `top` does not exist, NotPermitted when it cannot be read, BadData when the server sends names that no
    directory can hold (with "/", "..", NUL), Lost. Several calls at a time on one channel or on several are possible.
    """
    return _Walk(channel, top).run()


def status(channel: Channel, paths: Sequence[bytes], follow: bool = True) -> list[Status | ToolError]:
    """What each path is; NoInput for what does not exist."""
    found: list[Status | ToolError] = []
    for path, (kind, answer) in zip(paths, asked(channel, ((STAT if follow else LSTAT, text(path)) for path in paths)), strict=True):
        if kind == ATTRS:
            attributes = Fields(answer, channel.name).attributes()
            mtime = attributes.times[1] if attributes.times else 0
            found.append(Status(attributes.kind, attributes.size or 0, (attributes.mode or 0) & 0o7777, mtime, attributes.owner))
        else:
            found.append(failure(channel, path, kind, answer, "read"))
    return found


def real_path(channel: Channel, path: bytes) -> bytes:
    """`path` from the root on: "." is where the session begins. Raises NoInput."""
    kind, answer = next(asked(channel, [(REALPATH, text(path))]))
    if kind != NAME:
        raise failure(channel, path, kind, answer, "found")
    return one_name(channel, answer)


def make_directories(channel: Channel, paths: Iterable[tuple[bytes, int]]) -> list[ToolError | None]:
    """Make directories, parents before what is in them, with these permission bits; one that exists is no error."""
    return begin_directories(channel, paths)()


def begin_directories(channel: Channel, paths: Iterable[tuple[bytes, int]]) -> Callable[[], list[ToolError | None]]:
    """As `make_directories`, which what is called then ends: what is asked on this channel meanwhile finds them made
    (but for those beyond MOST_QUESTIONS)."""
    wanted = list(paths)
    answers = asked(channel, [(MKDIR, text(path) + Attributes(mode=mode).encoded()) for path, mode in wanted])

    def end() -> list[ToolError | None]:
        problems = [outcome(channel, path, answer, "created") for (path, _), answer in zip(wanted, answers, strict=True)]
        failed = [index for index, problem in enumerate(problems) if problem is not None]
        for index, found in zip(failed, status(channel, [wanted[index][0] for index in failed]), strict=True):
            if isinstance(found, Status) and found.kind == "directory":
                problems[index] = None
            elif isinstance(found, Status):
                problems[index] = BadData(shown(wanted[index][0]), f"is no directory on {channel.name}", "remove it there")
        return problems

    return end


def set_attributes(channel: Channel, paths: Iterable[tuple[bytes, int, int]]) -> list[ToolError | None]:
    """Set permission bits and time of modification (s) of each path."""
    wanted = list(paths)
    requests = [(SETSTAT, text(path) + Attributes(mode=mode, times=(mtime, mtime)).encoded()) for path, mode, mtime in wanted]
    answers = asked(channel, requests)
    return [outcome(channel, path, answer, "given its attributes") for (path, _, _), answer in zip(wanted, answers, strict=True)]


def make_links(channel: Channel, links: Iterable[tuple[bytes, bytes]]) -> list[ToolError | None]:
    """Make symbolic links (path, target), each in the place of a link or file that may be there."""
    wanted = list(links)
    requests: list[Request] = []
    for path, target in wanted:
        requests += [(REMOVE, text(path)), (SYMLINK, text(target) + text(path))]  # this order of names is OpenSSH's
    made = list(asked(channel, requests))[1::2]
    return [outcome(channel, path, answer, "made a link") for (path, _), answer in zip(wanted, made, strict=True)]


def remove(channel: Channel, entries: Iterable[tuple[bytes, bool]]) -> list[ToolError | None]:
    """Remove (path, is it a directory), in this order; what is not there is no error."""
    wanted = list(entries)
    answers = asked(channel, ((RMDIR if directory else REMOVE, text(path)) for path, directory in wanted))
    problems = [outcome(channel, path, answer, "removed") for (path, _), answer in zip(wanted, answers, strict=True)]
    return [None if isinstance(problem, NoInput) else problem for problem in problems]


def read_bytes(channel: Channel, path: bytes, most: int = 1 << 20) -> bytes:
    """A small file's contents. Raises NoInput when it does not exist, BadData when it is longer than `most`."""
    kind, answer = next(asked(channel, [_opening(path)]))
    if kind != HANDLE:
        raise failure(channel, path, kind, answer, "opened")
    handle, data, together = Fields(answer, channel.name).text(), b"", 4
    try:
        while kind != STATUS and len(data) <= most:
            block = channel.limits.read
            answers = list(asked(channel, [_reading(handle, len(data) + index * block, block) for index in range(together)]))
            for index, (kind, answer) in enumerate(answers):
                if kind != DATA:
                    break
                piece = _data(channel, answer, block)
                data += piece
                if len(piece) < block:  # the end, if there is nothing where the next block would be
                    kind, answer = answers[index + 1] if index + 1 < together else (DATA, b"")
                    break
            together *= 2
    finally:
        channel.request(CLOSE, text(handle), forget)
    if kind != DATA and code(answer) != END:
        raise failure(channel, path, kind, answer, "read")
    if len(data) > most:
        raise BadData(shown(path), f"is longer than {most} bytes")
    return data


def digest(channel: Channel, paths: Sequence[tuple[bytes, int]]) -> list[str | ToolError]:
    """SHA-256 (hexadecimal) of the first so many bytes of each file, read back through the channel; BadData for a shorter one."""
    return [_digest(channel, path, size, opened) for (path, size), opened in zip(
        paths, asked(channel, (_opening(path) for path, _ in paths)), strict=True)]  # fmt: skip


def _digest(channel: Channel, path: bytes, size: int, opened: Answer) -> str | ToolError:
    if opened[0] != HANDLE:
        return failure(channel, path, *opened, "opened")
    handle = Fields(opened[1], channel.name).text()
    total, block = hashlib.sha256(), channel.limits.read
    problem: ToolError | None = None
    requests = (_reading(handle, offset, min(block, size - offset)) for offset in range(0, size, block))
    for offset, (kind, answer) in zip(range(0, size, block), asked(channel, requests, max(1, _READ_BACK // block)), strict=True):
        wanted = min(block, size - offset)
        if problem is None and kind == DATA:
            data = _data(channel, answer, wanted)
            total.update(data)
            if len(data) < wanted:
                problem = BadData(shown(path), f"is shorter on {channel.name} than it should be")
        elif problem is None:
            ended = kind == STATUS and code(answer) == END
            short = BadData(shown(path), f"is shorter on {channel.name} than it should be")
            problem = short if ended else failure(channel, path, kind, answer, "read")
    channel.request(CLOSE, text(handle), forget)
    return problem or total.hexdigest()


def _opening(path: bytes) -> Request:
    return OPEN, text(path) + number(FOR_READING) + Attributes().encoded()


def _reading(handle: bytes, offset: int, length: int) -> Request:
    return READ, text(handle) + long_number(offset) + number(length)


def _data(channel: Channel, answer: bytes, most: int) -> bytes:
    data = Fields(answer, channel.name).text()
    if not 0 < len(data) <= most:
        raise protocol.broken(channel.name, f"{len(data)} bytes where {most} were asked for")
    return data


class _Directory:
    """One that is being read."""

    def __init__(self, path: bytes) -> None:
        self.path = path  # relative to the top
        self.handle = b""
        self.lists = 0  # questions for names without an answer
        self.together = _FIRST_LISTS
        self.names: set[bytes] = set()
        self.again = 0  # names that were there already
        self.ended = False


class _Walk:
    """One walk over a tree."""

    def __init__(self, channel: Channel, top: bytes) -> None:
        self._channel, self._top = channel, top
        self._answers: queue.SimpleQueue[tuple[Callable[[int, bytes], None], int, bytes]] = queue.SimpleQueue()
        self._waiting = 0
        self._open = 0
        self._names = 0
        self._next: collections.deque[_Directory] = collections.deque()
        self._links: collections.deque[Entry] = collections.deque()
        self._found: collections.deque[Entry | ToolError] = collections.deque()

    def run(self) -> Iterator[Entry | ToolError]:
        self._next.append(_Directory(b""))
        while self._next or self._links or self._waiting:
            while self._next and self._open < _MOST_DIRECTORIES:
                directory = self._next.popleft()
                self._open += 1
                self._ask(OPENDIR, text(self._there(directory.path)), lambda k, a, d=directory: self._opened(d, k, a))  # type: ignore[misc]
            while self._links and self._waiting < MOST_QUESTIONS:
                link = self._links.popleft()
                self._ask(READLINK, text(self._there(link.path)), lambda k, a, e=link: self._read_link(e, k, a))  # type: ignore[misc]
            then, kind, answer = self._answers.get()
            if kind == GONE:
                assert self._channel.ended is not None
                raise self._channel.ended
            then(kind, answer)
            while self._found:
                yield self._found.popleft()

    def _there(self, path: bytes) -> bytes:
        return self._top.rstrip(b"/") + b"/" + path if path else self._top

    def _ask(self, kind: int, body: bytes, then: Callable[[int, bytes], None]) -> None:
        self._waiting += 1
        self._channel.request(kind, body, lambda kind, answer: self._answers.put((then, kind, bytes(answer))))

    def _opened(self, directory: _Directory, kind: int, answer: bytes) -> None:
        self._waiting -= 1
        if kind != HANDLE:
            self._failed(directory, kind, answer)
            self._open -= 1
            return
        directory.handle = Fields(answer, self._channel.name).text()
        if self._open + len(self._next) <= _FEW:
            directory.together = _MOST_LISTS // 2
        self._list(directory)

    def _failed(self, directory: _Directory, kind: int, answer: bytes) -> None:
        place = directory.path or self._top
        error = failure(self._channel, place, kind, answer, "read")
        if not directory.path:
            raise error
        self._found.append(error)

    def _list(self, directory: _Directory) -> None:
        while directory.lists < directory.together:
            directory.lists += 1
            self._ask(READDIR, text(directory.handle), lambda kind, answer: self._listed(directory, kind, answer))

    def _listed(self, directory: _Directory, kind: int, answer: bytes) -> None:
        if directory.ended:  # what was asked beyond the end is waited for no more
            return
        directory.lists -= 1
        self._waiting -= 1
        if kind == NAME:
            self._take_names(directory, answer)
            if directory.lists <= directory.together // 2:
                directory.together = min(2 * directory.together, _MOST_LISTS)  # a large one
                self._list(directory)
            return
        if kind != STATUS or code(answer) != END:
            self._failed(directory, kind, answer)
        directory.ended = True
        self._waiting -= directory.lists
        self._open -= 1
        self._channel.request(CLOSE, text(directory.handle), forget)

    def _take_names(self, directory: _Directory, answer: bytes) -> None:
        fields = Fields(answer, self._channel.name)
        count = fields.number()
        if not count:
            raise protocol.broken(self._channel.name, "a list of no names")
        self._names += count
        if self._names > _MOST_NAMES:
            raise protocol.broken(self._channel.name, f"more than {_MOST_NAMES} names")
        for _ in range(count):
            name = fields.text()
            fields.text()  # as `ls -l` shows it
            attributes = fields.attributes()
            if name in (b".", b".."):
                continue
            if name in directory.names:  # renamed under our eyes
                directory.again += 1
                if directory.again > _MOST_AGAIN:
                    raise protocol.broken(self._channel.name, "the same names again and again")
                continue
            directory.names.add(name)
            if not name or b"/" in name or b"\0" in name:
                raise protocol.broken(self._channel.name, f"the name {shown(name)!r}, which no directory can hold")
            self._take(directory.path + b"/" + name if directory.path else name, attributes)

    def _take(self, path: bytes, attributes: Attributes) -> None:
        if path.count(b"/") > 500 or len(path) > 4096:
            raise protocol.broken(self._channel.name, "directories in directories without an end")
        kind, mode = attributes.kind, attributes.mode or 0
        mtime = attributes.times[1] if attributes.times else 0
        entry = Entry(path, kind, (attributes.size or 0) if kind == "file" else 0, stat.S_IMODE(mode) & 0o777, mtime)  # type: ignore[arg-type]
        if kind == "link":
            self._links.append(entry)
            return
        self._found.append(entry)
        if kind == "directory":
            self._next.append(_Directory(path))

    def _read_link(self, entry: Entry, kind: int, answer: bytes) -> None:
        self._waiting -= 1
        if kind == NAME:
            self._found.append(Entry(entry.path, "link", 0, entry.mode, entry.mtime, one_name(self._channel, answer)))
        elif kind != STATUS or code(answer) != NO_SUCH_FILE:  # it has gone meanwhile
            self._found.append(failure(self._channel, entry.path, kind, answer, "read"))
