"""An object's own identifying values cut out of the text that it keeps (the self-scrub of free text, private text and structured reports).

Text is looked at twice: `Tokens.found_in` asks at the speed of C whether anything may be there, over all the text of an object at once,
and `Tokens.clean` decides. What may be written in which spellings is in `identity` and `spellings`. A cut leaves one asterisk, so that
words do not run together and a value that must not be empty is not; bytes that are not cut stay as they are, and so do escape sequences,
backslashes between values and the places of other bytes in values of unknown form.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from toolkit.hospital.dicom.cleaning.identity import BETWEEN, Identity, identity
from toolkit.hospital.dicom.cleaning.spellings import FOLDS, fold
from toolkit.hospital.dicom.cleaning.vocabulary import MONTHS
from toolkit.hospital.dicom.encoding.charsets import (
    Reading,
    decoded,
    holds_utf_16,
    overwritten,
    python_encodings,
    readings,
    unescaped,
    utf_16_readings,
)

_ESCAPE = re.compile(rb"\x1b[\x20-\x2f]+[\x30-\x7e]")
_LETTERS = bytes(byte if chr(byte).isalpha() else 0x20 for byte in bytes(range(128)).lower()) + b" " * 128
_DIGITS = bytes(byte if 0x30 <= byte < 0x3A else 0x20 for byte in range(256))
_NO_DIGITS = bytes(byte for byte in range(256) if not 0x30 <= byte < 0x3A)
_NOT_DIGITS = re.compile(r"[^0-9]+")
_WORD = re.compile(r"[^\W\d_]+")
_GAP = re.compile(BETWEEN)
_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){2,}")
_POINT = r"\s?[-./_ ,]\s?"
_MONTH = r"[^\W\d_]{3,12}"
_DAY = re.compile(
    rf"""(?=\d)(?<!\d)(?<!\d\.)(?=(
    (?P<y1>\d{{4}})(?:{_POINT}|\s?[年{fold("년")}]+\s?)(?P<m1>\d{{1,2}})(?:{_POINT}|\s?[月{fold("월")}]+\s?)(?P<d1>\d{{1,2}})
    |(?P<a2>\d{{1,2}}){_POINT}(?P<b2>\d{{1,2}}){_POINT}(?P<c2>\d{{4}}|\d{{2}})
    |(?P<eight>\d{{8}})(?:t?\d{{4}}(?:\d\d)?(?:\.\d{{1,6}})?)?
    |(?P<six>\d{{6}})
    |(?P<d5>\d{{1,2}})(?:st|nd|rd|th|er)?[-./_ ,]{{0,3}}(?:of\s|de\s)?(?P<m5>{_MONTH})[-./_ ,']{{0,3}}(?:de\s|of\s)?(?P<y5>\d{{4}}|\d{{2}})
    |(?P<y7>\d{{4}})[-./_ ,]{{0,3}}(?P<m7>{_MONTH})[-./_ ,]{{0,3}}(?P<d7>\d{{1,2}})(?:st|nd|rd|th)?
    )(?!\d)(?!\.\d))
    """,
    re.VERBOSE,
)
_AFTER_MONTH = re.compile(r"[-./_ ]{0,3}(\d{1,2})(?:st|nd|rd|th)?[-./_ ,']{1,3}(\d{4}|\d{2})(?!\d)")
_SEVERAL_VALUES = frozenset(("AE", "LO", "PN", "SH", "UC"))
_BYTES = frozenset(("OB", "OW", "OF", "OD", "OL", "OV", "UN"))
_ROUNDS = 8
# Texts repeat within a series: what was found in the last ones is remembered, at most 64 patients x 128 texts x 4 KiB.
_TEXTS, _REMEMBERED = 128, 4096
__all__ = ["Tokens", "decoded", "identifying_tokens", "python_encodings"]


@lru_cache(64)
def _matter(values: tuple[tuple[int, str, bytes], ...], character_set: bytes) -> "_Matter":
    encodings = tuple(python_encodings(character_set))
    return _Matter(identity(values, encodings), encodings)


def identifying_tokens(values: list[tuple[int, str, bytes]], character_set: bytes) -> "Tokens":
    """What to cut out of an object's texts.

    `values` are (tag, VR, raw value) of everything identifying at any depth, `character_set` is the raw SpecificCharacterSet. The work is
    done once for equal values, as the objects of a series have them; UIDs, which differ from object to object, are compared apart. Times,
    codes and numbers are passed over; of date-times only the day counts.
    """
    uids = frozenset([raw.strip(b" \0") for _, vr, raw in values if vr == "UI"])
    rest = tuple(dict.fromkeys([(tag, vr, raw[:8] if vr == "DT" else raw) for tag, vr, raw in values if vr != "UI"]))
    return Tokens(_matter(rest, character_set), uids)


class _Matter:
    """An identity made ready for search, shared by the objects that have it, with what was found in texts that repeat."""

    def __init__(self, found: Identity, encodings: tuple[str, ...]) -> None:
        self.identity, self.encodings = found, encodings
        self.signs = frozenset(found.signs)
        self.wide_signs = tuple(found.wide_signs)
        self.digits = tuple(digits for digits in found.digits if not any(other != digits and other in digits for other in found.digits))
        self.day_runs, self.day_digits = frozenset(found.day_runs), tuple(found.day_digits)
        self.short_days = {(year % 100, month, day) for year, month, day in found.days}
        self.verdicts: dict[bytes, bool] = {}
        self.cleaned: dict[tuple[bytes, str], bytes] = {}
        self.compiled: dict[str, re.Pattern[str]] = {}

    def suspects(self, text: bytes) -> bool:
        """False when nothing can be in `text`, which may be many values joined by line feeds."""
        if len(text) > _REMEMBERED:
            return self._suspects(text)
        verdict = self.verdicts.get(text)
        if verdict is None:
            if len(self.verdicts) >= _TEXTS:
                self.verdicts.clear()
            verdict = self.verdicts[text] = self._suspects(text)
        return verdict

    def _suspects(self, text: bytes) -> bool:
        if self._suspects_ascii(text):
            return True
        if holds_utf_16(text) and any(self._suspects_view(view) for view in utf_16_readings(text)):
            return True
        if _is_plain(text):
            return False
        lines = [line for line in text.split(b"\n") if not _is_plain(line)]
        if lines == [text]:
            return any(map(self._suspects_view, self.views(text, "UT")))
        return any(map(self.suspects, lines))

    def _suspects_view(self, view: Reading) -> bool:
        folded = fold(view.text)
        return any(sign in folded for sign in self.wide_signs) or self._suspects_ascii(folded.encode("ascii", "replace"))

    def views(self, raw: bytes, vr: str) -> Iterator[Reading]:
        """Everything that a value may be read as."""
        for view in readings(raw, self.encodings) + (utf_16_readings(raw) if holds_utf_16(raw) else []):
            reading: Reading | None = view
            for _ in range(3):  # as it is, and with up to two layers of escapes taken off
                if reading is None:
                    break
                yield reading
                reading = unescaped(reading, vr not in _SEVERAL_VALUES)

    def _suspects_ascii(self, text: bytes) -> bool:
        if not self.signs.isdisjoint(text.translate(_LETTERS).split()):
            return True
        figures = text.translate(None, _NO_DIGITS)
        if not figures:
            return False
        for digits in self.digits:
            if digits in figures:
                return True
        if self.day_runs.isdisjoint(text.translate(_DIGITS).split()):
            return False
        return any(digits in figures for digits in self.day_digits)

    def spans(self, reading: Reading) -> Iterator[tuple[int, int]]:
        """Places (first and one past the last character of the reading's text) of what is to be cut."""
        folded, origin = _folded(reading.text)
        for start, end in (*self._words(folded, reading.text, origin), *self._patterns(folded), *self._days(folded)):
            yield (start, end) if origin is None else (origin[start], origin[end - 1] + 1)

    def _words(self, folded: str, text: str, origin: list[int] | None) -> Iterator[tuple[int, int]]:
        words = [(match.start(), match.end(), match[0]) for match in _WORD.finditer(folded)]
        for place, (start, end, word) in enumerate(words):
            beside = self.identity.words.get(word)
            if word in MONTHS and (date := _AFTER_MONTH.match(folded, end)) and self._is_day(date[2], str(MONTHS[word]), date[1]):
                yield start, date.end()
            if beside is None:
                if word in self.identity.capitals:
                    whole = text[start:end] if origin is None else text[origin[start] : origin[end - 1] + 1]
                    if whole.isupper():
                        yield start, end
                continue
            before, after = place, place
            while before and words[before - 1][2] in beside and _GAP.fullmatch(folded, words[before - 1][1], words[before][0]):
                before -= 1
            while after + 1 < len(words) and words[after + 1][2] in beside and _GAP.fullmatch(folded, words[after][1], words[after + 1][0]):
                after += 1
            yield words[before][0], words[after][1]

    def _patterns(self, folded: str) -> Iterator[tuple[int, int]]:
        figures = _NOT_DIGITS.sub("", folded)
        for pattern, sign in self.identity.patterns.items():
            if sign in (figures if sign.isdecimal() else folded):
                if pattern not in self.compiled:
                    self.compiled[pattern] = re.compile(pattern)
                for match in self.compiled[pattern].finditer(folded):
                    yield match.span()

    def _days(self, folded: str) -> Iterator[tuple[int, int]]:
        if not self.identity.days:
            return
        for match in _DAY.finditer(folded):
            part = match.groupdict()
            if part["y1"]:
                known = self._is_day(part["y1"], part["m1"], part["d1"])
            elif part["a2"]:
                a, b, c = part["a2"], part["b2"], part["c2"]
                known = self._is_day(c, b, a) or self._is_day(c, a, b) or (len(a) == 2 and self._is_day(a, b, c))
            elif eight := part["eight"]:
                known = self._is_day(eight[:4], eight[4:6], eight[6:])
                if not known and match.end(1) == match.start(1) + 8:
                    known = self._is_day(eight[4:], eight[2:4], eight[:2]) or self._is_day(eight[4:], eight[:2], eight[2:4])
            elif six := part["six"]:
                pairs = [(six[:2], six[2:4], six[4:]), (six[4:], six[2:4], six[:2]), (six[4:], six[:2], six[2:4])]
                births = {(year % 100, month, day) for year, month, day in self.identity.births}
                known = any((int(year), int(month), int(day)) in births for year, month, day in pairs)
            else:
                number = "5" if part["d5"] else "7"
                month = MONTHS.get(part["m" + number], 0)
                known = self._is_day(part["y" + number], str(month), part["d" + number])
            if known:
                yield match.span(1)

    def _is_day(self, year: str, month: str, day: str) -> bool:
        days = self.identity.days if len(year) == 4 else self.short_days
        return (int(year), int(month), int(day)) in days


class Tokens:
    """The identifying values of one object; see `identifying_tokens`."""

    __slots__ = ("_matter", "_uids", "_roots")

    def __init__(self, matter: _Matter, uids: frozenset[bytes]) -> None:
        self._matter, self._uids = matter, uids
        self._roots = {uid[:12] for uid in uids if uid}

    def found_in(self, text: bytes) -> bool:
        """Whether `clean` may find something in `text`: raw values, joined by line feeds; true too often, never false wrongly."""
        return self._holds_own_uid(text) or self._matter.suspects(text)

    def _holds_own_uid(self, text: bytes) -> bool:
        if holds_utf_16(text):
            text += text.replace(b"\0", b"")
        return any(root in text for root in self._roots)

    def clean(self, raw: bytes, vr: str) -> bytes:
        """The raw value with every identifying value in it replaced by ``*``, padded to an even length, never longer than before; `raw`
        itself when there is none.

        Values of unknown form (UN, the VRs of bytes, UTF-16) keep their length: what is cut is overwritten by asterisks.
        """
        if self._holds_own_uid(raw):
            return self._cleaned(raw, vr)
        if not self._matter.suspects(raw):
            return raw
        cleaned = self._matter.cleaned.get((raw, vr))
        if cleaned is None:
            cleaned = self._cleaned(raw, vr)
            if len(raw) <= _REMEMBERED:
                if len(self._matter.cleaned) >= _TEXTS:
                    self._matter.cleaned.clear()
                self._matter.cleaned[raw, vr] = cleaned
        return raw if cleaned == raw else cleaned

    def _cleaned(self, raw: bytes, vr: str) -> bytes:
        if holds_utf_16(raw):
            vr = "UN"
        text = raw
        for _ in range(_ROUNDS):
            spans = self._spans(text, vr)
            if not spans:
                break
            text = _cut(text, spans, vr)
        else:
            text = b""
        if text is raw or len(text) % 2 == 0:
            return text
        return text[:-1] if text[-1:] == b" " else text + b" "

    def _spans(self, raw: bytes, vr: str) -> list[tuple[int, int, bytes]]:
        """(start, end, the asterisk that may stand there) in bytes, in order, apart from each other."""
        found: list[tuple[int, int, bytes]] = []
        for reading in self._matter.views(raw, vr):
            for start, end in (*self._matter.spans(reading), *self._own_uids(reading)):
                place = reading.starts[start]
                found.append((place, reading.ends[end - 1], reading.wide.get(place, b"*")))
        found.sort()
        apart: list[tuple[int, int, bytes]] = []
        for start, end, asterisk in found:
            if apart and start < apart[-1][1]:
                apart[-1] = (apart[-1][0], max(end, apart[-1][1]), apart[-1][2])
            else:
                apart.append((start, end, asterisk))
        return apart

    def _own_uids(self, reading: Reading) -> Iterator[tuple[int, int]]:
        if self._uids:
            for match in _UID.finditer(reading.text):
                if match[0].encode("ascii", "replace") in self._uids:
                    yield match.span()


def _is_plain(text: bytes) -> bool:
    """Whether the bytes are the text: ASCII without escape sequences, and without the signs with which markup begins an escape."""
    return text.isascii() and not (b"\x1b" in text or b"&" in text or b"%" in text or b"\\u" in text)


def _folded(text: str) -> tuple[str, list[int] | None]:
    """Folded text, and for each of its characters the place in `text` that it comes from (None: the same place)."""
    if text.isascii():
        return text.lower(), None
    pieces = [FOLDS[ord(character)] for character in text]
    return "".join(pieces), [place for place, piece in enumerate(pieces) for _ in piece]


def _cut(raw: bytes, spans: list[tuple[int, int, bytes]], vr: str) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for start, end, asterisk in spans:
        pieces.append(raw[position:start])
        if vr in _BYTES:
            pieces.append(overwritten(raw[start:end], asterisk))
        else:
            pieces += [asterisk, *_ESCAPE.findall(raw[start:end])]
        position = end
    return b"".join([*pieces, raw[position:]])
