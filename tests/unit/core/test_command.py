"""What every command does alike, seen from outside: real processes, their status and what they print."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from toolkit.core import errors

SCRIPT = '''
import logging, os, sys, time, warnings
from pathlib import Path
import click
from toolkit.core import errors
from toolkit.core.command import command
from toolkit.core.progress import progress
from toolkit.core.streams import atomic_output


@command("probe", examples="probe --do nothing")
@click.option("--do", default="nothing", metavar="WHAT", help="What to do.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write.")
@click.argument("inputs", nargs=-1)
def probe(do, output, inputs):
    """Do one thing that the tests ask for."""
    if do == "write":
        with atomic_output(output) as stream:
            stream.write(b"x" * 200000)
    elif do == "wait":
        with atomic_output(output) as stream:
            stream.write(b"half")
            print("ready", file=sys.stderr, flush=True)
            time.sleep(30)
    elif do == "echo":
        print(*inputs)
    elif do == "status":
        return 1
    elif do == "warn":
        logging.getLogger("toolkit.geo").warning("f.tif: has voids; they are filled")
        logging.getLogger("rasterio").warning("another package talks")
        warnings.warn("yet another")
    elif do == "bar":
        with progress("working", 3) as bar:
            for _ in range(3):
                bar.update(1)
                logging.getLogger("toolkit.geo").warning("a line beside the bar")
    elif do == "open":
        open(inputs[0], "rb")
    elif do == "import":
        import absent_package
    elif do == "fault":
        raise KeyError("no such thing")
    else:
        exec(do)


probe()
'''


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("command") / "probe.py"
    path.write_text(SCRIPT)
    return str(path)


@pytest.fixture
def probe(script: str, root: Path, environment: dict[str, str]):  # type: ignore[no-untyped-def]
    def run(*arguments: str, **settings):  # type: ignore[no-untyped-def]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 30, **settings}
        return subprocess.run([sys.executable, script, *arguments], env={**environment, "PYTHONPATH": str(root)}, **settings)

    return run


@pytest.fixture
def start(script: str, root: Path, environment: dict[str, str]):  # type: ignore[no-untyped-def]
    processes: list[subprocess.Popen] = []

    def run(*arguments: str, **settings):  # type: ignore[no-untyped-def]
        settings = {"stderr": subprocess.PIPE, **settings}
        processes.append(subprocess.Popen([sys.executable, script, *arguments], env={**environment, "PYTHONPATH": str(root)}, **settings))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ToolError)]
STATUSES = {1: "ToolError", 2: "UsageError", 65: "BadData", 66: "NoInput", 69: "Unavailable", 70: "Internal"}
INSTALL = "run `make` in the checkout or pip install scape-toolkit"
CHOOSE = "choose a directory that exists and can be written"
STATUSES |= {73: "CannotCreate", 74: "InputOutput", 75: "TryLater", 77: "NotPermitted"}


def test_every_kind_of_error_has_a_status_of_its_own() -> None:
    assert {kind.exit_status: kind.__name__ for kind in KINDS} == STATUSES


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_one_line_and_its_status(probe, kind: type[errors.ToolError]) -> None:  # type: ignore[no-untyped-def]
    result = probe("--do", f"raise errors.{kind.__name__}('f.npy', 'is wrong', 'mend it')")
    assert (result.returncode, result.stdout, result.stderr) == (kind.exit_status, "", "probe: f.npy: is wrong; mend it\n")


def test_twice_verbose_adds_the_traceback(probe) -> None:  # type: ignore[no-untyped-def]
    result = probe("-vv", "--do", "raise errors.BadData('f.npy', 'is wrong')")
    assert result.returncode == 65
    assert result.stderr.startswith("Traceback ")
    assert result.stderr.endswith("probe: f.npy: is wrong\n")


@pytest.mark.parametrize(
    "arguments, status, line",
    [
        (["--do", "open", "absent"], 66, "probe: absent: No such file or directory; name a file that exists and can be read"),
        (["--do", "open", "/"], 66, "probe: /: Is a directory; name a file that exists and can be read"),
        (["--do", "import"], 69, f"probe: Python package absent_package: is not installed; {INSTALL}"),
        (["--do", "fault"], 70, "probe: internal error: KeyError: 'no such thing'; run it again with -vv and report what it prints"),
        (["--do", "raise MemoryError"], 74, "probe: memory: is exhausted; ask for less: a lower bandwidth or a smaller window"),
        (["--do", "write", "-o", "absent/f"], 73, f"probe: absent/f: No such file or directory; {CHOOSE}"),
        (["--do", "raise errors.NoInput('a\\nb\\x1b[31m', 'is odd')"], 66, "probe: a\\nb\\x1b[31m: is odd"),
        (["--do", "status"], 1, ""),
    ],
)
def test_what_goes_wrong_is_one_line(probe, tmp_path: Path, arguments: list[str], status: int, line: str) -> None:  # type: ignore[no-untyped-def]
    result = probe(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", line + "\n" if line else "")
    assert os.listdir(tmp_path) == []


def test_a_wrong_option_is_one_line_and_a_hint(probe) -> None:  # type: ignore[no-untyped-def]
    result = probe("--nonsense")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == ["probe: No such option '--nonsense'.", "Try 'probe --help'."]


def test_own_options_come_first_in_the_help(probe) -> None:  # type: ignore[no-untyped-def]
    lines = probe("--help").stdout.splitlines()
    options = [line.split()[0].rstrip(",") for line in lines[lines.index("Options:") + 1 :] if line.startswith("  -")]
    assert options == ["--do", "-o", "-q", "-v", "--version", "--help"]
    assert lines[-4:] == ["Examples:", "  probe --do nothing", "", "See probe(1)."]


def test_warnings_are_ours_unless_verbose_and_none_when_quiet(probe) -> None:  # type: ignore[no-untyped-def]
    assert probe("--do", "warn").stderr == "probe: f.tif: has voids; they are filled\n"
    assert probe("-q", "--do", "warn").stderr == ""
    assert "another package talks" in probe("-v", "--do", "warn").stderr
    assert "yet another" in probe("-v", "--do", "warn").stderr


def test_a_full_standard_output(probe) -> None:  # type: ignore[no-untyped-def]
    for arguments in (["--do", "write"], ["--do", "echo", "x"], ["--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            result = probe(*arguments, stdout=full)
        assert (result.returncode, result.stderr) == (74, "probe: standard output: No space left on device\n"), arguments


@pytest.mark.parametrize("arguments", [["--do", "write"], ["--do", "echo", "x"], ["--help"]], ids=" ".join)
def test_a_closed_pipe_ends_it_quietly_by_sigpipe(probe, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        result = probe(*arguments, stdout=pipe)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_kills_it_after_it_has_cleaned_up(start, tmp_path: Path, number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    process = start("--do", "wait", "-o", str(tmp_path / "out"))
    assert process.stderr.readline() == b"ready\n"
    assert len(os.listdir(tmp_path)) == 1
    process.send_signal(number)
    assert process.wait(10) == -number
    assert process.stderr.read() == b""
    assert os.listdir(tmp_path) == []


def test_nohup_survives_the_terminals_end(start) -> None:  # type: ignore[no-untyped-def]
    process = start("--do", "wait", "-o", "/dev/null", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_bring_no_traceback(script: str, root: Path, environment: dict[str, str], tmp_path: Path, closed: str) -> None:
    environment = {**environment, "PYTHONPATH": str(root)}
    for arguments, status in (("--help", 0), ("--do write", 73 if ">&- " in closed + " " and closed != "2>&-" else 0), ("--nonsense", 2)):
        line = f"{sys.executable} {script} {arguments} {closed}"
        result = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert (result.returncode, "Traceback" in result.stderr) == (status, False), (line, result.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["--nonsense"], ["--do", "fault"], ["--do", "bar"]], ids=" ".join)
def test_a_terminal_that_asks_for_no_colour_gets_none(start, arguments: list[str], environment) -> None:  # type: ignore[no-untyped-def]
    environment["NO_COLOR"] = "1"
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    process = start(*arguments, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # the terminal's other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    process.wait(10)
    assert shown
    assert b"\x1b[3" not in shown  # colours are ESC [ 3x m; a bar may still move the cursor
    if "bar" in arguments:
        assert shown.count(b"\rprobe: a line beside the bar\r\n") == 3  # each on a line of its own


def test_a_bar_is_for_a_person_only(probe) -> None:  # type: ignore[no-untyped-def]
    result = probe("-q", "--do", "bar")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_and_words(script: str, root: Path, environment: dict[str, str], shell: str) -> None:
    environment |= {"PYTHONPATH": str(root), "_PROBE_COMPLETE": f"{shell}_source"}
    source = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True).stdout
    assert "_PROBE_COMPLETE" in source
    environment |= {"_PROBE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "probe --qu", "COMP_CWORD": "1" if shell != "fish" else "--qu"}
    words = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True).stdout
    assert "--quiet" in words
