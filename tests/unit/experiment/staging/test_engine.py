"""Files through a real OpenSSH server, by both transports, both ways."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.peers import sshd
from tests.peers.delaying import Proxy
from tests.unit.experiment.staging.conftest import TRANSPORTS
from tests.unit.experiment.staging.transfers import contents, get, put, sha256
from toolkit.core.errors import CannotCreate, InputOutput, NoInput, NotPermitted, ToolError, TryLater
from toolkit.experiment.staging import remote_tree
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.connection import Connection, Lost, connect
from toolkit.experiment.staging.engine import IN_FLIGHT, Get, Put, Result, part_name, pull, push

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not set(b"/\0") & set(name) and name not in (b".", b".."))
SIZES = st.one_of(st.integers(0, 2000), st.sampled_from([32767, 32768, 32769, 261119, 261120, 261121, 600_000]))


def names(directory: Path | bytes) -> list[bytes]:
    return sorted(os.listdir(os.fsencode(directory)))


def run(results: list[Result]) -> list[Result]:
    """Results of files that all went well."""
    assert [result.error for result in results if result.error] == []
    return results


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=st.dictionaries(NAMES, SIZES, max_size=12), channels=st.integers(1, 3))
def test_files_of_any_name_and_size_go_there_and_back(connection: Connection, tree: dict[bytes, int], channels: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        here, there, back = (os.fsencode(base) + name for name in (b"/here", b"/there", b"/back"))
        for directory in (here, there, back):
            os.mkdir(directory)
        for seed, (name, size) in enumerate(tree.items()):
            with open(here + b"/" + name, "wb") as file:
                file.write(contents(size, seed))
            os.utime(here + b"/" + name, (10**9 + seed, 10**9 + seed))
        opened = connection.channels(channels)
        sent = run(list(push(opened, [put(here + b"/" + name, there + b"/" + name, 0o604) for name in tree])))
        fetched = run(list(pull(opened, [get(there + b"/" + name, back + b"/" + name, 0o640) for name in tree], synchronise=True)))
        assert names(here) == names(there) == names(back) == sorted(tree)
        for name, size in tree.items():
            assert sha256(here + b"/" + name) == sha256(there + b"/" + name) == sha256(back + b"/" + name)
            states = [os.stat(directory + b"/" + name) for directory in (here, there, back)]
            assert len({int(state.st_mtime) for state in states}) == 1
            assert [state.st_mode & 0o777 for state in states[1:]] == [0o604, 0o640]
            assert states[0].st_size == size
        for result in (*sent, *fetched):
            assert result.sha256 == sha256(os.fsencode(result.file.local))  # type: ignore[arg-type]
            assert result.bytes == result.file.size


def test_a_thousand_small_files_replace_what_was_there(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    for number in range(1000):
        (here / str(number)).write_bytes(contents(number, number))
    (there / "7").write_bytes(b"older and longer")
    counted: list[int] = []
    run(list(push(connection.channels(1), (put(path, there / path.name) for path in here.iterdir()), counted.append)))
    assert names(there) == names(here)
    assert all((there / path.name).read_bytes() == path.read_bytes() for path in here.iterdir())
    assert sum(counted) == sum(range(1000))


@pytest.mark.parametrize("way", [push, pull])
def test_channels_share_a_large_file(connection: Connection, places: tuple[Path, Path], way: Callable) -> None:  # type: ignore[type-arg]
    here, there = places
    (here / "large").write_bytes(contents(17_000_001))
    (here / "small").write_bytes(b"small")
    make = put if way is push else get
    counted: list[int] = []
    results = run(list(way(connection.channels(3), [make(here / name, there / name) for name in ("large", "small")], counted.append)))
    assert {result.sha256 for result in results} == {sha256(here / "large"), sha256(here / "small")}
    assert sha256(there / "large") == sha256(here / "large")
    assert names(there) == [b"large", b"small"]
    assert sum(counted) == 17_000_006


@pytest.mark.parametrize("way", [push, pull])
def test_channels_that_open_later_help(server: sshd.Server, places: tuple[Path, Path], way: Callable) -> None:  # type: ignore[type-arg]
    here, there = places
    make = put if way is push else get
    for number in range(12):
        (here / str(number)).write_bytes(contents(3_000_000, number))
    (here / "large").write_bytes(contents(16_000_000))
    more: Future[Sequence[Channel]] = Future()
    with connect(server.host, server.access("ssh")) as connection:
        counted: list[int] = []
        used: list[int] = []

        def count(size: int) -> None:
            counted.append(size)
            if len(counted) == 4:
                more.set_result(connection.channels(3))
                for channel in more.result()[1:]:
                    request = channel.request
                    channel.request = lambda *words, request=request: (used.append(1), request(*words))[1]  # type: ignore[method-assign]

        files = [make(path, there / path.name) for path in here.iterdir()]
        run(list(way(connection.channels(1), files, count, more=more)))
    assert used
    assert all(sha256(there / path.name) == sha256(path) for path in here.iterdir())
    assert names(there) == names(here)
    failed: Future[Sequence[Channel]] = Future()
    failed.set_exception(Lost("far", "is too far away"))
    with connect(server.host, server.access("ssh")) as connection:
        run(list(way(connection.channels(1), files[:2], more=failed)))


@pytest.mark.parametrize("size", [100_000, 20_000_000])
@pytest.mark.parametrize("way", [push, pull])
def test_what_is_there_is_not_sent_again(connection: Connection, places: tuple[Path, Path], way: Callable, size: int) -> None:  # type: ignore[type-arg]
    here, there = places
    (here / "file").write_bytes(contents(size))
    part = Path(os.fsdecode(part_name(os.fsencode(there / "file"))))
    part.write_bytes(contents(size)[: size // 2] + b"?" * size)  # right as far as was said, then wrong, and too long
    (result,) = run(list(way(connection.channels(2), [(put if way is push else get)(here / "file", there / "file", offset=size // 2)])))
    assert result.bytes == size - size // 2
    assert (there / "file").read_bytes() == contents(size)
    assert result.sha256 == sha256(here / "file")
    assert names(there) == [b"file"]


def test_a_file_that_changes_while_it_is_sent_fails_alone(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    for name in ("grows", "shrinks", "touched", "vanishes", "stays"):
        (here / name).write_bytes(contents(3_000_000))
    files = [put(path, there / path.name) for path in sorted(here.iterdir())]
    (here / "vanishes").unlink()

    def meddle(count: int) -> None:
        with open(here / "grows", "ab") as file:
            file.write(b"more")
        os.truncate(here / "shrinks", 5)
        os.utime(here / "touched", (10, 10))

    results = {Path(os.fsdecode(result.file.local)).name: result for result in push(connection.channels(1), files, meddle)}
    assert {name for name, result in results.items() if isinstance(result.error, TryLater)} == {"grows", "shrinks", "touched"}
    assert not any(isinstance(result.error, Lost) for result in results.values())
    assert "grows: was changed while it was sent" in str(results["grows"].error)
    assert isinstance(results["vanishes"].error, NoInput)
    assert names(there) == [b"stays"]


def test_a_file_that_changes_while_it_is_fetched_fails_alone(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    for name in ("grows", "shrinks", "stays"):
        (there / name).write_bytes(contents(3_000_000))
    files = [get(path, here / path.name) for path in sorted(there.iterdir())]
    with open(there / "grows", "ab") as file:
        file.write(b"more")
    os.truncate(there / "shrinks", 5)
    results = {Path(os.fsdecode(result.file.local)).name: result.error for result in pull(connection.channels(1), files)}
    assert isinstance(results["grows"], TryLater) and isinstance(results["shrinks"], TryLater)
    assert results["stays"] is None
    assert names(here) == [b"stays"]


def test_places_that_do_not_exist(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    (here / "file").write_bytes(b"contents")
    one, other = push(connection.channels(1), [put(here / "file", there / "no" / "file"), put(here / "file", there / "file")])
    assert isinstance(one.error, NoInput) and one.sha256 == "" and other.error is None
    (missing,) = pull(connection.channels(1), [Get(os.fsencode(there / "none"), here / "none", 5, 0o600, 0)])
    assert isinstance(missing.error, NoInput)
    (local,) = pull(connection.channels(1), [get(there / "file", here / "no" / "file")])
    assert isinstance(local.error, CannotCreate)
    (there / "directory").mkdir()
    (blocked,) = push(connection.channels(1), [put(here / "file", there / "directory")])
    assert isinstance(blocked.error, InputOutput)
    assert names(there) == [b"directory", b"file"]


def test_a_limit_is_kept(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    (here / "file").write_bytes(contents(400_000))
    for results in (
        lambda: push(connection.channels(2), [put(here / "file", there / "file")], limit=1e6),
        lambda: pull(connection.channels(2), [get(there / "file", here / "back")], limit=1e6),
    ):
        begun = time.monotonic()
        run(list(results()))
        assert time.monotonic() - begun > 0.2  # a quarter of a second's may go at once
    assert sha256(here / "back") == sha256(here / "file")


def test_names_of_the_greatest_length(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    long = ["x" * 255, "x" * 254 + "y", "ä" * 127]
    for name in long:
        (here / name).write_bytes(name.encode())
    run(list(push(connection.channels(1), [put(here / name, there / name) for name in long])))
    assert names(there) == names(here)
    assert len({part_name(name.encode()) for name in long}) == 3
    assert max(len(part_name(name.encode())) for name in long) <= 255


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("way", [push, pull])
def test_a_server_that_dies_leaves_only_whole_files(  # type: ignore[type-arg]
    server: sshd.Server, places: tuple[Path, Path], transport: str, way: Callable
) -> None:
    here, there = places
    make, results = (put if way is push else get), list[Result]()
    for number in range(10):
        (here / str(number)).write_bytes(contents(300_000, number))
    (here / "large").write_bytes(contents(48_000_000))
    files = [make(path, there / path.name) for path in sorted(here.iterdir(), key=lambda path: path.stat().st_size)]
    seen: list[int] = []

    def kill(count: int) -> None:
        if sum(seen) < 40_000_000 <= sum(seen) + count:
            server.kill_sessions("sftp-server")
        seen.append(count)

    with connect(server.host, server.access(transport)) as connection:
        iterator = way(connection.channels(2), files, kill)
        with pytest.raises(Lost):
            results += iterator
    run(results)
    done = {Path(os.fsdecode(result.file.local)).name for result in results}
    found = {os.fsdecode(name) for name in names(there)}
    whole = {name for name in found if not name.endswith(".part")}
    assert done <= whole and "large" not in whole  # one whose renaming was not confirmed may be there too
    assert all(sha256(there / name) == sha256(here / name) for name in whole)
    part = there / ".large.part"
    right = part.stat().st_size - IN_FLIGHT
    assert part.read_bytes()[: max(0, right)] == contents(48_000_000)[: max(0, right)]
    with connect(server.host, server.access(transport)) as connection:
        left = [path for path in here.iterdir() if path.name not in done]
        rest = [make(path, there / path.name, offset=max(0, right) if path.name == "large" else 0) for path in left]
        run(list(way(connection.channels(2), rest)))
    assert names(there) == names(here)
    assert all(sha256(there / path.name) == sha256(path) for path in here.iterdir())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_session_of_several_that_dies_is_noticed(server: sshd.Server, places: tuple[Path, Path], transport: str) -> None:
    """The first one: `ssh` itself goes on holding its socket for as long as the others live."""
    here, there = places
    (here / "large").write_bytes(contents(30_000_000))
    with connect(server.host, server.access(transport)) as connection:
        killed: list[int] = []

        def kill(count: int) -> None:
            if not killed:
                killed.append(server.kill_oldest("sftp-server"))

        channels = connection.channels(3)
        with pytest.raises(Lost):
            list(push(channels, [put(here / "large", there / "large")], kill))
    assert names(there) == [b".large.part"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_link_that_falls_silent_is_given_up(server: sshd.Server, places: tuple[Path, Path], transport: str) -> None:
    here, there = places
    (here / "file").write_bytes(contents(5_000_000))
    with Proxy(server.port) as proxy:
        access = dataclasses.replace(server.access(transport, proxy.port), silence=1.5)
        with connect(dataclasses.replace(server.host, port=proxy.port), access) as connection:
            run(list(push(connection.channels(1), [put(here / "file", there / "file")])))
            proxy.silent.set()
            with pytest.raises(Lost):
                list(pull(connection.channels(1), [get(there / "file", here / "back")]))


def test_a_caller_who_leaves_early_leaves_nothing_behind(server: sshd.Server, places: tuple[Path, Path]) -> None:
    here, there = places
    for number in range(20):
        (here / str(number)).write_bytes(contents(1_000_000, number))
    before = len(os.listdir("/proc/self/fd"))
    with connect(server.host, server.access("ssh")) as connection:
        iterator = push(connection.channels(2), [put(path, there / path.name) for path in here.iterdir()])
        assert next(iterator).error is None
        iterator.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_there_and_here(connection: Connection, places: tuple[Path, Path]) -> None:
    """A file system of 2 MB, where this user may mount one."""
    here, there = places
    (here / "large").write_bytes(contents(3_000_000))
    (here / "small").write_bytes(contents(1000))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", there], capture_output=True).returncode:
        pytest.skip("only root mounts a small disk")
    try:
        files = [put(here / name, there / name) for name in ("small", "large")]  # on one channel the small one's bytes go first
        small, large = sorted(push(connection.channels(1), files), key=lambda result: result.file.size)
        assert isinstance(large.error, InputOutput) and "the disk is full on 127.0.0.1" in str(large.error)
        assert small.error is None
        assert names(there) == [b"small"]
        fetched = [get(here / name, there / name) for name in ("small", "large")]
        small, large = sorted(pull(connection.channels(1), fetched), key=lambda result: result.file.size)
        assert isinstance(large.error, InputOutput) and "the disk is full" in str(large.error)
        assert small.error is None
        assert names(there) == [b"small"]
    finally:
        subprocess.run(["umount", there], check=True)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_without_any_extension(tmp_path: Path, places: tuple[Path, Path], transport: str) -> None:
    here, there = places
    (here / "file").write_bytes(contents(300_000))
    (there / "file").write_bytes(b"older")
    denied = "limits,posix-rename,statvfs,fstatvfs,fsync,hardlink,lsetstat,expand-path,copy-data,home-directory,users-groups-by-id"
    poor = sshd.server(tmp_path / "sshd", subsystem=f"{sshd.SFTP_SERVER} -P {denied}")
    with poor as server, connect(server.host, server.access(transport)) as connection:
        channel = connection.channels(1)[0]
        run(list(push([channel], [put(here / "file", there / "file")], synchronise=True)))
        run(list(pull([channel], [get(there / "file", here / "back")])))
        assert channel.limits.write == 32768
    assert sha256(there / "file") == sha256(here / "file") == sha256(here / "back")


def test_a_server_that_only_reads(tmp_path: Path, places: tuple[Path, Path]) -> None:
    here, there = places
    (here / "file").write_bytes(contents(3000))
    reading = sshd.server(tmp_path / "sshd", "MaxSessions 3", subsystem=f"{sshd.SFTP_SERVER} -R")
    with reading as server, connect(server.host, server.access("ssh")) as connection:
        (result,) = push(connection.channels(1), [put(here / "file", there / "file")])
        assert isinstance(result.error, NotPermitted)
        (made,) = remote_tree.make_directories(connection.channels(1)[0], [(os.fsencode(there / "d"), 0o755)])
        assert isinstance(made, NotPermitted)
        assert len(connection.channels(8)) == len(connection.channels(8)) == 3
        run(list(pull(connection.channels(8), [get(here / "file", there / "back")])))
    assert names(there) == [b"back"]


MEASURED = """
import sys
from pathlib import Path
from tests.unit.experiment.staging.transfers import get, put
from toolkit.experiment.staging.connection import Access, Host, connect
from toolkit.experiment.staging.engine import pull, push
way, transport, port, user, directory, here, there = sys.argv[1:]
access = Access(transport, (Path(directory) / "user_key",), (Path(directory) / "known_hosts",), Path("none"))
with connect(Host("127.0.0.1", int(port), user), access) as connection:
    channels = connection.channels(4)
    results = push(channels, [put(Path(here), Path(there))]) if way == "push" else pull(channels, [get(Path(here), Path(there))])
    (result,) = results
    assert result.error is None, result.error
    print(result.sha256)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize(("way", "transport"), [("push", "ssh"), ("pull", "paramiko")])
def test_memory_stays_small_however_large_a_file_is(server: sshd.Server, tmp_path: Path, root: Path, way: str, transport: str) -> None:
    here, there = tmp_path / "sparse", tmp_path / "there"
    with open(here, "wb") as file:
        file.truncate(300_000_000)
    words = [way, transport, str(server.port), str(server.host.user), str(server.directory), str(here), str(there)]
    ran = subprocess.run([sys.executable, "-c", MEASURED, *words], cwd=root, capture_output=True, text=True)
    assert ran.stderr == ""
    digest, peak = ran.stdout.split()
    assert digest == sha256(here)
    assert there.stat().st_size == 300_000_000
    assert int(peak) <= 120_000  # kB


def test_an_error_is_one_line_for_users(connection: Connection, places: tuple[Path, Path]) -> None:
    here, there = places
    (here / "file").write_bytes(b"x")
    file = put(here / "file", there / "no" / "file")
    (result,) = push(connection.channels(1), [file])
    assert isinstance(result.error, ToolError)
    assert str(result.error) == f"{there}/no/file: cannot be created: No such file or directory on 127.0.0.1; check the path"
    assert isinstance(file, Put)
