"""One way to keep objects: a directory, HDFS, WebHDFS or S3 by URL; whole or not at all, and checked by digest.

An object has a name of plain words between slashes (``visits/year=2026/month=01/p1.parquet``) and is written once. It appears under
its name when all its bytes are there: under a temporary name that begins with a point and then renamed, or by one upload that S3
completes at once. Names that begin with a point are never listed. What a killed writer left behind is removed by `Store.tidy`.

Addresses and credentials of servers come from where their own programs read them: ``AWS_ENDPOINT_URL``, ``AWS_PROFILE`` and
``~/.aws`` for S3, ``HADOOP_CONF_DIR`` and ``HADOOP_USER_NAME`` for HDFS; never from the URL, which every user sees in the list
of processes. toolkit(7) tells users the same.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from toolkit.core.errors import UsageError
from toolkit.core.storage.failures import failures_named
from toolkit.core.storage.store import Entry, Store, digest_of, plain

__all__ = ["Entry", "Store", "digest_of", "open_store"]


def open_store(url: str) -> Store:
    """The store at `url`: a path, ``file://``, ``s3://BUCKET/PATH``, ``hdfs://HOST:PORT/PATH`` or ``webhdfs://[USER@]HOST:PORT/PATH``.

    A directory is made when the first object is put; a bucket must exist. A store may be used by several threads; a process that
    forks must open it afterwards.

    Raises UsageError for another kind of URL and for one with a password, Unavailable when the package for it is not installed or
    the server does not answer.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme == "file":
        from toolkit.core.storage.local import LocalStore

        path = url if parts is None else unquote(parts.path)
        if not path or (parts is not None and parts.netloc not in ("", "localhost")):
            raise UsageError(url or "store", "names no directory", "give a path or file:///PATH")
        return LocalStore(path)
    if parts.scheme not in ("s3", "hdfs", "webhdfs"):
        raise UsageError("store", f"{parts.scheme}:// is not supported", "give a path, s3://, hdfs:// or webhdfs://")
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "store", "its URL holds a password or options", "give scheme://HOST/PATH; keep credentials in AWS_PROFILE or Hadoop's own files"
        )
    root = parts.path.strip("/")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if not parts.hostname or port == -1 or (root and not plain(root)) or not plain(parts.username or "none"):
        raise UsageError(url, "is not an address of a store", "give s3://BUCKET/PATH or hdfs://HOST:PORT/PATH in plain letters and digits")
    with failures_named(url):
        if parts.scheme == "s3":
            from toolkit.core.storage.s3 import S3Store

            return S3Store(url, f"{parts.netloc}/{root}".rstrip("/"))
        if parts.scheme == "hdfs":
            from toolkit.core.storage.hdfs import HdfsStore

            return HdfsStore(url, f"/{root}".rstrip("/"), parts.netloc)
        from toolkit.core.storage.webhdfs import WebHdfsStore

        return WebHdfsStore(url, f"/{root}".rstrip("/"), parts.hostname, port or 9870, parts.username)
