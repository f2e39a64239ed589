"""Side files of the predecessor, PADI: Java properties that keep the original values of an object's top level, decimal tag = value."""

from __future__ import annotations

import os
import re
import struct

from toolkit.hospital.dicom.encoding.dictionary import dictionary_vr
from toolkit.hospital.dicom.encoding.elements import element, padded

SUFFIXES = ("", ".properties", ".txt")
_CHARACTER_SET = 0x00080005
_IN_CHARACTER_SET = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ASCII = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"))
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def side_file(place: str, path: str, instance_uid: str) -> str | None:
    """The side file of the anonymised file `path`; None when there is none.

    `place` is the side file itself or a directory, where it is called as the SOPInstanceUID or as the anonymised file, that with or without
    its last suffix, followed by ``.properties``, ``.txt`` or nothing.
    """
    if not os.path.isdir(place):
        return place if os.path.exists(place) else None
    name = os.path.basename(path)
    for stem in (instance_uid, name, os.path.splitext(name)[0]):
        for suffix in SUFFIXES:
            candidate = os.path.join(place, stem + suffix)
            # An anonymised file may lie in the same directory: it is no side file.
            if stem and os.path.isfile(candidate) and not (os.path.exists(path) and os.path.samefile(candidate, path)):
                return candidate
    return None


def read_side_file(data: bytes) -> dict[int, str]:
    """The original values by tag. Raises ValueError when `data` is no side file."""
    values = {}
    for key, value in read_properties(data):
        if not key.isascii() or not key.isdigit() or not 0x00080000 <= int(key) <= 0xFFFFFFFF:
            raise ValueError(f"{key[:40]!a} is not the decimal number of a tag")
        values[int(key)] = value
    if not values:
        raise ValueError("holds no values")
    return values


def read_properties(data: bytes) -> list[tuple[str, str]]:
    r"""The pairs of a Java properties file: ISO 8859-1, ``\uXXXX``, ``#`` and ``!`` comments, lines that end in a backslash go on.

    Raises ValueError when an escape is broken.
    """
    pairs = []
    lines = iter(re.split(r"\r\n|\r|\n", data.decode("latin-1")))
    for line in lines:
        line = line.lstrip(" \t\f")
        if not line or line[0] in "#!":
            continue
        while _goes_on(line):
            line = line[:-1] + next(lines, "").lstrip(" \t\f")
        parts = re.match(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", line, re.DOTALL)
        if parts is None:
            raise ValueError(f"{line[:40]!a} is no property")
        pairs.append((_unescaped(parts[1]), _unescaped(parts[2])))
    return pairs


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] != "u":
            return _ESCAPES.get(escape, escape)
        if len(escape) != 5:
            raise ValueError(f"\\{escape} is no character")
        return chr(int(escape[1:], 16))

    text = re.sub(r"\\(u[0-9A-Fa-f]{0,4}|.|$)", plain, text, flags=re.DOTALL)
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")  # Java writes characters above U+FFFF as two
    except UnicodeDecodeError:
        raise ValueError("an escape is half a character") from None


def encode_values(values: dict[int, str], character_set: bytes, vrs: dict[int, str], implicit: bool, big_endian: bool) -> bytes:
    """The encoded elements of `values`, in the order of their tags.

    `character_set`: the object's Specific Character Set (0008,0005) as encoded; one among `values` goes before it. `vrs`: the VRs that the
    object itself states; others come from the dictionary of PS3.6. Raises ValueError when a value does not fit its VR or character set.
    """
    names = values.get(_CHARACTER_SET, character_set.decode("latin-1"))
    found = []
    for tag, value in sorted(values.items()):
        vr = vrs.get(tag) or dictionary_vr(tag) or "UN"
        try:
            raw = _encoded(value, vr, names, big_endian)
        except (ValueError, LookupError, struct.error) as error:
            where = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
            raise ValueError(f"{where}: its value cannot be written as {vr} in character set {names!a}") from error
        found.append(element(tag, vr, padded(raw, vr), implicit, big_endian))
    return b"".join(found)


def _encoded(value: str, vr: str, character_set: str, big_endian: bool) -> bytes:
    if not value:
        return b""
    if vr in _ASCII:
        return value.encode("ascii")
    if vr in _IN_CHARACTER_SET:
        return _in_character_set(value, vr, character_set)
    if vr not in _NUMBERS:
        raise ValueError(f"no text stands for values of {vr}")
    number = float if vr in ("FL", "FD") else int
    numbers = [number(one) for one in value.split("\\")]
    return struct.pack((">" if big_endian else "<") + _NUMBERS[vr] * len(numbers), *numbers)


def _in_character_set(value: str, vr: str, character_set: str) -> bytes:
    """Text under the object's character sets, code extensions included (PS3.3 C.12.1.1.2); pydicom knows them all."""
    from pydicom.charset import convert_encodings, decode_bytes, encode_string
    from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

    encodings = convert_encodings([name.strip() for name in character_set.strip("\0 ").split("\\")])
    if vr == "PN":
        raw = b"\\".join(PersonName(name).encode(encodings) for name in value.split("\\"))
        back = "\\".join(str(PersonName(name, encodings)) for name in raw.split(b"\\"))
    else:
        raw = encode_string(value, encodings)
        back = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    if back != value:
        raise ValueError("another text came back")
    return raw
