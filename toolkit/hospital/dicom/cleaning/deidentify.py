"""De-identification of one object (PS3.15 Annex E): every change is an edit of the encoded data set, all other bytes are copied.

Steps: walk the data set once (scan), judge the pixels' risk, decide each pending attribute, cut the object's own identifying values out of
the texts that stay, write the marks, mend the lengths of the sequences around. Undoing the edits gives the original (patch).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from operator import itemgetter

from toolkit.hospital.dicom.cleaning import dates, dummies, scrub
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.cleaning.scan import Element, Scan, Scanner
from toolkit.hospital.dicom.encoding.elements import element, item, meta_information, padded
from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.encoding.patch import Edit, encode_patch
from toolkit.hospital.dicom.pixels import blanking
from toolkit.hospital.dicom.pixels.risk import WANTED, PixelAttributes, PixelRules, Rectangle, assess, attributes, judged_by
from toolkit.hospital.dicom.rules.actions import Action
from toolkit.hospital.dicom.rules.profile import Policy

_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
_PATIENT_ID, _STUDY, _SERIES = 0x00100020, 0x0020000D, 0x0020000E
_BURNED_IN, _PIXEL_DATA = 0x00280301, 0x7FE00010
_IDENTITY = frozenset((_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _PATIENT_ID, _STUDY, _SERIES, _BURNED_IN))

_LARGE_RUN = 1 << 16  # bytes that are not worth copying
_TOGETHER = 512  # pieces that one call writes

_place = itemgetter(0, 1)
_LEGAL_UID = re.compile(r"[0-9.]{1,64}")

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
# Frames of reference and instances that the standard itself registers (PS3.6 table A-1) name nobody.
_WELL_KNOWN = ("1.2.840.10008.1.4.", "1.2.840.10008.1.20.", "1.2.840.10008.1.40.", "1.2.840.10008.1.42.", "1.2.840.10008.5.1.1.")


@dataclass
class Deidentified:
    """An anonymised object that is not written yet; valid while its source is open.

    `digest` is the SHA-256 of the anonymised data set as encoded (inflated where the syntax is deflated), once written; `patient` the
    original patient id; `uids` pairs of original and new; `actions` (path, action, code of the table) when a report was asked for.
    """

    source: Part10
    before: list[Edit]  # what changes before the pixels,
    pixels: Sequence[Edit]  # in them: many of them are made when they are asked for,
    after: list[Edit]  # and behind
    header: bytes
    study_uid: str
    series_uid: str
    instance_uid: str
    patient: str
    patient_pseudonym: str
    uids: list[tuple[str, str]]
    actions: list[tuple[str, str, str]]

    digest: bytes = b""

    def edits(self) -> Iterator[Edit]:
        """All changes in the order of the source's bytes."""
        return chain(self.before, self.pixels, self.after)

    def write_to(self, descriptor: int) -> None:
        """Write the anonymised file, and set `digest`. Raises OSError, and Quarantine when the source becomes shorter meanwhile."""
        digest = hashlib.sha256()
        if self.source.file is None:
            pieces = self.body()
            for piece in pieces:
                digest.update(piece)
            if self.source.deflated:
                pieces = [zlib.compress(b"".join(pieces), wbits=-zlib.MAX_WBITS)]
                pieces.append(b"\0" * (len(pieces[0]) % 2))
            _write(descriptor, [self.header, *pieces])
        else:
            _write(descriptor, [self.header])
            for piece in self.pieces():
                digest.update(piece)
                _write(descriptor, [piece])
        self.digest = digest.digest()

    def body(self) -> list[bytes | memoryview]:
        """The anonymised data set of a source in memory, not deflated: what is small is joined, what is large stays where it is."""
        data, view, position = self.source.data, memoryview(self.source.data), self.source.start
        pieces: list[bytes | memoryview] = []
        small: list[bytes] = []
        for start, end, new in chain(self.edits(), ((self.source.end, self.source.end, b""),)):
            if start - position < _LARGE_RUN:
                small += (data[position:start], new)
            else:
                pieces += (b"".join(small), view[position:start])
                small = [new]
            position = end
        pieces.append(b"".join(small))
        return pieces

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The same of a mapped source, in bounded pieces."""
        source, position = self.source, self.source.start
        for start, end, new in self.edits():
            yield from source.chunks(position, start)
            yield new
            position = end
        yield from source.chunks(position, source.end)

    def patch(self) -> Iterator[bytes]:
        """What restores the original (see patch.py); personal data."""
        return encode_patch(self.source, self.edits())


def _write(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    for first in range(0, len(pieces), _TOGETHER):
        some = pieces[first : first + _TOGETHER]
        written = os.writev(descriptor, some)
        if written < sum(map(len, some)):
            rest = memoryview(b"".join(some))[written:]
            while rest:
                rest = rest[os.write(descriptor, rest) :]


class Deidentifier:
    """De-identifies objects under one policy and key; keeps what it learns about kinds of objects.

    `recipients` are PEM certificates; with any, the originals of the changed attributes go along encrypted for them (PS3.15 E.1.1).
    """

    def __init__(self, policy: Policy, pseudonyms: Pseudonyms, pixel_rules: PixelRules, recipients: tuple[bytes, ...] = ()) -> None:
        self.policy, self.pseudonyms, self.pixel_rules, self.recipients = policy, pseudonyms, pixel_rules, recipients
        self.scanner = Scanner(policy, _IDENTITY | WANTED)
        self._harmless: set[tuple[object, ...]] = set()
        self._marks: dict[tuple[bool, bool, bool], list[tuple[int, bytes]]] = {}

    def __call__(self, source: Part10, report: bool = False) -> Deidentified:
        """The anonymised form of `source`. Raises Quarantine."""
        scan = self.scanner.scan(source, report)
        work = _Object(self, source, scan, report)
        work.check_identity()
        work.clean_pixels()
        work.decide()
        work.scrub_texts()
        if work.cleaned:
            work.drop_icons()
        if self.recipients:
            work.encrypt_originals(self.recipients)
        work.insert(self.marks(source, work.cleaned))
        work.mend_lengths()
        return work.finished()

    def rectangles(self, source: Part10, scan: Scan) -> tuple[PixelAttributes | None, list[Rectangle]]:
        """What of the pixels must be blanked. A series is judged once: its objects' attributes are equal."""
        key = judged_by(source, scan.values)
        if key in self._harmless:
            return None, []
        of_pixels = attributes(source, scan.values)
        found = assess(of_pixels, self.pixel_rules, self.policy.options.clean_pixels)
        if not found and not of_pixels.embedded_overlays:
            if len(self._harmless) > 10_000:
                self._harmless.clear()
            self._harmless.add(key)
        return of_pixels, found

    def marks(self, source: Part10, pixels_cleaned: bool) -> list[tuple[int, bytes]]:
        """The attributes that say what was done (PS3.15 E.1.1 step 6), encoded as the data set is."""
        form = source.implicit, source.big_endian, pixels_cleaned
        marks = self._marks.get(form)
        if marks is None:
            policy, encoding = self.policy, form[:2]

            def text(tag: int, vr: str, value: str) -> bytes:
                return element(tag, vr, padded(value.encode(), vr), *encoding)

            codes = b"".join(
                item(text(0x00080100, "SH", code) + text(0x00080102, "SH", "DCM") + text(0x00080104, "LO", meaning), source.big_endian)
                for code, meaning in policy.method_codes(pixels_cleaned)
            )
            marks = [
                (0x00120062, text(0x00120062, "CS", "YES")),
                (0x00120063, text(0x00120063, "LO", "\\".join(policy.method_text()))),
                (0x00120064, element(0x00120064, "SQ", codes, *encoding)),
                (0x00280303, text(0x00280303, "CS", policy.temporal_modified())),
            ]
            if pixels_cleaned:
                marks.append((_BURNED_IN, text(_BURNED_IN, "CS", "NO")))
            self._marks[form] = marks = sorted(marks)
        return marks


@dataclass
class _Object:
    """One object between its scan and its finished edits."""

    engine: Deidentifier
    source: Part10
    scan: Scan
    report: bool
    edits: list[Edit] = field(default_factory=list)
    uids: list[tuple[str, str]] = field(default_factory=list)
    blanked: blanking.Blanked | None = None
    cleaned: bool = False  # rectangles were blanked

    def __post_init__(self) -> None:
        self.character_set = self.raw(_CHARACTER_SET)
        self.patient = self.text(self.raw(_PATIENT_ID))
        self.edits += [(start, end, b"") for start, end in self.scan.removed]

    def raw(self, tag: int) -> bytes:
        """The value of a wanted top-level attribute, as encoded; empty when it is not there."""
        place = self.scan.values.get(tag)
        return self.source.data[place[0] : place[1]] if place else b""

    def text(self, raw: bytes) -> str:
        """A text value, decoded and without padding."""
        return scrub.decoded(raw, self.character_set)

    def uid(self, tag: int) -> str:
        return self.raw(tag).strip(b"\0 ").decode("ascii", "replace")

    def check_identity(self) -> None:
        """What has no identity cannot be filed, restored or kept apart from others."""
        stored = self.source.meta.get(0x00020002, b"").strip(b"\0 ").decode("ascii", "replace")
        if _MEDIA_DIRECTORY in (self.uid(_SOP_CLASS), stored):
            raise Quarantine(Reason.DIRECTORY_RECORD, "it is a DICOMDIR", "name it as input: the files that it lists are taken")
        if not self.uid(_SOP_INSTANCE):
            raise Quarantine(Reason.NO_IDENTITY, "(0008,0018): it has no SOP Instance UID", "ask its maker for a valid object")

    def clean_pixels(self) -> None:
        of_pixels, rectangles = self.engine.rectangles(self.source, self.scan)
        if of_pixels is not None and (rectangles or of_pixels.embedded_overlays):
            self.blanked = blanking.blank(self.source, of_pixels, rectangles)
            self.cleaned = bool(rectangles)
            self.replace(self.blanked.changed)

    def drop_icons(self) -> None:
        """An icon shows what was blanked in the image."""
        for icon_start, icon_end in self.scan.icons:
            self.edits = [edit for edit in self.edits if not icon_start <= edit[0] < icon_end]
            self.edits.append((icon_start, icon_end, b""))

    def replace(self, changed: dict[int, tuple[str, bytes] | None]) -> None:
        """Top-level attributes that go with cleaned pixels: new values, or None to remove."""
        for tag, new in changed.items():
            encoded = b"" if new is None else element(tag, *new, self.source.implicit, self.source.big_endian)
            self.edits.append(self.whole(tag, encoded))

    def whole(self, tag: int, new: bytes) -> Edit:
        """The edit that puts `new` in the place of the top-level element `tag`, or where it belongs when it is missing."""
        heads, tags = self.scan.heads, self.scan.tags
        index = bisect_left(tags, tag)
        start = heads[index] if index < len(heads) else self.source.end
        if index < len(heads) and tags[index] == tag:
            return start, heads[index + 1] if index + 1 < len(heads) else self.source.end, new
        return start, start, new

    def insert(self, marks: list[tuple[int, bytes]]) -> None:
        """Put elements where they belong at the top level; (0028,0301) replaces the old one, the scan removed the others' old ones."""
        for tag, new in marks:
            start, end, _ = self.whole(tag, new)
            if tag == _BURNED_IN:
                self.edits.append((start, end, new))
                continue
            for run_start, run_end in self.scan.removed:
                if run_start < start < run_end:
                    start = run_end
                    break
            self.edits.append((start, start, new))

    def decide(self) -> None:
        """Each pending attribute gets its new value."""
        engine, source = self.engine, self.source
        pseudonyms, data = engine.pseudonyms, source.data
        days = 0
        notes = self.scan.notes
        for one in self.scan.pending:
            action = one.rule.action
            raw = data[one.value : one.end]
            if action is Action.UID:
                new = self.new_uids(raw)
            elif action is Action.EMPTY:
                new = b""
            elif action is Action.DUMMY:
                new = dummies.dummy(one.vr, one.tag, raw, source.big_endian)
            elif action is Action.SHIFT:
                days = days or pseudonyms.shift_days(self.patient or self.uid(_STUDY))
                shifted = dates.shift(raw, one.vr, days)
                # What is no date cannot be shifted, and may be anything.
                new = dummies.dummy(one.vr, one.tag, raw, source.big_endian) if shifted is None else shifted
            elif action is Action.PATIENT:
                text = self.text(raw)
                new = padded(pseudonyms.patient(text).encode(), one.vr) if text else b""
            elif action is Action.TOKEN:
                text = self.text(raw)
                domain = "study-id" if one.tag == 0x00200010 else "accession"
                new = padded(pseudonyms.token(domain, text).encode(), one.vr) if text else b""
            elif action is Action.HASH:
                new = base64.b32encode(pseudonyms.hash(f"{one.tag:08x}", raw.strip(b"\0 ")))[:16]
            else:
                new = one.rule.value
            if new != raw:
                self.edits.append(self.rewritten(one, new))
            if self.report:
                notes.append((one.path, action.name.lower(), one.rule.code))

    def rewritten(self, one: Element, new: bytes) -> Edit:
        """The edit of an element's length and value."""
        size = one.value - one.length
        if size != 2:
            size = 4
        if len(new) > 0xFFFE and size == 2:
            place = f"({one.tag >> 16:04X},{one.tag & 0xFFFF:04X})"
            raise Quarantine(Reason.BROKEN_ELEMENT, f"{place}: its new value is too long for its VR", "use another rule")
        return one.length, one.end, len(new).to_bytes(size, "big" if self.source.big_endian else "little") + new

    def new_uids(self, raw: bytes) -> bytes:
        """Each UID of a value replaced by its keyed one (2.25 + 128 bits, PS3.5 B.2)."""
        old = raw.strip(b"\0 ").decode("ascii", "replace")
        if not old:
            return raw
        new = "\\".join([self.new_uid(one.strip(" \0")) for one in old.split("\\")]) if "\\" in old else self.new_uid(old)
        return padded(new.encode(), "UI")

    def new_uid(self, old: str) -> str:
        if not old or old.startswith(_WELL_KNOWN):
            return old
        new = self.engine.pseudonyms.uid(old)
        self.uids.append((old, new))
        return new

    def scrub_texts(self) -> None:
        """The object's own identifying values are cut out of every text that stays."""
        data, scan = self.source.data, self.scan
        own = [(_SOP_INSTANCE, "UI", old.encode()) for old, _ in self.uids]
        tokens = scrub.identifying_tokens([*scan.identifying, *own], self.character_set)
        if not tokens.found_in(b"\n".join([data[one.value : one.end] for one in scan.texts])):
            return
        for one in scan.texts:
            raw = data[one.value : one.end]
            if not tokens.found_in(raw):
                continue
            new = tokens.clean(raw, one.vr)
            if new is not raw:
                self.edits.append(self.rewritten(one, new))
                if self.report:
                    scan.notes.append((one.path, "scrub", one.rule.code))

    def encrypt_originals(self, recipients: tuple[bytes, ...]) -> None:
        """Encrypted Attributes Sequence (0400,0500): the originals of all changed top-level attributes but the pixels."""
        from toolkit.hospital.dicom.restoring.encrypted_attributes import encrypted_attributes

        heads, data = self.scan.heads, self.source.data
        # One edit may remove a run of several elements.
        runs = (range(bisect_right(heads, start) - 1, bisect_left(heads, end)) for start, end, _ in self.edits if end > start)
        touched = sorted({index for run in runs for index in run})
        parts = []
        for index in touched:
            start, end = heads[index], heads[index + 1] if index + 1 < len(heads) else self.source.end
            tag = self.scan.tags[index]
            if tag != _PIXEL_DATA and tag & 0xFFFF and tag >> 16 > 2:
                parts.append(data[start:end])
        value = encrypted_attributes(b"".join(parts), list(recipients), self.source.implicit, self.source.big_endian)
        self.insert([(0x04000500, element(0x04000500, "SQ", value, self.source.implicit, self.source.big_endian))])

    def mend_lengths(self) -> None:
        """Sort the edits, and state the new lengths of the sequences and items of defined length around them."""
        edits = self.edits
        edits.sort(key=_place)
        if not self.scan.containers:
            return
        starts = [edit[0] for edit in edits]
        grown = [0, *accumulate(len(new) - (end - start) for start, end, new in edits)]
        order = "big" if self.source.big_endian else "little"
        lengths: list[Edit] = []
        for field_start, content, end in self.scan.containers:
            # Half-open on the left of the content's end: what is inserted at the end belongs to the next element.
            difference = grown[bisect_left(starts, end)] - grown[bisect_left(starts, content)]
            if difference:
                size = end - content + difference
                lengths.append((field_start, field_start + 4, size.to_bytes(4, order)))  # type: ignore[arg-type]
        if lengths:
            edits += lengths
            edits.sort(key=_place)

    def finished(self) -> Deidentified:
        pseudonyms, edits = self.engine.pseudonyms, self.edits
        pixels = self.blanked.edits if self.blanked else ()
        split = bisect_left(edits, pixels[0][0], key=itemgetter(0)) if pixels else len(edits)
        around = [*edits[:split], *((pixels[0][0], pixels[-1][1], b"") for _ in pixels[:1]), *edits[split:]]
        if any(one[1] > another[0] for one, another in zip(around, around[1:], strict=False)):
            raise Quarantine(Reason.BROKEN_ELEMENT, "two rules change the same bytes", "report this as a fault, with the kind of object")
        new = dict(self.uids)

        def named(tag: int) -> str:
            old = self.uid(tag)
            return new.get(old, old)

        instance = named(_SOP_INSTANCE)
        if not all(_LEGAL_UID.fullmatch(uid) for uid in (instance, named(_STUDY), named(_SERIES)) if uid):
            raise Quarantine(Reason.NO_IDENTITY, "a UID that is kept is none, and would name its file", "leave out --retain-uids")
        # The names of folders, for objects that lack a study or series; their own UIDs stay missing.
        study, series = named(_STUDY) or pseudonyms.uid("study " + instance), named(_SERIES) or pseudonyms.uid("series " + instance)
        syntax = self.blanked.transfer_syntax if self.blanked else self.source.transfer_syntax
        header = meta_information(self.raw(_SOP_CLASS).strip(b"\0 "), instance.encode(), syntax)
        pseudonym = pseudonyms.patient(self.patient) if self.patient else ""
        notes = self.scan.notes if self.report else []
        names = study, series, instance, self.patient, pseudonym
        return Deidentified(self.source, edits[:split], pixels, edits[split:], header, *names, list(new.items()), notes)
