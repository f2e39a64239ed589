"""Outputs appear whole or not at all, and what goes wrong names its file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from toolkit.core.errors import CannotCreate, InputOutput, NoInput
from toolkit.core.streams import atomic_output, open_input, stream_name


def test_a_file_appears_whole_and_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_output(str(target)) as stream:
        stream.write(b"whole")
        stream.flush()
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_the_older_file_and_nothing_else(tmp_path: Path, exception: type[BaseException]) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"older")
    with pytest.raises(exception), atomic_output(str(target)) as stream:
        stream.write(b"half")
        raise exception
    assert target.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["out"]


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_output(str(tmp_path / "out")) as stream:
            stream.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_an_older_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.write_bytes(b"older")
    target.chmod(0o600)
    with atomic_output(str(target)) as stream:
        stream.write(b"newer")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes() == b"newer"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    with atomic_output(str(link)) as stream:
        stream.write(b"through")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"through"


def test_the_longest_name_a_directory_takes(tmp_path: Path) -> None:
    name = "ä" * 127  # 254 bytes of at most 255
    with atomic_output(str(tmp_path / name)) as stream:
        stream.write(b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("path", ["missing/out", "file/out", "directory"])
def test_what_cannot_be_created_is_said_before_any_work(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    with pytest.raises(CannotCreate, match=path), atomic_output(str(tmp_path / path)):
        pytest.fail("the body must not run")
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_a_write_protected_file_is_respected() -> None:
    code = (
        "import os, sys\n"
        "from toolkit.core.streams import atomic_output\n"
        "from toolkit.core.errors import CannotCreate\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try:\n"
        "    with atomic_output(sys.argv[1]) as stream: stream.write(b'newer')\n"
        "except CannotCreate as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as directory:  # pytest's own directories are closed to other users
        os.chmod(directory, 0o777)
        target = Path(directory, "out")
        target.write_bytes(b"older")
        target.chmod(0o444)
        result = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=True)
        assert "is write-protected" in result.stdout
        assert target.read_bytes() == b"older"


def test_a_full_device_names_the_path() -> None:
    with pytest.raises(InputOutput, match="/dev/full: No space left on device"), atomic_output("/dev/full") as stream:
        stream.write(b"x" * 100)


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_full_disk_leaves_nothing(tmp_path: Path, size: int) -> None:
    """A file size limit fails a write half-way as a full disk does (EFBIG for ENOSPC), without a disk to fill."""
    code = (
        "import resource, signal, sys\n"
        "from toolkit.core.streams import atomic_output\n"
        "from toolkit.core.errors import InputOutput\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        "try:\n"
        "    with atomic_output(sys.argv[1]) as stream: stream.write(b'x' * int(sys.argv[2]))\n"
        "except InputOutput as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out"), str(size)], capture_output=True, text=True, check=True)
    assert result.stdout == f"{tmp_path / 'out'}: File too large; nothing was left behind\n"
    assert os.listdir(tmp_path) == []


def test_another_files_error_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_output(str(tmp_path / "out")):
        (tmp_path / "absent").read_bytes()
    assert caught.value.filename == str(tmp_path / "absent")
    assert os.listdir(tmp_path) == []


def test_a_named_pipe_is_written_through(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with atomic_output(str(path)) as stream:
        stream.write(b"through")
    reader.join(10)
    assert got == [b"through"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_dash_is_standard_input_and_output() -> None:
    code = (
        "from toolkit.core.streams import atomic_output, open_input\n"
        "with open_input('-') as source, atomic_output('-') as target: target.write(source.read()[::-1])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], input=b"\x00abc", capture_output=True, check=True)
    assert result.stdout == b"cba\x00"
    assert stream_name("-") == "standard input"
    assert stream_name("f.npy") == "f.npy"


@pytest.mark.parametrize("path", ["absent", "."])
def test_an_input_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(NoInput, match="name a file that exists"), open_input(str(tmp_path / path)):
        pytest.fail("the body must not run")
