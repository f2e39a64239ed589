"""One walk over an encoded data set (PS3.5 section 7): which attributes must change, and everything needed to decide how.

Values are not decoded and nothing is copied. The first eight bytes of an element (tag, VR and, unless it has 32 bits, length) look up what
is to be done with such an element at such a place, and how long it is; that is learnt once from the policy and remembered, so an element
that stays costs a slice, a look-up and an addition.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from toolkit.hospital.dicom.cleaning.places import Dropped, Dummies, Place
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.elements import LONG_VRS, SHORT_VRS
from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.rules.actions import Action, Rule
from toolkit.hospital.dicom.rules.profile import Policy, dictionary_vr

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
MARKS = frozenset((0x00120062, 0x00120063, 0x00120064, 0x00280303))  # written anew by every de-identification

_ITEM, _ITEM_END, _SEQUENCE_END, _PADDING = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC
_ICON = 0x00880200
_MOST_LEARNT = 50_000  # beginnings of elements at one place
_NOTHING = Rule(Action.KEEP)
_DEEPEST = 100  # levels of sequences; the standard's deepest objects have about ten

_TEXT = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"])

# What the walk does with an element beyond stepping over it.
_PENDING, _SCRUB, _SEQUENCE, _IDENTIFYING, _WANTED, _REMOVE, _END, _PRIVATE = (1 << bit for bit in range(8))


class Element(NamedTuple):
    """An attribute that is to change: `start` is the offset of its tag, `length` that of its length field, `value` that of its value."""

    rule: Rule
    tag: int
    vr: str
    start: int
    length: int
    value: int
    end: int
    path: str


class Encoding(NamedTuple):
    """How elements are written, and the readers of their numbers."""

    implicit: bool
    big_endian: bool
    u16: Callable[..., Any]
    u32: Callable[..., Any]
    tag: Callable[..., Any]


def _encoding(implicit: bool, big_endian: bool) -> Encoding:
    order = ">" if big_endian else "<"
    readers = [Struct(order + numbers).unpack_from for numbers in ("H", "I", "HH")]
    return Encoding(implicit, big_endian, *readers)


ENCODINGS = {(implicit, big): _encoding(implicit, big) for implicit in (False, True) for big in (False, True)}


@dataclass
class Scan:
    """What one walk found. Offsets are into the source's data."""

    pending: list[Element] = field(default_factory=list)  # to be decided and rewritten
    removed: list[tuple[int, int]] = field(default_factory=list)  # runs of bytes that go
    texts: list[Element] = field(default_factory=list)  # kept text
    identifying: list[tuple[int, str, bytes]] = field(default_factory=list)  # tag, VR, raw value; at every depth
    # Length field, content's start and end, of sequences and items of defined length.
    containers: list[tuple[int, int, int]] = field(default_factory=list)
    values: dict[int, tuple[int, int]] = field(default_factory=dict)  # wanted top-level attributes: where the value is
    icons: list[tuple[int, int]] = field(default_factory=list)  # where an icon image that stays starts and ends
    heads: list[int] = field(default_factory=list)  # where each top-level element starts
    tags: list[int] = field(default_factory=list)  # and its tag
    notes: list[tuple[str, str, str]] = field(default_factory=list)  # path, action, code; only for reports


class Scanner:
    """Walks data sets under one policy; keeps what it learnt from one object to the next.

    `wanted` are tags of top-level attributes whose places are to be returned.
    """

    def __init__(self, policy: Policy, wanted: frozenset[int]) -> None:
        self.policy, self.wanted = policy, wanted
        self._tables: dict[tuple[Place, Encoding, bool], dict[bytes, tuple[Any, ...]]] = {}
        self._dummies: dict[tuple[Place, str], Dummies] = {}
        self.dropped = Dropped(policy)

    def scan(self, source: Part10, report: bool = False) -> Scan:
        """Walk the data set of `source`. With `report`, every action is noted with its path.

        Raises Quarantine (truncated, broken-nesting, too-deep, broken-element).
        """
        encoding = ENCODINGS[source.implicit, source.big_endian]
        walk = _Walk(self, source, report)
        sop_class = walk.sop_class(encoding)
        walk.level(source.start, source.end, self.policy.context(sop_class), encoding, 0, False)
        return walk.found

    def table(self, place: Place, encoding: Encoding, top: bool) -> dict[bytes, tuple[Any, ...]]:
        """What is known about elements at `place`, by their first bytes."""
        key = place, encoding, top
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) > 2000:  # a file of random nesting must not fill the memory
                self._tables.clear()
                self._dummies.clear()
            table = self._tables[key] = {}
        return table

    def dummies(self, within: Place, code: str) -> Dummies:
        """The place within a sequence whose content becomes dummies; the same object for the same place."""
        return self._dummies.setdefault((within, code), Dummies(within, code))


class _Walk:
    """One object's walk; recursion follows the sequences."""

    def __init__(self, scanner: Scanner, source: Part10, report: bool) -> None:
        self.scanner, self.source, self.report = scanner, source, report
        self.data: bytes | mmap.mmap = source.data
        self.found = Scan()
        self.path: list[str] = []

    def sop_class(self, encoding: Encoding) -> str:
        """SOPClassUID (0008,0016) decides how all others are treated, so it is looked for first; it stands among the first elements."""
        data, position = self.data, self.source.start
        try:
            for _ in range(64):
                group, element = encoding.tag(data, position)
                tag = group << 16 | element
                if tag > 0x00080016:
                    break
                length, value = _length(data, position, encoding)
                if length == UNDEFINED or value + length > self.source.end:
                    break
                if tag == 0x00080016:
                    return data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
                position = value + length
        except StructError:
            pass
        return self.source.meta.get(0x00020002, b"").rstrip(b"\0 ").decode("ascii", "replace")

    def level(self, position: int, end: int, place: Place, encoding: Encoding, depth: int, delimited: bool) -> int:
        """Walk the elements from `position` to `end`, or to an item's delimiter when `delimited`; the position after them."""
        data, found = self.data, self.found
        table = self.scanner.table(place, encoding, depth == 0)
        get = table.get
        heads = found.heads if depth == 0 else None
        tags = found.tags
        removed_start = removed_end = -1
        creators: dict[int, str] = {}
        while position < end:
            head = data[position : position + 8]
            entry = get(head)
            if entry is None:
                try:
                    entry = self.learn(head, place, encoding, depth)
                except Quarantine:
                    if depth == 0 and self._only_zeros(position, end):
                        found.removed.append((position, end))
                        break
                    raise
                if len(table) > _MOST_LEARNT:
                    table.clear()
                table[head] = entry
            size, flags, tag, rest = entry
            if heads is not None:
                heads.append(position)
                tags.append(tag)
            if size:
                after = position + size
            else:
                try:
                    length = encoding.u32(data, position + rest[0])[0]
                except StructError:
                    raise self.broken(Reason.TRUNCATED, tag, "the data set ends within an element") from None
                after = position + rest[1] + length if length != UNDEFINED else 0
            if after > end:
                raise self.broken(Reason.TRUNCATED, tag, "its value is cut short")
            if flags == _REMOVE and after:  # half of a file's elements may be private: the shortest way for those
                if removed_end != position:
                    if removed_end > 0:
                        found.removed.append((removed_start, removed_end))
                    removed_start = position
                removed_end = after
                if self.report:
                    self.note(tag, rest[2])
            elif flags or not after:
                at_length, at_value, rule, vr = rest
                value = position + at_value
                if flags & _END:
                    if not delimited:
                        raise self.broken(Reason.BROKEN_NESTING, tag, "an item ends that was not open")
                    position += 8
                    delimited = False
                    break
                if flags & _PRIVATE:
                    rule, vr, flags = self.private(tag, vr, value, after, place, creators)
                if flags & _IDENTIFYING and after:
                    found.identifying.append((tag, vr, data[value:after]))
                if flags & _SEQUENCE or (not after and vr in ("UN", "SQ")):
                    creator = creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF)
                    inner = self.inner(rule, place, tag, creator)
                    after = self.sequence(tag, vr, position + at_length, value, after or end, not after, inner, encoding, depth)
                    if tag == _ICON and not flags & _REMOVE:
                        found.icons.append((position, after))
                elif not after:
                    after = self.fragments(value, end, encoding)
                if flags & _WANTED:
                    found.values[tag] = value, after
                if flags & _REMOVE:
                    if removed_end == position:
                        removed_end = after
                    else:
                        if removed_end > 0:
                            found.removed.append((removed_start, removed_end))
                        removed_start, removed_end = position, after
                    if self.report:
                        self.note(tag, rule)
                elif flags & _SCRUB:
                    found.texts.append(Element(rule, tag, vr, position, position + at_length, value, after, self.where(tag)))
                elif flags & _PENDING:
                    found.pending.append(Element(rule, tag, vr, position, position + at_length, value, after, self.where(tag)))
            position = after
        if removed_end > 0:
            found.removed.append((removed_start, removed_end))
        if delimited:
            raise self.broken(Reason.BROKEN_NESTING, _ITEM, "an item of undefined length does not end")
        return position

    def inner(self, rule: Rule, place: Place, tag: int, creator: str | None) -> Place:
        """What decides within a sequence's items."""
        if rule.action in (Action.DESCEND, Action.SCRUB, Action.KEEP):
            return place.child(tag, creator)
        if rule.action in (Action.DESCEND_DUMMY, Action.DUMMY):
            return self.scanner.dummies(place.child(tag, creator), rule.code)
        return self.scanner.dropped

    def sequence(
        self, tag: int, vr: str, at_length: int, value: int, stop: int, undefined: bool, inner: Place, encoding: Encoding, depth: int
    ) -> int:
        """Walk the items of a sequence, which lie before `stop`; the position after it."""
        if depth >= _DEEPEST:
            raise self.broken(Reason.TOO_DEEP, tag, f"sequences are nested more than {_DEEPEST} deep")
        if vr == "UN" and not encoding.implicit:  # PS3.5 6.2.2: within UN everything is implicit little-endian
            encoding = ENCODINGS[True, False]
        data, containers, path = self.data, self.found.containers, self.path
        if not undefined:
            containers.append((at_length, value, stop))
        position, index = value, 0
        while True:
            if position >= stop:
                if undefined:
                    raise self.broken(Reason.BROKEN_NESTING, tag, "a sequence of undefined length does not end")
                return position
            try:
                group, element = encoding.tag(data, position)
                size = encoding.u32(data, position + 4)[0]
            except StructError:
                raise self.broken(Reason.TRUNCATED, tag, "the data set ends within a sequence") from None
            marker = group << 16 | element
            content = position + 8
            if marker == _SEQUENCE_END and undefined:
                return content
            if marker != _ITEM:
                raise self.broken(Reason.BROKEN_NESTING, tag, "something other than an item stands in a sequence")
            if self.report:
                path.append(f"({tag >> 16:04X},{tag & 0xFFFF:04X})[{index}].")
            if size == UNDEFINED:
                position = self.level(content, stop, inner, encoding, depth + 1, True)
            else:
                position = content + size
                if position > stop:
                    raise self.broken(Reason.BROKEN_NESTING, tag, "an item is longer than its sequence")
                containers.append((content - 4, content, position))
                self.level(content, position, inner, encoding, depth + 1, False)
            if self.report:
                path.pop()
            index += 1

    def fragments(self, position: int, end: int, encoding: Encoding) -> int:
        """The position after encapsulated bulk data (PS3.5 A.4)."""
        data, file = self.data, self.source.file
        while position + 8 <= end:
            # Touching a mapped page for every fragment would count as memory.
            head = data[position : position + 8] if file is None else os.pread(file, 8, position)
            group, element = encoding.tag(head)
            size = encoding.u32(head, 4)[0]
            marker = group << 16 | element
            if marker == _SEQUENCE_END:
                return position + 8
            if marker != _ITEM:
                raise self.broken(Reason.BROKEN_NESTING, PIXEL_DATA, "something other than a fragment stands in encapsulated data")
            position += 8 + size
        raise self.broken(Reason.TRUNCATED, PIXEL_DATA, "the encapsulated data end too early")

    def learn(self, head: bytes, place: Place, encoding: Encoding, depth: int) -> tuple[Any, ...]:
        """What to do with elements that start with `head`.

        (Bytes of the element, 0 where the length stands behind `head` or is undefined; flags; tag; (offset of the length, offset of the
        value, rule, VR)).
        """
        if len(head) < 8:
            raise self.broken(Reason.TRUNCATED, 0, "the data set ends within an element")
        group, element = encoding.tag(head)
        tag = group << 16 | element
        if tag == _ITEM_END:
            return 8, _END, tag, (4, 8, _NOTHING, "")
        if group == 0xFFFE:
            raise self.broken(Reason.BROKEN_NESTING, tag, "a delimiter stands where an attribute should")
        known = dictionary_vr(tag)
        if encoding.implicit:
            vr, at_length, at_value = known or "UN", 4, 8
            length = encoding.u32(head, 4)[0]
            size = 0 if length == UNDEFINED else 8 + length
        else:
            vr = head[4:6].decode("latin-1")
            if vr in SHORT_VRS:
                at_length, at_value, size = 6, 8, 8 + encoding.u16(head, 6)[0]
            elif vr in LONG_VRS:
                at_length, at_value, size = 8, 12, 0
            else:
                raise self.broken(Reason.BROKEN_ELEMENT, tag, "its VR is none of PS3.5")
        flags, rule, meant = self.decision(tag, vr, known, place, depth)
        return size, flags, tag, (at_length, at_value, rule, meant)

    def decision(self, tag: int, vr: str, known: str | None, place: Place, depth: int) -> tuple[int, Rule, str]:
        """(Flags, rule, what the value is taken for) of an attribute written with `vr`, which is `known` to be of another perhaps."""
        group, element = tag >> 16, tag & 0xFFFF
        if place is self.scanner.dropped and (group & 1 or element == 0):
            return 0, _NOTHING, vr  # all of the sequence goes
        if tag == 0 or (group <= 2 and depth == 0) or tag == _PADDING or element == 0:
            return _REMOVE, Rule(Action.REMOVE, code="group length" if element == 0 else "padding" if tag == _PADDING else "misplaced"), vr
        if group & 1:
            # A private creator or a private attribute: the same tag means another thing in another block.
            if self.scanner.policy.removes_all_private:
                return _REMOVE, Rule(Action.REMOVE, code="private"), vr
            return _PRIVATE, _NOTHING, vr
        # Written as UN or as numbers by a careless converter: what it means decides.
        miswritten = vr == "UN" or (known in _TEXT and vr not in _TEXT and vr != "SQ")
        meant = known if known and miswritten else vr
        if known == "SQ" and vr not in ("SQ", "UN"):
            raise self.broken(Reason.BROKEN_ELEMENT, tag, f"a sequence is written as {vr}")
        if vr == "SQ" and known not in ("SQ", None):
            raise self.broken(Reason.BROKEN_ELEMENT, tag, "it is written as a sequence and is none")
        if depth == 0 and tag in MARKS:
            return _REMOVE | (_SEQUENCE if meant == "SQ" else 0), Rule(Action.REMOVE, code="written anew"), meant
        rule = place.rule(tag, meant)
        flags = self.flags(rule, meant)
        if depth == 0 and tag in self.scanner.wanted:
            flags |= _WANTED
        # The VR that the file states is needed where it decides how nested items are encoded.
        return flags, rule, "UN" if meant == "SQ" and vr == "UN" else meant

    @staticmethod
    def flags(rule: Rule, vr: str) -> int:
        flags = _IDENTIFYING if rule.identifying and vr != "SQ" else 0
        if vr == "SQ":
            flags |= _SEQUENCE
            if rule.action is Action.REMOVE:
                flags |= _REMOVE
            elif rule.action not in (Action.KEEP, Action.SCRUB, Action.DESCEND, Action.DESCEND_DUMMY, Action.DUMMY):
                flags |= _PENDING
        elif rule.action is Action.REMOVE:
            flags |= _REMOVE
        elif rule.action is Action.SCRUB:
            flags |= _SCRUB
        elif rule.action is not Action.KEEP:
            flags |= _PENDING
        return flags

    def private(self, tag: int, vr: str, value: int, after: int, place: Place, creators: dict[int, str]) -> tuple[Rule, str, int]:
        """The decision for a private attribute, by the creator that reserved its block (PS3.5 7.8.1)."""
        element = tag & 0xFFFF
        if 0x10 <= element <= 0xFF:
            creator = self.data[value : after or value].strip(b"\0 ").decode("latin-1")
            creators[tag >> 16 << 8 | element] = creator
            rule = place.rule(tag, "LO", creator)
            return rule, "LO", self.flags(rule, "LO") & ~_SCRUB  # a known name, which its block's attributes need
        rule = place.rule(tag, vr, creators.get(tag >> 16 << 8 | element >> 8))
        return rule, vr, self.flags(rule, vr)

    def where(self, tag: int) -> str:
        """The path of an attribute, for reports."""
        return f"{''.join(self.path)}({tag >> 16:04X},{tag & 0xFFFF:04X})" if self.report else ""

    def note(self, tag: int, rule: Rule) -> None:
        self.found.notes.append((self.where(tag), rule.action.name.lower(), rule.code))

    def broken(self, reason: Reason, tag: int, what: str) -> Quarantine:
        remedy = "send it again" if reason is Reason.TRUNCATED else "repair it or leave it out"
        return Quarantine(reason, f"({tag >> 16:04X},{tag & 0xFFFF:04X}): {what}", remedy)

    def _only_zeros(self, position: int, end: int) -> bool:
        """Some writers fill the file's last block with zeros."""
        return end - position < 1 << 20 and not any(self.data[position:end])


def _length(data: bytes | mmap.mmap, position: int, encoding: Encoding) -> tuple[int, int]:
    """(length, offset of the value) of the element at `position`."""
    if encoding.implicit:
        return encoding.u32(data, position + 4)[0], position + 8
    if data[position + 4 : position + 6].decode("latin-1") in LONG_VRS:
        return encoding.u32(data, position + 8)[0], position + 12
    return encoding.u16(data, position + 6)[0], position + 8
