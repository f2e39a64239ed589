"""Private attributes known to hold nothing personal, by the list that The Cancer Imaging Archive curates: the Retain Safe Private Option.

`dicom_private.txt` has a line for each: ``k`` (kept) or ``o`` (a date: kept as dates are), then the path of tags to it, ``ggggeeee`` or
``gggg[creator]ee``, with tabs between. What stands elsewhere, or under another creator, is not known to be safe.
"""

from __future__ import annotations

import re
from functools import cache

from toolkit.hospital.dicom.encoding.dictionary import DATA

_Key = tuple[int, str]  # a tag without the number of its block, and its private creator ("" in even groups)


class Node:
    """What is known within one place: the dispositions of its attributes, and the nodes of its sequences' items."""

    def __init__(self) -> None:
        self._dispositions: dict[_Key, str] = {}
        self._items: dict[_Key, Node] = {}
        self._creators: set[_Key] = set()

    def items(self, tag: int, creator: str | None) -> Node:
        """The node of the items of the sequence `tag`."""
        return self._items.get(_key(tag, creator), NOTHING)

    def disposition(self, tag: int, creator: str) -> str | None:
        """``k``, ``o`` or None (not known to be safe)."""
        return self._dispositions.get(_key(tag, creator))

    def has_creator(self, group: int, creator: str) -> bool:
        """Whether anything of `creator` in the odd `group` is known here."""
        return (group << 16, creator) in self._creators

    def add(self, path: list[_Key], disposition: str) -> None:
        tag, creator = path[0]
        if creator:
            self._creators.add((tag & 0xFFFF0000, creator))
        if len(path) == 1:
            self._dispositions[path[0]] = disposition
        else:
            self._items.setdefault(path[0], Node()).add(path[1:], disposition)


NOTHING = Node()


@cache
def signatures() -> Node:
    """The list, as the node of a whole data set."""
    top = Node()
    for line in (DATA / "dicom_private.txt").read_text(encoding="utf-8").splitlines():
        disposition, *path = line.split("\t")
        top.add([_parsed(part) for part in path], disposition)
    return top


def _parsed(part: str) -> _Key:
    group, creator, element = re.fullmatch(r"([0-9a-f]{4})(?:\[(.*)\])?([0-9a-f]{2,4})", part).groups()  # type: ignore[union-attr]
    return int(group, 16) << 16 | int(element, 16), creator or ""


def _key(tag: int, creator: str | None) -> _Key:
    return (tag & 0xFFFF00FF, creator or "") if tag & 0x10000 else (tag, "")
