"""Stages tell a profiler what runs, and cost nothing when there is none."""

from __future__ import annotations

import json
import os

import pytest

from toolkit.core.stages import INODE, VARIABLE, stage


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    read, write = os.pipe()
    monkeypatch.setenv(VARIABLE, str(write))
    with open(read) as reader, open(write, "w") as writer:
        yield reader, writer


def test_a_profiler_gets_a_line_at_each_begin_and_end(pipe) -> None:  # type: ignore[no-untyped-def]
    reader, writer = pipe
    with stage("outer"), stage("inner"):
        pass
    writer.close()
    lines = [json.loads(line) for line in reader]
    assert [(line["stage"], line["event"]) for line in lines] == [
        ("outer", "begin"),
        ("inner", "begin"),
        ("inner", "end"),
        ("outer", "end"),
    ]
    times = [line["time_ns"] for line in lines]
    assert times == sorted(times)
    assert {line["pid"] for line in lines} == {os.getpid()}


def test_a_stage_that_fails_still_ends(pipe) -> None:  # type: ignore[no-untyped-def]
    reader, writer = pipe
    with pytest.raises(RuntimeError), stage("failing"):
        raise RuntimeError
    writer.close()
    assert [json.loads(line)["event"] for line in reader] == ["begin", "end"]


def test_a_stage_tells_its_own_peak(pipe) -> None:  # type: ignore[no-untyped-def]
    """What was had before is told at the begin, and forgotten."""
    reader, writer = pipe
    before = bytearray(120_000_000)
    del before
    with stage("small"):
        within = bytearray(30_000_000)
        del within
    writer.close()
    begin, end = map(json.loads, reader)
    assert begin["reset"] is True and "reset" not in end
    assert begin["peak_rss_bytes"] - end["peak_rss_bytes"] > 50_000_000
    assert all(end[name] >= begin[name] for name in ("user_ns", "system_ns", "read_bytes", "written_bytes"))


@pytest.mark.parametrize(("inode", "expected"), [("own", 2), ("1", 0), ("", 0)])
def test_another_files_descriptor_is_not_written_to(pipe, monkeypatch: pytest.MonkeyPatch, inode: str, expected: int) -> None:  # type: ignore[no-untyped-def]
    reader, writer = pipe
    monkeypatch.setenv(INODE, str(os.fstat(writer.fileno()).st_ino) if inode == "own" else inode)
    with stage("x"):
        pass
    writer.close()
    assert len(list(reader)) == expected


@pytest.mark.parametrize("value", [None, "", "x", "-1", "999999"])
def test_without_a_usable_descriptor_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    done = []
    with stage("work"):
        done.append(True)
    assert done == [True]
    assert capfd.readouterr() == ("", "")


def test_a_profiler_that_went_away_does_not_stop_the_work(pipe) -> None:  # type: ignore[no-untyped-def]
    reader, _writer = pipe
    reader.close()
    done = []
    with stage("work"):
        done.append(True)
    assert done == [True]
