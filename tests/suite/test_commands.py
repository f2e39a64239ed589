"""What holds for every command in bin/: its files, and how it behaves among other programs."""

from __future__ import annotations

import array
import ast
import configparser
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir())
HEAVY = {"numpy", "scipy", "pydicom", "lxml", "paramiko", "mrjob", "matplotlib", "OpenGL", "glfw", "pyfftw", "pyshtools", "psutil"}
HEAVY |= {"imageio", "numba", "rasterio", "pyproj", "tifffile", "ducc0", "PIL", "tqdm"}

each_command = pytest.mark.parametrize("name", COMMANDS)


def module_of(name: str) -> str:
    return name.replace("-", "_")


@pytest.fixture
def run(environment: dict[str, str]):  # type: ignore[no-untyped-def]
    def start(*words: str | Path, **settings):  # type: ignore[no-untyped-def]
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **settings}
        return subprocess.run(words, **{"env": environment, "text": True, **settings})

    return start


@each_command
def test_its_script_is_the_five_lines(name: str) -> None:
    script, module = ROOT / "bin" / name, module_of(name)
    assert script.read_text() == (
        "#!/usr/bin/env python3\n"
        "import os, sys\n"
        "sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))\n"
        f"from toolkit.commands.{module} import {module}\n"
        f"{module}()\n"
    )
    assert os.access(script, os.X_OK)


def test_entry_points_and_bin_are_equal() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    points = dict(line.split(" = ") for line in setup["options.entry_points"]["console_scripts"].strip().splitlines())
    assert points == {name: f"toolkit.commands.{module_of(name)}:{module_of(name)}" for name in COMMANDS}


def test_the_readme_lists_every_command_and_no_other() -> None:
    table = (ROOT / "README.md").read_text().split("## Commands")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)) == COMMANDS


def test_the_overview_names_every_command() -> None:
    assert set(COMMANDS) <= set(re.findall(r"^\.(?:It )?Xr ([a-z0-9-]+) 1", (ROOT / "man/man7/toolkit.7").read_text(), re.MULTILINE))


@each_command
def test_it_has_a_case_of_its_own(name: str) -> None:
    assert list((ROOT / "tests" / "cli" / name).glob("*/cmd"))


@each_command
def test_its_module_is_short_and_imports_only_what_help_needs(name: str) -> None:
    source = (ROOT / "toolkit" / "commands" / f"{module_of(name)}.py").read_text()
    assert len(source.splitlines()) < 150
    assert f"see {name}(1)" in (ast.get_docstring(ast.parse(source)) or "")


@each_command
def test_importing_it_loads_nothing_heavy(name: str, run) -> None:  # type: ignore[no-untyped-def]
    code = f"import sys, toolkit.commands.{module_of(name)}; print(*({HEAVY!r} & set(sys.modules)))"
    result = run(sys.executable, "-c", code, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "\n", "")


@each_command
def test_help(name: str, run) -> None:  # type: ignore[no-untyped-def]
    result = run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {name} ")
    assert "\nExamples:\n" in result.stdout
    assert result.stdout.endswith(f"See {name}(1).\n")
    assert max(map(len, result.stdout.splitlines())) <= 120


@each_command
def test_version(name: str, run) -> None:  # type: ignore[no-untyped-def]
    from toolkit import __version__

    result = run(name, "--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{name} (scape-toolkit) {__version__}\n", "")


@each_command
def test_a_wrong_option(name: str, run) -> None:  # type: ignore[no-untyped-def]
    result = run(name, "--no-such-option")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{name}: ")
    assert result.stderr.endswith(f"\nTry '{name} --help'.\n")
    assert len(result.stderr.splitlines()) == 2


@each_command
def test_help_on_a_full_disk(name: str, run) -> None:  # type: ignore[no-untyped-def]
    with open("/dev/full", "w") as full:
        result = run(name, "--help", stdout=full)
    assert (result.returncode, result.stderr) == (74, f"{name}: standard output: No space left on device\n")


@each_command
def test_help_into_head(name: str, run) -> None:  # type: ignore[no-untyped-def]
    result = run("bash", "-c", f"{name} --help | head -1")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {name} ")


@each_command
def test_help_into_a_pipe_that_is_closed(name: str, run) -> None:  # type: ignore[no-untyped-def]
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        result = run(name, "--help", stdout=pipe)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, "")


@each_command
def test_through_a_symbolic_link(name: str, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "another-name").symlink_to(ROOT / "bin" / name)
    result = run(tmp_path / "another-name", "--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@each_command
def test_from_cron(name: str, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """cron's PATH names no virtual environment; the command finds the one beside it."""
    if not (ROOT / ".venv").exists():
        pytest.skip("needs .venv: make")
    result = run("/usr/bin/env", "-i", "PATH=/usr/bin:/bin", ROOT / "bin" / name, "--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(name)


@each_command
def test_completion(name: str, run, environment: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    variable = f"_{module_of(name).upper()}_COMPLETE"
    script = run(name, env={**environment, variable: "bash_source"})
    assert (script.returncode, script.stderr) == (0, "")
    assert run("bash", "-n", input=script.stdout, stdin=None).returncode == 0
    words = run(name, env={**environment, variable: "bash_complete", "COMP_WORDS": f"{name} --ver", "COMP_CWORD": "1"})
    assert {"plain,--verbose", "plain,--version"} <= set(words.stdout.split()) <= {"plain,--verbose", "plain,--verify", "plain,--version"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["scc", "-", "absent.npy", "-o", "out"], ["rank-candidates", "-", "-o", "out"]], ids="{0[0]}".format)
def test_a_signal_while_it_waits_for_input(words: list[str], number: signal.Signals, environment, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            process.stdin.write(b"\x93NUMP")  # the begin of an array: once it is taken, the command waits for the rest
            process.stdin.flush()
            wait_until_taken(process.stdin)
            process.send_signal(number)
            output, words_said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, output, words_said) == (-number, b"", b"")
    assert os.listdir(tmp_path) == []


def wait_until_taken(pipe: IO[bytes]) -> None:
    left = array.array("i", [1])
    end = time.monotonic() + 30
    while left[0]:
        assert time.monotonic() < end, "nobody reads the pipe"
        time.sleep(0.05)
        fcntl.ioctl(pipe, termios.FIONREAD, left)
