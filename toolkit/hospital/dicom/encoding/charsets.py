"""Characters of a raw value and the bytes that each of them stands on (PS3.5 6.1, PS3.3 C.12.1.1.2), without pydicom.

Text is cut by bytes, so that what stays is byte for byte what it was: that needs every character's place, which Python's codecs do not
give.
"""

import html.entities
import re
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

# The last number or word of a defined term tells the set: "ISO_IR 100" alone and "ISO 2022 IR 100" with code extensions.
_TERMS = {
    "6": "ascii",
    "13": "shift_jis",
    "14": "shift_jis",
    "58": "gb2312",
    "87": "iso2022_jp",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "iso2022_jp_2",
    "166": "iso8859_11",
    "192": "utf_8",
    "203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
# Escape sequences (PS3.3 tables C.12-3 and C.12-4): which half of the code table they fill, and with what.
_ESCAPES = {
    b"\x1b(B": (0, "ascii"),
    b"\x1b(J": (0, "ascii"),  # JIS X 0201 romaji: ASCII but for the yen sign and the overline
    b"\x1b$B": (0, "jis_x_0208"),
    b"\x1b$@": (0, "jis_x_0208"),
    b"\x1b$(D": (0, "jis_x_0212"),
    b"\x1b)I": (1, "shift_jis"),
    b"\x1b-A": (1, "latin_1"),
    b"\x1b-B": (1, "iso8859_2"),
    b"\x1b-C": (1, "iso8859_3"),
    b"\x1b-D": (1, "iso8859_4"),
    b"\x1b-F": (1, "iso8859_7"),
    b"\x1b-G": (1, "iso8859_6"),
    b"\x1b-H": (1, "iso8859_8"),
    b"\x1b-L": (1, "iso8859_5"),
    b"\x1b-M": (1, "iso8859_9"),
    b"\x1b-T": (1, "iso8859_11"),
    b"\x1b-b": (1, "iso8859_15"),
    b"\x1b$)C": (1, "euc_kr"),
    b"\x1b$)A": (1, "gb2312"),
}
# Of two bytes like their neighbours: the asterisk of JIS X 0208, and the breve of JIS X 0212, which has no asterisk.
_ASTERISKS = {"jis_x_0208": b"!v", "jis_x_0212": b'"/'}
_ESCAPE = re.compile(rb"\x1b[\x20-\x2f]+[\x30-\x7e]")
_UTF_16 = re.compile(rb"(?:[\x20-\x7e]\0){2}|(?:\0[\x20-\x7e]){2}")
_KEPT = re.compile(rb"(\0+|\x1b[\x20-\x2f]+[\x30-\x7e])")
_TWO_BYTES = frozenset({"jis_x_0208", "jis_x_0212", "euc_kr", "gb2312"})
_ESCAPED = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,7});|\\u[0-9a-fA-F]{4}|(?:%[0-9a-fA-F]{2})+")


@lru_cache(64)
def python_encodings(specific_character_set: bytes) -> list[str]:
    """Names of Python's codecs for a raw SpecificCharacterSet (0008,0005), in its order; unknown terms are left out, an empty value is
    ASCII.

    >>> python_encodings(b"\\\\ISO 2022 IR 87")
    ['ascii', 'iso2022_jp']
    """
    terms = specific_character_set.decode("ascii", "replace").upper().replace("_", " ").split("\\")
    words = [term.strip(" \0").rpartition(" ")[2] for term in terms]
    known = [_TERMS[word or "6"] for word in words if not word or word in _TERMS]
    return known or ["ascii"]


def decoded(raw: bytes, specific_character_set: bytes) -> str:
    """A raw value as text, without its padding. Nothing fails: wrong bytes become U+FFFD or surrogates.

    >>> decoded(b"M\\xfcller^Hans ", b"ISO_IR 100")
    'Müller^Hans'
    """
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii").strip(" \0")
    return read(raw, python_encodings(specific_character_set)[0]).text.strip(" \0")


@dataclass(frozen=True, slots=True)
class Reading:
    """A value read as text: character i of `text` stands on the bytes from `starts[i]` up to `ends[i]`; where ASCII cannot
    stand, `wide` has an asterisk of the set in force there, by the first byte.
    """

    text: str
    starts: list[int] | range
    ends: list[int] | range
    wide: dict[int, bytes] = field(default_factory=dict)


def read(raw: bytes, encoding: str) -> Reading:
    """Read a value whose first character set is Python's `encoding`; escape sequences of ISO 2022 are obeyed wherever they stand. Never
    fails.
    """
    if b"\x1b" in raw and encoding not in ("utf_8", "gb18030", "gbk"):
        return _read_with_escapes(raw, encoding)
    if raw.isascii():
        return Reading(raw.decode("ascii"), range(len(raw)), range(1, len(raw) + 1))
    if encoding == "utf_8":
        text = raw.decode("utf_8", "surrogateescape")  # every wrong byte stays one character
        return _laid_out(text, [_utf_8_length(code) for code in map(ord, text)])
    if encoding in ("gb18030", "gbk"):
        pieces = [match[0] for match in re.finditer(rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]|[\x81-\xfe][\x40-\x7e\x80-\xfe]|.", raw, re.DOTALL)]
        characters = [piece.decode("gb18030", "replace")[:1] for piece in pieces]
        return _laid_out("".join(characters), [len(piece) for piece in pieces])
    text = raw.decode("latin_1") if encoding in ("ascii", "latin_1") else "".join(_single(encoding)[byte] for byte in raw)
    return Reading(text, range(len(raw)), range(1, len(raw) + 1))


def readings(raw: bytes, encodings: tuple[str, ...]) -> list[Reading]:
    """How a value may be meant: by its character set, and as UTF-8 when it is UTF-8 without saying so."""
    found = [read(raw, encodings[0])]
    if not raw.isascii() and encodings[0] != "utf_8":
        try:
            raw.decode("utf_8")
        except UnicodeDecodeError:
            return found
        found.append(read(raw, "utf_8"))
    return found


def holds_utf_16(raw: bytes) -> bool:
    """Whether two Latin characters stand there in UTF-16, as Windows software leaves them in private values."""
    return b"\0" in raw and _UTF_16.search(raw) is not None


def utf_16_readings(raw: bytes) -> list[Reading]:
    """A value read as UTF-16 in both byte orders, from its first and from its second byte on; half a surrogate pair is a character."""
    found = []
    for first in (0, 1):
        places = range(first, len(raw) - 1, 2)
        for order in ("little", "big"):
            units = array("H", raw[first : first + 2 * len(places)])
            if order != sys.byteorder:
                units.byteswap()
            found.append(Reading("".join(map(chr, units)), places, range(first + 2, len(raw) + 1, 2)))
    return found


def overwritten(piece: bytes, asterisk: bytes) -> bytes:
    """Asterisks over everything but NUL bytes and escape sequences, so that UTF-16 stays what it is and nothing behind the piece moves."""
    covered = []
    for number, part in enumerate(_KEPT.split(piece)):
        if number % 2 == 0:
            covered.append((asterisk * len(part))[: len(part)])
        else:
            covered.append(part)
            half, name = _ESCAPES.get(part, (1, ""))
            asterisk = asterisk if half else _ASTERISKS.get(name, b"*")
    return b"".join(covered)


def unescaped(reading: Reading, backslash: bool) -> Reading | None:
    r"""The reading with character references of XML and HTML, percent signs of URIs and (where `backslash`) ``\uXXXX`` of JSON resolved;
    None without any.
    """
    if not ("&" in reading.text or "%" in reading.text or (backslash and "\\u" in reading.text)):
        return None
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for match in _ESCAPED.finditer(reading.text):
        meaning = _meaning(match[0]) if backslash or match[0][0] != "\\" else None
        if meaning is None:
            continue
        text.append(reading.text[position : match.start()] + meaning)
        starts += reading.starts[position : match.start()]
        starts += [reading.starts[match.start()]] * len(meaning)
        ends += reading.ends[position : match.start()]
        ends += [reading.ends[match.end() - 1]] * len(meaning)
        position = match.end()
    if not text:
        return None
    text.append(reading.text[position:])
    return Reading("".join(text), [*starts, *reading.starts[position:]], [*ends, *reading.ends[position:]], reading.wide)


def _meaning(escaped: str) -> str | None:
    if escaped[0] == "%":
        return bytes.fromhex(escaped.replace("%", "")).decode("utf_8", "replace")
    if escaped[0] == "\\":
        return chr(int(escaped[2:], 16))
    if escaped[1] == "#":
        code = int(escaped[3:-1], 16) if escaped[2] in "xX" else int(escaped[2:-1])
        return chr(code) if code < 0x110000 else None
    code = html.entities.name2codepoint.get(escaped[1:-1], 0) or {"apos": 39}.get(escaped[1:-1], 0)
    return chr(code) if code else None


def _utf_8_length(code: int) -> int:
    if code < 0x80 or 0xD800 <= code < 0xE000:
        return 1
    return 2 if code < 0x800 else 3 if code < 0x10000 else 4


def _laid_out(text: str, lengths: list[int]) -> Reading:
    ends: list[int] = []
    end = 0
    for length in lengths:
        end += length
        ends.append(end)
    return Reading(text, [0, *ends[:-1]], ends)


@lru_cache(32)
def _single(encoding: str) -> list[str]:
    """The 256 characters of a single-byte set; a byte without a meaning is U+FFFD."""
    return [bytes([byte]).decode(encoding, "replace") for byte in range(256)]


def _read_with_escapes(raw: bytes, encoding: str) -> Reading:
    upper = encoding if encoding not in ("iso2022_jp", "iso2022_jp_2", "euc_kr", "gb2312") else "latin_1"
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    wide: dict[int, bytes] = {}
    for start, end, character, asterisk in _walk(raw, "latin_1" if upper == "ascii" else upper):
        if asterisk:
            wide[start] = asterisk
        characters.append(character)
        starts.append(start)
        ends.append(end)
    return Reading("".join(characters), starts, ends, wide)


def _walk(raw: bytes, initial: str) -> Iterator[tuple[int, int, str, bytes]]:
    """(start, end, character, an asterisk that can stand there if ASCII cannot) of every character outside the escape sequences."""
    low, high = "ascii", initial
    place = 0
    while place < len(raw):
        byte = raw[place]
        if byte == 0x1B and (match := _ESCAPE.match(raw, place)) and match[0] in _ESCAPES:
            half, name = _ESCAPES[match[0]]
            low, high = (name, high) if half == 0 else (low, name)
            place = match.end()
            continue
        if byte < 0x20 and byte != 0x1B or (byte == 0x5C and low == "ascii"):
            low, high = "ascii", initial  # PS3.5 6.1.2.5.3: control characters and the end of a value reset both halves
        name = high if byte >= 0x80 else low
        length = 2 if name in _TWO_BYTES and byte > 0x20 and place + 1 < len(raw) and raw[place + 1] > 0x20 else 1
        yield place, place + length, _character(raw[place : place + length], name), _ASTERISKS.get(low, b"") if byte < 0x80 else b""
        place += length


def _character(piece: bytes, name: str) -> str:
    if len(piece) == 1:
        return chr(piece[0]) if piece[0] < 0x80 or name in _TWO_BYTES else _single(name)[piece[0]]
    if name == "jis_x_0208":
        return bytes(byte | 0x80 for byte in piece).decode("euc_jp", "replace")[:1]
    if name == "jis_x_0212":
        return (b"\x8f" + bytes(byte | 0x80 for byte in piece)).decode("euc_jp", "replace")[:1]
    return piece.decode(name, "replace")[:1]
