"""Attribute types (PS3.5 7.4: 1 required, 2 may be empty, 3 optional) by kind of object and place in it.

The table `dicom_types.txt` is a forest of nodes, one for each different set of attributes that an item or a data set may hold; nodes are
numbered from 0 and the node of a sequence's items is named by its number, so what IODs share is told once. Its first line gives the node of
each SOP class (``UID:number``), its second the node of each sequence wherever it stands (``tag:number``; tag 0 for the data set itself),
with the strictest type over all IODs. Each further line is a node: ``tag`` (8 digits), type (1 digit), number of the items' node (for
sequences). Only attributes are told whose treatment depends on their type. Conditional types (1C, 2C) count as their strict ones.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from toolkit.hospital.dicom.encoding.dictionary import DATA


class Place(NamedTuple):
    """Where an attribute stands: a node of the forest, whether the path to it is one of the object's IOD, and the sequence it is an item
    of."""

    node: int
    known: bool
    sequence: int = 0


def root(sop_class: str) -> Place:
    """The place of a whole data set. Of an unknown SOP class the strictest types are assumed."""
    number = _roots().get(sop_class)
    return Place(_anywhere()[0], False) if number is None else Place(number, True)


def items(place: Place, sequence: int) -> Place:
    """The place of the items of `sequence`, which stands at `place`.

    A sequence that holds itself (ContentSequence does) is told once in the tables. Where the IOD does not have `sequence`, its items are
    taken as what they are in other IODs.
    """
    if place.known:
        number = _node(place.node)[1].get(sequence)
        if number is not None:
            return Place(number, True, sequence)
        if sequence == place.sequence:
            return place
    number = _anywhere().get(sequence)
    return Place(0, False) if number is None else Place(number, False, sequence)


def attribute_type(place: Place, tag: int) -> int:
    """1, 2 or 3; what a place is not known to have is optional."""
    return _node(place.node)[0].get(tag, 3)


@cache
def _lines() -> list[str]:
    return (DATA / "dicom_types.txt").read_text(encoding="ascii").split("\n")


@cache
def _roots() -> dict[str, int]:
    return {uid: int(number) for uid, number in (entry.split(":") for entry in _lines()[0].split())}


@cache
def _anywhere() -> dict[int, int]:
    return {int(tag, 16): int(number) for tag, number in (entry.split(":") for entry in _lines()[1].split())}


@cache
def _node(number: int) -> tuple[dict[int, int], dict[int, int]]:
    """(types by tag, nodes of the items by tag) of a node."""
    entries = [(int(entry[:8], 16), entry) for entry in _lines()[2 + number].split()]
    return {tag: int(entry[8]) for tag, entry in entries}, {tag: int(entry[9:]) for tag, entry in entries if len(entry) > 9}
