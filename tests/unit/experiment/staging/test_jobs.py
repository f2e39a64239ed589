"""Job scripts and what they are made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolkit.core.errors import BadData, NoInput
from toolkit.experiment.staging.jobs import SHIPPED, command_line, fill, job_number, read_template


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_is_a_script_that_leaves_its_status(name: str, tmp_path: Path) -> None:
    template = read_template(name)
    odd = tmp_path / "a 'directory'"
    odd.mkdir()
    values = {"name": "run-1", "directory": f"'{tmp_path}/a '\\''directory'\\'", "status": "job.status"}
    line = command_line(["sh", "-c", 'echo "$0"; exit 3', "a 'b'\n$c"], "run.jsonl")
    script = fill(template.script, values | {"command": line})
    done = subprocess.run(["sh"], input=script, text=True, capture_output=True, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    assert (done.stdout, done.stderr) == ("a 'b'\n$c\n", "")
    assert (odd / "job.status").read_text() == "3\n"


def test_braces_of_the_shell_stay() -> None:
    assert fill("${name} {name} {other} ${HOME} {}", {"name": "x"}) == "${name} x {other} ${HOME} {}"


def test_profile_wrap_is_used_where_it_is(tmp_path: Path) -> None:
    wrap = tmp_path / "profile-wrap"
    wrap.write_text('#!/bin/sh\necho "$@"\n')
    wrap.chmod(0o755)
    line = command_line(["echo", "a  b"], "my record")
    run = [subprocess.run(["sh", "-c", line], env={"PATH": path}, capture_output=True).stdout for path in (f"{tmp_path}:/bin", "/bin")]
    assert run == [b"-o my record -- echo a  b\n", b"a  b\n"]


@pytest.mark.parametrize(
    "text",
    [
        "{command} {status}",
        "#stage submit: at {script}\n#stage poll: atq\n#stage cancel: atrm {job}\n{command} {status}",
        "#stage submit: at {script}\n#stage poll: atq {job}\n#stage cancel: atrm {job}\n{status}",
    ],
)
def test_a_template_without_what_it_needs(text: str, tmp_path: Path) -> None:
    (tmp_path / "job").write_text(text)
    with pytest.raises(BadData):
        read_template(str(tmp_path / "job"))
    with pytest.raises(NoInput):
        read_template(str(tmp_path / "none"))


@pytest.mark.parametrize(("answer", "number"), [(b"17\n", "17"), (b"news\n17;cluster\n", "17"), (b"17.server.org\n", "17.server.org")])
def test_the_jobs_number(answer: bytes, number: str) -> None:
    assert job_number(answer) == number


@pytest.mark.parametrize("answer", [b"", b"\n", b"$(rm)\n", b"-rf\n"])
def test_an_answer_without_a_number(answer: bytes) -> None:
    with pytest.raises(BadData):
        job_number(answer)
