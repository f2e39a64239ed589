"""dicom-anon as a process: interrupted, killed, run twice, out of disk; the result is always what an undisturbed run gives."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pydicom
import pytest

from tests.unit.hospital.dicom.batch.studies import ROOT, tree, write_study
from toolkit.core.keys import create_keys

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Start:
    """Starts dicom-anon in a directory that has a key."""
    create_keys(str(tmp_path / "hospital.key"))

    def begin(*words: str | Path, command: str | Path = ROOT / "bin" / "dicom-anon", **settings: object) -> subprocess.Popen[str]:
        line = [command, *words, "--key", "hospital.key"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen(line, cwd=tmp_path, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    return begin


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, words = process.communicate(timeout=60)
    return process.returncode, output, words


def reasons(quarantine: Path) -> list[tuple[str, str]]:
    records = [json.loads(path.read_text()) for path in quarantine.glob("*.json")]
    return sorted((os.path.basename(record["input"]), record["reason"]) for record in records)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_at_any_moment_and_started_again(start: Start, tmp_path: Path, jobs: str) -> None:
    write_study(tmp_path / "in", 240)
    began = time.monotonic()
    assert end(start("in", "-o", "undisturbed", "--no-vault", "--uid-map", "wanted.csv")) == (0, "", "")
    length = time.monotonic() - began
    wanted = tree(tmp_path / "undisturbed")
    chance = random.Random(jobs)
    words = ["in", "-o", "out", "--uid-map", "uids.csv", "--report", "report.jsonl", "--jobs", jobs]
    for _ in range(4):
        process = start(*words)
        time.sleep(chance.uniform(0.2, 1.1) * length)
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        end(process)
        time.sleep(0.1)
        found = tree(tmp_path / "out") if (tmp_path / "out").exists() else {}
        assert found.items() <= wanted.items(), "a file that is not whole, or not what it must be"
    assert end(start(*words)) == (0, "", "")
    assert tree(tmp_path / "out") == wanted
    assert sorted((tmp_path / "uids.csv").read_text().splitlines()) == sorted((tmp_path / "wanted.csv").read_text().splitlines())
    assert not (tmp_path / "out" / ".partial").exists()
    known = "hospital.key in out out.journal report.jsonl uids.csv undisturbed undisturbed.journal vault.db wanted.csv"
    assert {path.name for path in tmp_path.iterdir()} <= set(known.split())
    assert all(json.loads(line)["result"] in ("written", "unchanged") for line in (tmp_path / "report.jsonl").read_text().splitlines())


def test_a_process_that_is_killed_takes_no_file_with_it(start: Start, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 400)
    process = start("in", "-o", "out", "--no-vault", "--jobs", "2", "-v")
    watched = psutil.Process(process.pid)
    while not (children := watched.children()) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.05)
    for child in children[:1]:
        child.kill()
    status, _, words = end(process)
    assert status == 0
    assert "a process ended by SIGKILL" in words
    assert "400 files: 400 written" in words
    assert len(tree(tmp_path / "out")) == 400


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_leaves_no_temporary_file(start: Start, tmp_path: Path, jobs: str) -> None:
    write_study(tmp_path / "in", 300)
    process = start("in", "-o", "out", "--no-vault", "--jobs", jobs)
    while not list((tmp_path / "out").glob(".partial/*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    status, output, words = end(process)
    assert (status, output, words) == (-signal.SIGINT, "", "")
    assert not (tmp_path / "out" / ".partial").exists()


def test_a_full_disk(start: Start, tmp_path: Path) -> None:
    (small,) = write_study(tmp_path / "in", 1)
    limited = tmp_path / "limited"  # the only way to fill a disk without being root: no file may grow beyond 4 kB
    limited.write_text(f'#!/bin/sh\nulimit -f 8\nexec {sys.executable} {ROOT / "bin" / "dicom-anon"} "$@"\n')
    limited.chmod(0o755)
    status, output, words = end(start("in", "-o", "out", "--no-vault", command=limited))
    assert (status, output) == (74, "")
    assert words.startswith("dicom-anon: ") and len(words.splitlines()) == 1
    assert tree(tmp_path / "out") == {}
    assert end(start("in", "-o", "out", "--no-vault")) == (0, "", "")
    assert len(tree(tmp_path / "out")) == 1 and small.exists()


def test_two_runs_into_one_output(start: Start, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 2)
    assert end(start("in", "-o", "out", "--no-vault"))[0] == 0
    with open(tmp_path / "out.journal" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, words = end(start("in", "-o", "out", "--no-vault"))
    assert (status, words) == (75, "dicom-anon: out: another dicom-anon writes to it; wait until that one has ended\n")


def test_one_instance_with_two_contents(start: Start, tmp_path: Path) -> None:
    """The copy is counted and passes, the other object of the same UID is held back, also when names are kept."""
    (first,) = write_study(tmp_path / "in", 1)
    dataset = pydicom.dcmread(first)
    dataset.save_as(tmp_path / "in" / "copy.dcm")
    dataset.Rows, dataset.PixelData = 32, dataset.PixelData[: len(dataset.PixelData) // 2]
    dataset.save_as(tmp_path / "in" / "other.dcm")
    for words in ([], ["--keep-names"]):
        out = "named" if words else "out"
        status, output, _ = end(start("in", "-o", out, "--report", "-", *words))
        assert status == 1
        results = {Path(record["input"]).name: record["result"] for record in map(json.loads, output.splitlines())}
        assert results == {"0.dcm": "written", "copy.dcm": "written" if words else "duplicate", "other.dcm": "quarantined"}
        assert reasons(tmp_path / f"{out}.quarantine") == [("other.dcm", "same-output-name")]
        assert len(tree(tmp_path / out)) == (2 if words else 1)


def test_an_input_that_changes_is_done_again_and_leaves_quarantine(start: Start, tmp_path: Path) -> None:
    (path,) = write_study(tmp_path / "in", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    status, _, words = end(start("in", "-o", "out", "--no-vault"))
    assert status == 1
    assert words == "dicom-anon: out.quarantine: 1 of 1 files went to quarantine (1 truncated); the .json file beside each says why\n"
    (copy,) = (tmp_path / "out.quarantine").glob("*.dcm")
    assert copy.read_bytes() == whole[: len(whole) // 2]
    assert copy.stat().st_mode & 0o777 == 0o600
    path.write_bytes(whole)
    assert end(start("in", "-o", "out", "--no-vault")) == (0, "", "")
    assert list((tmp_path / "out.quarantine").iterdir()) == []
    before = tree(tmp_path / "out")
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.PixelData = 32, dataset.PixelData[: len(dataset.PixelData) // 2]
    dataset.save_as(path)
    assert end(start("in", "-o", "out", "--no-vault")) == (0, "", "")
    assert tree(tmp_path / "out").keys() == before.keys()
    assert tree(tmp_path / "out") != before


def test_what_a_run_writes_is_no_input(start: Start, tmp_path: Path) -> None:
    write_study(tmp_path, 3)
    words = [".", "-o", "out", "--uid-map", "uids.csv", "--report", "report.jsonl"]
    for result in ("written", "unchanged"):
        assert end(start(*words)) == (0, "", "")
        records = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
        assert [(record["input"], record["result"]) for record in records] == [(f"./0/{n}.dcm", result) for n in range(3)]


def test_a_directory_of_odd_things(start: Start, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1)
    odd = tmp_path / "in"
    os.mkfifo(odd / "pipe")
    (odd / "loop").symlink_to(odd)
    (odd / "self").symlink_to("self")
    (odd / "dangling").symlink_to("nowhere")
    (odd / "empty").touch()
    (odd / "DICOMDIR").write_bytes(b"whatever")
    (odd / os.fsdecode(b"caf\xe9\n.txt")).write_text("text")
    status, output, words = end(start("in", "-o", "out", "--no-vault", "-v"))
    assert (status, output) == (1, "")
    strange = os.fsdecode(b"caf\xe9\n.txt")
    assert reasons(tmp_path / "out.quarantine") == [(strange, "not-dicom"), ("dangling", "unreadable"), ("empty", "empty")]
    assert len(list((tmp_path / "out.quarantine").glob("*.dcm"))) == 2, "nothing is copied of what cannot be read"
    for passed_over in ("in/pipe: is a named pipe", "in/self: is a symbolic link to itself", "in/loop: was visited already"):
        assert passed_over in words
    assert "4 files: 1 written, 3 quarantined, 1 DICOMDIR passed over, 3 left out" in words


def test_the_way_without_a_vault_loads_no_large_package(tmp_path: Path, environment: dict[str, str]) -> None:
    create_keys(str(tmp_path / "hospital.key"))
    write_study(tmp_path / "in", 2)
    code = """
import sys
from toolkit.commands.dicom_anon import dicom_anon
try:
    dicom_anon(["in", "--key", "hospital.key", "-o", "out", "--no-vault"])
except SystemExit:
    print({"pydicom", "numpy", "sqlalchemy", "multiprocessing"} & set(sys.modules))
"""
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_verify_passes_what_is_clean(start: Start, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 2)
    assert end(start("in", "-o", "out", "--no-vault", "--verify")) == (0, "", "")
    assert len(tree(tmp_path / "out")) == 2
