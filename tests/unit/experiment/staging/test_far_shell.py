"""The scripts, run by the shells that there are; what sshd does with a command is the login shell's -c."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from toolkit.experiment.staging import manifest
from toolkit.experiment.staging.far_shell import CHECK, GREETING, PREFIXES, directory_line, script

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "csh", "tcsh", "fish", "ksh") if shutil.which(shell)]
ODD = b"a b\n'$(touch x)\"`\\ -\xff!*"


@pytest.fixture
def odd(tmp_path: Path) -> bytes:
    place = str(tmp_path).encode() + b"/" + ODD
    subprocess.run(["mkdir", "-p", place], check=True)
    with open(place + b"/" + ODD, "wb") as file:
        file.write(b"0123456789")
    return place


def run(shell: str, command: str, given: bytes, directory: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([shell, "-c", command], input=given, cwd=directory, capture_output=True, timeout=30)


@pytest.mark.parametrize("shell", SHELLS)
def test_names_are_never_words(shell: str, odd: bytes, tmp_path: Path) -> None:
    good, bad = hashlib.sha256(b"0123456789").hexdigest(), "0" * 64
    for place in (odd, ODD):
        for digest, word in ((good, b"OK"), (bad, b"FAILED")):
            found = run(shell, CHECK, directory_line(place) + manifest.line(b"./" + ODD, digest), tmp_path)
            assert found.stdout.startswith(GREETING) and found.stdout.endswith(b": " + word + b"\n"), found
    prefix = run(shell, PREFIXES, directory_line(odd) + b"4\0./" + ODD + b"\0" + b"0\0./" + ODD + b"\0", tmp_path)
    digests = [line.split()[0].decode() for line in prefix.stdout.splitlines()[1:]]
    assert digests == [hashlib.sha256(part).hexdigest() for part in (b"0123", b"")]
    assert [path.name for path in tmp_path.rglob("x")] == []


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert not run("sh", CHECK, directory_line(b"nowhere"), tmp_path).stdout


@pytest.mark.parametrize("body", ["echo 'a'", "echo !", "echo\necho"])
def test_what_a_login_shell_could_take_apart(body: str) -> None:
    with pytest.raises(ValueError):
        script(body)
