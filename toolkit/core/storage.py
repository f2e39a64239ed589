"""One way to keep objects: a directory, HDFS, WebHDFS or S3 by URL; whole or not at all, and checked by digest.

An object has a name of plain words between slashes (``visits/year=2026/month=01/p1.parquet``) and is written once. It appears under
its name when all its bytes are there: under a temporary name that begins with a point and then renamed, or by one upload that S3
completes at once. Names that begin with a point are never listed.

Addresses and credentials of servers come from where their own programs read them: ``AWS_ENDPOINT_URL``, ``AWS_PROFILE`` and
``~/.aws`` for S3, ``HADOOP_CONF_DIR`` and ``HADOOP_USER_NAME`` for HDFS; never from the URL, which every user sees in the list
of processes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from toolkit.core.errors import BadData, CannotCreate, InputOutput, NoInput, NotPermitted, ToolError, Unavailable, UsageError
from toolkit.core.streams import atomic_output, synchronise

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

CHUNK = 8 << 20  # bytes moved at once
_READ_AHEAD = 1 << 20  # bytes; smaller reads would each cost one request
_CONNECT, _ANSWER = 10, 120  # seconds that a server has to take a connection, and to answer
_WORD = re.compile(r"[A-Za-z0-9_=+,@-][A-Za-z0-9_=+,@.-]*")  # the same on every system: no colon (HDFS), no space, % or ? (URLs)
_SERVER = "look whether the server runs and the URL is right, then run it again; nothing was half written"


class Entry(NamedTuple):
    """One listed object: its name in the store, and its size in bytes."""

    name: str
    size: int


def open_store(url: str) -> Store:
    """The store at `url`: a path, ``file://``, ``s3://BUCKET/PATH``, ``hdfs://HOST:PORT/PATH`` or ``webhdfs://[USER@]HOST:PORT/PATH``.

    A directory is made when the first object is put; a bucket must exist. A store may be used by several threads; a process that
    forks must open it afterwards.

    Raises UsageError for another kind of URL and for one with a password, Unavailable when the package for it is not installed or
    the server does not answer.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme == "file":
        path = url if parts is None else unquote(parts.path)
        if not path or (parts is not None and parts.netloc not in ("", "localhost")):
            raise UsageError(url or "store", "names no directory", "give a path or file:///PATH")
        return _LocalStore(path)
    if parts.scheme not in ("s3", "hdfs", "webhdfs"):
        raise UsageError("store", f"{parts.scheme}:// is not supported", "give a path, s3://, hdfs:// or webhdfs://")
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError("store", "its URL holds a password or options", "give scheme://HOST/PATH; keep credentials in AWS_PROFILE or Hadoop's own files")
    root = parts.path.strip("/")
    if not parts.hostname or (root and not _plain(root)):
        raise UsageError(url, "is not an address of a store", "give s3://BUCKET/PATH or hdfs://HOST:PORT/PATH in plain letters and digits")
    with _failures_named(url):
        if parts.scheme == "s3":
            return _S3Store(url, f"{parts.netloc}/{root}".rstrip("/"), _s3())
        if parts.scheme == "hdfs":
            return _HdfsStore(url, f"/{root}".rstrip("/"), _hdfs(parts.netloc))
        return _WebHdfsStore(url, f"/{root}".rstrip("/"), _webhdfs(parts.hostname, parts.port, parts.username))


class Store:
    """Objects by name. What differs between kinds of store is in its four subclasses; everything checked is checked here.

    Every method raises Unavailable when the server cannot be reached, NotPermitted when it refuses this user, InputOutput when reading
    or writing fails half-way, and UsageError for a name that is not plain.
    """

    url: str

    def put(self, name: str, data: bytes | str | os.PathLike[str] | BinaryIO, digest: str | None = None) -> str:
        """Keep `data`, bytes, the file of that path, or a stream from where it stands, as `name`; gives ``sha256:`` and its digest.

        An object of that name is replaced at once. When this returns the object is durable as far as the server promises it. With
        `digest` nothing becomes visible unless the bytes have it. Raises BadData when they do not, NoInput when there is no such file.
        """
        self._check(name)
        if isinstance(data, (str, os.PathLike)):
            try:
                opened = open(data, "rb")  # noqa: SIM115 - closed below, errors of the body must not be caught here
            except OSError as error:
                raise NoInput(os.fspath(data), error.strerror or str(error), "name a file that exists and can be read") from error
            with opened:
                return self.put(name, opened, digest)
        stream = io.BytesIO(data) if isinstance(data, (bytes, bytearray, memoryview)) else data
        with _failures_named(self._place(name)):
            return self._write(name, _Hashed(stream, self._place(name), digest))

    def get(self, name: str, digest: str | None = None) -> bytes:
        """All bytes of `name`. Raises NoInput when there is no such object, BadData when `digest` is given and they have another one."""
        with self.open(name) as stream:
            content = stream.read()
        if digest is not None:
            _compare(self._place(name), digest, digest_of(content))
        return content

    def open(self, name: str) -> BinaryIO:
        """`name` for reading and seeking, buffered; a short answer of the server is InputOutput, never the end of the object."""
        self._check(name)
        with _failures_named(self._place(name)):
            return self._open(name)

    def digest(self, name: str) -> str:
        """``sha256:`` and the digest of the bytes that the store gives now: they are all read."""
        state = hashlib.sha256()
        with self.open(name) as stream, _failures_named(self._place(name)):
            while chunk := stream.read(CHUNK):
                state.update(chunk)
        return f"sha256:{state.hexdigest()}"

    def exists(self, name: str) -> bool:
        """Whether there is an object `name`; a directory is none."""
        try:
            self.size(name)
        except NoInput:
            return False
        return True

    def size(self, name: str) -> int:
        """Its bytes. Raises NoInput when there is no such object."""
        self._check(name)
        with _failures_named(self._place(name)):
            return self._size(name)

    def delete(self, name: str) -> bool:
        """Remove the object `name`; False when there was none."""
        if not self.exists(name):
            return False
        with _failures_named(self._place(name)):
            self._delete(name)
        return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The objects in the directory `prefix` and below, or in the whole store; none when there is no such directory."""
        prefix = prefix.strip("/")
        if prefix:
            self._check(prefix)
        with _failures_named(self._place(prefix)):
            for entry in self._list(prefix):
                if not any(word.startswith(".") for word in entry.name.split("/")):
                    yield entry

    def _place(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    @staticmethod
    def _check(name: str) -> None:
        if not _plain(name):
            raise UsageError(repr(name), "cannot name an object", "use words of letters, digits and _=+,@.- between slashes")

    def _write(self, name: str, source: _Hashed) -> str:
        raise NotImplementedError

    def _open(self, name: str) -> BinaryIO:
        raise NotImplementedError

    def _size(self, name: str) -> int:
        raise NotImplementedError

    def _delete(self, name: str) -> None:
        raise NotImplementedError

    def _list(self, prefix: str) -> Iterator[Entry]:
        raise NotImplementedError


def digest_of(data: bytes) -> str:
    """``sha256:`` and the digest of `data` in hexadecimal."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _LocalStore(Store):
    """A directory. The object and every directory on its way are synchronised before `put` returns."""

    def __init__(self, path: str) -> None:
        self.url = self._root = os.path.abspath(path)

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name)

    def _write(self, name: str, source: _Hashed) -> str:
        target = self._path(name)
        if os.path.isdir(target):
            raise CannotCreate(target, "is a directory", "choose another name")
        _make_directories(os.path.dirname(target))
        with atomic_output(target) as output:
            for chunk in source:
                output.write(chunk)
            found = source.finish()
        synchronise(os.path.dirname(target))
        return found

    def _open(self, name: str) -> BinaryIO:
        return open(self._path(name), "rb")

    def _size(self, name: str) -> int:
        if not os.path.isfile(self._path(name)):
            raise FileNotFoundError(name)
        return os.path.getsize(self._path(name))

    def _delete(self, name: str) -> None:
        os.unlink(self._path(name))
        synchronise(os.path.dirname(self._path(name)))

    def _list(self, prefix: str) -> Iterator[Entry]:
        for directory, inner, files in os.walk(self._path(prefix), onerror=_unless_missing):
            inner[:] = sorted(word for word in inner if not word.startswith("."))
            for file in sorted(files):
                path = os.path.join(directory, file)
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    yield Entry(os.path.relpath(path, self._root), os.path.getsize(path))


class _RemoteStore(Store):
    """What HDFS, WebHDFS and S3 have in common: reading by ranges."""

    def __init__(self, url: str, root: str) -> None:
        self.url, self._root = url, root

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root or "/"

    def _open(self, name: str) -> BinaryIO:
        return io.BufferedReader(_Ranges(self._place(name), self._size(name), self._ranges(name)), _READ_AHEAD)

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        """A function that gives so many bytes from that offset."""
        raise NotImplementedError


class _S3Store(_RemoteStore):
    """A bucket. An object of at most `_PART` bytes is one PUT, a larger one a multipart upload that one request completes."""

    _PART = 32 << 20

    def __init__(self, url: str, root: str, filesystem: AbstractFileSystem) -> None:
        super().__init__(url, root)
        self._fs = filesystem

    def _write(self, name: str, source: _Hashed) -> str:
        # fsspec's own `with` would complete the upload of a part when the body fails
        upload = self._fs.open(self._path(name), "wb", block_size=self._PART, autocommit=False)
        try:
            for chunk in source:
                upload.write(chunk)
            found = source.finish()
            upload.close()
            upload.commit()
        except BaseException:
            with contextlib.suppress(Exception):  # the server may be what failed; unfinished uploads are never visible
                upload.discard()
            upload.closed = True  # else it would try to go on when it is collected
            raise
        if self._size(name) != source.size:
            raise InputOutput(self._place(name), "the server keeps another number of bytes than were sent", "put it again")
        return found

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        return lambda offset, length: self._fs.cat_file(self._path(name), start=offset, end=offset + length)

    def _size(self, name: str) -> int:
        found = self._fs.info(self._path(name))
        if found["type"] != "file":
            raise FileNotFoundError(name)
        return int(found["size"])

    def _delete(self, name: str) -> None:
        self._fs.rm_file(self._path(name))

    def _list(self, prefix: str) -> Iterator[Entry]:
        start = self._path(prefix).rstrip("/") + "/"
        for path, found in sorted(self._fs.find(start, detail=True).items()):
            if path.startswith(start) and found["type"] == "file":
                yield Entry(path[len(self._root) + 1 :], int(found["size"]))


class _HdfsStore(_RemoteStore):
    """HDFS by its own protocol; a file is synchronised on its DataNodes (hsync) before it gets its name."""

    def __init__(self, url: str, root: str, client: Any) -> None:
        super().__init__(url, root)
        self._client = client

    def _write(self, name: str, source: _Hashed) -> str:
        path = self._path(name)
        temporary = _beside(path)
        self._client.mkdirs(os.path.dirname(path), 0o755, True)
        try:
            with self._client.create(temporary) as output:
                for chunk in source:
                    output.write(chunk)
                found = source.finish()
                output.hsync()
            if self._client.get_file_info(temporary).length != source.size:
                raise InputOutput(self._place(name), "the servers keep another number of bytes than were sent", "put it again")
            self._client.rename(temporary, path, True)
        except BaseException:
            with contextlib.suppress(Exception):  # the server may be what failed; its name is never listed
                self._client.delete(temporary)
            raise
        return found

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        return self._client.read(self._path(name)).read_range

    def _size(self, name: str) -> int:
        found = self._client.get_file_info(self._path(name))
        if found.isdir:
            raise FileNotFoundError(name)
        return int(found.length)

    def _delete(self, name: str) -> None:
        self._client.delete(self._path(name))

    def _list(self, prefix: str) -> Iterator[Entry]:
        with contextlib.suppress(FileNotFoundError):
            for found in sorted(self._client.list_status(self._path(prefix), True), key=lambda one: one.path):
                if not found.isdir:
                    yield Entry(found.path[len(self._root) + 1 :], int(found.length))


class _WebHdfsStore(_RemoteStore):
    """HDFS over HTTP, where its own protocol does not get through (Hadoop's WebHDFS REST API)."""

    def __init__(self, url: str, root: str, filesystem: Any) -> None:
        super().__init__(url, root)
        self._fs = filesystem

    def _write(self, name: str, source: _Hashed) -> str:
        path = self._path(name)
        temporary = _beside(path)
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            # one request for the whole file; fsspec's own writer appends block by block to an empty file
            answer = self._fs._call("CREATE", "put", path=temporary, redirect=False, overwrite="true")
            node = answer.headers["Location"]
            answer = self._fs.session.put(node, data=iter(source), headers={"content-type": "application/octet-stream"})
            answer.raise_for_status()
            found = source.finish()
            if self._fs.info(temporary)["size"] != source.size:
                raise InputOutput(self._place(name), "the servers keep another number of bytes than were sent", "put it again")
            self._fs._call("RENAME", "put", path=temporary, destination=path, renameoptions="OVERWRITE")
        except BaseException:
            with contextlib.suppress(Exception):  # the server may be what failed; its name is never listed
                self._fs.rm(temporary)
            raise
        return found

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        return lambda offset, length: self._range(name, offset, length)

    def _range(self, name: str, offset: int, length: int) -> bytes:
        """The NameNode sends us to one DataNode; where that one is dead, we ask for another."""
        from requests import ConnectionError as NoConnection
        from requests import Timeout

        dead: list[str] = []
        while True:
            without = {"excludedatanodes": ",".join(dead)} if dead else {}
            answer = self._fs._call("OPEN", path=self._path(name), redirect=False, offset=offset, length=length, **without)
            if "Location" not in answer.headers:
                return bytes(answer.content)
            try:
                answer = self._fs.session.get(answer.headers["Location"])
                answer.raise_for_status()
                return bytes(answer.content)
            except (NoConnection, Timeout):
                node = urlsplit(answer.headers["Location"]).netloc
                if node in dead or len(dead) == 3:
                    raise
                dead.append(node)

    def _size(self, name: str) -> int:
        found = self._fs.info(self._path(name))
        if found["type"] != "file":
            raise FileNotFoundError(name)
        return int(found["size"])

    def _delete(self, name: str) -> None:
        self._fs.rm(self._path(name))

    def _list(self, prefix: str) -> Iterator[Entry]:
        with contextlib.suppress(FileNotFoundError):
            for found in self._fs.ls(self._path(prefix), detail=True):
                name = found["name"][len(self._root) :].lstrip("/")
                if found["type"] == "directory":
                    yield from self._list(name)
                elif found["pathSuffix"]:  # empty where `prefix` itself is an object
                    yield Entry(name, int(found["size"]))


class _Hashed:
    """The chunks of a stream; their digest and number of bytes when all have gone by."""

    def __init__(self, stream: BinaryIO, place: str, expected: str | None) -> None:
        self._stream, self._place, self._expected = stream, place, expected
        self._state, self.size = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._stream.read(CHUNK)
            except OSError as error:
                problem = f"what it is made from cannot be read: {error.strerror or error}"
                raise InputOutput(self._place, problem, "repair that first") from error
            if not chunk:
                return
            self._state.update(chunk)
            self.size += len(chunk)
            yield chunk

    def finish(self) -> str:
        """The digest. Raises BadData when another one was expected."""
        found = f"sha256:{self._state.hexdigest()}"
        if self._expected is not None:
            _compare(self._place, self._expected, found)
        return found


class _Ranges(io.RawIOBase):
    """A remote object that is read by ranges; whoever wraps it in a BufferedReader may share it between threads."""

    def __init__(self, place: str, size: int, read_range: Callable[[int, int], bytes]) -> None:
        self._place, self._size, self._read_range, self._offset = place, size, read_range, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._offset = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size}[whence])
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._offset))
        if not wanted:
            return 0
        with _failures_named(self._place):
            found = self._read_range(self._offset, wanted)
        if len(found) != wanted:  # an end too early would pass for a shorter object
            raise InputOutput(self._place, f"the server gave {len(found)} of {wanted} bytes", "read it again")
        buffer[:wanted] = found
        self._offset += wanted
        return wanted

    def readall(self) -> bytes:
        """In chunks of ours: io's own would be 8 kB, each one a request."""
        content = bytearray(max(0, self._size - self._offset))
        view = memoryview(content)
        for place in range(0, len(content), CHUNK):
            self.readinto(view[place : place + CHUNK])
        view.release()
        return bytes(content)


def _plain(name: str) -> bool:
    return len(name) <= 1000 and all(_WORD.fullmatch(word) for word in name.split("/"))


def _compare(place: str, expected: str, found: str) -> None:
    if expected.lower() != found:
        raise BadData(place, f"its digest is {found}, not {expected}", "restore it from the other copy, or make it again")


def _beside(path: str) -> str:
    directory, name = os.path.split(path)
    return f"{directory}/.{name[:40]}.{os.urandom(6).hex()}"


def _make_directories(path: str) -> None:
    """As os.makedirs, and each new name is on disk."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_directories(parent)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        synchronise(parent)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "name a directory that can be written") from error


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextlib.contextmanager
def _failures_named(place: str) -> Iterator[None]:
    """Turn the errors of file systems and of four client libraries into ours, one line each."""
    try:
        yield
    except ToolError:
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoInput(place, "is not there", "look at the name, and at the store's URL") from error
    except PermissionError as error:
        raise NotPermitted(place, _first_line(error), "ask for the right to use it, or give the right credentials") from error
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            raise NotPermitted(place, "there are no credentials for it", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret") from error
        if "://" not in place and isinstance(error, OSError):
            raise InputOutput(place, _first_line(error), "make room or repair the disk, then run it again") from error
        if library in ("requests", "urllib3", "aiohttp", "botocore", "aiobotocore") or isinstance(error, (OSError, RuntimeError)):
            raise Unavailable(place, _first_line(error), _SERVER) from error
        raise


def _first_line(error: BaseException) -> str:
    """Java's exceptions bring their stack."""
    words = getattr(error, "strerror", None) or str(error)
    return (words.strip().splitlines() or [type(error).__name__])[0][:300]


def _package(name: str, extra: str) -> Unavailable:
    return Unavailable(f"Python package {name}", "is not installed", f"pip install 'scape-toolkit[{extra}]'")


def _s3() -> AbstractFileSystem:
    try:
        from s3fs import S3FileSystem
    except ModuleNotFoundError as error:
        raise _package("s3fs", "s3") from error
    settings = {"connect_timeout": _CONNECT, "read_timeout": _ANSWER, "retries": {"max_attempts": 2}}
    return S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=settings)


def _hdfs(address: str) -> Any:
    try:
        from hdfs_native import Client
    except ModuleNotFoundError as error:
        raise _package("hdfs-native", "hdfs") from error
    # its own 15 attempts with growing pauses would keep a cron job waiting for minutes
    return Client(f"hdfs://{address}", {"dfs.client.failover.max.attempts": "3", "dfs.client.socket-timeout": str(_ANSWER * 1000)})


def _webhdfs(host: str, port: int | None, user: str | None) -> Any:
    try:
        from fsspec.implementations.webhdfs import WebHDFS
    except ModuleNotFoundError as error:
        raise _package(error.name or "fsspec", "hdfs") from error
    user = user or os.environ.get("HADOOP_USER_NAME")
    filesystem = WebHDFS(host, port or 9870, user=user, skip_instance_cache=True, use_listings_cache=False)
    filesystem.session.request = functools.partial(filesystem.session.request, timeout=(_CONNECT, _ANSWER))
    return filesystem
