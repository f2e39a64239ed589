"""Stages, of programs in any language: their times, and the peak of each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.experiment.profiling.conftest import Run, Wrap
from toolkit.experiment.profiling.stages import Stages

ROOT = Path(__file__).resolve().parents[4]
MB = 1_000_000
PAGE = ROOT / "man" / "man5" / "run-record.5"


def example(language: str) -> str:
    """The program in the manual: what stands between .Bd after the line that names the language, and .Ed."""
    text = PAGE.read_text().split(f'.\\" {language}')[1].split(".Bd -literal")[1].split("\n", 1)[1].split("\n.Ed")[0]
    return text.replace("\\e", "\\").replace("\\(aq", "'").replace("\\&", "").replace("\\-", "-")


def test_the_manuals_shell_script(wrap: Wrap) -> None:
    result, [command] = wrap("sh", "-c", example("shell"))
    assert (result.returncode, result.stderr) == (0, b"")
    [stage] = command.stages
    assert stage.stage == "sort" and 0 < stage.begin_ns < stage.end_ns
    assert stage.peak_rss_bytes and command.exit is not None and stage.end_ns <= command.exit.wall_ns


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_every_shell_can_name_the_descriptor(wrap: Wrap, shell: str, program) -> None:  # type: ignore[no-untyped-def]
    _, [command] = wrap(program(shell, shell), "-c", example("shell"))
    assert [stage.stage for stage in command.stages] == ["sort"]


def test_the_manuals_c_program(wrap: Wrap, tmp_path: Path) -> None:
    """Its own 60 MB are gone before the stage, which takes 30 MB, and it ends at once when the stage has."""
    program = example("C")
    assert re.findall(r'\\"(\w+)\\":', program) == ["stage", "event", "time_ns", "pid"]
    if shutil.which("cc") is None:
        return  # the same lines are written by a shell above
    assert program.count("int main(void)\n{\n") == program.count("    usleep(100000);") == 1
    use = "static void use(size_t n)\n{\n    volatile char *p = malloc(n);\n    for (size_t i = 0; i < n; i += 4096) p[i] = 1;\n"
    program = program.replace("int main(void)\n{\n", use + "    free((void *)p);\n}\n\nint main(void)\n{\n    use(60000000);\n")
    program = program.replace("    usleep(100000);", "    usleep(300000);\n    use(30000000);")
    for name, text in (("example.c", example("C")), ("using.c", program)):
        (tmp_path / name).write_text(text)
        subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-o", name[:-2], name], cwd=tmp_path, check=True)
    plain = subprocess.run([tmp_path / "example"], capture_output=True, check=True)
    assert (plain.stdout, plain.stderr) == (b"", b"")
    _, [command] = wrap("./using")
    [stage] = command.stages
    assert (stage.stage, stage.peak_source) == ("sweep", "VmHWM")
    assert stage.peak_rss_bytes == pytest.approx(31 * MB, abs=3 * MB)
    assert command.exit is not None and command.exit.peak_rss_bytes == pytest.approx(61 * MB, abs=3 * MB)


STAGED = """
import sys
from toolkit.core.stages import stage
def use(megabytes):
    block = bytearray(megabytes * 1_000_000)
    del block
use(300)
with stage("first"):
    use(40)
with stage("outer"):
    use(10)
    with stage("inner"):
        use(120)
    use(20)
with stage("last"):
    sum(range(400_000))
"""


@pytest.fixture
def importable(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "PYTHONPATH": str(ROOT)}


def test_each_stage_has_its_own_peak_and_the_runs_is_not_lost(wrap: Wrap, importable: dict[str, str]) -> None:
    _, [command] = wrap("--interval", "60000", sys.executable, "-c", STAGED, env=importable)
    peaks = {stage.stage: stage.peak_rss_bytes or 0 for stage in command.stages}
    base = peaks["last"]
    assert list(peaks) == ["first", "outer", "inner", "last"]
    assert base < 40 * MB
    assert peaks == {
        "first": pytest.approx(base + 40 * MB, abs=5 * MB),
        "outer": pytest.approx(base + 120 * MB, abs=5 * MB),
        "inner": pytest.approx(base + 120 * MB, abs=5 * MB),
        "last": base,
    }
    assert {stage.peak_source for stage in command.stages} == {"VmHWM"}
    assert command.exit is not None and command.exit.peak_rss_bytes is not None and command.exit.peak_source == "VmHWM"
    assert command.exit.peak_rss_bytes == pytest.approx(base + 300 * MB, abs=5 * MB)
    times = {stage.stage: stage for stage in command.stages}
    assert times["outer"].begin_ns <= times["inner"].begin_ns < times["inner"].end_ns <= times["outer"].end_ns
    assert times["last"].user_ns is not None and times["last"].user_ns + (times["last"].system_ns or 0) > 0
    assert all(stage.end_ns <= command.exit.wall_ns for stage in command.stages)


def test_stages_of_several_processes_are_kept_apart(wrap: Wrap, importable: dict[str, str]) -> None:
    code = """
import os
from toolkit.core.stages import stage
with stage("whole"):
    for megabytes in (30, 90):
        if not os.fork():
            with stage("part"):
                bytearray(megabytes * 1_000_000)
            os._exit(0)
    os.wait(), os.wait()
"""
    _, [command] = wrap(sys.executable, "-c", code, env=importable)
    whole = next(stage for stage in command.stages if stage.stage == "whole")
    parts = sorted((stage.peak_rss_bytes or 0, stage.pid) for stage in command.stages if stage.stage == "part")
    assert len({whole.pid, *(pid for _, pid in parts)}) == 3
    assert parts[1][0] - parts[0][0] == pytest.approx(60 * MB, abs=5 * MB)
    assert whole.peak_rss_bytes is not None and whole.peak_rss_bytes < parts[0][0]
    assert whole.user_ns is not None and whole.system_ns is not None


def test_a_stage_that_is_killed_ends_with_the_command(wrap: Wrap, importable: dict[str, str]) -> None:
    code = "import os; from toolkit.core.stages import stage\nwith stage('cut'): bytearray(50_000_000); os.kill(os.getpid(), 9)"
    result, [command] = wrap(sys.executable, "-c", code, env=importable)
    assert result.returncode == -9
    [stage] = command.stages
    assert command.exit is not None and stage.end_ns == command.exit.wall_ns
    assert stage.user_ns is None and stage.peak_rss_bytes is not None and stage.peak_rss_bytes > 50 * MB


def test_lines_that_are_no_stages_are_named_once(wrap: Wrap) -> None:
    script = "echo rubbish >&$TOOLKIT_STAGES_FD; echo '{}' >&$TOOLKIT_STAGES_FD; printf '{\"torn' >&$TOOLKIT_STAGES_FD"
    result, [command] = wrap("sh", "-c", script)
    assert result.stderr.decode().splitlines() == [
        "profile-wrap: the descriptor of stages got a line that is no stage, 'rubbish'; such lines are left out"
    ]
    assert command.stages == []
    assert wrap("-q", "sh", "-c", script)[0].stderr == b""


def test_lines_in_pieces_an_end_without_a_begin_and_strangers() -> None:
    stages = Stages(1000, lambda pid: False)
    line = json.dumps({"stage": "a", "event": "begin", "time_ns": 1500, "pid": 7}).encode() + b"\n"
    for at in range(len(line)):
        stages.take(line[at : at + 1])
    stages.take(b'{"stage":"b","event":"end","time_ns":1600,"pid":7}\n{"stage":"a","event":"end","time_ns":1700,"pid":7}\n')
    [stage] = stages.finish(5000, 1, 0)
    assert (stage["stage"], stage["begin_ns"], stage["end_ns"], stage["peak_rss_bytes"], stage["peak_source"]) == (
        "a",
        500,
        700,
        None,
        None,
    )
    assert stages.warnings == ["stage 'b' of process 7 ends without having begun; it is left out"]


def test_a_file_of_that_number_is_left_alone(environment: dict[str, str], tmp_path: Path) -> None:
    """A process that was started without the descriptor may have opened a file that got its number."""
    code = "import os; from toolkit.core.stages import stage\nwith stage('x'): pass"
    with open(tmp_path / "own", "wb") as own:
        settings = {**environment, "PYTHONPATH": str(ROOT), "TOOLKIT_STAGES_FD": str(own.fileno()), "TOOLKIT_STAGES_INODE": "1"}
        subprocess.run([sys.executable, "-c", code], env=settings, pass_fds=[own.fileno()], check=True)
    assert (tmp_path / "own").read_bytes() == b""


def test_stages_of_a_foreign_program_are_read_from_what_it_says(wrap: Wrap, run: Run) -> None:
    script = r"printf 'Phase: load\n50%%\r' >&2; echo out; printf '100%%\rPhase: solve\nready' >&2; printf '\377\n' >&2"
    plain = run("sh", "-c", script)
    result, [command] = wrap("--stage-regex", r"Phase: (\w+)", "sh", "-c", script)
    assert (result.stdout, result.stderr) == (plain.stdout, plain.stderr)
    assert [stage.stage for stage in command.stages] == ["load", "solve"]
    first, second = command.stages
    assert command.exit is not None and first.end_ns <= second.begin_ns <= second.end_ns <= command.exit.wall_ns


def test_a_name_in_the_expression_is_preferred_to_the_first_group(wrap: Wrap) -> None:
    _, [command] = wrap("--stage-regex", r"(\d+)/(\d+) (?P<stage>\w+)", "sh", "-c", "echo 1/2 alpha >&2; echo 2/2 beta >&2")
    assert [stage.stage for stage in command.stages] == ["alpha", "beta"]


def test_the_plot_shows_memory_and_stages(wrap: Wrap, importable: dict[str, str], tmp_path: Path) -> None:
    from PIL import Image

    result, _ = wrap("-r", "2", "--plot", "m.png", sys.executable, "-c", STAGED, env=importable)
    assert (result.returncode, result.stderr) == (0, b"")
    with Image.open(tmp_path / "m.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
        assert picture.size == (1080, 540)
    assert (31, 119, 180) in colours, "the line of RSS"
    assert len({colour for colour in colours if min(colour) > 200 and max(colour) - min(colour) > 15}) >= 4, "bands of four stages"


def test_a_plot_that_cannot_be_written_fails_after_the_command(wrap: Wrap, tmp_path: Path) -> None:
    (tmp_path / "m.png").mkdir()
    result, [command] = wrap("--plot", "m.png", "echo", "done")
    assert (result.returncode, result.stdout) == (125, b"done\n")
    assert re.fullmatch(rb"profile-wrap: m\.png: .*\n", result.stderr)
    assert command.exit is not None and os.listdir(tmp_path / "m.png") == []
