"""HDFS as a store over HTTP, where its own protocol does not get through; by fsspec's client and requests.

Source: Hadoop 3.3.6, WebHDFS REST API; how a DataNode is left out is in its NamenodeWebHdfsMethods.chooseDatanode.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toolkit.core.errors import InputOutput, UsageError
from toolkit.core.storage.failures import failures_named, package_missing
from toolkit.core.storage.remote import ANSWER, CONNECT, RemoteStore
from toolkit.core.storage.source import Source
from toolkit.core.storage.store import Entry, is_temporary, plain, temporary_beside

if TYPE_CHECKING:
    from requests import Response

_TRIES = 6  # of a request to a DataNode, each to another one
_DEAD = 600.0  # seconds for which a DataNode that did not answer is left out; a NameNode takes as long to notice


class WebHdfsStore(RemoteStore):
    """HDFS by way of its web servers. A DataNode writes through HDFS's own client, which replaces dead nodes in the middle of a file."""

    def __init__(self, url: str, root: str, host: str, port: int, user: str | None) -> None:
        super().__init__(url, root)
        try:
            from fsspec.implementations.webhdfs import WebHDFS
        except ModuleNotFoundError as error:
            raise package_missing(error.name or "fsspec", "hdfs") from error
        user = user or os.environ.get("HADOOP_USER_NAME")
        if user and not plain(user):
            raise UsageError("HADOOP_USER_NAME", "is not a user's name", "set it to plain letters and digits")
        self._fs = WebHDFS(host, port, user=user, skip_instance_cache=True, use_listings_cache=False)
        self._fs.session.request = functools.partial(self._fs.session.request, timeout=(CONNECT, ANSWER))
        self._beans = f"http://{host}:{port}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        self._dead: dict[str, float] = {}  # DataNodes by their addresses for data, and when they may be asked again

    def _write(self, name: str, source: Source) -> str:
        path = self._path(name)
        tried: list[str] = []

        def another() -> str:  # for each try, as a slow node may still begin the last one's file
            tried.append(temporary_beside(path))
            return tried[-1]

        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            # one request for the whole file; fsspec's own writer appends block by block to an empty file
            self._at_a_node("CREATE", "put", another, source, overwrite="false")
            found = source.finish()
            if self._fs.info(tried[-1])["size"] != source.size:
                raise InputOutput(self._place(name), "the servers keep another number of bytes than were sent", "put it again")
            self._fs._call("RENAME", "put", path=tried[-1], destination=path, renameoptions="OVERWRITE")
            tried.pop()
        finally:
            for temporary in tried:
                with contextlib.suppress(Exception):  # the server may be what failed; its name is never listed
                    self._fs.rm(temporary)
        return found

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        return lambda offset, length: self._at_a_node("OPEN", "get", lambda: self._path(name), offset=offset, length=length).content

    def _at_a_node(self, op: str, method: str, path: Callable[[], str], source: Source | None = None, **parameters: Any) -> Response:
        """The answer of the DataNode that the NameNode sends us to; where that one is dead, which the NameNode notices after ten
        minutes, of another one. `path` is called for each try."""
        from requests import ConnectionError as NoConnection
        from requests import Timeout
        from requests.exceptions import ChunkedEncodingError

        for left in reversed(range(_TRIES)):
            answer = self._ask(op, method, path(), **parameters)
            node = answer.headers.get("Location")
            if node is None:  # HttpFS gives the bytes itself
                return answer
            try:
                headers = {"content-type": "application/octet-stream"}
                answer = self._fs.session.request(method, node, data=None if source is None else iter(source), headers=headers)
                return _good(answer)
            except (NoConnection, Timeout, ChunkedEncodingError):
                if not left or not (source is None or source.rewind()):
                    with failures_named(f"http://{urlsplit(node).netloc}"):  # not the store's own address
                        raise
                self._dead[self._address_for_data(node)] = time.monotonic() + _DEAD
        raise AssertionError("the last try returns or raises")

    def _ask(self, op: str, method: str, path: str, **parameters: Any) -> Response:
        """The NameNode's answer, which leaves out the DataNodes that are known to be dead, unless there are no others."""
        dead = [node for node, end in list(self._dead.items()) if end > time.monotonic()]
        if dead:
            with contextlib.suppress(RuntimeError):
                return self._fs._call(op, method, path=path, redirect=False, excludedatanodes=",".join(dead), **parameters)
            self._dead.clear()
        return self._fs._call(op, method, path=path, redirect=False, **parameters)

    def _address_for_data(self, node: str) -> str:
        """The IP address and port by which the NameNode knows the DataNode that serves the URL `node`.

        That port is not the URL's. Where the NameNode does not tell it to everybody, the address alone has to do: it means any node
        on that machine, of which there is one everywhere but in tests.
        """
        parts = urlsplit(node)
        host, port = parts.hostname or "", parts.port
        with contextlib.suppress(OSError):
            host = socket.gethostbyname(host)
        with contextlib.suppress(Exception):  # all that can go wrong with a request, and with an answer of another form
            beans = self._fs.session.get(self._beans).json()["beans"]
            for one in json.loads(beans[0]["LiveNodes"]).values():
                if one["infoAddr"] == f"{host}:{port}":
                    return str(one["xferaddr"])
        return host

    def _size(self, name: str) -> int:
        found = self._fs.info(self._path(name))
        if found["type"] != "file":
            raise FileNotFoundError(name)
        return int(found["size"])

    def _delete(self, name: str) -> None:
        self._fs.rm(self._path(name))

    def _list(self, prefix: str) -> Iterator[Entry]:
        for found in self._files(self._path(prefix)):
            yield Entry(found["name"][len(self._root) + 1 :], int(found["size"]))

    def _tidy(self, before: float) -> int:
        left = [one for one in self._files(self._path("")) if is_temporary(one["name"]) and one["modificationTime"] / 1000 < before]
        for one in left:
            self._fs.rm(one["name"])
        return len(left)

    def _files(self, path: str) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            for found in self._fs.ls(path, detail=True):
                if found["type"] == "directory":
                    yield from self._files(found["name"])
                elif found["pathSuffix"]:  # empty where `path` itself is an object
                    yield found


def _good(answer: Response) -> Response:
    """An answer of a DataNode that is no error; raises what fsspec's client does for the NameNode's."""
    if answer.ok:
        return answer
    try:
        problem = answer.json()["RemoteException"]
        kind, message = str(problem["exception"]), str(problem["message"])
    except (ValueError, LookupError, TypeError):
        answer.raise_for_status()
        raise
    if kind == "FileNotFoundException":
        raise FileNotFoundError(message)
    if kind in ("AccessControlException", "SecurityException"):
        raise PermissionError(message)
    raise RuntimeError(message)
