"""What is recorded beside memory and stages: machine, software, files, words without secrets; and how a record is written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.unit.experiment.profiling.conftest import Run, Wrap
from toolkit import __version__
from toolkit.experiment import run_record
from toolkit.experiment.profiling.machine import machine
from toolkit.experiment.profiling.privacy import arguments_of, environment_of, hide
from toolkit.experiment.profiling.software import software
from toolkit.experiment.profiling.writing import Record

ROOT = Path(__file__).resolve().parents[4]


def test_every_key_is_known_to_the_reader(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("word\n")
    stage = 'printf \'{"stage":"s","event":"%s","pid":%d}\\n\' begin $$ end $$ >&$TOOLKIT_STAGES_FD; sleep 0.1'
    result = run("profile-wrap", "-o", "run.jsonl", "--input", "in", "sh", "-c", stage)
    assert (result.returncode, result.stderr) == (0, b"")
    known = {"run": run_record.Command, "sample": run_record.Sample, "stage": run_record.Stage}
    known |= {"file": run_record.File, "exit": run_record.Exit}
    seen = set()
    for line in (tmp_path / "run.jsonl").read_bytes().splitlines():
        content = json.loads(line)
        kind = content.pop("record")
        seen.add(kind)
        assert set(content) - {"command"} <= {one.name for one in fields(known[kind])}, kind
    assert seen == set(known)


def test_machine_and_software(wrap: Wrap) -> None:
    _, [command] = wrap(sys.executable, "-c", "pass")
    told = command.machine
    assert (told["host"], told["kernel"], told["architecture"]) == (os.uname().nodename, os.uname().release, os.uname().machine)
    assert told["cpu"]["model"] and told["cpu"]["flags"] and 1 <= told["cpu"]["cores"] <= told["cpu"]["threads"] == os.cpu_count()
    assert told["memory_bytes"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert len(told["load_average"]) == 3
    assert set(told["cgroup"]) == {"memory_max_bytes", "cpu_limit", "cpus_allowed"}
    assert command.software["toolkit"] == __version__
    assert command.software["program"]["sha256"] == hashlib.sha256(Path(sys.executable).read_bytes()).hexdigest()
    assert command.software["packages"]["pytest"] == pytest.__version__


def test_the_limits_of_this_processes_control_group() -> None:
    limits = machine()["cgroup"]
    assert limits["cpus_allowed"] == len(os.sched_getaffinity(0))
    assert limits["memory_max_bytes"] is None or limits["memory_max_bytes"] > 1 << 20
    assert limits["cpu_limit"] is None or limits["cpu_limit"] > 0


def test_software_of_scripts_and_of_our_own_commands(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/usr/bin/env {Path(sys.executable).name}\n")
    found = software(str(script), {"PATH": str(Path(sys.executable).parent)})
    assert found["interpreter"] == sys.executable and "click" in found["packages"]
    assert "interpreter" not in software("/bin/sh", {"PATH": "/bin"})
    ours = software(str(ROOT / "bin" / "scc"), {"PATH": "/bin"})
    assert ours["program"]["version"] == __version__ and "numpy" in ours["packages"]


def test_the_commit_that_a_command_comes_from(wrap: Wrap, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert wrap("true")[1][-1].git is None
    git("init", "-q")
    assert wrap("true")[1][-1].git is None, "nothing is committed"
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert wrap("true")[1][-1].git == {"commit": commit, "modified": False, "root": str(tmp_path)}
    (tmp_path / "file").write_text("2")
    assert wrap("true")[1][-1].git == {"commit": commit, "modified": True, "root": str(tmp_path)}


def test_inputs_as_they_were_and_outputs_as_they_are(wrap: Wrap, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("before")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "b").write_text("b")
    (tmp_path / "tree" / "deep" / "a\nä").write_text("a")
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "dangling").symlink_to("nowhere")
    words = [
        "--input",
        "in",
        "--input",
        "tree",
        "--output",
        "in",
        "--output",
        "made",
        "sh",
        "-c",
        "echo after > in; mkdir made; : > made/empty",
    ]
    result, [command] = wrap(*words)
    assert (result.returncode, result.stderr) == (0, b"")
    digests = [hashlib.sha256(text).hexdigest() for text in (b"before", b"b", b"a", b"after\n", b"")]
    expected = [
        ("input", "in", 6),
        ("input", "tree/b", 1),
        ("input", "tree/deep/a\nä", 1),
        ("output", "in", 6),
        ("output", "made/empty", 0),
    ]
    assert [(file.role, file.path, file.bytes) for file in command.files] == expected
    assert [file.sha256 for file in command.files] == digests


def test_an_output_that_is_missing_is_named_and_nothing_else_is_lost(wrap: Wrap) -> None:
    for status, expected in ((3, 3), (0, 125)):
        result, commands = wrap("--output", "absent", "--output", "there", "sh", "-c", f"echo > there; exit {status}")
        assert result.returncode == expected
        assert result.stderr == b"profile-wrap: absent: No such file or directory; name a file that exists\n"
        assert commands[-1].exit is not None and commands[-1].exit.status == status
        assert [file.path for file in commands[-1].files] == ["there"]


def test_what_the_standard_streams_were(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    assert run("bash", "-c", "profile-wrap -o run.jsonl cat < in >> out 2> err").returncode == 0
    assert run("bash", "-c", "profile-wrap -o run.jsonl cat <&- 2>&1 | cat; exit 0").returncode == 0
    first, second = run_record.read_run_records([tmp_path / "run.jsonl"])
    paths = {name: str(tmp_path / place) for name, place in (("stdin", "in"), ("stdout", "out"), ("stderr", "err"))}
    assert first.streams == {**paths, "appended": ["stdout"]}
    assert second.streams["stdin"] is None and second.streams["stdout"].startswith("pipe:[")


def test_repetitions(wrap: Wrap, run: Run, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("b\na\n")
    with open(tmp_path / "words") as stream:
        stream.seek(2)
        os.lseek(stream.fileno(), 2, os.SEEK_SET)
        result, commands = wrap("-r", "3", "cat", stdin=stream)
    assert result.stdout == b"a\n" * 3
    assert [(command.repetition, command.repetitions) for command in commands] == [(1, 3), (2, 3), (3, 3)]
    assert len({command.command for command in commands}) == 3 and len({command.run for command in commands}) == 1
    refused = run("profile-wrap", "-r", "2", "-o", "other", "cat", input=b"x")
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"profile-wrap: -r: cannot repeat: standard input is no file")
    _, commands = wrap("-r", "5", "sh", "-c", "echo >> count; test $(wc -l < count) -lt 3")
    assert [command.exit.status for command in commands[3:] if command.exit] == [0, 0, 1]


def test_secrets_are_not_recorded(wrap: Wrap, environment: dict[str, str], tmp_path: Path) -> None:
    settings = {**environment, "OMP_NUM_THREADS": "3", "SLURM_JOB_ID": "7", "SLURM_JWT": "eyJhbGciOiJI.eyJleHAiOjE2.s3cr3tsignature"}
    settings |= {"PYTHONPATH": "/x", "PYTHON_TOKEN": "s3cr3t", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "MY_OWN": "s3cr3t"}
    words = ["echo", "--password", "s3cr3t", "--token=s3cr3t", "https://user:s3cr3t@example.org/x?token=s3cr3t&a=1"]
    words += ["Authorization: Bearer s3cr3t", "DB_PASSWORD=s3cr3t", "--password-file", "where", "plain"]
    result, [command] = wrap("--tag", "url=ftp://u:s3cr3t@h/", *words, env=settings)
    assert result.stdout.count(b"s3cr3t") == 6, "the command itself gets them"
    assert "s3cr3t" not in (tmp_path / "run.jsonl").read_text()
    shown = ["echo", "--password", "***", "--token=***", "https://user:***@example.org/x?token=***&a=1", "Authorization: ***"]
    assert command.argv == [*shown, "DB_PASSWORD=***", "--password-file", "where", "plain"]
    assert command.argv_hidden == [2, 3, 4, 5, 6]
    assert (command.environment["OMP_NUM_THREADS"], command.environment["SLURM_JOB_ID"]) == ("3", "7")
    assert {"MY_OWN", "PYTHON_TOKEN", "AWS_SECRET_ACCESS_KEY"}.isdisjoint(command.environment)


@pytest.mark.parametrize(
    "words",
    [
        ["scc", "--bandwidth", "128", "-o", "block.npy"],
        ["tool", "--key", "hospital.key", "--author", "me", "--authority=x", "--bypass", "1", "--passes", "3", "--compass", "n"],
        ["scp", "user@host:file", "a:b@c", "http://host:80/x@y"],
        ["--password", "--verbose"],
        ["token", "value"],
    ],
    ids=" ".join,
)
def test_what_is_no_secret_stays(words: list[str]) -> None:
    assert arguments_of(words) == (words, [])


def test_variables_by_a_list() -> None:
    given = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "MKL_NUM_THREADS": "2",
        "PBS_JOBID": "1",
        "HISTFILE": "x",
        "LD_LIBRARY_PATH": "/l",
        "GPG_KEY": "x",
    }
    assert list(environment_of(given)) == ["LC_ALL", "LD_LIBRARY_PATH", "MKL_NUM_THREADS", "PATH", "PBS_JOBID"]
    assert hide("-----BEGIN RSA PRIVATE KEY-----\nabc\n") == "***"
    assert hide("AKIAABCDEFGHIJKLMNOP and ghp_abcdefghijklmnopqrstuvwxyz01") == "*** and ***"


def test_text_that_is_not_utf8_can_be_told_again(wrap: Wrap, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    _, [command] = wrap("--input", b"\xff.txt", "echo", b"\xfe")
    assert os.fsencode(command.argv[1]) == b"\xfe"
    assert os.fsencode(command.files[0].path) == b"\xff.txt"


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    code = "import sys; from toolkit.experiment.profiling.writing import Record; r = Record('f')\n"
    code += "for n in range(50): r.add([('sample', {'text': sys.argv[1] * 3000, 'n': n, 'part': part}) for part in range(3)])"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) for name in "abc"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    told = [json.loads(line) for line in (tmp_path / "f").read_bytes().splitlines()]
    assert len(told) == 450
    assert [one["part"] for one in told] == [0, 1, 2] * 150, "the lines of one call stay together"


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"record":"sa')
    Record(str(tmp_path / "f")).add([("exit", {})])
    assert (tmp_path / "f").read_bytes() == b'{"record":"sa\n{"record":"exit"}\n'


def test_a_record_that_cannot_be_written_fails_after_the_command(run: Run, tmp_path: Path) -> None:
    for status, expected in ((0, 125), (4, 4)):
        result = run("profile-wrap", "-o", "/dev/full", "sh", "-c", f"echo out; exit {status}")
        assert (result.returncode, result.stdout) == (expected, b"out\n")
        assert result.stderr == b"profile-wrap: /dev/full: No space left on device; the record is incomplete\n"
    limited = run("bash", "-c", "ulimit -f 1; profile-wrap -o run.jsonl -r 3 echo out < /dev/null")
    assert (limited.returncode, limited.stdout) == (125, b"out\n")
    assert limited.stderr == b"profile-wrap: run.jsonl: File too large; the record is incomplete\n"
    assert (tmp_path / "run.jsonl").read_bytes() == b""


def test_a_record_into_a_pipe(run: Run) -> None:
    result = run("bash", "-c", "profile-wrap -o /dev/fd/5 true 5>&1")
    assert [json.loads(line)["record"] for line in result.stdout.splitlines()][:1] == ["run"]
