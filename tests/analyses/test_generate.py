"""The generated row tables: the same again, in the packer's layout, and what the documents beside them say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyarrow import parquet

from tests.analyses.generate import generate
from toolkit.core.storage import digest_of, open_store
from toolkit.core.xml import parse_safely
from toolkit.datacentre.aliases import listed_in
from toolkit.datacentre.cda import rows
from toolkit.datacentre.packs import RowTables, manifest_object, manifests, read_manifest, row_schema


def test_lists_every_object_with_its_digest_and_schema(tmp_path: Path) -> None:
    made = generate(tmp_path, visits=2000, packs=3, renamed=0.1)
    store = open_store(str(tmp_path))
    listed, documents = set(), 0
    for pack in manifests(store):
        named, _, number, objects = read_manifest(store.get(manifest_object(pack)), pack)
        assert named == pack
        documents += number
        for one in objects:
            data = store.get(one.name)
            assert (digest_of(data), len(data)) == (one.digest, one.size)
            assert parquet.read_schema(tmp_path / one.name).equals(row_schema(one.name.split("/")[1]))
            listed.add(one.name)
    assert listed == {entry.name for entry in store.list("rows")}
    assert documents == made.stored > made.documents > made.visits == 2000
    assert [len(aliases or ()) > 10 for _, aliases in listed_in(store)] == [True, True]


def test_is_the_same_again_and_another_by_another_seed(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / name, visits=500, seed=seed, packs=2, renamed=0.1)
    first, again, other = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*") if path.is_file()}
        for name in ("first", "again", "other")
    )
    assert first == again
    assert not first.keys() & other.keys()


def test_documents_say_what_the_row_tables_say(tmp_path: Path) -> None:
    store, documents = tmp_path / "store", tmp_path / "documents"
    made = generate(store, visits=1500, packs=2, renamed=0.1, documents=documents)
    received = {row["message_id"]: row["received"] for row in parquet.read_table(store / "rows/visits").to_pylist()}
    tables = RowTables()
    files = sorted(documents.iterdir())
    assert len(files) == made.stored
    for path in files:
        message = path.stem.partition("-")[2]
        found = rows(parse_safely(path.read_bytes(), path.name))
        tables.add(found._replace(message_id=message, received=received[message]))
    read = dict(tables.tables())
    for key, table in read.items():
        stored = [row for path in (store / "rows" / key).iterdir() for row in parquet.ParquetFile(path).read().to_pylist()]
        assert _sorted(table.to_pylist()) == _sorted(stored), key
    assert len(read) == len(list(store.glob("rows/*/*/*")))


def _sorted(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda one: (one["message_id"], one.get("number", 0)))
