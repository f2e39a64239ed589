"""Move documents from the gateway's spool into the store, and look after it; see mdc-store(1)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from toolkit.core.command import command

if TYPE_CHECKING:
    from toolkit.core.storage import Store
    from toolkit.datacentre.index import Index


@command(
    "mdc-store",
    examples="""
    mdc-store pack --spool spool --store hdfs://nn:8020/visits --archive s3://visits --index index.db
    mdc-store verify --store hdfs://nn:8020/visits --archive s3://visits --index index.db
    mdc-store reindex --store store --index new.db --spool spool
    mdc-store status --index index.db
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["pack", "verify", "reindex", "status"]))
@click.option("--index", "index_url", metavar="URL", required=True, help="The index: a file of SQLite or postgresql://...")
@click.option("--spool", metavar="DIR", help="The gateway's spool: packed and emptied by pack, entered by reindex.")
@click.option("--store", metavar="URL", help="Where packs are kept: a directory, hdfs://, webhdfs:// or s3://.")
@click.option("--archive", metavar="URL", help="Where the copy of all that is kept; another machine's, or a tape's.")
@click.option("--dry-run", is_flag=True, help="With verify: restore nothing.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How status is printed. [text]")
def mdc_store(action: str, index_url: str, spool: str | None, store: str | None, archive: str | None, dry_run: bool, form: str) -> int:
    """Look after the visits that the gateway received.

    ACTION pack moves what waits in the spool into the store and the archive, verify compares store, archive and index and restores
    damaged objects from the other copy, reindex fills an index from the store, status counts what the index knows.
    """
    from toolkit.core.errors import UsageError
    from toolkit.datacentre.index import open_index

    if dry_run and action != "verify":
        raise UsageError("--dry-run", f"has no meaning with {action}", "leave it out")
    if action == "pack" and spool is None:
        raise UsageError("--spool", "is missing", "name the directory that the gateway writes to")
    with open_index(index_url, create=action in ("pack", "reindex")) as index:
        if action == "status":
            return _status(index, form)
        stores = _stores(store, archive)
        if action == "pack":
            return _pack(index, spool or "", stores)
        if action == "verify":
            return _verify(index, stores, restore=not dry_run)
        return _reindex(index, stores, spool)


def _stores(store: str | None, archive: str | None) -> Sequence[Store]:
    from toolkit.core.errors import UsageError
    from toolkit.core.storage import open_store

    if store is None:
        raise UsageError("--store", "is missing", "name where the packs are kept")
    if store == archive:
        raise UsageError("--archive", "is the store itself", "name another place for the copy")
    return [open_store(url) for url in (store, archive) if url is not None]


def _pack(index: Index, directory: str, stores: Sequence[Store]) -> int:
    from toolkit.datacentre.pack import pack
    from toolkit.datacentre.spool import Spool

    with Spool(directory) as spool:
        return 1 if pack(index, spool, directory, stores).damaged else 0


def _verify(index: Index, stores: Sequence[Store], restore: bool) -> int:
    from toolkit.datacentre.verify_store import verify

    return 1 if verify(index, stores, restore).unsolved else 0


def _reindex(index: Index, stores: Sequence[Store], directory: str | None) -> int:
    from toolkit.datacentre.pack import alone, recover
    from toolkit.datacentre.reindex import reindex
    from toolkit.datacentre.spool import Spool

    if directory is None:
        reindex(index, stores)
        return 0
    with alone(directory), Spool(directory) as spool:
        reindex(index, stores)
        recover(index, spool)
    return 0


def _status(index: Index, form: str) -> int:
    import dataclasses
    import json

    counts = dataclasses.asdict(index.counts())
    if form == "json":
        text = json.dumps(counts) + "\n"
    else:
        text = "".join(f"{name.replace('_', ' ')}\t{value}\n" for name, value in counts.items())
    sys.stdout.write(text)
    return 0
