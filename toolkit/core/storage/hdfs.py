"""HDFS as a store by its own protocol, by hdfs-native."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from toolkit.core.errors import InputOutput
from toolkit.core.storage.failures import package_missing
from toolkit.core.storage.remote import ANSWER, RemoteStore
from toolkit.core.storage.source import Source
from toolkit.core.storage.store import Entry, is_temporary, temporary_beside

if TYPE_CHECKING:
    from hdfs_native import FileStatus, FileWriter, WriteOptions

_TRIES, _LAST_TRIES = 4, 12  # with as many copies of a block; and with a single one
_PATIENCE = 300.0  # seconds in which a file is begun again
_SYNCHRONISED, _SLOWEST_DISK = 5.0, 10e6  # seconds that a DataNode may take to synchronise a file, and its bytes a second
_MEBIBYTE = 1 << 20


class HdfsStore(RemoteStore):
    """HDFS; a file is synchronised on its DataNodes (hsync) before it gets its name.

    A NameNode names a dead DataNode for ten minutes, and hdfs-native cannot leave it out when it begins a block. So a file that meets
    one is begun again: the NameNode may choose other nodes. Where there are none it is written with fewer copies, and HDFS makes the
    missing ones as soon as it can.
    """

    def __init__(self, url: str, root: str, address: str) -> None:
        super().__init__(url, root)
        try:
            from hdfs_native import Client
        except ModuleNotFoundError as error:
            raise package_missing("hdfs-native", "hdfs") from error
        settings = {
            "dfs.client.socket-timeout": str(ANSWER * 1000),
            # its own 15 attempts with growing pauses would keep a cron job waiting for minutes
            "dfs.client.failover.max.attempts": "3",
            "dfs.client.failover.sleep.max.millis": "1000",
        }
        self._client = Client(f"hdfs://{address}", settings)

    def _write(self, name: str, source: Source) -> str:
        path = self._path(name)
        temporary = temporary_beside(path)
        self._client.mkdirs(os.path.dirname(path), 0o755, True)
        try:
            found, copies = self._fill(temporary, source)
            if self._client.get_file_info(temporary).length != source.size:
                raise InputOutput(self._place(name), "the servers keep another number of bytes than were sent", "put it again")
            if copies:
                self._client.set_replication(temporary, copies)
            self._client.rename(temporary, path, True)
        except BaseException:
            with contextlib.suppress(Exception):  # the server may be what failed; its name is never listed
                self._client.delete(temporary)
            raise
        return found

    def _fill(self, temporary: str, source: Source) -> tuple[str, int]:
        """Write a file, beginning again when a DataNode fails; its digest, and the number of copies that it still has to get, or 0."""
        from hdfs_native import WriteOptions

        end = time.monotonic() + _PATIENCE
        options, copies, usual = WriteOptions(overwrite=True), 0, 0
        pause, patience = 0.0, _SYNCHRONISED
        others: Iterator[WriteOptions] | None = None
        while True:
            output = self._client.create(temporary, options)
            try:
                for chunk in source:
                    output.write(chunk)
                found = source.finish()
                time.sleep(pause)
                _synchronise(output, patience + source.size / _SLOWEST_DISK)
                output.close()
                return found, copies
            except BaseException as error:
                # not by its own close(), which would ask the NameNode for 15 seconds whether this file is complete now
                io.RawIOBase.close(output)
                if not isinstance(error, (OSError, RuntimeError)) or time.monotonic() > end or not source.rewind():
                    raise
                status = self._client.get_file_info(temporary)
                others = others or _other_ways(status, source.length() or 0)
                another = next(others, None)
                if another is None:
                    raise
                usual = usual or status.replication or 0
                # the pause makes it unlikely that hsync comes before the news that a node is dead
                options, copies = another, usual if another.replication else 0
                pause, patience = 0.1, min(2 * patience, ANSWER)

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
        for found in self._files(prefix):
            yield Entry(found.path[len(self._root) + 1 :], int(found.length))

    def _tidy(self, before: float) -> int:
        left = [found.path for found in self._files("") if is_temporary(found.path) and found.modification_time / 1000 < before]
        return sum(self._client.delete(path) for path in left)

    def _files(self, prefix: str) -> Iterator[FileStatus]:
        with contextlib.suppress(FileNotFoundError):
            for found in sorted(self._client.list_status(self._path(prefix), True), key=lambda one: one.path):
                if not found.isdir:
                    yield found


def _other_ways(status: FileStatus, length: int) -> Iterator[WriteOptions]:
    """How a file of `length` bytes is tried again whose DataNodes failed: as before, then with fewer copies.

    In one block, as each further block would be given to two nodes of which one is dead, by the throw of a coin.
    """
    from hdfs_native import WriteOptions

    usual = status.replication or 0  # none where the directory is erasure-coded
    for _ in range(1, _TRIES):
        yield WriteOptions(overwrite=True)
    block = max(status.blocksize or 0, -(-length // _MEBIBYTE) * _MEBIBYTE)
    for copies in range(usual - 1, 0, -1):
        for _ in range(_LAST_TRIES if copies == 1 else _TRIES):
            yield WriteOptions(overwrite=True, replication=copies, block_size=block)


def _synchronise(output: FileWriter, seconds: float) -> None:
    """Bring a file's bytes on its DataNodes' disks. Raises TimeoutError when that takes longer.

    Where the nodes fail just then hdfs-native waits for ever, so that thread is left to itself. (Its asynchronous client could be
    cancelled, but panics when the NameNode is gone.)
    """
    done: Future[None] = Future()

    def work() -> None:
        try:
            output.hsync()
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=work, name="hsync", daemon=True).start()
    done.result(seconds)
