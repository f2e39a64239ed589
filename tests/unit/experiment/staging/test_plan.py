"""Which differences between two trees are done, and which are refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from toolkit.core.errors import NoInput
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.patterns import excluder
from toolkit.experiment.staging.plan import Plan, plan
from toolkit.experiment.staging.tree import Tree, local_tree, stays

NOTHING = excluder([])


def tree(*entries: Entry, **more: object) -> Tree:
    return Tree({entry.path: entry for entry in entries}, **more)  # type: ignore[arg-type]


def file(path: bytes, size: int = 1, mtime: int = 1, mode: int = 0o644) -> Entry:
    return Entry(path, "file", size, mode, mtime)


def directory(path: bytes) -> Entry:
    return Entry(path, "directory", mode=0o755)


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, "link", target=target)


def compare(source: Tree, target: Tree, delete: bool = False, exclude: tuple[str, ...] = ()) -> Plan:
    return plan(source, target, delete=delete, left_out=excluder(exclude))


def paths(entries: list[Entry]) -> list[bytes]:
    return [entry.path for entry in entries]


def test_what_is_there_is_not_sent() -> None:
    entries = [directory(b"d"), file(b"d/a"), link(b"l", b"d/a")]
    made = compare(tree(*entries), tree(*entries), delete=True)
    assert made.empty and paths(made.same) == [b"d/a", b"l"]


def test_what_differs_is_sent() -> None:
    source = tree(file(b"time", mtime=2), file(b"size", size=2), file(b"mode", mode=0o600), file(b"new"), link(b"l", b"new"))
    target = tree(file(b"time"), file(b"size"), file(b"mode"), file(b"other"), link(b"l", b"time"))
    made = compare(source, target)
    assert paths(made.files) == [b"time", b"size", b"new"]
    assert (paths(made.attributes), paths(made.links)) == ([b"mode"], [b"l"])
    assert not made.deletions


def test_deleted_is_only_what_the_whole_source_lacks() -> None:
    source = tree(directory(b"d"), file(b"d/a"))
    target = tree(directory(b"d"), file(b"d/a"), file(b"d/b"), directory(b"e"), file(b"e/c"), directory(b"keep"), file(b"keep/me.log"))
    target.entries |= tree(directory(b".sftp-stage"), file(b".sftp-stage/manifest.sha256"), file(b"d/.a.part")).entries
    assert paths(compare(source, target, True, ("*.log",)).deletions) == [b"e/c", b"e", b"d/b"]
    assert compare(source, target).deletions == []
    assert compare(tree(complete=False), target, True).deletions == []


def test_what_is_refused_at_the_source_is_not_deleted_at_the_target() -> None:
    source = tree(problems={b"l": NoInput("l", "is a link out of the tree")}, passed_over={b"pipe": "is neither"})
    assert compare(source, tree(directory(b"l"), file(b"l/a"), file(b"pipe")), True).deletions == []


def test_a_file_never_replaces_a_directory_nor_the_reverse() -> None:
    source = tree(directory(b"d"), file(b"d/a"), directory(b"d/e"), file(b"d/e/a"), file(b"f"), link(b"l", b"f"))
    made = compare(source, tree(link(b"d", b"/elsewhere"), directory(b"f"), directory(b"l")))
    assert sorted(made.problems) == [b"d", b"f", b"l"]
    assert made.empty


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        (b"l", b"a", True),
        (b"d/l", b"../a", True),
        (b"d/l", b"../../a", False),
        (b"l", b"a/../../a", False),
        (b"l", b"/etc/passwd", False),
        (b"d/l", b"..", True),
        (b"l", b"..", False),
        (b"l", b"", False),
        (b"l", b"./a//b", True),
    ],
)
def test_where_a_link_leads(path: bytes, target: bytes, expected: bool) -> None:
    assert stays(path, target) is expected


def test_a_far_side_cannot_send_links_out_of_the_tree() -> None:
    made = compare(tree(link(b"passwords", b"../../etc/passwd")), tree())
    assert (list(made.problems), made.links) == ([b"passwords"], [])


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "d").mkdir(parents=True)
    (made / "d" / "a").write_bytes(b"abc")
    os.utime(made / "d" / "a", ns=(5_999_999_999, 5_999_999_999))
    (tmp_path / "outside").write_bytes(b"secret")
    return made


def test_a_tree_is_read_with_any_names(top: Path) -> None:
    with open(os.fsencode(top) + b"/new\nline\xff", "wb"):
        pass
    found = local_tree(os.fsencode(top), NOTHING)
    assert list(found.entries) == [b"d", b"d/a", b"new\nline\xff"]
    entry = found.entries[b"d/a"]
    assert (entry.kind, entry.size, entry.mtime) == ("file", 3, 5)


def test_links_stay_in_the_tree(top: Path) -> None:
    for name, target in {"good": "d/a", "out": "../outside", "absolute": str(top / "d"), "dangling": "d/later", "loop": "loop"}.items():
        (top / name).symlink_to(target)
    (top / "d" / "round").symlink_to("..")
    found = local_tree(os.fsencode(top), NOTHING)
    assert {path for path, entry in found.entries.items() if entry.kind == "link"} == {b"good", b"dangling", b"d/round", b"loop"}
    assert set(found.problems) == {b"out", b"absolute"}
    assert set(local_tree(os.fsencode(top), excluder(["out", "absolute"])).problems) == set()


def test_a_link_leaves_the_tree_also_through_another(top: Path) -> None:
    (top / "d" / "up").symlink_to("../..")
    (top / "through").symlink_to("d/up/outside")
    assert set(local_tree(os.fsencode(top), NOTHING).problems) == {b"d/up", b"through"}


def test_links_are_followed_on_request(top: Path) -> None:
    (top / "out").symlink_to("../outside")
    (top / "d" / "round").symlink_to("..")
    (top / "dangling").symlink_to("nowhere")
    found = local_tree(os.fsencode(top), NOTHING, follow=True)
    assert (found.entries[b"out"].kind, found.entries[b"out"].size) == ("file", 6)
    assert set(found.problems) == {b"d/round", b"dangling"}


def test_what_is_no_file_is_passed_over(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    (top / ".sftp-stage").mkdir()
    (top / ".sftp-stage" / "manifest.sha256").touch()
    (top / ".a.part").touch()
    found = local_tree(b".", NOTHING)
    assert list(found.entries) == [b"d", b"d/a"]
    assert set(found.passed_over) == {b"pipe", b"socket", b".a.part"}


def test_a_directory_that_cannot_be_read_is_named(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.scandir

    def refusing(path: bytes) -> object:  # root may read everything, so that a mode of 0 would not do
        if path.endswith(b"/d"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = local_tree(os.fsencode(top), NOTHING)
    assert (list(found.problems), found.complete) == ([b"d"], False)


def test_a_single_file_is_a_tree(top: Path) -> None:
    found = local_tree(os.fsencode(top / "d" / "a"), NOTHING)
    assert (list(found.entries), found.complete) == ([b"a"], False)


def test_no_tree_at_all(tmp_path: Path) -> None:
    with pytest.raises(NoInput):
        local_tree(os.fsencode(tmp_path / "nowhere"), NOTHING)
