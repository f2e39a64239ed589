"""Servers that do not keep to the protocol end in an error, never in a hang, a traceback or a file that is out of place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.experiment.staging.hostile import names, packet, status, talking_to
from tests.unit.experiment.staging.transfers import contents, put, sha256
from toolkit.core.errors import BadData, InputOutput, NotPermitted, ToolError, Unavailable
from toolkit.experiment.staging import remote_tree
from toolkit.experiment.staging.connection import Lost
from toolkit.experiment.staging.engine import Get, pull, push
from toolkit.experiment.staging.protocol import (
    ATTRS,
    CLOSE,
    DATA,
    END,
    FAILURE,
    FSTAT,
    HANDLE,
    OK,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    READLINK,
    VERSION,
    WRITE,
    Attributes,
    Fields,
    number,
    text,
)


def directory_of(*found: bytes, mode: int = 0o100644) -> Callable[[int, bytes, bytes], bytes]:
    """A server with one directory that holds these names."""
    lists = itertools.count()

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        if kind == OPENDIR:
            return packet(HANDLE, asked + text(b"h"))
        if kind == READDIR:
            return names(asked, *found, mode=mode) if next(lists) == 0 else status(asked, END)
        return status(asked, OK)

    return answer


def file_of(data: bytes, reading: Callable[[bytes, int, int], bytes]) -> Callable[[int, bytes, bytes], bytes]:
    """A server with one file; `reading` answers a READ (its number, offset and length)."""

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        if kind == OPEN:
            return packet(HANDLE, asked + text(b"h"))
        if kind == READ:
            request = Fields(fields, "test")
            request.text()
            return reading(asked, request.long_number(), request.number())
        if kind == FSTAT:
            return packet(ATTRS, asked + Attributes(len(data), None, 0o100644, (9, 9)).encoded())
        return status(asked, OK)

    return answer


@pytest.mark.parametrize("name", [b"a/b", b"../x", b"/etc/passwd", b"a\0b", b""])
def test_names_that_no_directory_can_hold(name: bytes) -> None:
    with talking_to(directory_of(b"good", name)) as channel, pytest.raises(BadData, match="no directory can hold"):
        list(remote_tree.walk(channel, b"."))


def test_the_directory_itself_and_its_parent_are_passed_over() -> None:
    with talking_to(directory_of(b".", b"..", b"...", b"\xff\n")) as channel:
        assert [entry.path for entry in remote_tree.walk(channel, b".") if not isinstance(entry, ToolError)] == [b"...", b"\xff\n"]


def test_directories_in_directories_without_an_end() -> None:
    listed: set[bytes] = set()

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        if kind == OPENDIR:
            return packet(HANDLE, asked + text(asked))
        if kind == READDIR and fields not in listed:
            listed.add(fields)
            return names(asked, b"d", mode=0o040755)
        return status(asked, END if kind == READDIR else OK)

    with talking_to(answer) as channel, pytest.raises(BadData, match="without an end"):
        list(remote_tree.walk(channel, b"."))


@pytest.mark.parametrize("different", [True, False])
def test_names_without_an_end(monkeypatch: pytest.MonkeyPatch, different: bool) -> None:
    monkeypatch.setattr(remote_tree, "_MOST_NAMES", 10_000)
    count = itertools.count()

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        found = (b"f%d" % (next(count) if different else i) for i in range(100))
        return packet(HANDLE, asked + text(b"h")) if kind == OPENDIR else names(asked, *found)

    with talking_to(answer) as channel, pytest.raises(BadData, match="more than 10000 names" if different else "again and again"):
        list(remote_tree.walk(channel, b"."))


@pytest.mark.parametrize(
    "said",
    [
        lambda asked: b"\x7f\xff\xff\xff" + b"x" * 100,  # a packet of 2 GiB
        lambda asked: b"\0\0\0\0",
        lambda asked: packet(HANDLE, b"\0\0\xff\xff" + text(b"h")),  # nobody asked for this
        lambda asked: packet(HANDLE, asked + number(50) + b"short"),
        lambda asked: packet(99, asked + b"?"),
        lambda asked: packet(HANDLE, asked),
        lambda asked: packet(101, asked),  # a status without its code
        lambda asked: b"SSH-2.0-banner at the wrong place\r\n" * 10,
    ],
)
def test_garbage_for_an_answer(said: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    for ask in (
        lambda channel: list(remote_tree.walk(channel, b".")),
        lambda channel: list(push([channel], [put(tmp_path / "file", b"/x")])),
        lambda channel: remote_tree.read_bytes(channel, b"x"),
    ):
        with talking_to(lambda kind, asked, fields: said(asked)) as channel, pytest.raises(BadData, match="hostile: its SFTP server sent"):
            ask(channel)


@given(st.binary(max_size=60))
def test_any_bytes_for_an_answer(said: bytes) -> None:
    with talking_to(lambda kind, asked, fields: packet(104, asked + said) if said else None) as channel:
        try:
            remote_tree.real_path(channel, b".")
        except (BadData, Lost):
            pass
        else:
            assert said[:4] == number(1)


@pytest.mark.parametrize("greeting", [packet(VERSION, number(2)), packet(VERSION, number(6)), packet(99, b"1234"), b"bash: no sftp\n"])
def test_greetings_of_something_else(greeting: bytes) -> None:
    with talking_to(lambda *request: None, greeting) as channel, pytest.raises((BadData, Unavailable)):
        channel.wait(10)


def test_a_server_that_hangs_up_at_once() -> None:
    with talking_to(lambda *request: None) as channel, pytest.raises(Lost):
        list(remote_tree.walk(channel, b"."))
    with talking_to(lambda *request: None) as channel:
        channel.close()
        with pytest.raises(Lost):
            remote_tree.real_path(channel, b".")


def test_pieces_and_disorder_are_put_together(tmp_path: Path) -> None:
    """Short answers to every READ, and those to pairs of them exchanged."""
    data = contents(400_000)
    held: list[bytes] = []

    def reading(asked: bytes, offset: int, length: int) -> bytes:
        held.append(packet(DATA, asked + text(data[offset : offset + min(length, 20_000)])))
        if len(held) == 1 and offset < len(data) // 4:  # there is always another behind it
            return b""
        said = b"".join(reversed(held))
        held.clear()
        return said

    with talking_to(file_of(data, reading)) as channel:
        (result,) = pull([channel], [Get(b"file", tmp_path / "file", len(data), 0o644, 9)])
    assert result.error is None
    assert (tmp_path / "file").read_bytes() == data
    assert result.sha256 == sha256(tmp_path / "file")


@pytest.mark.parametrize(
    ("reading", "kind"),
    [
        (lambda asked, offset, length: packet(DATA, asked + text(b"x" * (length + 1))), BadData),  # more than asked for
        (lambda asked, offset, length: packet(DATA, asked + text(b"")), BadData),  # nothing, for ever
        (lambda asked, offset, length: packet(DATA, asked + number(length) + b"x"), BadData),
    ],
)
def test_contents_that_cannot_be(tmp_path: Path, reading: Callable[[bytes, int, int], bytes], kind: type[ToolError]) -> None:
    with talking_to(file_of(b"x" * 1000, reading)) as channel, pytest.raises(kind):
        list(pull([channel], [Get(b"file", tmp_path / "file", 1000, 0o644, 9)]))
    assert not (tmp_path / "file").exists()


def test_a_write_that_fails_never_shows_a_torn_file(tmp_path: Path) -> None:
    """Of several blocks one fails: what comes behind it in the pipe must not rename the part."""
    (tmp_path / "file").write_bytes(contents(200_000))
    asked_for: list[int] = []

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        asked_for.append(kind)
        if kind == OPEN:
            return packet(HANDLE, asked + text(b"h"))
        return status(asked, FAILURE if kind == WRITE and asked_for.count(WRITE) == 3 else OK, b"no quota left")

    with talking_to(answer) as channel:
        (result,) = push([channel], [put(tmp_path / "file", b"/there/file")])
    assert isinstance(result.error, InputOutput) and "no quota left" in str(result.error)
    assert asked_for[-1] == 13 and 18 not in asked_for  # REMOVE of the part, no RENAME


def test_a_close_that_fails_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")

    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        return packet(HANDLE, asked + text(b"h")) if kind == OPEN else status(asked, FAILURE if kind == CLOSE else OK)

    with talking_to(answer) as channel:
        (result,) = push([channel], [put(tmp_path / "file", b"/there/file")])
    assert isinstance(result.error, InputOutput) and "cannot be closed" in str(result.error)


def test_links_and_errors_of_single_names() -> None:
    def answer(kind: int, asked: bytes, fields: bytes) -> bytes:
        if kind == READLINK:
            return names(asked, b"../../etc") if fields.endswith(b"good") else status(asked, 3)
        return directory_of(b"good", b"bad", mode=0o120777)(kind, asked, fields) if kind != READDIR else next(lists)(asked)

    first = [lambda asked: names(asked, b"good", b"bad", mode=0o120777)]
    lists = itertools.chain(first, itertools.repeat(lambda asked: status(asked, END)))
    with talking_to(answer) as channel:
        good, bad = remote_tree.walk(channel, b"/top")
    assert not isinstance(good, ToolError) and (good.kind, good.target) == ("link", b"../../etc")
    assert isinstance(bad, NotPermitted)
    assert os.fsencode(bad.place) == b"bad"
