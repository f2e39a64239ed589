"""Recipes: a site's own decisions about attributes, read from a TOML file; the format is in dicom-recipe(5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import BadData, UsageError
from toolkit.hospital.dicom.encoding.dictionary import dictionary_vr, mask_of, tag_of
from toolkit.hospital.dicom.rules.actions import Action

# Strictest first: where two instructions fit an attribute equally well, the first of these holds.
ACTIONS = {
    "remove": Action.REMOVE,
    "empty": Action.EMPTY,
    "replace": Action.REPLACE,
    "hash": Action.HASH,
    "shift": Action.SHIFT,
    "keep": Action.KEEP,
}
# The object is named, decoded and marked by these: no recipe changes them.
PROTECTED = {
    0x00080005: "the object's text could not be read any more",
    0x00080016: "without it nobody knows what the object is",
    0x00080018: "use the option that retains UIDs",
    0x0020000D: "use the option that retains UIDs",
    0x0020000E: "use the option that retains UIDs",
    0x00120062: "it says what was done and is written afterwards",
    0x00120063: "it says what was done and is written afterwards",
    0x00120064: "it says what was done and is written afterwards",
    0x00280303: "it says what was done and is written afterwards",
}
_DAY, _TIME = r"(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"
# What a value of PS3.5 6.2 may be, for the VRs that are strings.
_VALUES = {
    "AE": r"[ -\[\]-~]{1,16}",
    "AS": r"\d{3}[DWMY]",
    "CS": r"[A-Z0-9 _]{1,16}",
    "DA": rf"\d{{4}}{_DAY}",
    "DS": r"[-+]?(?=[\d.]{1,16}$|[\d.]+[eE])(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?",
    "DT": rf"\d{{4}}({_DAY}({_TIME})?)?([-+]\d{{4}})?",
    "IS": r"[-+]?\d{1,11}",
    "LO": r"[ -\[\]-~]{1,64}",
    "LT": r"[ -~\r\n\t]{1,10240}",
    "PN": r"(?=.{1,194}$)[ -<>-\[\]-~]{1,64}(=[ -<>-\[\]-~]{0,64}){0,2}",
    "SH": r"[ -\[\]-~]{1,16}",
    "ST": r"[ -~\r\n\t]{1,1024}",
    "TM": _TIME,
    "UC": r"[ -\[\]-~]+",
    "UI": r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+",
    "UR": r"[!-\[\]-~]+",
    "UT": r"[ -~\r\n\t]+",
}
_ONE_VALUE = {"LT", "ST", "UR", "UT"}
_HASHED = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT"}  # where 16 letters and digits are a value
_PATTERN = re.compile(r"\(?([0-9a-fA-FxX]{4}),?([0-9a-fA-FxX]{4})\)?")
_PRIVATE = re.compile(r"\(([0-9a-fA-FxX]{4}),\s*([^,\\]{1,64}?)\s*,\s*([0-9a-fA-FxX]{2})\)")


@dataclass(frozen=True)
class Selector:
    """Attributes that an instruction is for: those with ``tag & mask == bits`` and, when given, of the private `creator`.

    With a creator the block's number is left out of the mask: PS3.5 7.8.1 lets each object reserve another one. Without one, a pattern such
    as 60xx is for even groups only, because nobody who writes it thinks of private attributes.
    """

    mask: int
    bits: int
    creator: str | None = None

    def fits(self, tag: int, creator: str | None) -> bool:
        if tag & self.mask != self.bits or bool(tag & 0x10000) != self.private:
            return False
        return self.creator is None or self.creator == creator

    @property
    def private(self) -> bool:
        return self.creator is not None or bool(self.bits & 0x10000)

    @property
    def exact(self) -> bool:
        return self.mask == (0xFFFFFFFF if self.creator is None else 0xFFFF00FF)

    @property
    def weight(self) -> int:
        """The more of a tag is told, the more the instruction counts; a creator counts as much as the block it stands for."""
        return self.mask.bit_count() + (0 if self.creator is None else 9)


@dataclass(frozen=True)
class Instruction:
    """One decision of a recipe; `word` is how the file spells the attributes, `value` is for REPLACE."""

    selector: Selector
    action: Action
    word: str
    value: str = ""

    def bytes_for(self, vr: str) -> bytes | None:
        """The replacement, encoded and padded to an even length; None when it is no value of `vr`."""
        return encoded(self.value, vr)


@dataclass(frozen=True)
class Recipe:
    """The instructions of one file, those that count most first; `digest` is the SHA-256 of the file, in hexadecimal digits."""

    path: str
    digest: str
    instructions: tuple[Instruction, ...]

    def find(self, tag: int, creator: str | None = None) -> Instruction | None:
        """The instruction for the attribute `tag`, of the private `creator` when its group is odd."""
        if tag in PROTECTED:
            return None
        return next((one for one in self.instructions if one.selector.fits(tag, creator)), None)

    def keeps_block(self, tag: int, creator: str) -> bool:
        """Whether the private creator element `tag` (gggg,00bb), whose value is `creator`, may head an attribute that stays."""
        block = tag & 0xFFFF0000 | (tag & 0xFF) << 8
        return any(
            one.action is not Action.REMOVE
            and one.selector.private
            and one.selector.creator in (None, creator)
            and block & one.selector.mask & 0xFFFFFF00 == one.selector.bits & 0xFFFFFF00
            for one in self.instructions
        )

    @property
    def touches_private(self) -> bool:
        """Whether a private attribute may stay: then they all have to be looked at."""
        return any(one.action is not Action.REMOVE and one.selector.private for one in self.instructions)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises BadData, naming the place, for whatever is not as dicom-recipe(5) says; OSError when it cannot be read."""
    import tomllib

    content = Path(path).read_bytes()
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(str(path), f"is no TOML file: {error}", "see dicom-recipe(5)") from None
    found = [one for action, entry in document.items() for one in _instructions(str(path), action, entry)]
    seen: dict[Selector, Instruction] = {}
    for one in found:
        other = seen.setdefault(one.selector, one)
        if other is not one:
            raise BadData(str(path), f"says two things about {one.word}: {_name(other)} and {_name(one)}", "leave one of them out")
    strict = list(ACTIONS.values())
    found.sort(key=lambda one: (-one.selector.weight, strict.index(one.action)))
    return Recipe(str(path), hashlib.sha256(content).hexdigest(), tuple(found))


def encoded(value: str, vr: str) -> bytes | None:
    """`value` as the bytes of a `vr`, padded to an even length; None when it is none. Several values are separated by a backslash."""
    form = _VALUES.get(vr)
    parts = [value] if vr in _ONE_VALUE else value.split("\\")
    if form is None or not all(re.fullmatch(form, part) for part in parts):
        return None
    return (value + (("\0" if vr == "UI" else " ") if len(value) % 2 else "")).encode("ascii")


def hashes(vr: str) -> bool:
    """Whether a hash is a value of `vr`."""
    return vr in _HASHED


def _instructions(path: str, action: str, entry: Any) -> Iterator[Instruction]:
    if action not in ACTIONS:
        raise BadData(path, f"has the key {action!r}", f"known are {', '.join(ACTIONS)}")
    if action == "replace":
        if not isinstance(entry, dict):
            raise BadData(f"{path}: replace", "is no table", "write [replace] and then lines such as StationName = 'CT1'")
        pairs = list(entry.items())
    elif isinstance(entry, list) and all(isinstance(word, str) for word in entry):
        pairs = [(word, "") for word in entry]
    else:
        raise BadData(f"{path}: {action}", "is no list of attributes", f'write {action} = ["StationName", "(0018,1000)"]')
    for word, value in pairs:
        yield _instruction(f"{path}: {action}: {word}", ACTIONS[action], word, value)


def _instruction(place: str, action: Action, word: str, value: Any) -> Instruction:
    selector = _selector(place, word)
    if action is Action.REPLACE:
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
            raise BadData(place, "is not replaced by a text or a number", "use empty or remove to have no value")
        value = "\\".join(map(str, values))
    if selector.creator is None and selector.exact:
        if selector.bits in PROTECTED:
            raise BadData(place, "cannot be changed by a recipe", PROTECTED[selector.bits])
        if not selector.bits & 0x10000:
            _check(place, action, dictionary_vr(selector.bits) or "UN", value)
    elif action in (Action.HASH, Action.SHIFT) and selector.creator is None:
        raise BadData(place, "is a pattern, and hash and shift depend on what an attribute holds", "name the attributes one by one")
    return Instruction(selector, action, word, value)


def _check(place: str, action: Action, vr: str, value: str) -> None:
    """Refuse what cannot be done to a value of this VR."""
    if action is Action.SHIFT and vr not in ("DA", "DT"):
        raise BadData(place, f"is no date: its VR is {vr}", "times of day are not shifted, keep or remove them")
    if action is Action.HASH and not hashes(vr):
        raise BadData(place, f"cannot hold a hash: its VR is {vr}", "replace, empty or remove it")
    if action is Action.REPLACE and encoded(value, vr) is None:
        problem = f"cannot be replaced: {value!r} is no {vr}" if vr in _VALUES else f"cannot be replaced: its VR is {vr}, which is no text"
        raise BadData(place, problem, "see PS3.5 6.2 for what it may hold; only ASCII is possible")


def _selector(place: str, word: str) -> Selector:
    tag = tag_of(word)
    if tag is not None:
        return Selector(0xFFFFFFFF, tag)
    if match := _PATTERN.fullmatch(word):
        return Selector(*mask_of(match[1] + match[2]))
    if match := _PRIVATE.fullmatch(word):
        mask, bits = mask_of(match[1] + "xx" + match[3])
        if mask & 0x10000 and not bits & 0x10000:
            raise BadData(place, "names a private creator in an even group", "private groups are odd")
        return Selector(mask, bits, match[2])
    raise BadData(place, "is no attribute", "give a keyword of PS3.6, (gggg,eeee) with x for any digit, or (gggg,CREATOR,ee)")


def _name(instruction: Instruction) -> str:
    return next(name for name, action in ACTIONS.items() if action is instruction.action)


def tag_from(word: str) -> int:
    """The tag of ``--keep TAG``. Raises UsageError when there is none such or it cannot be kept."""
    tag = tag_of(word)
    if tag is None:
        raise UsageError(f"--keep {word}", "is no attribute", "give a keyword of PS3.6 or (gggg,eeee)")
    if tag in PROTECTED:
        raise UsageError(f"--keep {word}", "cannot be kept by itself", PROTECTED[tag])
    return tag
