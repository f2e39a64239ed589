"""An own reading of PS3.15 Table E.1-1, with pydicom: what of an original survived in the object that was made of it.

It knows nothing of the toolkit and shares no line and no table with it; tests and the benchmark judge every program's output by it.
``tables/confidentiality_profile.csv`` holds the basic profile of editions 2024e and 2026c and the options of 2024e (an attribute that
2026c added has no option); ``tables/safe_private.csv`` the private attributes that the Cancer Imaging Archive keeps (k) or keeps with
their dates moved (o).
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

TABLES = Path(__file__).resolve().parent / "tables"
OPTIONS = (
    "retain_uids",
    "retain_dates",
    "modified_dates",
    "retain_device",
    "retain_institution",
    "retain_patient",
    "safe_private",
    "clean_descriptors",
    "clean_structured",
    "clean_graphics",
)
TEXT = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"))
FREE = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
# Marks that de-identification itself writes (PS3.15 E.1.1 and E.3); they are no violation, whatever stood there.
MARKS = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280301, 0x00280302, 0x00280303, 0x04000500})
# In no row of the table, and yet better gone: dates in other calendars, addresses of servers.
FOREIGN = frozenset({0x00100033, 0x00100034, 0x00081190})
DERIVED = frozenset({0x00080008, 0x00082111, 0x00082112, 0x00089215, 0x00282110, 0x00282112, 0x00282114})


@dataclass(frozen=True)
class Violation:
    """`path` is "(0040,0275)[0].(0008,0050)", `code` the table's, `what` one of a few words that can be counted."""

    path: str
    tag: int
    code: str
    what: str


@dataclass
class UidMap:
    """Original UIDs and what became of them, over all files that were checked with it."""

    forward: dict[str, str] = field(default_factory=dict)
    backward: dict[str, str] = field(default_factory=dict)

    def fault(self, original: str, new: str) -> str | None:
        if self.forward.setdefault(original, new) != new:
            return "inconsistent UID"
        if self.backward.setdefault(new, original) != original:
            return "two UIDs became one"
        return None


@dataclass(frozen=True)
class Row:
    code: str
    options: dict[str, str]


def read(data: bytes) -> Dataset:
    """A data set from a file's bytes; an odd file raises whatever pydicom raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(BytesIO(data), force=True)


@cache
def table(edition: str) -> tuple[dict[int, Row], list[tuple[int, int, Row]]]:
    """Rows by tag, and rows for masks as (value, mask, row)."""
    plain: dict[int, Row] = {}
    masked: list[tuple[int, int, Row]] = []
    with open(TABLES / "confidentiality_profile.csv", newline="") as stream:
        for line in csv.DictReader(stream):
            if not line[edition]:
                continue
            row = Row(line[edition], dict(pair.split("=") for pair in line["options"].split()))
            text = line["tag"]
            if "x" in text:
                mask = int(re.sub("[^x]", "F", text).replace("x", "0"), 16)
                masked.append((int(text.replace("x", "0"), 16), mask, row))
            else:
                plain[int(text, 16)] = row
    return plain, masked


@cache
def safe_private() -> frozenset[tuple[int, str, int]]:
    with open(TABLES / "safe_private.csv", newline="") as stream:
        return frozenset((int(row["group"], 16), row["creator"].lower(), int(row["element"], 16)) for row in csv.DictReader(stream))


def row_of(tag: int, edition: str) -> Row | None:
    plain, masked = table(edition)
    found = plain.get(tag)
    return found or next((row for value, mask, row in masked if tag & mask == value), None)


def check(
    original: Dataset,
    anonymised: Dataset,
    edition: str = "2026c",
    options: Collection[str] = (),
    uids: UidMap | None = None,
    keep: Collection[int] = (),
) -> list[Violation]:
    """Every attribute at every depth of `anonymised` (and what is missing of `original`) that breaks the table.

    A code of several parts is satisfied by any of them: which part is right depends on the attribute's type in the object's IOD,
    and is for dciodvfy to say. `keep` names attributes that a recipe keeps. `uids` carries the map of UIDs from file to file.
    """
    unknown = set(options) - set(OPTIONS)
    if unknown:
        raise ValueError(f"no such options: {unknown}")
    checker = _Checker(edition, frozenset(options), UidMap() if uids is None else uids, frozenset(keep))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checker.meta(original, anonymised)
        checker.data_set(original, anonymised, "", False)
    return checker.violations


class _Checker:
    def __init__(self, edition: str, options: frozenset[str], uids: UidMap, keep: frozenset[int]) -> None:
        self.edition, self.options, self.uids, self.keep = edition, options, uids, keep
        self.violations: list[Violation] = []

    def meta(self, original: Dataset, anonymised: Dataset) -> None:
        before, after = getattr(original, "file_meta", Dataset()), getattr(anonymised, "file_meta", Dataset())
        instance = _values(anonymised, 0x00080018)
        if instance and _values(after, 0x00020003) not in ([], instance):
            self.add("", 0x00020003, "U", "file meta names another instance")
        for tag in (0x00020016, 0x00020017, 0x00020018, 0x00020100, 0x00020102):
            if _values(after, tag) and _values(after, tag) == _values(before, tag):
                self.add("", tag, "meta", "kept")
        if any(getattr(anonymised, "preamble", b"") or b"") and anonymised.preamble == getattr(original, "preamble", b""):
            self.add("", 0, "preamble", "kept")

    def data_set(self, before: Dataset, after: Dataset, path: str, dummy: bool) -> None:
        """`dummy`: inside a sequence of code D, where no value of the original may be left."""
        for tag in sorted({*before.keys(), *after.keys()}):
            here = f"{path}({tag >> 16:04x},{tag & 0xFFFF:04x})"
            if tag in self.keep or tag in MARKS or (path and tag in DERIVED and tag not in before):
                continue
            if (tag >> 16) % 2:
                self.private(before, after, tag, here)
                continue
            row = row_of(tag, self.edition)
            if row is None:
                self.unlisted(before, after, tag, here, dummy)
            else:
                self.listed(before, after, tag, here, row, dummy)

    def listed(self, before: Dataset, after: Dataset, tag: int, path: str, row: Row, dummy: bool) -> None:
        codes = set(row.code.replace("*", "").split("/"))
        by_option = {row.options[option] for option in self.options if option in row.options}
        dates_move = by_option == {"C"} and "modified_dates" in self.options and "modified_dates" in row.options
        if "K" in by_option:
            if tag in after:
                self.descend(before, after, tag, path, False)
            return  # an option that keeps is no duty to keep
        if tag not in after:
            if tag in before and "X" not in codes and not by_option:
                self.add(path, tag, row.code, "removed")
            return
        if "C" in by_option and not dates_move:
            self.descend(before, after, tag, path, False)  # cleaned text: what is left in it is for the search of planted tokens
            return
        if tag not in before:
            if tag not in DERIVED:
                self.add(path, tag, row.code, "added")
            return
        if _is_sequence(after, tag) or _is_sequence(before, tag):
            self.sequence(before, after, tag, path, row, codes)
            return
        was, now = _raw(before, tag), _raw(after, tag)
        if dates_move:
            if now and now == was and _vr(after, tag) in ("DA", "DT") and re.match(rb"\d{8}|\d{4}\.\d\d\.\d\d", now):
                self.add(path, tag, "C", "date kept")
            return
        if codes == {"X"}:
            self.add(path, tag, row.code, "kept" if now == was and now else "not removed")
        elif "U" in codes and _vr(before, tag) in ("UI", "UN"):
            self.uid(_values(before, tag), _values(after, tag), path, tag, row.code)
        elif not now:
            if was and not codes & {"Z", "X"}:
                self.add(path, tag, row.code, "emptied")
        elif now == was:
            self.add(path, tag, row.code, "kept")

    def sequence(self, before: Dataset, after: Dataset, tag: int, path: str, row: Row, codes: set[str]) -> None:
        items = _items(after, tag)
        if codes == {"X"}:
            self.add(path, tag, row.code, "not removed")
        elif not items:
            if _items(before, tag) and not codes & {"Z", "X"}:
                self.add(path, tag, row.code, "emptied")
        else:
            self.descend(before, after, tag, path, not codes & {"U"})  # Z may be a dummy too

    def uid(self, before: list[str], after: list[str], path: str, tag: int, code: str) -> None:
        if len(before) != len(after):
            if before and not after and "Z" not in code and "X" not in code:
                self.add(path, tag, code, "emptied")
            return
        for was, now in zip(before, after, strict=True):
            if was.startswith("1.2.840.10008.") and was == now:
                continue  # a class, a coding scheme or a well-known frame of reference
            if was == now:
                self.add(path, tag, code, "kept UID")
            elif not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", now) or len(now) > 64:
                self.add(path, tag, code, "no valid UID")
            elif fault := self.uids.fault(was, now):
                self.add(path, tag, code, fault)

    def private(self, before: Dataset, after: Dataset, tag: int, path: str) -> None:
        if tag not in after:
            return
        if "safe_private" in self.options:
            group, element = tag >> 16, tag & 0xFFFF
            if 0x10 <= element <= 0xFF:
                return  # the creator of a block; pointless alone, but says nothing of a person
            creator = " ".join(_values(after, group << 16 | element >> 8))
            if (group, creator.lower(), element & 0xFF) in safe_private():
                self.descend(before, after, tag, path, False)
                return
        self.add(path, tag, "private", "kept" if tag in before else "added")

    def unlisted(self, before: Dataset, after: Dataset, tag: int, path: str, dummy: bool) -> None:
        if tag not in after:
            return
        if tag & 0xFFFF == 0:
            self.add(path, tag, "group length", "kept")
        elif _is_sequence(after, tag):
            self.descend(before, after, tag, path, dummy)
        elif dummy and tag in before and self.kept_text(before, after, tag):
            self.add(path, tag, "D", "kept in a sequence of code D")

    @staticmethod
    def kept_text(before: Dataset, after: Dataset, tag: int) -> bool:
        """In a sequence of code D every text is to be a dummy; codes and numbers can be their own."""
        return _vr(before, tag) in FREE | {"DA", "DT"} and tag & 0xFFFFFF00 != 0x00080100 and _raw(before, tag) == _raw(after, tag) != b""

    def descend(self, before: Dataset, after: Dataset, tag: int, path: str, dummy: bool) -> None:
        if not _is_sequence(after, tag):
            return
        old = _items(before, tag) if tag in before else []
        for number, item in enumerate(_items(after, tag)):
            self.data_set(old[number] if number < len(old) else Dataset(), item, f"{path}[{number}].", dummy)

    def add(self, path: str, tag: int, code: str, what: str) -> None:
        self.violations.append(Violation(path or f"({tag >> 16:04x},{tag & 0xFFFF:04x})", tag, code, what))


def damage(original: Dataset, anonymised: Dataset, edition: str = "2026c") -> list[Violation]:
    """What no rule asks for: attributes outside the table, neither text nor UID, that are gone or changed (pixel data too)."""
    found: list[Violation] = []

    def walk(before: Dataset, after: Dataset, path: str) -> None:
        for tag in tuple(before.keys()):
            if (tag >> 16) % 2 or tag & 0xFFFF == 0 or tag in MARKS | DERIVED | FOREIGN:
                continue
            if row_of(tag, edition) or not dictionary_has_tag(tag):
                continue
            here = f"{path}({tag >> 16:04x},{tag & 0xFFFF:04x})"
            if tag not in after:
                found.append(Violation(here, tag, "", "lost"))
            elif _is_sequence(before, tag):
                items, left = _items(before, tag), _items(after, tag)
                if len(items) != len(left):
                    found.append(Violation(here, tag, "", "items lost"))
                for number, (item, other) in enumerate(zip(items, left, strict=False)):
                    walk(item, other, f"{here}[{number}].")
            elif _vr(before, tag) not in FREE | {"UN", "UI", "DA", "DT", "UR", "AE"} and _raw(before, tag) != _raw(after, tag):
                found.append(Violation(here, tag, "", "changed"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walk(original, anonymised, "")
    return found


def marks_missing(anonymised: Dataset, codes: Collection[str]) -> list[str]:
    """Marks that should stand in an output made with the options of these CID 7050 codes, and do not."""
    missing = []
    if _values(anonymised, 0x00120062) != ["YES"]:
        missing.append("(0012,0062) is not YES")
    if not _values(anonymised, 0x00120063):
        missing.append("(0012,0063) is empty")
    found = {str(item.get("CodeValue", "")) for item in _items(anonymised, 0x00120064)} if 0x00120064 in anonymised else set()
    if found != set(codes):
        missing.append(f"(0012,0064) holds {sorted(found)} instead of {sorted(codes)}")
    return missing


def _vr(data: Dataset, tag: int) -> str:
    element = data.get_item(tag)
    vr = element.VR if element is not None else None
    if vr in (None, "UN") and dictionary_has_tag(tag):
        vr = dictionary_VR(tag)
    return str(vr)


def _is_sequence(data: Dataset, tag: int) -> bool:
    return tag in data and _vr(data, tag) == "SQ"


def _items(data: Dataset, tag: int) -> list[Dataset]:
    """The items of a sequence; none where it cannot be read as one."""
    try:
        value = data[tag].value
    except Exception:  # what an odd file raises is pydicom's affair; an unreadable sequence is compared by nobody
        return []
    return [item for item in value if isinstance(item, Dataset)] if value is not None and not isinstance(value, (str, bytes)) else []


def _raw(data: Dataset, tag: int) -> bytes:
    """The value as it stands in the file, without padding."""
    element = data.get_item(tag)
    if isinstance(element, RawDataElement):
        value = element.value or b""
    elif isinstance(element.value, bytes):
        value = element.value
    else:
        value = "\\".join(_texts(element.value)).encode("utf-8", "surrogatepass")
    return value.rstrip(b"\0 ") if _vr(data, tag) in TEXT or _vr(data, tag) == "UN" else value


def _values(data: Dataset, tag: int) -> list[str]:
    if tag not in data:
        return []
    return [part.strip(" ") for part in _raw(data, tag).decode("latin-1").split("\\") if part.strip(" \0")]


def _texts(value: object) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        yield str(value)
    else:
        yield from map(str, value)


def count(violations: list[Violation], by: Callable[[Violation], str] = lambda violation: violation.what) -> dict[str, int]:
    """How many of each kind, the commonest first."""
    tally: dict[str, int] = {}
    for violation in violations:
        tally[by(violation)] = tally.get(by(violation), 0) + 1
    return dict(sorted(tally.items(), key=lambda pair: -pair[1]))
