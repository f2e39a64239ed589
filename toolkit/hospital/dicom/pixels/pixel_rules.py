"""Rules that say what to do with burned-in text: read from TOML, matched against what an object says of itself. See pixel-rules(5)."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

from toolkit.core.errors import BadData, NoInput

KINDS = (
    "ultrasound", "secondary-capture", "screen-save", "dose-report", "film", "visible-light", "derived", "document", "unknown-class",
    "marked",
)  # fmt: skip
ACTIONS = ("pass", "blank", "regions", "quarantine")

_REMEDY = "see pixel-rules(5)"
_MOST_REMEMBERED = 4096


class Facts(NamedTuple):
    """What rules may ask of an object, as its attributes say it. `regions`: it has ultrasound regions that can be trusted."""

    kinds: frozenset[str]
    sop_class: str
    modality: str
    manufacturer: str
    model: str
    software: str
    series_description: str
    image_type: str
    conversion_type: str
    burned_in_annotation: str
    photometric: str
    rows: int
    columns: int
    bits_stored: int
    samples: int
    regions: bool


class Rectangle(NamedTuple):
    """Pixels to blank: columns `left` to `right` and rows `top` to `bottom`, the last of each not included."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class PixelRule:
    """One rule: it holds for an object that all its `conditions` are true of.

    `rectangles`: (left, top, width, height); an int counts pixels, a float is a part of the image's width or height; negative counts from
    the other edge. `kinds`: those that it is about, empty for all. `asks_mark`: it asks for BurnedInAnnotation.
    """

    name: str
    action: str
    conditions: tuple[Callable[[Facts], bool], ...]
    rectangles: tuple[tuple[int | float, int | float, int | float, int | float], ...] = ()
    kinds: frozenset[str] = frozenset()
    asks_mark: bool = False

    def holds(self, facts: Facts) -> bool:
        """Whether the rule decides about such an object."""
        if self.action == "pass":
            if self.kinds and not facts.kinds <= self.kinds | {"marked"}:
                return False  # another risk than the one that the rule knows to be none
            if "marked" in facts.kinds and not self.asks_mark:
                return False  # the object itself says that there is text in it
        elif self.kinds and not facts.kinds & self.kinds:
            return False
        return all(condition(facts) for condition in self.conditions)

    def place(self, columns: int, rows: int) -> list[Rectangle]:
        """The rectangles in an image of this size; fractions are rounded outwards, what lies outside the image is cut off."""
        placed = []
        for left, top, width, height in self.rectangles:
            x0, x1 = _span(left, width, columns)
            y0, y1 = _span(top, height, rows)
            if x0 < x1 and y0 < y1:
                placed.append(Rectangle(x0, y0, x1, y1))
        return placed


def _span(start: int | float, length: int | float, size: int) -> tuple[int, int]:
    begin = start * size if isinstance(start, float) else start
    if begin < 0:
        begin += size
    end = begin + (length * size if isinstance(length, float) else length)
    return max(0, math.floor(begin)), min(size, math.ceil(end - 1e-9))


class Decision(NamedTuple):
    """The first rule that holds, and the rectangles that a rule of blanking adds to those outside an ultrasound's regions."""

    rule: PixelRule | None
    also: PixelRule | None


@dataclass
class PixelRules:
    """Rules in their order; the first that holds decides."""

    rules: tuple[PixelRule, ...]
    _decided: dict[Facts, Decision] = field(default_factory=dict, repr=False)

    def decide(self, facts: Facts) -> Decision:
        """The rule for such an object. Remembered, because the objects of a series are alike."""
        decision = self._decided.get(facts)
        if decision is None:
            if len(self._decided) >= _MOST_REMEMBERED:
                self._decided.clear()
            decision = self._decided[facts] = self._decide(facts)
        return decision

    def _decide(self, facts: Facts) -> Decision:
        holding = (rule for rule in self.rules if rule.holds(facts))
        first = next(holding, None)
        if first is None or first.action != "regions":
            return Decision(first, None)
        # A region may begin within the banner (those of a Philips EPIQ do), so a banner that is known goes as well.
        return Decision(first, next((rule for rule in holding if rule.action == "blank"), None))


def read_pixel_rules(path: str | None) -> PixelRules:
    """The rules of the file at `path`, if any, followed by those that come with the toolkit.

    Raises NoInput, BadData (the rule that is wrong is named).
    """
    shipped = resources.files("toolkit") / "data" / "pixel_rules.toml"
    rules = _rules(shipped.read_bytes(), "pixel_rules.toml")
    if path is not None:
        try:
            with open(path, "rb") as stream:
                content = stream.read()
        except OSError as error:
            raise NoInput(path, error.strerror or str(error), "name a file of pixel rules") from error
        rules = _rules(content, path) + rules
    return PixelRules(tuple(rules))


def _rules(content: bytes, place: str) -> list[PixelRule]:
    try:
        tables = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadData(place, f"is not TOML: {error}", _REMEDY) from error
    rules = tables.pop("rule", [])
    if tables or not isinstance(rules, list):
        raise BadData(place, f"has something else than [[rule]] tables: {', '.join(tables) or 'rule'}", _REMEDY)
    return [_rule(table, f"{place}: rule {number}") for number, table in enumerate(rules, 1)]


def _rule(table: Any, place: str) -> PixelRule:
    if not isinstance(table, dict):
        raise BadData(place, "is not a table", _REMEDY)
    name, action = table.pop("name", None), table.pop("action", None)
    if not isinstance(name, str) or not name.strip():
        raise BadData(place, "has no name", _REMEDY)
    place = f"{place} ({name!a})"
    if action not in ACTIONS:
        raise BadData(place, f"its action is none of {', '.join(ACTIONS)}", _REMEDY)
    if not isinstance(table.pop("source", ""), str):
        raise BadData(place, "its source is not text", _REMEDY)
    kinds = frozenset(_texts(table.pop("kind", []), "kind", place))
    if not kinds <= set(KINDS):
        raise BadData(place, f"kind {sorted(kinds - set(KINDS))[0]!a} is none of {', '.join(KINDS)}", _REMEDY)
    rectangles = _rectangles(table.pop("rectangles", []), place)
    if (action == "blank") != bool(rectangles):
        raise BadData(place, "rectangles belong to the action blank, and it to them", _REMEDY)
    asks_mark = "burned-in-annotation" in table
    conditions = tuple(_condition(key, value, place) for key, value in table.items())
    if action == "regions":
        conditions += (lambda facts: facts.regions,)
    if not conditions and not kinds:
        raise BadData(place, "has no condition and would hold for every object", _REMEDY)
    return PixelRule(name, action, conditions, rectangles, kinds, asks_mark)


_EXACT = ("sop-class", "modality", "conversion-type", "burned-in-annotation", "photometric")
_CONTAINED = ("manufacturer", "model", "software", "series-description")
_NUMBERS = ("rows", "columns", "bits-stored", "samples")


def _condition(key: str, value: Any, place: str) -> Callable[[Facts], bool]:
    attribute = key.replace("-", "_")
    if key in _EXACT:
        wanted = frozenset(text.strip().upper() for text in _texts(value, key, place))
        return lambda facts: getattr(facts, attribute) in wanted
    if key == "image-type":
        wanted = frozenset(text.strip().upper() for text in _texts(value, key, place))
        return lambda facts: not wanted.isdisjoint(facts.image_type.split("\\"))
    if key in _CONTAINED:
        parts = [squeeze(text) for text in _texts(value, key, place)]
        if not all(parts):
            raise BadData(place, f"{key} holds text without a letter or a digit, which is contained in everything", _REMEDY)
        return lambda facts: any(part in squeeze(getattr(facts, attribute)) for part in parts)
    if key in _NUMBERS:
        spans = [_interval(number, key, place) for number in (value if isinstance(value, list) else [value])]
        return lambda facts: any(lowest <= getattr(facts, attribute) <= highest for lowest, highest in spans)
    raise BadData(place, f"{key!a} is no condition", _REMEDY)


def squeeze(text: str) -> str:
    """Letters and digits alone, in capitals: makers spell one model "HDI 5000", "HDI5000" and "hdi_5000"."""
    return re.sub(r"[\W_]+", "", text).upper()


def _texts(value: Any, key: str, place: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise BadData(place, f"{key} is neither text nor a list of texts", _REMEDY)
    return values


def _interval(value: Any, key: str, place: str) -> tuple[int, int]:
    """A number, or a table with `from` and `to`, both included, one of which may be missing."""
    if type(value) is int:
        return value, value
    if isinstance(value, dict) and value and value.keys() <= {"from", "to"} and all(type(number) is int for number in value.values()):
        return value.get("from", 0), value.get("to", 1 << 32)
    raise BadData(place, f"{key} is neither a whole number nor {{ from = N, to = N }}", _REMEDY)


def _rectangles(value: Any, place: str) -> tuple[tuple[int | float, int | float, int | float, int | float], ...]:
    found = []
    for rectangle in value if isinstance(value, list) else [value]:
        if not isinstance(rectangle, list) or len(rectangle) != 4 or not all(type(number) in (int, float) for number in rectangle):
            raise BadData(place, "a rectangle is not four numbers: left, top, width, height", _REMEDY)
        if any(type(number) is float and not abs(number) <= 1.0 for number in rectangle):
            raise BadData(place, "a part of the width or height is above 1.0; pixels are written without a point", _REMEDY)
        left, top, width, height = rectangle
        if width <= 0 or height <= 0:
            raise BadData(place, "a rectangle has no width or no height", _REMEDY)
        found.append((left, top, width, height))
    return tuple(found)
