"""Links from and to files: CSV with a heading (kind, root, id, mdc); from the predecessor's Java properties (hospital's id = ours)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from typing import BinaryIO

from toolkit.core.database import failures_named
from toolkit.core.errors import BadData
from toolkit.hospital.dicom.restoring.padi import read_properties
from toolkit.hospital.links.database import KINDS, Link, Links, accession

COLUMNS = ("kind", "root", "id", "mdc")


def read_csv(data: bytes, place: str) -> list[Link]:
    """The links in a CSV file, UTF-8, with the columns `COLUMNS` in any order. Raises BadData with the line that is wrong."""
    try:
        lines = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        if sorted(lines.fieldnames or ()) != sorted(COLUMNS):
            raise BadData(place, "its heading is not kind,root,id,mdc", "write that as its first line")
        return [_checked(Link(*(row[name] or "" for name in COLUMNS)), None in row, f"{place}: line {lines.line_num}") for row in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(place, f"is not CSV in UTF-8 ({error})", "save it as such") from error


def read_padi(data: bytes, place: str, kind: str, root: str) -> list[Link]:
    """The links in Java properties; their `kind` and `root` do not stand there. Raises BadData when it is no such file."""
    try:
        pairs = read_properties(data)
    except ValueError as error:
        raise BadData(place, str(error), "name a file of Java properties: hospital's id = data centre's id") from error
    return [_checked(Link(kind, root, his, mdc), False, f"{place}: {number}. pair") for number, (his, mdc) in enumerate(pairs, 1)]


def import_links(links: Links, found: Iterable[Link]) -> int:
    """Enter all of `found` in one transaction; how many there are. Those that are there already stay as they are.

    Raises what `Links.link` raises when one contradicts another or what is linked already; then none is entered.
    """
    number = 0
    with failures_named(links.place), links.engine.begin() as connection:
        links.start_writing(connection)
        for link in found:
            links.link(connection, link)
            number += 1
    return number


def write_csv(stream: BinaryIO, found: Iterable[Link]) -> None:
    """Write links as `read_csv` reads them."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows((link.kind, link.root, link.id, link.mdc) for link in found)
        text.flush()
    finally:
        text.detach()  # the stream is its owner's to close


def _checked(link: Link, too_long: bool, place: str) -> Link:
    if too_long or link.kind not in KINDS or not link.id or not link.mdc:
        raise BadData(place, "is no link", "a link is visit, patient or accession, a root (may be empty), an id and the data centre's id")
    if "|" in link.root:
        raise BadData(place, "its root holds a bar", "a root is an OID, digits and points")
    if link.kind == "accession":
        if link.root or not accession(link.id):
            raise BadData(place, "an accession number has no root and is not empty", "leave its root empty")
        return replace(link, id=accession(link.id))
    return link
