"""What a process may still take, under limits that the kernel holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.core.limits import control_groups, free_disk, free_memory, kilobytes

ASK = "from toolkit.core.limits import free_disk, free_memory; print(free_memory(), free_disk({!r}))"


def under(limit: str, path: str, **options: object) -> str:
    command = ["sh", "-c", f'ulimit {limit}; exec "$0" -c "$1"', sys.executable, ASK.format(path)]
    return subprocess.run(command, check=True, text=True, stderr=subprocess.PIPE, **({"stdout": subprocess.PIPE} | options)).stdout  # type: ignore[call-overload]


def test_memory_is_at_most_what_the_machine_has_available() -> None:
    found, available = free_memory(), kilobytes("/proc/meminfo", "MemAvailable")
    assert found and available
    assert 0 < found[0] < 1.1 * available


def test_a_limit_of_memory_is_named_less_what_is_taken() -> None:
    size, name = eval(under("-v 300000", "-").split(") ")[0] + ")")
    assert name == "ulimit -v"
    assert 100e6 < size < 300_000 * 1024


def test_the_disk_is_that_of_the_file_which_would_be_written(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("/dev/shm/absent")
    shared = os.statvfs("/dev/shm")
    for path, expected in ((tmp_path / "block.npy", disk), (link, shared)):
        found = free_disk(str(path))
        assert found and found[1] == "the disk"
        assert found[0] == pytest.approx(expected.f_bavail * expected.f_frsize, rel=0.1)


def test_only_regular_files_take_room(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", str(tmp_path / "pipe"), str(tmp_path / "absent/block.npy")):
        assert free_disk(path) is None
    assert under("-f unlimited", "-").endswith(" None\n"), "standard output is a pipe"
    with open(tmp_path / "told", "w") as stream:
        under("-f unlimited", "-", stdout=stream)
    assert (tmp_path / "told").read_text().endswith(", 'the disk')\n")


def test_a_limit_of_file_size_is_named(tmp_path: Path) -> None:
    assert under("-f 8", str(tmp_path / "block.npy")).endswith(" (4096, 'ulimit -f')\n"), "POSIX counts halves of kilobytes"


@pytest.mark.skipif(not os.access("/sys/fs/cgroup/memory", os.W_OK) and os.environ.get("CI") != "true", reason="needs a control group")
def test_a_control_group_limits_memory() -> None:
    place = (control_groups("memory") or control_groups(""))[0]
    name = "memory.limit_in_bytes" if "memory.limit_in_bytes" in os.listdir(place) else "memory.max"
    group = Path(place, f"test-{os.getpid()}")
    try:
        group.mkdir()
        (group / name).write_text("200000000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        joined = f"echo $$ > {group}/cgroup.procs && exec \"$0\" -c \"$1\""
        told = subprocess.run(["sh", "-c", joined, sys.executable, ASK.format("-")], check=True, text=True, capture_output=True).stdout
        size, limit = eval(told.split(") ")[0] + ")")
        assert limit == f"control group {group.name}"
        assert 100e6 < size < 200e6
    finally:
        group.rmdir()
