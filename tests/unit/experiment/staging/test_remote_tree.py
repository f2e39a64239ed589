"""Trees on the far side, by a real server, against what the file system itself says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.unit.experiment.staging.hostile import packet, status, talking_to
from tests.unit.experiment.staging.transfers import contents, sha256
from toolkit.core.errors import BadData, InputOutput, NoInput, ToolError
from toolkit.experiment.staging import remote_tree
from toolkit.experiment.staging.connection import Connection
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.protocol import CLOSE, FAILURE, HANDLE, OK, OPEN, RENAME, WRITE, text
from toolkit.experiment.staging.remote_file import LateFile


def found_by_hand(top: bytes) -> dict[bytes, tuple[str, int, int, int, bytes]]:
    """What a tree holds, by os.walk."""
    found = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            state = os.lstat(path)
            kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
            kind = kinds.get(stat.S_IFMT(state.st_mode), "other")
            target = os.readlink(path) if kind == "link" else b""
            size = state.st_size if kind == "file" else 0
            found[os.path.relpath(path, top)] = (kind, size, state.st_mode & 0o777, int(state.st_mtime), target)
    return found


def test_a_tree_is_found_as_it_is(connection: Connection, tmp_path: Path) -> None:
    top = os.fsencode(tmp_path)
    for directory in (b"many", b"deep", b"deep/a", b"deep/a/b", b"\xff\n'", b"empty"):
        os.mkdir(top + b"/" + directory, 0o751)
    for number in range(450):  # more than one list of names
        Path(tmp_path, "many", f"{number:04}").write_bytes(b"x" * number)
    for name in (b"deep/a/b/\xfe\xfd", b"\xff\n'/ ", b"-rf"):
        with open(top + b"/" + name, "wb") as file:
            file.write(b"1")
    os.symlink(b"/nowhere/\xff", top + b"/link")
    os.symlink(b"..", top + b"/deep/up")
    os.mkfifo(top + b"/pipe")
    os.utime(top + b"/-rf", (2**32 - 2, 2**32 - 2))
    entries = [entry for entry in remote_tree.walk(connection.channels(1)[0], top) if isinstance(entry, Entry)]
    assert {e.path: (e.kind, e.size, e.mode, e.mtime, e.target) for e in entries} == found_by_hand(top)
    places = {entry.path: index for index, entry in enumerate(entries)}
    assert all(places[os.path.dirname(path)] < index for path, index in places.items() if b"/" in path)


def test_what_is_made_changed_and_removed(connection: Connection, tmp_path: Path) -> None:
    channel, top = connection.channels(1)[0], os.fsencode(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    made = remote_tree.make_directories(channel, [(top + name, 0o750) for name in (b"/d", b"/d/e", b"/d", b"/file", b"/no/where")])
    assert made[:3] == [None] * 3
    assert isinstance(made[3], BadData) and isinstance(made[4], NoInput)
    assert remote_tree.make_links(channel, [(top + b"/d/l", b"e"), (top + b"/d/l", b"../file")]) == [None, None]
    assert os.readlink(top + b"/d/l") == b"../file"
    assert remote_tree.set_attributes(channel, [(top + b"/d/e", 0o711, 10**9)]) == [None]
    state = os.stat(top + b"/d/e")
    assert (state.st_mode & 0o777, state.st_mtime) == (0o711, 10**9)
    there, missing, link = remote_tree.status(channel, [top + b"/d/e", top + b"/none", top + b"/d/l"], follow=False)
    assert isinstance(there, remote_tree.Status) and (there.kind, there.mode, there.mtime) == ("directory", 0o711, 10**9)
    assert isinstance(missing, NoInput)
    assert isinstance(link, remote_tree.Status) and link.kind == "link"
    removed = remote_tree.remove(channel, [(top + b"/d", True), (top + b"/d/l", False), (top + b"/d/e", True), (top + b"/gone", False)])
    assert isinstance(removed[0], ToolError) and removed[1:] == [None] * 3
    assert sorted(os.listdir(top)) == [b"d", b"file"]


@pytest.mark.parametrize("size", [0, 1, 261120, 1_300_000, 4_000_000])
def test_contents_and_digests(connection: Connection, tmp_path: Path, size: int) -> None:
    channel, path = connection.channels(1)[0], os.fsencode(tmp_path / "file")
    LateFile(channel, path, 0o640).abandon()
    assert os.listdir(tmp_path) == []
    late = LateFile(channel, path, 0o640)
    data = contents(size)
    assert late.finish(data) is None
    assert (tmp_path / "file").read_bytes() == data
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]
    assert remote_tree.read_bytes(channel, path, size) == data
    if size:
        with pytest.raises(BadData):
            remote_tree.read_bytes(channel, path, size - 1)
    whole, short, missing = remote_tree.digest(channel, [(path, size), (path, size + 1), (path + b"x", 1)])
    assert whole == sha256(path)
    assert isinstance(short, BadData) and isinstance(missing, NoInput)


def test_a_late_file_is_what_it_is_in_the_end(connection: Connection, tmp_path: Path) -> None:
    channel, path = connection.channels(1)[0], os.fsencode(tmp_path / "file")
    for foreseen, content in ((b"the same", b"the same"), (b"longer than it becomes", b"short"), (b"", b"something")):
        late = LateFile(channel, path, 0o640)
        late.write(foreseen)
        assert late.finish(content) is None
        assert (tmp_path / "file").read_bytes() == content
    late = LateFile(channel, path, 0o640)
    late.write(b"not to be")
    late.abandon()
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"something"


def test_a_late_file_that_cannot_be_written_keeps_the_older_one() -> None:
    asked_for: list[int] = []

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        asked_for.append(kind)
        return packet(HANDLE, asked + text(b"h")) if kind == OPEN else status(asked, FAILURE if kind == WRITE else OK, b"disk full")

    with talking_to(answer) as channel:
        problem = LateFile(channel, b"/d/file", 0o644).finish(b"contents")
    assert isinstance(problem, InputOutput) and "disk full" in str(problem)
    assert CLOSE in asked_for and RENAME not in asked_for
