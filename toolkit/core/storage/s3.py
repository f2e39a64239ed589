"""A bucket of S3 as a store, by s3fs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from toolkit.core.errors import InputOutput
from toolkit.core.storage.failures import package_missing
from toolkit.core.storage.remote import ANSWER, CONNECT, RemoteStore
from toolkit.core.storage.source import Source
from toolkit.core.storage.store import Entry

_PART = 16 << 20  # bytes; S3 takes 10,000 parts of an object, of 5 MB or more


class S3Store(RemoteStore):
    """A bucket. An object of at most `_PART` bytes is one PUT, a larger one a multipart upload that one request completes."""

    def __init__(self, url: str, root: str) -> None:
        super().__init__(url, root)
        try:
            from s3fs import S3FileSystem
        except ModuleNotFoundError as error:
            raise package_missing(error.name or "s3fs", "s3") from error
        settings = {
            "connect_timeout": CONNECT,
            "read_timeout": ANSWER,
            "retries": {"max_attempts": 2},
            # newer checksums come behind the body over TLS, which servers other than Amazon's often refuse; our own digest covers more
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        self._fs = S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=settings)

    def _write(self, name: str, source: Source) -> str:
        # fsspec's own `with` would complete the upload of a part when the body fails
        upload = self._fs.open(self._path(name), "wb", block_size=_PART, autocommit=False)
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

    def _tidy(self, before: float) -> int:
        """Their parts are paid for, and nothing lists them."""
        bucket, _, start = f"{self._root}/".partition("/")
        removed = 0
        for upload in self._uploads(bucket, start):
            if upload["Initiated"].timestamp() < before:
                with contextlib.suppress(FileNotFoundError):  # it has been completed meanwhile
                    self._fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                    removed += 1
        return removed

    def _uploads(self, bucket: str, start: str) -> Iterator[dict[str, Any]]:
        position: dict[str, str] = {}
        while True:
            try:
                answer = self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=start, **position)
            except FileNotFoundError:  # rclone says so of a bucket that never had one
                return
            yield from answer.get("Uploads", [])
            if not answer.get("IsTruncated"):
                return
            position = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}
