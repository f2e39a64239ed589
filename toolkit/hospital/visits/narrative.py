"""Printed tables of results: the range and the value that stand in the row of a coded result, and nothing else of the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toolkit.hospital.visits.document import V3, first, texts
from toolkit.hospital.visits.profile import Profile

if TYPE_CHECKING:
    from lxml import etree

Row = tuple[str, str]  # the cells under a heading of ranges and under one of values; "" where there is none


class Tables:
    """The rows of one section's narrative text, found by the ids inside them or by the code that they print."""

    def __init__(self, section: etree._Element, profile: Profile) -> None:
        self._by_id: dict[str, Row] = {}
        self._by_code: dict[str, Row | None] = {}
        self._text, self._profile = section.find(f"{V3}text"), profile
        self._pending = self._text is not None

    def _read_all(self) -> None:
        """When the first result asks: most sections have no results."""
        self._pending = False
        for table in self._text.iter(f"{V3}table") if self._text is not None else ():
            self._read(table, self._profile)

    def _read(self, table: etree._Element, profile: Profile) -> None:
        range_column = value_column = -1
        for row in table.iter(f"{V3}tr"):
            cells = list(_cells(row))
            if all(cell.tag == f"{V3}th" for cell in cells):
                headings = [_text(cell).casefold() for cell in cells]
                range_column = _column(headings, profile.range_headings, -1)
                value_column = _column(headings, profile.value_headings, range_column)
                continue
            if range_column < 0 and value_column < 0:
                continue
            found = (_at(cells, range_column), _at(cells, value_column))
            for element in row.iter("*"):
                if name := element.get("ID"):
                    self._by_id[name] = found
            for cell in cells:
                printed = _text(cell)
                if 3 <= len(printed) <= 20 and " " not in printed:
                    # A code printed twice says nothing about either result.
                    self._by_code[printed] = None if printed in self._by_code and self._by_code[printed] != found else found

    def row(self, observation: etree._Element) -> Row:
        """The printed range and value of this result, ("", "") when its row is not found or not certain."""
        if self._pending:
            self._read_all()
        if not self._by_id and not self._by_code:
            return "", ""
        for path in (("text", "reference"), ("code", "originalText", "reference"), ("value", "reference")):
            reference: etree._Element | None = observation
            for step in path:
                reference = first(reference, step) if reference is not None else None
            if reference is not None and (found := self._by_id.get((reference.get("value") or "").removeprefix("#"))):
                return found
        code = first(observation, "code")
        return (self._by_code.get(code.get("code") or "") if code is not None else None) or ("", "")


def _cells(row: etree._Element) -> Iterator[etree._Element]:
    return (cell for cell in row if cell.tag in (f"{V3}td", f"{V3}th"))


def _column(headings: list[str], wanted: tuple[str, ...], taken: int) -> int:
    """The only column with such a heading, -1 when there is none."""
    found = [place for place, heading in enumerate(headings) if place != taken and any(word in heading for word in wanted)]
    return found[0] if found else -1


def _at(cells: list[etree._Element], column: int) -> str:
    return _text(cells[column]) if 0 <= column < len(cells) else ""


def _text(cell: etree._Element) -> str:
    if len(cell) == 0:
        return " ".join((cell.text or "").split())
    return " ".join("\n".join(texts(cell)).split())
