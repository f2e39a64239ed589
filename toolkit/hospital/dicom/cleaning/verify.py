"""A second look at an anonymised object beside its original: what should have gone and is still there.

Nothing of this shares code with the de-identification itself, but for the list of words that identify nobody: objects are read with
pydicom, Table E.1-1 (PS3.15) is read from its file in toolkit/data here, identifying values are collected and searched in an own way.
What both get wrong, both must get wrong apart.
"""

from __future__ import annotations

import csv
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.hospital.dicom.cleaning.vocabulary import GENERIC, UNTELLING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from toolkit.hospital.dicom.rules.profile import Options

Source = bytes | str | PathLike[str]

_DATA = Path(__file__).resolve().parents[3] / "data"
_SWITCHES = (
    "retain_uids",
    "retain_dates",
    "modified_dates",
    "retain_device",
    "retain_institution",
    "retain_patient",
    "clean_descriptors",
    "clean_structured",
    "clean_graphics",
)
# De-identification writes these itself; for cleaned pixels also the two that say so.
_MARKS = frozenset((0x00120062, 0x00120063, 0x00120064, 0x00280301, 0x00280303, 0x04000500))
_LARGE = 1 << 20  # values beyond this are bulk data: not read from a file, not searched

# Patient's ids, address and telephone, admission, study, accession and order numbers.
_PERSON = frozenset((0x00080050, 0x00100020, 0x00101000, 0x00101040, 0x00101090, 0x00102154, 0x00102155))
_PERSON |= {0x00200010, 0x00380010, 0x00402016, 0x00402017}
_INSTITUTION = frozenset((0x00080080, 0x00080081, 0x00081040))
_BIRTH = 0x00100030
_TEXTS = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_BINARY = frozenset(("OB", "OW", "UN"))
_DUMMY = "anonymous"  # stands in many a dummy, and nobody's name
_REGISTERED = re.compile(r"1\.2\.840\.10008\.")  # what the standard registers names nobody


@dataclass(frozen=True)
class _Row:
    basic: frozenset[str]
    options: dict[str, str]


@dataclass
class _Known:
    """What of the original must not be found: whole UIDs, words of texts, spellings of dates."""

    uids: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str] | None:
        """All of it as one expression over folded text, bounded so that a short name is not found within a word."""
        long_enough = {word for word in self.words if len(word) > 3 or (len(word) == 3 and word.isalpha()) or not word.isascii()}
        every = sorted(long_enough | self.dates | self.uids, key=len, reverse=True)
        return re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, every))})(?![^\W_])") if every else None


def verify(original: Source, anonymised: Source, options: Options) -> list[str]:
    """Problems of `anonymised`, one line each: the attribute's path and what is wrong, never a value; empty when nothing was found.

    `original` and `anonymised` are files' bytes or paths. Nothing is raised for an odd object: what cannot be read back is a problem.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            before, after = _read(original), _read(anonymised)
            return _Verification(options).run(before, after)
        except Exception as error:  # pydicom raises nearly everything on broken objects; an unverified one does not leave
            return [f"the object cannot be read back: {type(error).__name__}"]


def _read(source: Source) -> Dataset:
    import pydicom

    if isinstance(source, bytes):
        return pydicom.dcmread(BytesIO(source), force=True)
    return pydicom.dcmread(source, force=True, defer_size=_LARGE)


@lru_cache(maxsize=2)
def _table(edition: str) -> tuple[dict[int, _Row], list[tuple[int, int, _Row]]]:
    """Rows by tag, and rows for masks as (value, mask, row); private attributes are handled apart."""
    plain: dict[int, _Row] = {}
    masks: list[tuple[int, int, _Row]] = []
    with open(_DATA / "dicom_profile.csv", newline="") as stream:
        for line in csv.DictReader(stream):
            code = line[f"basic_{edition}"].rstrip("*")
            if not code or "g" in line["tag"]:
                continue
            row = _Row(frozenset(code.split("/")), {name: line[name] for name in _SWITCHES if line[name]})
            if "x" in line["tag"]:
                mask = "".join("0" if digit == "x" else "f" for digit in line["tag"])
                masks.append((int(line["tag"].replace("x", "0"), 16), int(mask, 16), row))
            else:
                plain[int(line["tag"], 16)] = row
    return plain, masks


class _Verification:
    """One pass over one pair of objects."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.on = {name for name in _SWITCHES if getattr(options, name)}
        if options.profile == "hospital":
            self.on |= {"retain_patient"} | ({"modified_dates"} - self.on if "retain_dates" not in self.on else set())
        self.known = _Known()
        self.problems: list[str] = []

    def run(self, before: Dataset, after: Dataset) -> list[str]:
        if not len(after):
            return ["the object is empty"]
        self.header(after)
        self.collect(before)
        self.walk(before, after, "", self.known.pattern())
        return self.problems

    def header(self, after: Dataset) -> None:
        meta = after.file_meta
        if str(meta.get("MediaStorageSOPInstanceUID", "")) != str(after.get("SOPInstanceUID", "")):
            self.problem("(0002,0003)", "the meta information names another instance")
        for tag in (0x00020016, 0x00020017, 0x00020018, 0x00020100, 0x00020102):
            if meta.get(tag) is not None:
                self.problem(_name(tag), "the meta information names a sender")
        if any(after.preamble or b""):
            self.problem("preamble", "it is not empty")
        if after.get("PatientIdentityRemoved") != "YES":
            self.problem("(0012,0062)", "it is not YES")
        if not after.get("DeidentificationMethod") or not after.get("DeidentificationMethodCodeSequence"):
            self.problem("(0012,0063)", "the method is not named")

    def row(self, tag: int) -> _Row | None:
        plain, masks = _table(self.options.edition)
        return plain.get(tag) or next((row for value, mask, row in masks if tag & mask == value), None)

    def option(self, row: _Row) -> str:
        """What the options in use make of an attribute: K, C, M (a date that moves) or nothing."""
        codes = {name: row.options[name] for name in self.on if name in row.options}
        if "K" in codes.values():
            return "K"
        if "modified_dates" in codes:
            return "M"
        return "C" if codes else ""

    def collect(self, data: Dataset) -> None:
        """Gather what identifies, at every depth, in whatever is to be removed or replaced."""
        for tag, vr, value in _attributes(data):
            if vr == "SQ":
                for item in value:
                    self.collect(item)
                continue
            row = self.row(tag)
            if vr == "UI" and row and "U" in row.basic and self.option(row) != "K":
                self.known.uids |= {uid for uid in _strings(value) if len(uid) > 12 and not _REGISTERED.match(uid)}
            elif vr == "PN":
                words = {word for text in _strings(value) for word in re.findall(r"[^\W\d_]{3,}", _folded(text))}
                self.known.words |= words - UNTELLING - {_DUMMY}
            elif tag in _PERSON or (tag in _INSTITUTION and "retain_institution" not in self.on):
                self.known.words |= {_folded(text).strip() for text in _strings(value)} - GENERIC - {_DUMMY}
            elif tag == _BIRTH:
                self.known.dates |= {spelling for text in _strings(value) for spelling in _spellings(text)}

    def walk(self, before: Dataset | None, after: Dataset, path: str, pattern: re.Pattern[str] | None) -> None:
        originals = {tag: (vr, value) for tag, vr, value in _attributes(before)} if before is not None else {}
        for tag, vr, value in _attributes(after):
            here = path + _name(tag)
            if (not path and tag in _MARKS) or tag in self.options.keep or self.by_recipe(tag):
                continue
            row = self.row(tag)
            option = self.option(row) if row else ""
            if tag >> 16 & 1:
                if not (self.options.safe_private or self.options.recipe):
                    self.problem(here, "a private attribute is still there")
                    continue
            elif tag & 0xFFFF == 0:
                self.problem(here, "a group length is still there")
            elif row and row.basic == {"X"} and not option:
                self.problem(here, "it is still there")
                continue
            old = originals.get(tag, ("", None))[1]
            if vr == "SQ":
                old_items = list(old) if old is not None and not isinstance(old, (str, bytes)) else []
                for number, item in enumerate(value):
                    self.walk(old_items[number] if number < len(old_items) else None, item, f"{here}[{number}].", pattern)
            elif row and option in ("", "M") and self.survived(vr, value, old, option, row):
                self.problem(here, "the original value is still there")
            elif vr in ("DA", "DT") and row is None and "retain_dates" not in self.on and self.survived(vr, value, old, "M", None):
                self.problem(here, "the original date is still there")
            elif vr == "UI":
                if self.known.uids.intersection(_strings(value)):
                    self.problem(here, "an original UID is still there")
            elif pattern and (row is None or option) and self.found(pattern, vr, value):
                self.problem(here, "an identifying value of the original is still there")

    def by_recipe(self, tag: int) -> bool:
        """Whether a recipe decides about the attribute: what it wants is not for the table to judge."""
        recipe = self.options.recipe
        return recipe is not None and recipe.find(tag) is not None

    @staticmethod
    def survived(vr: str, value: Any, old: Any, option: str, row: _Row | None) -> bool:
        new = _strings(value)
        if option == "M":  # a time of day says nothing without its date
            return vr in ("DA", "DT") and any(re.match(r"\d{8}", text.replace(".", "")) for text in new) and new == _strings(old)
        if vr == "UI":
            return any(text in _strings(old) and not _REGISTERED.match(text) for text in new)
        return bool(new) and new == _strings(old)

    @staticmethod
    def found(pattern: re.Pattern[str], vr: str, value: Any) -> bool:
        if vr in _TEXTS:
            return any(pattern.search(_folded(text)) for text in _strings(value))
        if vr in _BINARY and isinstance(value, bytes) and len(value) < _LARGE:
            return any(len(match[0]) > 4 for match in pattern.finditer(_folded(value.decode("latin-1"))))
        return False

    def problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")


def _attributes(data: Dataset) -> Iterator[tuple[int, str, Any]]:
    """(tag, VR, value) of each attribute; a value that pydicom cannot convert stays as bytes."""
    for tag in tuple(data.keys()):
        raw = data.get_item(tag)
        try:
            element = data[tag]
            yield int(tag), str(element.VR), element.value if element.value is not None else ""
        except Exception:
            value = getattr(raw, "value", b"")
            yield int(tag), str(getattr(raw, "VR", None) or "UN"), value if isinstance(value, bytes) else b""


def _strings(value: Any) -> list[str]:
    """The values of an attribute as text, without padding and without empty ones."""
    if value is None:
        return []
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str) or not hasattr(value, "__iter__") or hasattr(value, "components"):
        value = [value]
    return [text for text in (str(one).strip(" \0") for one in value) if text]


def _folded(text: str) -> str:
    """Without case and accents: Müller, MULLER and müller are one name."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter))


def _spellings(date: str) -> set[str]:
    digits = date.replace(".", "").replace("-", "")
    if not re.fullmatch(r"\d{8}", digits):
        return set()
    year, month, day = digits[:4], digits[4:6], digits[6:]
    spellings = {digits}
    for between in ".-/":
        spellings |= {between.join((year, month, day)), between.join((day, month, year)), between.join((month, day, year))}
    return spellings


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
