"""Commands in one pipe share the id of their run, whoever starts them; others do not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.unit.experiment.profiling.conftest import Run
from toolkit.experiment.profiling.runs import _is_private, _state, _state_file, _unite
from toolkit.experiment.run_record import read_run_records

WRAP = "profile-wrap -o run.jsonl --tag"


def runs(directory: Path) -> dict[str, set[str]]:
    """The ids by the tag ``pipe``."""
    found = defaultdict(set)
    for command in read_run_records([directory / "run.jsonl"]):
        found[command.tags["pipe"]].add(command.run)
    return found


@pytest.fixture
def shell(run: Run, environment: dict[str, str], tmp_path: Path):  # type: ignore[no-untyped-def]
    def start(script: str, *words: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
        result = run(*(words or ("sh", "-c")), script, env={**environment, **settings})
        assert (result.returncode, result.stderr) == (0, b"")
        return result

    return start


@pytest.mark.parametrize("words", ["dash -c", "bash -c", "bash -c set -m;"])
def test_a_pipe_of_three(shell, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The last as an interactive shell does: each pipe is a process group of its own."""
    name, option, *settings = words.split(" ", 2)
    script = f"{WRAP} pipe=1 echo word | {WRAP} pipe=1 cat | {WRAP} pipe=1 tr a-z A-Z"
    assert shell("".join(settings) + script, name, option).stdout == b"WORD\n"
    assert len(read_run_records([tmp_path / "run.jsonl"])) == 3
    assert len(runs(tmp_path)["1"]) == 1


def test_a_pipe_in_a_makefile(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(f"all:\n\t{WRAP} pipe=1 echo x | {WRAP} pipe=1 cat\n\t{WRAP} pipe=2 echo y | {WRAP} pipe=2 cat\n")
    assert run("make", "-s").stdout == b"x\ny\n"
    found = runs(tmp_path)
    assert len(found["1"]) == len(found["2"]) == 1
    assert found["1"] != found["2"]


@pytest.mark.parametrize("late", [0, 1, 2])
def test_whoever_starts_last(shell, late: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    waits = ["sleep 0.4; " if number == late else "" for number in range(3)]
    shell(" | ".join(f"({wait}{WRAP} pipe=1 {word})" for wait, word in zip(waits, ["echo x", "cat", "cat"], strict=True)))
    assert len(runs(tmp_path)["1"]) == 1


def test_two_pipes_of_one_script_that_share_their_ends(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """All of a script's output goes to one pipe, and all its input comes from one: that makes them no run."""
    pipes = "; ".join(f"{WRAP} pipe={n} cat | {WRAP} pipe={n} cat; {WRAP} pipe=single{n} true" for n in range(3))
    shell(f"echo | sh -c '{pipes}' 2>&1 | cat")
    found = runs(tmp_path)
    assert all(len(ids) == 1 for ids in found.values())
    assert len(set.union(*found.values())) == len(found) == 6


@pytest.mark.parametrize("late", ["", "sleep 0.5; "])
@pytest.mark.parametrize("between", ["tr a-z A-Z", "tr a-z A-Z | sh -c 'cat'"])
def test_programs_that_are_not_wrapped_stand_between(shell, tmp_path: Path, between: str, late: str) -> None:  # type: ignore[no-untyped-def]
    script = f"{WRAP} pipe=1 echo word | {between} | ({late}{WRAP} pipe=1 cat)"
    assert shell(f"{script}; {WRAP} pipe=2 true").stdout == b"WORD\n"
    found = runs(tmp_path)
    assert len(found["1"]) == 1 and found["1"] != found["2"]


def test_two_writers_of_one_pipe_and_its_reader_are_one_run(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shell(f"({WRAP} pipe=1 echo a; {WRAP} pipe=1 echo b) | {WRAP} pipe=1 cat")
    assert len(runs(tmp_path)["1"]) == 1


def test_many_pipes_at_once(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pipes = " & ".join(f"{WRAP} pipe={n} echo {n} | {WRAP} pipe={n} cat | {WRAP} pipe={n} cat > out{n}" for n in range(8))
    shell(f"{pipes} & wait")
    found = runs(tmp_path)
    assert [len(found[str(n)]) for n in range(8)] == [1] * 8
    assert len(set.union(*found.values())) == 8
    assert [(tmp_path / f"out{n}").read_text() for n in range(8)] == [f"{n}\n" for n in range(8)]


def test_a_run_can_be_named(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shell(f"{WRAP} pipe=1 true; {WRAP} pipe=1 true | gzip | {WRAP} pipe=1 cat > out.gz", TOOLKIT_RUN="study-7")
    assert runs(tmp_path)["1"] == {"study-7"}


def test_a_name_that_is_none_is_not_taken(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shell(f"{WRAP} pipe=1 true", TOOLKIT_RUN="../x\n")
    [found] = runs(tmp_path)["1"]
    assert found[8:9] == "T" and "x" not in found


def test_without_o_a_pipes_record_is_one_file_named_by_the_run(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shell("profile-wrap echo x | (sleep 0.3; profile-wrap cat) | profile-wrap cat")
    [name] = os.listdir(tmp_path)
    assert [f"{command.run}.jsonl" for command in read_run_records([tmp_path / name])] == [name] * 3


def test_the_variable_names_the_record(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shell("profile-wrap true; profile-wrap -o other.jsonl true", TOOLKIT_RUN_RECORD="named.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["named.jsonl", "other.jsonl"]


def test_what_others_could_change_is_not_trusted(tmp_path: Path) -> None:
    place = tmp_path / "runtime"
    place.mkdir(0o700)
    assert _is_private(str(place))
    assert str(place) in (_state_file({"XDG_RUNTIME_DIR": str(place)}) or "")
    for mode in (0o777, 0o750, 0o701):
        place.chmod(mode)
        assert not _is_private(str(place))
        assert str(place) not in (_state_file({"XDG_RUNTIME_DIR": str(place)}) or "")
    place.chmod(0o700)
    (tmp_path / "link").symlink_to(place)
    assert not _is_private(str(tmp_path / "link"))
    assert not _is_private(str(tmp_path / "absent"))


def test_a_state_that_is_torn_is_begun_anew(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    place = tmp_path / "runtime"
    place.mkdir(0o700)
    shell("profile-wrap -o first.jsonl true | cat", XDG_RUNTIME_DIR=str(place))
    [state] = place.glob("*.json")
    state.write_text('{"runs": {')
    shell(f"{WRAP} pipe=1 echo x | {WRAP} pipe=1 cat", XDG_RUNTIME_DIR=str(place))
    assert len(runs(tmp_path)["1"]) == 1
    assert state.stat().st_mode & 0o777 == 0o600


def test_a_state_that_cannot_be_written_stops_nothing(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    place = tmp_path / "runtime"
    place.mkdir(0o700)
    shell("profile-wrap -o first.jsonl true | cat", XDG_RUNTIME_DIR=str(place))
    [state] = place.glob("*.json")
    state.unlink()
    state.mkdir()
    assert shell(f"{WRAP} pipe=1 echo x | {WRAP} pipe=1 cat", XDG_RUNTIME_DIR=str(place)).stdout == b"x\n"
    assert len(runs(tmp_path)["1"]) == 2


def test_a_run_that_was_forgotten_is_joined_by_nobody() -> None:
    """What is older than some minutes is left out of the state; what belonged to it may be younger."""
    state = {"a": {"since": 1, "of": "forgotten"}, "b": {"since": 2}}
    _unite(state, "a", "b")
    _unite(state, "b", "a")
    assert state == {"a": {"since": 1, "of": "forgotten"}, "b": {"since": 2}}


def test_one_that_is_killed_while_it_notes_its_end_parts_no_others(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    with _state(path) as state:
        state["runs"]["one"] = {"since": time.time()}
    killed = os.fork()
    if not killed:
        with _state(path) as state:
            state["runs"].clear()
            Path(path + "-new").write_text('{"runs":')
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    with _state(path) as state:
        assert list(state["runs"]) == ["one"]
