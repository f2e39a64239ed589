"""The scripts, run by the shells that there are; what sshd does with a command is the login shell's -c."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.experiment.staging import manifest
from toolkit.experiment.staging.far_shell import CHECK, GREETING, PREFIXES, check_line, directory_line, script

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "csh", "tcsh", "fish", "ksh") if shutil.which(shell)]
ODD = b"a b\n'$(touch x)\"`\\ -\xff!*"


@pytest.fixture
def odd(tmp_path: Path) -> bytes:
    place = str(tmp_path).encode() + b"/" + ODD
    subprocess.run(["mkdir", "-p", place], check=True)
    with open(place + b"/" + ODD, "wb") as file:
        file.write(b"0123456789")
    return place


def run(shell: str, command: str, given: bytes, directory: Path, path: str = os.defpath) -> subprocess.CompletedProcess[bytes]:
    words = [shutil.which(shell) or shell, "-c", command]
    return subprocess.run(words, input=given, cwd=directory, capture_output=True, timeout=30, env={"PATH": path})


def only(programs: list[str], directory: Path) -> str:
    """A PATH with these programs and no other."""
    directory.mkdir()
    for program in programs:
        (directory / program).symlink_to(sys.executable if program == "python3" else shutil.which(program) or "")
    return str(directory)


@pytest.mark.parametrize("shell", SHELLS)
def test_names_are_never_words(shell: str, odd: bytes, tmp_path: Path) -> None:
    good, bad = hashlib.sha256(b"0123456789").hexdigest(), "0" * 64
    paths = [only(["sh", "python3"], tmp_path / "python"), only(["sh", "sha256sum"], tmp_path / "coreutils")]
    for place, path in itertools.product((odd, ODD), paths):
        for digest, word in ((good, b": OK"), (bad, b": FAILED")):
            line = manifest.line(b"./" + ODD, digest)
            found = run(shell, CHECK, directory_line(place) + check_line() + line + line.replace(b"-", b"+"), tmp_path, path)
            name = line[1:].split(b"  ", 1)[1][:-1]
            lines = [b"\\" + name + word, b"\\" + name.replace(b"-", b"+") + b": FAILED open or read"]
            assert found.stdout == GREETING + b"".join(line + b"\n" for line in lines), found
    prefix = run(shell, PREFIXES, directory_line(odd) + b"4\0./" + ODD + b"\0" + b"0\0./" + ODD + b"\0", tmp_path)
    digests = [line.split()[0].decode() for line in prefix.stdout.splitlines()[1:]]
    assert digests == [hashlib.sha256(part).hexdigest() for part in (b"0123", b"")]
    assert [path.name for path in tmp_path.rglob("x")] == []


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert not run("sh", CHECK, directory_line(b"nowhere") + check_line(), tmp_path).stdout


@pytest.mark.parametrize("body", ["echo 'a'", "echo !", "echo\necho"])
def test_what_a_login_shell_could_take_apart(body: str) -> None:
    with pytest.raises(ValueError):
        script(body)
