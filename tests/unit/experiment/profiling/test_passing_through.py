"""A wrapped command is as it is without: streams, arguments, environment, signals and exit status."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.experiment.profiling.conftest import Run, Wrap
from toolkit.experiment.run_record import read_run_records

ROOT = Path(__file__).resolve().parents[4]
SHOW = "import os, sys; sys.stdout.buffer.write(repr([sorted(os.environb.items()), [os.fsencode(w) for w in sys.argv]]).encode())"


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_streams(wrap: Wrap) -> None:
    content = bytes(range(256)) * 4096
    result, [command] = wrap("sh", "-c", "echo warned >&2; cat", input=content)
    assert (result.returncode, result.stdout, result.stderr) == (0, content, b"warned\n")
    assert command.exit is not None and command.exit.read_call_bytes is not None and command.exit.read_call_bytes >= len(content)


@pytest.mark.parametrize("status", [0, 1, 2, 125, 126, 127, 255])
def test_exit_status(wrap: Wrap, status: int) -> None:
    result, [command] = wrap("sh", "-c", f"exit {status}")
    assert (result.returncode, result.stderr) == (status, b"")
    assert command.exit is not None and (command.exit.status, command.exit.signal) == (status, None)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGINT", "SIGPIPE", "SIGUSR1", "SIGRTMIN+3"])
def test_a_signal_that_kills_it_kills_the_wrapper(wrap: Wrap, name: str) -> None:
    result, [command] = wrap("bash", "-c", f"kill -{name[3:]} $$")
    number = signal.SIGRTMIN + 3 if "+" in name else getattr(signal, name)
    assert (result.returncode, result.stderr) == (-number, b"")
    assert command.exit is not None and (command.exit.status, command.exit.signal) == (None, name)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["no-such-command"], 127, "no-such-command: command not found"),
        (["./no-such-file"], 127, "./no-such-file: command not found"),
        (["./text"], 126, "./text: Permission denied"),
        (["/"], 126, "/: is a directory"),
        ([""], 127, "'': command not found"),
        (["-o", "absent/run.jsonl", "true"], 125, "absent/run.jsonl: No such file or directory"),
        (["--input", "absent", "true"], 125, "absent: No such file or directory"),
        (["--plot", "absent/m.png", "true"], 125, "absent/m.png: its directory does not exist"),
        (["--interval", "fast", "true"], 2, "--interval: 'fast' is no number of milliseconds"),
        (["--tag", "novalue", "true"], 2, "--tag: 'novalue' has no name and value"),
        (["-r", "0", "true"], 2, "-r: '0' is no number of repetitions"),
        (["-o", "-", "true"], 2, "-o: '-' names no file"),
        (["--stage-regex", "(", "true"], 2, "--stage-regex: '(' is no regular expression"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_own_failures(run: Run, tmp_path: Path, words: list[str], status: int, message: str) -> None:
    (tmp_path / "text").write_text("no program\n")
    result = run("profile-wrap", *words)
    assert (result.returncode, result.stdout) == (status, b"")
    assert result.stderr.decode().startswith(f"profile-wrap: {message}")
    assert result.stderr.count(b"\n") == 1
    assert [name for name in os.listdir(tmp_path) if name.endswith(".png")] == []


def test_what_cannot_be_executed_although_it_may_be(wrap: Wrap, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    result, _ = wrap("./script")
    assert result.returncode == 127
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("odd", ["", "shell", "names"])
def test_arguments_and_environment(run: Run, environment: dict[str, str], tmp_path: Path, odd: str) -> None:
    """Variables that shells drop or set themselves are as they were."""
    every_byte = bytes(range(1, 256))
    words = [sys.executable, "-c", SHOW, b"", b"two words", b"*", b"$(x)", b"a=b", b"--", b"-n", every_byte]
    names = {"SHLVL": "7", "OLDPWD": "/x", "_": "x", "PS1": "$ ", "PS4": "> ", "EMPTY": "", "LINES": "a\nb", "go": "1"}
    if odd == "shell":
        names |= {"PWD": str(tmp_path), "BYTES": os.fsdecode(every_byte)}
    elif odd == "names":
        names |= {"PWD": "/elsewhere", "IFS": "x", "OPTIND": "5", "PPID": "1", "BASH_FUNC_f%%": "() { x; }", "with.dot": "1"}
    settings = {**environment, **names}
    plain = run(*words, env=settings)
    wrapped = run("profile-wrap", "-o", "run.jsonl", "--", *words, env=settings)
    before, after = eval(plain.stdout), eval(wrapped.stdout)
    assert after[1] == before[1]
    assert [pair for pair in after[0] if not pair[0].startswith(b"TOOLKIT_STAGES_")] == before[0]


@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/env python3"])
def test_pythons_own_locale_is_not_the_commands(tmp_path: Path, python: str) -> None:
    """In the locale C, as cron has it, Python sets LC_CTYPE for itself."""
    for given in ({}, {"LC_CTYPE": "C"}):
        settings = {"PATH": "/usr/bin:/bin", **given}
        words = [*python.split(), ROOT / "bin" / "profile-wrap", "-o", tmp_path / "run.jsonl", "/usr/bin/env"]
        told = subprocess.run(words, env=settings, capture_output=True, check=True, text=True).stdout.splitlines()
        assert dict(line.split("=", 1) for line in told if "TOOLKIT_STAGES" not in line) == settings


def test_in_a_directory_that_was_removed(run: Run) -> None:
    result = run("sh", "-c", 'here=$PWD; mkdir gone; cd gone; rmdir ../gone; exec profile-wrap -o "$here/run.jsonl" /bin/true')
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_command_with_an_equals_sign_in_its_name(wrap: Wrap, tmp_path: Path) -> None:
    (tmp_path / "a=b").write_text("#!/bin/sh\necho $0 $1\n")
    (tmp_path / "a=b").chmod(0o755)
    result, [command] = wrap("./a=b", "word")
    assert (result.returncode, result.stdout, len([command])) == (0, b"./a=b word\n", 1)


def test_a_descriptor_of_the_callers_is_the_commands(run: Run, tmp_path: Path) -> None:
    for number in (3, 8, 9):
        result = run("bash", "-c", f"profile-wrap -o run.jsonl sh -c 'echo told >&{number}' {number}> got.{number}")
        assert (result.returncode, result.stderr) == (0, b"")
        assert (tmp_path / f"got.{number}").read_text() == "told\n"


def test_nothing_but_the_stages_is_open_in_the_command(wrap: Wrap) -> None:
    result, _ = wrap("sh", "-c", "ls /proc/$$/fd; echo $TOOLKIT_STAGES_FD")
    *open_ones, own = result.stdout.split()
    assert sorted(open_ones) == sorted([b"0", b"1", b"2", own])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGQUIT"])
def test_a_signal_to_the_wrapper_reaches_the_command(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    script = f"trap 'echo got; exit 5' {name[3:]}; echo ready; while :; do sleep 0.02; done"
    words = ["profile-wrap", "-o", "run.jsonl", "sh", "-c", script]
    with subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == b"got\n"
    assert process.returncode == 5


def test_an_ignored_signal_stays_ignored(environment: dict[str, str], tmp_path: Path) -> None:
    words = ["sh", "-c", "trap '' HUP INT; exec profile-wrap -o run.jsonl grep SigIgn /proc/self/status"]
    told = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, check=True).stdout
    assert int(told.split()[1], 16) & 0b11 == 0b11


def test_dispositions_and_mask_are_as_a_shell_gives_them(wrap: Wrap, run: Run) -> None:
    def standard(told: bytes) -> list[int]:  # posix_spawn(3) of glibc ignores signal 33, its own
        return [int(line.split()[1], 16) & 0x7FFFFFFF for line in told.splitlines()]

    words = ["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    assert standard(wrap(*words)[0].stdout) == standard(run(*words).stdout)


def test_ctrl_c_at_a_terminal_reaches_it_once(environment: dict[str, str], tmp_path: Path) -> None:
    script = "import signal, sys, time; n = []; signal.signal(2, lambda *_: n.append(1)); print('ready', flush=True)\n"
    script += "while not n: time.sleep(0.01)\n"
    script += "time.sleep(0.3); print('times', len(n), flush=True)"
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvpe("profile-wrap", ["profile-wrap", "-o", "run.jsonl", sys.executable, "-c", script], environment)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"times" not in said or not said.endswith(b"\n"):
        said += os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"times 1\r\n" in said


def test_a_shell_can_stop_and_continue_it(environment: dict[str, str], tmp_path: Path) -> None:
    script = "echo ready; for i in 1 2 3; do sleep 0.1; done; echo done"
    process = subprocess.Popen(
        ["profile-wrap", "-o", "run.jsonl", "sh", "-c", script], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    os.killpg(process.pid, signal.SIGCONT)
    assert process.stdout.read() == b"done\n"
    process.stdout.close()
    assert process.wait(30) == 0


def test_a_daemon_that_holds_the_streams_is_not_waited_for(wrap: Wrap, tmp_path: Path) -> None:
    script = "(echo $$ > started; setsid sh -c 'echo $$ > daemon; exec sleep 60') & while ! test -s daemon; do sleep 0.01; done"
    with open(tmp_path / "log", "wb") as log:
        result, [command] = wrap("sh", "-c", script, stdout=log, stderr=log)
    os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)
    assert result.returncode == 0
    assert command.exit is not None and command.exit.left_running == 1


def test_the_wrapper_killed_leaves_a_record_that_can_be_read_and_continued(environment: dict[str, str], tmp_path: Path, wrap: Wrap) -> None:
    process = subprocess.Popen(["profile-wrap", "-o", "run.jsonl", "sh", "-c", "echo $$ > pid; sleep 60"], env=environment, cwd=tmp_path)
    record = tmp_path / "run.jsonl"
    wait_until(lambda: record.exists() and record.stat().st_size and (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.kill()
    process.wait(30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with open(record, "ab") as stream:
        stream.write(b'{"record":"samp')
    _, commands = wrap("true")
    assert [command.exit is None for command in commands] == [True, False]


def test_quiet_and_the_options_in_every_spelling(run: Run, tmp_path: Path) -> None:
    for words in (
        ["--record=run.jsonl", "-q", "--tag", "a=b"],
        ["-orun.jsonl", "--tag=a=b"],
        ["-v", "--record", "run.jsonl", "--tag", "a=b"],
    ):
        result = run("profile-wrap", *words, "echo", "-o", "--tag")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"-o --tag\n", b"")
    assert (tmp_path / "run.jsonl").read_text().count('"tags":{"a":"b"}') == 3


def test_ctrl_c_that_kills_it_is_recorded(environment: dict[str, str], tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvpe("profile-wrap", ["profile-wrap", "-o", "run.jsonl", "sh", "-c", "echo ready; exec sleep 60"], environment)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT
    os.close(terminal)
    [command] = read_run_records([tmp_path / "run.jsonl"])
    assert command.exit is not None and command.exit.signal == "SIGINT"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_stay_closed(run: Run, tmp_path: Path, closed: str) -> None:
    show = "import os; print(sorted(os.listdir('/proc/self/fd')), file=open('{}', 'w'))"
    for name, words in (("plain", []), ("wrapped", ["profile-wrap", "-o", "run.jsonl", "--stage-regex", "x"])):
        script = f'{" ".join(words)} {sys.executable} -I -S -c "$0" {closed}'
        assert run("bash", "-c", script, show.format(name)).returncode == 0
    plain, wrapped = ((tmp_path / name).read_text() for name in ("plain", "wrapped"))
    assert wrapped.replace(", '9'", "") == plain or "2>&-" in closed
    [command] = read_run_records([tmp_path / "run.jsonl"])
    assert [name for name, place in command.streams.items() if place is None] == [
        name for name, sign in (("stdin", "<&-"), ("stdout", " >&-"), ("stderr", "2>&-")) if sign in f" {closed}"
    ]


def test_under_itself(wrap: Wrap, tmp_path: Path) -> None:
    result, commands = wrap("profile-wrap", "-o", "run.jsonl", "sh", "-c", "echo word; exit 3")
    assert (result.returncode, result.stdout, result.stderr) == (3, b"word\n", b"")
    assert sorted(command.argv[0] for command in commands) == ["profile-wrap", "sh"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_whatever_sh_is(run: Run, environment: dict[str, str], tmp_path: Path, shell: str, program) -> None:  # type: ignore[no-untyped-def]
    code = """
import sys
from toolkit.commands import profile_wrap
from toolkit.experiment.profiling import launching
launching._SHELL = sys.argv.pop(1)
profile_wrap.profile_wrap()
"""
    settings = {**environment, "PYTHONPATH": str(ROOT)}
    words = ["-o", "run.jsonl", sys.executable, "-c", SHOW, "a b"]
    result = run(sys.executable, "-c", code, program(shell, shell), *words, env=settings)
    assert (result.returncode, result.stderr) == (0, b"")
    shown = [[name, value] for name, value in eval(result.stdout)[0] if not name.startswith(b"TOOLKIT_STAGES_")]
    assert dict(shown) == {os.fsencode(name): os.fsencode(value) for name, value in settings.items()}
    [command] = read_run_records([tmp_path / "run.jsonl"])
    assert command.exit is not None and 4e6 < (command.exit.peak_rss_bytes or 0) < 2e7


def test_a_stage_of_what_outlives_the_wrapper_harms_nobody(run: Run, tmp_path: Path) -> None:
    """A shell dies of SIGPIPE, and would hang where the pipe is full."""
    write = "for i in $(seq 3000); do printf '%0500d\\n' 1 >&$TOOLKIT_STAGES_FD; done 2> /dev/null"
    late = f"while test -e waiting; do sleep 0.02; done; {write}; echo > ended"
    (tmp_path / "waiting").touch()
    result = run("profile-wrap", "-o", "run.jsonl", "sh", "-c", 'setsid sh -c "$0" > /dev/null 2>&1 &', late)
    assert (result.returncode, result.stderr) == (0, b"")
    (tmp_path / "waiting").unlink()
    wait_until((tmp_path / "ended").exists)
