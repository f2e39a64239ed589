"""dicom-send as a user runs it, with DCMTK's receiver: what is printed, exit statuses, kills, memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from tests.conftest import ROOT
from tests.unit.hospital.images.receivers import free_port, listens, receiver, speaking
from tests.unit.hospital.images.samples import image, images

SEND = str(ROOT / "bin/dicom-send")
Start = Callable[..., contextlib.AbstractContextManager[subprocess.Popen[bytes]]]


# Runs a command and prints its most memory: of a process that a large one starts, the kernel counts the large one's, too.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def storescp(program: Callable[[str, str], str]) -> Start:
    """A function that starts DCMTK's receiver on a port."""
    path = program("/usr/bin/storescp", "dcmtk")

    @contextlib.contextmanager
    def start(port: int, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen([path, *words, str(port)], stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 10
                while not listens(port):
                    assert time.monotonic() < end
                    time.sleep(0.05)
                yield process
            finally:
                process.kill()

    return start


@pytest.fixture
def dicom_send(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([SEND, *words], input=given, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


def test_echo(dicom_send: Run) -> None:
    with receiver() as there:
        done = dicom_send("--echo", "--to", f"localhost:{there.port}", "--called", "THERE")
    assert done.returncode == 0 and not done.stderr
    assert re.fullmatch(rf"localhost:{there.port}: THERE answers in [0-9.]+ ms, association [0-9.]+ ms\n", done.stdout)
    with speaking(b"") as port:
        done = dicom_send("--echo", "--to", f"localhost:{port}", "--timeout", "1")
    assert done.returncode == 69 and "said nothing for 1 seconds" in done.stderr


def test_a_list_of_files(dicom_send: Run, tmp_path: Path, storescp: Start) -> None:
    images(tmp_path / "out", 4)
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    names = [f"out/00{number}.dcm" for number in range(4)]
    with storescp(port, "-od", home):
        to = ("--to", f"127.0.0.1:{port}", "--report", "-")
        done = dicom_send("-", *to, given="\0".join(names[:2]) + "\0")
        assert done.returncode == 0 and [json.loads(line)["path"] for line in done.stdout.splitlines()] == names[:2]
        done = dicom_send("-", names[2], *to, given=f"{names[3]}\nout/missing.dcm\n")
        assert done.returncode == 1 and "out/missing.dcm: No such file" in done.stderr
    assert len(list(home.iterdir())) == 4
    assert dicom_send("out/missing.dcm", *to).returncode == 66


def test_a_receiver_that_is_killed(dicom_send: Run, environment: dict[str, str], tmp_path: Path, storescp: Start) -> None:
    """Exit status 75, and the next run sends what waits: everything is there once."""
    uids = images(tmp_path / "out", 60)
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    command = [SEND, "out", "--to", f"127.0.0.1:{port}", "--journal", "sent.db", "--jobs", "2"]
    with storescp(port, "-od", home) as there:
        with subprocess.Popen(command[:-2], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as sender:
            while len(list(home.iterdir())) < 10:
                assert sender.poll() is None
            there.kill()
            assert sender.stderr is not None
            said = sender.stderr.read()
        assert sender.returncode == 75 and f"127.0.0.1:{port}: " in said and "files wait; the next run sends what waits" in said
    done = dicom_send(*command[1:-2])
    assert done.returncode == 69 and "nothing listens there" in done.stderr
    with storescp(port, "--fork", "-od", home):
        done = dicom_send(*command[1:], "-v")
        known = int(re.search(r"(\d+) known", done.stderr)[1])  # type: ignore[index]
        assert done.returncode == 0 and known >= 9 and f"{60 - known} sent" in done.stderr
    assert sorted(str(pydicom.dcmread(path).SOPInstanceUID) for path in home.iterdir()) == sorted(uids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_sender_that_is_killed(
    dicom_send: Run, environment: dict[str, str], tmp_path: Path, storescp: Start, number: signal.Signals
) -> None:
    uids = images(tmp_path / "out", 60)
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    words = ["out", "--to", f"127.0.0.1:{port}", "--journal", "sent.db", "--report", "report.jsonl"]
    with storescp(port, "--fork", "-od", home):
        with subprocess.Popen([SEND, *words], env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as sender:
            while len(list(home.iterdir())) < 10:
                assert sender.poll() is None
            sender.send_signal(number)
            assert sender.wait(10) == -number
        done = dicom_send(*words)
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(str(pydicom.dcmread(path).SOPInstanceUID) for path in home.iterdir()) == sorted(uids)
    states = Counter(json.loads(line)["status"] for line in (tmp_path / "report.jsonl").read_text().splitlines())
    assert set(states) <= {"sent", "known"} and sum(states.values()) >= 60


def test_a_large_object_in_little_memory(environment: dict[str, str], tmp_path: Path, storescp: Start) -> None:
    path, port = tmp_path / "large.dcm", free_port()
    image(path, PixelData=b"")
    data = path.read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[: start + 8] + (500 << 20).to_bytes(4, "little"))
    os.truncate(path, start + 12 + (500 << 20))
    with storescp(port, "--ignore"):
        command = [sys.executable, "-c", MEASURED, SEND, path, "--to", f"127.0.0.1:{port}", "--report", "-"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and '"status": "sent"' in done.stdout
    assert int(done.stderr) < 300 << 10  # KiB
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_what_belongs_together(dicom_send: Run, tmp_path: Path) -> None:
    image(tmp_path / "one.dcm")
    (tmp_path / "open.key").write_text("a key")
    (tmp_path / "open.key").chmod(0o644)
    to = ("--to", "127.0.0.1:1")
    for words, code, said in (
        (("one.dcm", *to, "--cert", "a"), 2, "--cert, --key and --ca: belong together"),
        (("one.dcm", *to, "--listen", "127.0.0.1:2"), 2, "--listen: is for what --commit asks"),
        (("one.dcm", *to, "--called", "x" * 17), 2, "--called: is no application entity title"),
        (("one.dcm", *to, "--cert", "one.dcm", "--key", "open.key", "--ca", "one.dcm"), 77, "other users have access"),
        (("one.dcm", *to, "--cert", "none", "--key", "open.key", "--ca", "one.dcm"), 66, "none: No such file"),
        (("one.dcm", *to, "--journal", "one.dcm"), 65, "one.dcm: is no journal"),
        (("one.dcm", *to), 69, "127.0.0.1:1: nothing listens there"),
    ):
        done = dicom_send(*words)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1) and said in done.stderr, done.stderr
