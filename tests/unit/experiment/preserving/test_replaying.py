"""Experiments that are repeated: real commands under profile-wrap, kept and run again."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiment.preserving.experiment import DESCRIPTION, Experiment
from toolkit.core.errors import NoInput
from toolkit.experiment.preserving.asking import replay_crate
from toolkit.experiment.preserving.creating import Request, create
from toolkit.experiment.preserving.gathering import References
from toolkit.experiment.preserving.places import Root
from toolkit.experiment.preserving.replaying import Replay, read_crate, replay
from toolkit.experiment.preserving.running import Layout, wrapper
from toolkit.experiment.run_record import Command

PYTHON = shlex.quote(sys.executable)


class Shell:
    """A directory in which lines of a shell are run; ``wrap`` in them records."""

    def __init__(self, place: Path) -> None:
        self.place = place / "work"
        self.place.mkdir()

    def run(self, script: str, **more: str) -> None:
        words = f"wrap() {{ {shlex.quote(wrapper())} -q -o {shlex.quote(str(self.record))} \"$@\"; }}\n{script}"
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **more}
        subprocess.run(["bash", "-uc", words], cwd=self.place, env=environment, stdin=subprocess.DEVNULL, check=True)

    @property
    def record(self) -> Path:
        return self.place.parent / "run.jsonl"

    def again(self, remove: bool = True, **more: Any) -> Replay:
        """Keep what was recorded, remove the original, and repeat it."""
        bag = self.place.parent / "bag"
        references = more.pop("references", References())
        create(Request([str(self.record)], more.pop("description", DESCRIPTION), references=references, **more), str(bag))
        if remove:
            shutil.rmtree(self.place)
        (self.place.parent / "again").mkdir()
        return replay(read_crate(str(bag)), str(self.place.parent / "again"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_chain_and_a_pipe(shell: Shell, tmp_path: Path) -> None:
    (shell.place / "words").write_text("b\na\nc\n")
    shell.run("mkdir out; wrap --input words --output out/sorted -- sort words -o out/sorted")
    shell.run("wrap --input out/sorted -- cat out/sorted | wrap -- head -2 | wrap --output count -- wc -l > count")
    result = shell.again()
    assert [one.problem for one in result.commands] == [""] * 4
    assert [(one.path, one.difference) for one in result.outputs] == [("files/out/sorted", None), ("files/count", None)]
    assert (tmp_path / "again/files/count").read_text() == "2\n"
    assert result.is_equal and result.environment == []
    assert len(list((tmp_path / "again/records").iterdir())) == 4


def test_a_script_of_one_run(shell: Shell) -> None:
    """TOOLKIT_RUN gives all commands of a script one run; only pipes make them run at the same time."""
    script = "wrap --output a -- sh -c 'sleep 0.2; echo 1 > a'; wrap --input a --output b -- cp a b; wrap --input b --output c -- cp b c"
    shell.run(script, TOOLKIT_RUN="all")
    assert shell.again().is_equal


def test_several_writers_to_one_pipe(shell: Shell, tmp_path: Path) -> None:
    shell.run("(for i in 3 1 2; do wrap -- echo $i; done) | (wrap -- dd bs=1 count=2; wrap --output o -- cat > o)")
    result = shell.again()
    assert [one.problem for one in result.commands] == [""] * 5 and result.is_equal
    assert (tmp_path / "again/files/o").read_text() == "1\n2\n"


def test_repetitions_into_one_pipe(shell: Shell) -> None:
    shell.run("wrap -r 2 -- echo 1 | wrap --output o -- wc -l > o")
    assert "its repetitions wrote to one pipe" in shell.again().commands[0].problem


def test_standard_input_from_a_file_and_output_behind_another(shell: Shell, tmp_path: Path) -> None:
    (shell.place / "in").write_text("x\n")
    shell.run("wrap --input in --output log -- cat < in > log; wrap --input in --output log -- cat < in >> log")
    assert shell.again().is_equal
    assert (tmp_path / "again/files/log").read_text() == "x\nx\n"


def test_paths_of_all_kinds_lead_to_the_new_places(shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a b").write_text("far\n")
    (shell.place / "near").write_text("near\n")
    shell.run(f"mkdir sub; cd sub; wrap --input '{other}/a b' --input ../near --output ../o -- sort '{other}/a b' ../near --output=../o")
    shell.run(f"cd sub; wrap --input '../../other/a b' --output {shell.place}/p -- cp '../../other/a b' {shell.place}/p")
    shutil.copytree(other, tmp_path / "kept")
    assert shell.again(root=str(shell.place), moved={str(other): str(tmp_path / "kept")}).is_equal
    shutil.rmtree(other)
    assert (tmp_path / "again/files/o").read_text() == "far\nnear\n"
    assert (tmp_path / "again/external" / str(other).lstrip("/") / "a b").exists()


def test_a_path_within_a_word_leads_to_the_new_place(shell: Shell, tmp_path: Path) -> None:
    """What a shell's line writes to is never the original."""
    here, other = shell.place, tmp_path / "other"
    other.mkdir()
    (here / "in").write_text("1\n")
    shell.run(f"wrap --input {here}/in --output {other}/out -- sh -c 'cat {here}/in >{other}/out'")
    shell.run(f"wrap --output o -- dd if=/dev/zero of={here}/o count=1")
    shell.run(f"wrap --input {other}/out --output p -- sh -c 'cat ../other/out > p'")
    result = shell.again(remove=False, root=str(here))
    assert result.is_equal
    assert (tmp_path / "again/external" / str(other / "out").lstrip("/")).read_text() == "1\n"


def test_a_path_that_cannot_be_changed_keeps_a_command_from_running(shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "two words"
    other.mkdir()
    shell.run(f"wrap --output '{other}/out' -- sh -c 'echo 1 > \"{other}/out\"'")
    os.utime(other / "out", (0, 0))
    result = shell.again(remove=False)
    assert f"{other}/out stands in the middle of a word" in result.commands[0].problem
    assert (other / "out").stat().st_mtime == 0, "it was not run"


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("/w/a", "/new/files/a"),
        ("--in=/w/a", "/new/files/a"),
        ("x=/x/b", "x=/new/external/x/b"),
        ("/x", "/new/external/x"),
        ("cat</w/a>/x/b;", "cat</new/files/a>/new/external/x/b;"),
        ("open('/w/a')", "open('/new/files/a')"),
        ("../x/b", "/new/external/x/b"),
        ("../y", "/new/external/y"),
        ("cat ../x/b ./a sub/a", "cat /new/external/x/b ./a sub/a"),
        ("/w/not yet", "/new/files/not yet"),
    ],
)
def test_words_that_change(word: str, becomes: str) -> None:
    layout = Layout(Root("/w"), "/new", frozenset(["/w/a", "/x/b"]))
    assert layout.word(word, "/w") == ("--in=" if word.startswith("--") else "") + becomes
    assert layout.overlooked(word, "/w") == ""


WORDS = ["a", "./a", "/usr/bin/x", "1/2", "x / 2", "https://x/b", "https://host/w/a", "/xx/b", "s/x/b/", "-", "--in=a", "/"]


@pytest.mark.parametrize("word", WORDS)
def test_words_that_stay(word: str) -> None:
    layout = Layout(Root("/w"), "/new", frozenset(["/w/a", "/x/b"]))
    assert (layout.word(word, "/w"), layout.overlooked(word, "/w")) == (word, "")


def test_a_program_of_the_experiment_itself(shell: Shell) -> None:
    (shell.place / "tool").write_text("#!/bin/sh\necho made > \"$1\"\n")
    (shell.place / "tool").chmod(0o755)
    shell.run("wrap --input tool --output made -- ./tool made")
    assert shell.again().is_equal


def test_what_differs_and_by_how_much(shell: Shell) -> None:
    code = "import os, numpy; a = numpy.ones(1000); a[7] += int(os.environ['STEP']) * 1e-8; numpy.save('a.npy', a)"
    shell.run(f"wrap --output a.npy -- {PYTHON} -c {shlex.quote(code)}", STEP="1")
    os.environ["STEP"] = "3"
    try:
        result = shell.again()
    finally:
        del os.environ["STEP"]
    found = result.outputs[0].difference
    assert not result.is_equal and found is not None
    assert (found.differing, found.numbers, found.where) == (1, 1000, "array 1 [7]")
    assert found.absolute == pytest.approx(2e-8)


def test_tolerances_are_kept_in_the_crate(shell: Shell) -> None:
    shell.run("wrap --output a.csv --output b.csv --output c.txt -- sh -c 'printf \"1.00%s,x\\n\" $$ | tee a.csv b.csv > c.txt'")
    description = type(DESCRIPTION)(**{**vars(DESCRIPTION), "tolerances": ["*.csv=0.1", "b.csv=1e-12", "*.npy=1"]})
    result = shell.again(description=description)
    assert [(one.path, one.equal) for one in result.outputs] == [("files/a.csv", True), ("files/b.csv", False), ("files/c.txt", False)]
    assert not result.is_equal
    assert [one.difference.numbers for one in result.outputs if one.difference is not None] == [1, 1, 1]


def test_what_the_surroundings_did(shell: Shell) -> None:
    shell.run("wrap --output o -- true > o", OMP_NUM_THREADS="3")
    record = shell.record.read_text().replace('"kernel":"', '"kernel":"older ')
    shell.record.write_text(record)
    result = shell.again()
    assert [(one.what, one.was.removeprefix("older ") == one.now) for one in result.environment] == [("kernel", True)]
    assert result.is_equal


def test_variables_that_change_results_are_taken_over(shell: Shell) -> None:
    shell.run("wrap --output o -- sh -c 'echo $OMP_NUM_THREADS $TZ $LD_PRELOAD' > o", OMP_NUM_THREADS="3", TZ="Asia/Tokyo")
    assert shell.again().is_equal


def test_another_exit_status(shell: Shell) -> None:
    shell.run("touch flag; wrap --output o -- sh -c 'echo no >&2; : > o; test -e flag' || true")
    result = shell.again()
    assert [one.problem for one in result.commands] == ["ended with status 1, not with status 0: no"]
    assert not result.is_equal


def test_a_failure_is_repeated_too(shell: Shell) -> None:
    shell.run("wrap -- sh -c 'exit 3' || true; wrap -- sh -c 'kill -9 $$' || true")
    assert shell.again().is_equal


def test_an_output_that_is_not_written(shell: Shell) -> None:
    shell.run("touch flag; wrap --output o -- sh -c 'test ! -e flag || echo > o'")
    result = shell.again()
    assert [one.problem for one in result.outputs] == ["was not written"]


def test_of_repetitions_the_last_is_repeated(shell: Shell) -> None:
    shell.run("wrap -r 3 --output o -- sh -c 'echo 1 > o'")
    result = shell.again()
    assert result.is_equal and len(result.commands) == 1


def test_a_pipe_from_an_unknown_program(shell: Shell) -> None:
    shell.run("seq 3 | wrap --output n -- wc -l > n; seq 3 | wrap --output m -- echo > m")
    result = shell.again()
    assert [one.note.partition(",")[0] for one in result.commands] == ["its standard input was empty"] * 2
    assert [(one.path, one.equal) for one in result.outputs] == [("files/n", False), ("files/m", True)], "echo had not read it"


def test_a_secret_is_not_repeated(shell: Shell) -> None:
    shell.run("wrap --output a -- sh -c 'echo 1 > a' --password=abc; wrap --input a --output b -- cp a b")
    result = shell.again()
    assert "a secret was left out" in result.commands[0].problem
    assert [(one.path, one.equal) for one in result.outputs] == [("files/b", True)], "what follows is made of what was kept"


def test_a_reader_that_stops_early(shell: Shell) -> None:
    shell.run("wrap -- yes | wrap --output o -- head -1 > o")
    assert shell.again().is_equal


def test_inputs_by_reference_must_be_fetched(shell: Shell) -> None:
    (shell.place / "in").write_text("1")
    shell.run("wrap --input in --output o -- cp in o")
    with pytest.raises(NoInput, match="is kept by reference; fetch it with --fetch"):
        shell.again(references=References({str(shell.place / "in"): "https://x.example/in"}))


def test_outputs_by_reference_are_compared_by_digest(shell: Shell) -> None:
    shell.run("wrap --output o -- sh -c 'echo 1 > o'")
    assert shell.again(references=References({str(shell.place / "o"): "https://x.example/o"})).is_equal


def test_a_crate_that_would_leave_the_directory(experiment: Experiment, tmp_path: Path) -> None:
    """Paths of a hostile record end below the fresh directory."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    experiment.file("o", b"made\n")
    experiment.ran(["sh", "-c", "echo made"], [], ["o"], streams={"stdin": "/dev/null", "stdout": str(experiment.place / "o")})
    for line in experiment.lines:
        if line["record"] == "file":
            line["path"] = str(victim)
        if line["record"] == "run":
            line["streams"]["stdout"] = str(victim)
            line["directory"] = "/../.." + line["directory"]
    moved = {str(victim): str(experiment.place / "o")}
    create(Request([experiment.records()], DESCRIPTION, root="/", moved=moved), str(tmp_path / "bag"))
    (tmp_path / "again").mkdir()
    assert replay(read_crate(str(tmp_path / "bag")), str(tmp_path / "again")).is_equal
    assert victim.read_text() == "precious"
    assert (tmp_path / "again/files" / str(victim).lstrip("/")).read_text() == "made\n"


def test_no_word_of_a_crate_is_a_shells(experiment: Experiment, tmp_path: Path) -> None:
    experiment.ran(["echo", f"; touch {tmp_path}/x", f"$(touch {tmp_path}/x)", f"`touch {tmp_path}/x`"], streams={"stdin": "/dev/null"})
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    (tmp_path / "again").mkdir()
    assert replay(read_crate(str(tmp_path / "bag")), str(tmp_path / "again")).is_equal
    assert not (tmp_path / "x").exists()


def test_what_is_not_sound_is_not_executed(three_commands: Experiment, tmp_path: Path) -> None:
    create(Request([three_commands.records()], DESCRIPTION), str(tmp_path / "bag"))
    (tmp_path / "bag/data/files/words").write_bytes(b"B\na\n")
    asked: list[str] = []
    status, lines = replay_crate(str(tmp_path / "bag"), str(tmp_path / "again"), False, True, lambda question: not asked.append(question))
    assert (status, asked, (tmp_path / "again").exists()) == (1, [], False)
    assert {json.loads(line)["place"] for line in lines} == {"data/files/words"}


def test_one_asks_with_the_commands(three_commands: Experiment, tmp_path: Path) -> None:
    create(Request([three_commands.records()], DESCRIPTION), str(tmp_path / "bag"))
    asked: list[str] = []
    status, lines = replay_crate(str(tmp_path / "bag"), None, False, True, lambda question: not asked.append(question))
    assert "\n  sort words -o out/sorted\n  cat out/sorted\n  wc -l\n" in asked[0]
    told = json.loads(next(iter(lines)))
    assert (status, told["equal"], [one["identical"] for one in told["outputs"]]) == (0, True, [True, True])


def test_a_record_without_end(shell: Shell) -> None:
    shell.run("wrap --output o -- sh -c 'echo 1 > o'")
    kept = [line for line in shell.record.read_text().splitlines(True) if '"record":"exit"' not in line]
    shell.record.write_text("".join(kept))
    result = shell.again()
    assert "its record has no end" in result.commands[0].problem and not result.is_equal
    assert isinstance(result.commands[0].was, Command)


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 2), (b"\x03", -signal.SIGINT)], ids=["yes", "no", "Ctrl-C"])
def test_a_person_at_a_terminal_is_asked(experiment: Experiment, tmp_path: Path, root: Path, answer: bytes, status: int) -> None:
    experiment.ran(["sh", "-c", f"touch {tmp_path}/ran"], streams={"stdin": "/dev/null"})
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, str(root / "bin" / "preserve"), "replay", str(tmp_path / "bag")])
    said = b""
    with contextlib.suppress(OSError):  # the terminal of a process that ended
        while True:
            if select.select([terminal], [], [], 0.5)[0]:
                said += os.read(terminal, 1000)
            elif b"programs?" in said:  # it waits; Ctrl-C just before Python waits is not noticed until the next key
                os.write(terminal, answer)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == status
    os.close(terminal)
    assert b"  sh -c 'touch" in said and (tmp_path / "ran").exists() is (status == 0)
