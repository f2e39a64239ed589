"""Printed tables of results: the range and the value that stand in the row of a coded result, and nothing else of the text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from toolkit.hospital.visits.document import V3, first, ids, texts
from toolkit.hospital.visits.profile import Profile

if TYPE_CHECKING:
    from lxml import etree

_TABLE, _ROW, _HEADING = f"{V3}table", f"{V3}tr", f"{V3}th"
_TEXT, _CODE, _VALUE = f"{V3}text", f"{V3}code", f"{V3}value"
_CELL = f"{V3}td"
_CELLS = {_CELL, _HEADING}

Row = tuple[str, str]  # the cells under a heading of ranges and under one of values; "" where there is none


class Tables:
    """The rows of one section's narrative text, found by the ids inside them or by the code that they print."""

    def __init__(self, section: etree._Element, profile: Profile) -> None:
        self._by_id: dict[str, Row] = {}
        self._by_code: dict[str, Row | None] = {}
        self._section, self._profile, self._pending = section, profile, True

    def _read_all(self) -> None:
        """When the first result asks: most sections have no results."""
        self._pending = False
        text = first(self._section, "text")
        for table in text.iter(_TABLE) if text is not None else ():
            self._read(table, self._profile)

    def _read(self, table: etree._Element, profile: Profile) -> None:
        range_column = value_column = -1
        for row in table.iter(_ROW):
            tags, printed = [], []
            for cell in row:
                if (tag := cell.tag) in _CELLS:
                    tags.append(tag)
                    printed.append(_text(cell))
            if _CELL not in tags:
                headings = tuple(heading.casefold() for heading in printed)
                range_column = _column(headings, profile.range_headings, -1)
                value_column = _column(headings, profile.value_headings, range_column)
                continue
            if range_column < 0 and value_column < 0:
                continue
            found = (_at(printed, range_column), _at(printed, value_column))
            for name in ids(row):
                self._by_id[name] = found
            for text in printed:
                if 3 <= len(text) <= 20 and " " not in text:
                    # A code printed twice says nothing about either result.
                    self._by_code[text] = None if text in self._by_code and self._by_code[text] != found else found

    def row(self, observation: etree._Element) -> Row:
        """The printed range and value of this result, ("", "") when its row is not found or not certain."""
        if self._pending:
            self._read_all()
        if not self._by_id and not self._by_code:
            return "", ""
        parts: dict[object, etree._Element] = {}
        for child in observation.iterchildren(_TEXT, _CODE, _VALUE):
            parts.setdefault(child.tag, child)
        code = parts.get(_CODE)
        original = first(code, "originalText") if code is not None and len(code) else None
        for holder in (parts.get(_TEXT), original, parts.get(_VALUE)):
            reference = first(holder, "reference") if holder is not None and len(holder) else None
            if reference is not None and (found := self._by_id.get((reference.get("value") or "").removeprefix("#"))):
                return found
        return (self._by_code.get(code.get("code") or "") if code is not None else None) or ("", "")


@lru_cache(maxsize=1024)
def _column(headings: tuple[str, ...], wanted: tuple[str, ...], taken: int) -> int:
    """The first column with such a heading, -1 when there is none."""
    found = [place for place, heading in enumerate(headings) if place != taken and any(word in heading for word in wanted)]
    return found[0] if found else -1


def _at(printed: list[str], column: int) -> str:
    return printed[column] if 0 <= column < len(printed) else ""


def _text(cell: etree._Element) -> str:
    if len(cell) == 0:
        return " ".join((cell.text or "").split())
    return " ".join("\n".join(texts(cell)).split())
