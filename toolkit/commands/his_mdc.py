"""Work on the links between the hospital's ids and the data centre's; see his-mdc(1)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from toolkit.core.command import command

if TYPE_CHECKING:
    from toolkit.hospital.links.database import Links

_NEEDS = {"lookup": "an id", "import": "a file", "again": "the id of a message", "forget": "the id of a message"}
ACTIONS = ["lookup", "import", "export", "rotate", "check", "again", "forget"]
_USED_BY = {"kind": "import", "root": "import", "after": "rotate"}


@command(
    "his-mdc",
    examples="""
    his-mdc lookup 2026/4711 --key hospital.key
    his-mdc export --key hospital.key -o links.csv
    his-mdc import links.csv --key hospital.key
    his-mdc rotate --key hospital.key -o renamed.tsv
    his-mdc check --key hospital.key
    his-mdc again 0d3c1b2a-5f6e-8a4b-9c3d-2e1f0a9b8c7d --key hospital.key
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument("words", metavar="WORD...", nargs=-1)
@click.option("--links", "url", metavar="URL", default="links.db", help="The links, a file or postgresql://... [links.db]")
@click.option("--key", metavar="KEYFILE", required=True, help="The hospital's key file, which opens the links.")
@click.option("--kind", type=click.Choice(["visit", "patient", "accession"]), help="import: what Java properties link. [visit]")
@click.option("--root", metavar="OID", help="import: the OID above the hospital's ids in Java properties. [none]")
@click.option("--after", type=click.IntRange(0), metavar="NUMBER", help="rotate: list only what comes behind this number. [0]")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write here, readable by its owner only. [standard output]")
def his_mdc(
    action: str,
    words: tuple[str, ...],
    url: str,
    key: str,
    kind: str | None,
    root: str | None,
    after: int | None,
    output: str,
) -> int:
    """Look up, import, export, rotate or check the links between the hospital's ids and the data centre's.

    ACTION lookup finds each WORD, an id of either side. import enters links from the files WORD, CSV or Java properties. export writes all
    links as CSV. rotate puts all links under the newest key and lists what the data centre has to rename. check looks for
    damage. again queues the messages WORD once more that the data centre refused, forget removes them.
    """
    from toolkit.core.errors import UsageError
    from toolkit.core.keys import read_keys
    from toolkit.hospital.links.database import open_links

    for name, value in (("kind", kind), ("root", root), ("after", after)):
        if value is not None and _USED_BY[name] != action:
            raise UsageError(f"--{name}", f"says nothing to {action}", "leave it out")
    if action in _NEEDS and not words:
        raise UsageError(action, f"needs {_NEEDS[action]}", "name one, or more")
    if action not in _NEEDS and words:
        raise UsageError(words[0], f"says nothing to {action}", "leave it out")
    if action in ("import", "again", "forget") and output != "-":
        raise UsageError("--output", f"says nothing to {action}", "leave it out")
    os.umask(0o077)  # the hospital's ids are personal data
    with open_links(url, read_keys(key), create=action == "import") as links:
        if action == "import":
            return _import(links, words, kind or "visit", root or "")
        if action in ("again", "forget"):
            (links.again if action == "again" else links.forget)(*words)
            return 0
        work: dict[str, Callable[..., int]] = {"lookup": _lookup, "export": _export, "rotate": _rotate, "check": _check}
        return work[action](links, output, words, after or 0)


def _lookup(links: Links, output: str, words: tuple[str, ...], after: int) -> int:
    log = logging.getLogger(__name__)
    found: dict[tuple[str, str], Any] = {}
    missing = 0
    for word in words:
        here = links.lookup(his=word) + links.lookup(mdc=word)
        found |= {(link.kind, link.mdc): link for link in here}
        if not here:
            missing += 1
            log.warning("%s: is linked to nothing; look at its spelling, or whether it was ever sent", word)
    _write_csv(output, found.values())
    return 1 if missing else 0


def _import(links: Links, words: tuple[str, ...], kind: str, root: str) -> int:
    from toolkit.core.streams import open_input, stream_name
    from toolkit.hospital.links.import_export import import_links, read_csv, read_padi

    found = []
    for word in words:
        with open_input(word) as stream:
            data = stream.read()
        is_csv = data.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].count(b",") == 3
        found += read_csv(data, stream_name(word)) if is_csv else read_padi(data, stream_name(word), kind, root)
    import_links(links, found)
    return 0


def _export(links: Links, output: str, words: tuple[str, ...], after: int) -> int:
    _write_csv(output, links)
    return 0


def _rotate(links: Links, output: str, words: tuple[str, ...], after: int) -> int:
    from toolkit.hospital.links.rotate import renamed_after, rotate

    rotate(links)
    _write_records(output, list(renamed_after(links, after)))
    return 0


def _check(links: Links, output: str, words: tuple[str, ...], after: int) -> int:
    from toolkit.core.errors import BadData
    from toolkit.hospital.links.check import check

    problems = list(check(links))
    _write_records(output, problems)
    if problems:
        raise BadData(links.place, f"{len(problems)} problems were found", "restore it from its backup, and do not send until it is sound")
    return 0


def _write_csv(output: str, links: Any) -> None:
    from toolkit.core.streams import atomic_output
    from toolkit.hospital.links.import_export import write_csv

    with atomic_output(output) as stream:
        write_csv(stream, links)


def _write_records(output: str, records: list[Any]) -> None:
    from dataclasses import asdict

    from toolkit.core.records import write_records
    from toolkit.core.streams import atomic_output

    with atomic_output(output) as stream:
        write_records(stream, [asdict(record) for record in records], "tsv")
