"""What a document says about people, to see to it that none of it stays where codes, cities and numbers are kept."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from toolkit.hospital.visits.document import V3, first, point, texts

if TYPE_CHECKING:
    from lxml import etree

    from toolkit.hospital.visits.results import Range

_NAMES = tuple(V3 + name for name in ("name", "given", "family"))
_PLACES = tuple(V3 + name for name in ("streetAddressLine", "streetName", "houseNumber", "postalCode"))
_ID = f"{V3}id"
_TELLING = (*_NAMES, *_PLACES, _ID, f"{V3}telecom")
_FEWEST = 6  # digits of an id or a telephone number that is looked for among numbers
_NO_DIGIT = re.compile(r"\D")
_WORD = re.compile(r"[^\W\d_]{3,}")


class Persons:
    """Names, ids, addresses and the birth date in one document."""

    def __init__(self, root: etree._Element | None, patient: etree._Element | None) -> None:
        self._names: set[str] = set()
        values: set[str] = set()
        numbers: set[str] = set()
        for element in root.iter(*_TELLING) if root is not None else ():
            tag = element.tag
            if tag == _ID:
                identifier = (element.get("extension") or "").strip().casefold()
                values.add(identifier)
                numbers.add(_NO_DIGIT.sub("", identifier))
            elif tag in _NAMES:
                if element.get("code") is None:
                    self._names.update(word.casefold() for word in _WORD.findall(" ".join(texts(element))))
            elif tag in _PLACES:
                values.add(" ".join((element.text or "").split()).casefold())
            else:
                address = (element.get("value") or "").strip().rpartition(":")[2].casefold()
                values.add(address)
                number = _NO_DIGIT.sub("", address)
                numbers.update((number, number[-9:], number[-7:]))  # with and without the country's and the area's
        self.birth = point(first(patient, "birthTime")) if patient is not None else ""
        year, month, day = self.birth[:4], self.birth[4:6], self.birth[6:8]
        if day.isdigit():
            numbers.update((year + month + day, day + month + year, year[2:] + month + day))
        self._numbers = {number for number in numbers if len(number) >= _FEWEST}
        self._values = self._names | self._numbers | {value for value in values if len(value) >= 4}
        self.newborn = False
        self.told = frozenset(self._values | {self.birth[:8]} - {""})  # all that may not stay as a code, a number or the day of a moment

    def is_value(self, text: str) -> bool:
        """Whether `text` as a whole is a name, an id, a telephone number or a part of an address."""
        return text.casefold() in self._values

    def is_number(self, value: str) -> bool:
        """Whether a number is one that tells somebody: an id, a telephone number or the date of birth, however its point is set."""
        return digits(value) in self._numbers

    def ends_in(self, between: Range) -> bool:
        """Whether an end of a range is such a number."""
        return self.is_number(between.low) or self.is_number(between.high)

    def mentioned(self, text: str) -> bool:
        """Whether a word of `text` is a part of a name, in any of its cases, or it is one of the values as a whole."""
        return self.is_value(text) or any(word.casefold().startswith(self._stems) for word in _WORD.findall(text))

    @cached_property
    def _stems(self) -> tuple[str, ...]:
        """Names without their last two letters, which Polish declines: Grzegorza, Pawłem, Kowalskiej."""
        return tuple(name[: max(3, len(name) - 2)] for name in self._names)

    def born_on(self, moment: str) -> bool:
        """Whether this TS tells the day of birth. Of somebody who was born during the visit the visit's dates tell it anyhow."""
        return not self.newborn and len(self.birth) >= 8 and moment[:8] == self.birth[:8]


def digits(value: str) -> str:
    """The digits of a number as they are compared with ids and telephone numbers; "" when it has too few to tell anybody."""
    whole, _, fraction = value.lower().partition("e")[0].partition(".")
    found = _NO_DIGIT.sub("", whole + fraction.rstrip("0"))
    return found if len(found) >= _FEWEST else ""


def age_in_years(birth: str, moment: str) -> int | None:
    """Completed years at `moment` (both HL7 v3 TS); None when one is unknown or the birth comes later.

    Where days or months are missing from either, the rest decides, so that the age can be a year too high.
    """
    if len(birth) < 4 or len(moment) < 4:
        return None
    born, then = re.match(r"\d+", birth), re.match(r"\d+", moment)
    assert born is not None and then is not None
    length = min(len(born[0]), len(then[0]), 8)
    if then[0][:length] < born[0][:length]:
        return None
    return int(then[0][:4]) - int(born[0][:4]) - (then[0][4:length] < born[0][4:length])
