"""Which files a report reads, and how they are divided among the tasks of a job."""

from __future__ import annotations

import base64
import glob
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

from toolkit.core.errors import NoInput, ToolError
from toolkit.core.storage import open_store
from toolkit.core.streams import open_input

ENDINGS = (".jsonl", ".json")
_BAG = "bagit.txt"  # of a directory that holds copies


@dataclass(frozen=True)
class Input:
    """A file: `place` names it in messages, `store` and `name` say where it is (without `store` a path), `content` has it in base64
    where only this process could read it. `searched`: found in a directory, where files of other kinds are none of ours."""

    place: str
    size: int
    name: str = ""
    store: str = ""
    content: str = ""
    searched: bool = False

    def open(self) -> BinaryIO:
        """Its bytes. Raises NoInput when it cannot be opened, and what a store raises."""
        if self.content:
            return io.BytesIO(base64.b64decode(self.content))
        if self.store:
            return open_store(self.store).open(self.name)
        with open_input(self.name) as stream:
            return io.BytesIO(stream.read())


def find(sources: Sequence[str], missing: list[ToolError]) -> list[Input]:
    """The files that `sources` mean: files, directories, patterns with ``*``, URLs of stores, ``-`` for standard input; each file once.

    What does not exist or cannot be read goes to `missing`.
    """
    found: dict[str, Input] = {}
    for source in sources:
        try:
            for one in _files(source):
                key = f"{one.store}\n{one.name if one.store else os.path.realpath(one.name)}" if one.name else one.place
                if key not in found or found[key].searched:
                    found[key] = one
        except OSError as error:
            missing.append(NoInput(source, error.strerror or str(error), "name files and directories that can be read"))
        except ToolError as error:
            missing.append(error)
    return sorted(found.values(), key=lambda one: (one.place, one.name))


def groups(files: Sequence[Input], split_bytes: int) -> list[str]:
    """Lines of JSON, one a task, of about `split_bytes` each; read back by `members`."""
    lines: list[list[Input]] = []
    size = split_bytes
    for one in files:
        if size >= split_bytes:
            lines.append([])
            size = 0
        lines[-1].append(one)
        size += one.size
    return [json.dumps([asdict(one) for one in line]) for line in lines]


def members(line: str) -> list[Input]:
    """The files of a group."""
    return [Input(**one) for one in json.loads(line)]


def _files(source: str) -> Iterator[Input]:
    if source == "-":
        if sys.stdin is None:
            raise NoInput("standard input", "is closed", "name a file or use a pipe")
        content = sys.stdin.buffer.read()
        if content:
            yield Input("standard input", len(content), content=base64.b64encode(content).decode())
    elif "://" in source:
        yield from _stored(source)
    elif os.path.isdir(source):
        yield from _below(source)
    elif os.path.exists(source) or not glob.has_magic(source):
        yield Input(source, os.stat(source).st_size, os.path.abspath(source))
    else:
        paths = sorted(glob.glob(source, recursive=True))
        if not paths:
            raise NoInput(source, "no file is called like this", "check the pattern")
        for path in paths:
            yield from _files(path)


def _below(directory: str) -> Iterator[Input]:
    """The files in a directory and below, but not in bags below it, whose files are copies."""

    def refuse(error: OSError) -> None:
        raise error

    for place, below, names in os.walk(directory, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith(".") and not os.path.exists(os.path.join(place, name, _BAG)))
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.endswith(ENDINGS) and not name.startswith(".") and os.path.isfile(path):
                yield Input(path, os.path.getsize(path), os.path.abspath(path), searched=True)


def _stored(url: str) -> Iterator[Input]:
    """The files of a store, or one file of it."""
    if url.endswith(ENDINGS):
        home, _, name = url.rpartition("/")
        yield Input(url, open_store(home).size(name), name, home)
        return
    for entry in sorted(open_store(url).list()):
        if entry.name.endswith(ENDINGS):
            yield Input(f"{url.rstrip('/')}/{entry.name}", entry.size, entry.name, url, searched=True)
