"""A store's objects but for the documents: row tables, lists of packs, lists of replaced pseudonyms."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow
from pyarrow import parquet

from toolkit.core.storage import digest_of
from toolkit.datacentre.index import StoredObject
from toolkit.datacentre.packs import manifest_object, write_manifest


def write_rows(directory: Path, pack: str, documents: int, tables: Iterable[tuple[str, pyarrow.Table]]) -> int:
    """Write a pack's row tables, named as by `toolkit.datacentre.packs.RowTables`, then its list; the bytes of the tables."""
    objects = []
    for key, table in tables:
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd")
        objects.append(_put(directory, f"rows/{key}/{pack}.parquet", sink.getvalue()))
    _put(directory, manifest_object(pack), write_manifest(pack, "2026-01-01T00:00:00+00:00", documents, objects))
    return sum(one.size for one in objects)


def write_list(directory: Path, aliases: Iterable[tuple[str, str, str]]) -> None:
    """Write a list of replaced pseudonyms: kind, old, new."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("kind", "old", "new"), *aliases])
    data = text.getvalue().encode()
    _put(directory, f"aliases/{digest_of(data).removeprefix('sha256:')}.csv", data)


def _put(directory: Path, name: str, data: bytes | pyarrow.Buffer) -> StoredObject:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return StoredObject(name, digest_of(data), len(data))
