"""Keep the visits and images that the data centre received: from the spool into store and archive; see mdc-store(1)."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from toolkit.core.command import command

ACTIONS = ["pack", "verify", "reindex", "remap", "status"]
_NEEDED = {"pack": ("spool", "store", "archive"), "verify": ("store",), "reindex": ("store",), "remap": ("store", "archive"), "status": ()}
_USED_BY = {"dry_run": ("verify",), "form": ("status",), "jobs": ("pack", "reindex"), "spool": ("pack", "verify", "reindex", "status")}
_LIST = "name the file that his-mdc rotate wrote"
_NAMES = {
    "spool": "the directory that mdc-gateway and mdc-pacs write to",
    "store": "where packs and images are kept",
    "archive": "another place, for the copy",
}


@command(
    "mdc-store",
    examples="""
    mdc-store pack --spool spool --store hdfs://nn:8020/visits --archive s3://visits --index index.db
    mdc-store verify --store hdfs://nn:8020/visits --archive s3://visits --index index.db
    mdc-store reindex --spool spool --store hdfs://nn:8020/visits --archive s3://visits --index new.db
    mdc-store remap renamed.tsv --store hdfs://nn:8020/visits --archive s3://visits --index index.db
    mdc-store status --index index.db --format json
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--index", "url", metavar="URL", required=True, help="The index: a file of SQLite or postgresql://...")
@click.option("--spool", metavar="DIR", help="The directory that mdc-gateway and mdc-pacs write to.")
@click.option("--store", metavar="URL", help="Where packs and images are kept: a directory, hdfs://, webhdfs:// or s3://.")
@click.option("--archive", metavar="URL", help="Where the copy of all that is kept.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="pack, reindex: processes. [one for each processor]")
@click.option("--dry-run", is_flag=True, help="verify: restore nothing.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), help="status: how it is written. [text]")
def mdc_store(action: str, file: str | None, url: str, **given: Any) -> int:
    """Look after the visits and images that the data centre received.

    ACTION pack moves what waits in the spool into the store and the archive. verify compares store, archive and index and restores
    damaged objects from the other copy. reindex fills an index from store and spool. remap makes what is kept under old ids found
    under new ones, by the FILE of his-mdc rotate. status counts what is where.
    """
    from toolkit.core.errors import UsageError

    if (file is None) == (action == "remap"):
        raise UsageError(file or "FILE", f"says nothing to {action}" if file else "is missing", "leave it out" if file else _LIST)
    for name in _NEEDED[action]:
        if given[name] is None:
            raise UsageError(f"--{name}", "is missing", f"name {_NAMES[name]}")
    for name, actions in _USED_BY.items():
        if given[name] and action not in actions:
            raise UsageError("--" + {"form": "format"}.get(name, name.replace("_", "-")), f"says nothing to {action}", "leave it out")
    if given["archive"] is not None and given["archive"] == given["store"]:
        raise UsageError("--archive", "is the store itself", f"name {_NAMES['archive']}")
    stores = [given[name] for name in ("store", "archive") if given[name] is not None]
    if file is not None:
        return _remap(url, stores, file)
    work = {"pack": _pack, "verify": _verify, "reindex": _reindex, "status": _status}[action]
    return work(url, stores, given)


def _pack(index: str, stores: list[str], given: dict[str, Any]) -> int:
    from toolkit.datacentre.images.packing import pack_images
    from toolkit.datacentre.pack import Places, pack

    places = Places(index, given["spool"], tuple(stores))
    damaged = pack(places, given["jobs"] or _processors()).damaged
    return 1 if pack_images(places).failed or damaged else 0


def _verify(url: str, stores: list[str], given: dict[str, Any]) -> int:
    from toolkit.core.storage import open_store
    from toolkit.datacentre.images.spool import ImageSpool
    from toolkit.datacentre.images.verifying import verify_image_spool, verify_images
    from toolkit.datacentre.index import open_index
    from toolkit.datacentre.spool import Spool
    from toolkit.datacentre.verify_store import verify, verify_spool

    opened, restore = [open_store(store) for store in stores], not given["dry_run"]
    with open_index(url, create=False) as index:
        unsolved = verify(index, opened, restore).unsolved + verify_images(index, opened, restore).unsolved
        if given["spool"] is not None:
            with Spool(given["spool"]) as spool:
                unsolved += verify_spool(index, spool) + verify_image_spool(index, ImageSpool(given["spool"]))
    return 1 if unsolved else 0


def _reindex(index: str, stores: list[str], given: dict[str, Any]) -> int:
    from toolkit.datacentre.pack import Places
    from toolkit.datacentre.reindex import reindex

    reindex(Places(index, given["spool"] or "", tuple(stores)), given["jobs"] or _processors())
    return 0


def _remap(url: str, stores: list[str], file: str) -> int:
    from toolkit.core.storage import open_store
    from toolkit.core.streams import open_input, stream_name
    from toolkit.datacentre.aliases import read_list, remap
    from toolkit.datacentre.index import open_index

    with open_input(file) as stream:
        aliases = read_list(stream.read(), stream_name(file))
    with open_index(url, create=False) as index:
        remap(index, [open_store(store) for store in stores], aliases)
    return 0


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _status(url: str, stores: list[str], given: dict[str, Any]) -> int:
    import json
    from dataclasses import asdict

    from toolkit.core.storage import open_store
    from toolkit.datacentre.images.rows import image_counts
    from toolkit.datacentre.images.spool import ImageSpool
    from toolkit.datacentre.index import open_index
    from toolkit.datacentre.spool import Spool

    with open_index(url, create=False) as index:
        status: dict[str, Any] = asdict(index.counts()) | asdict(image_counts(index))
    if given["spool"] is not None:
        with Spool(given["spool"]) as spool:
            status |= {"spool_segments": len(spool.segments()), "spool_disk_bytes": spool.size()}
        status |= {"image_conflicts": len(ImageSpool(given["spool"]).conflicting())}
    for name in ("store", "archive"):
        if given[name] is None:
            continue
        sizes = [entry.size for entry in open_store(given[name]).list()]
        status |= {f"{name}_objects": len(sizes), f"{name}_bytes": sum(sizes)}
    if given["form"] == "json":
        sys.stdout.write(json.dumps(status) + "\n")
    else:
        sys.stdout.write("".join(f"{name.replace('_', ' ')}\t{value}\n" for name, value in status.items()))
    return 0
