"""DIMSE messages as bytes (PS3.7 6.3, PS3.8 9.3.5): a command set is implicit VR little-endian, whatever the data set is written in."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import NamedTuple


class Answer(NamedTuple):
    """A status (PS3.7, annex C), and what the receiver says to it."""

    status: int
    comment: str


@dataclass(frozen=True)
class Message:
    """A message of the receiver: `command` by element number of group 0000, raw values; `data` in the context's transfer syntax."""

    context: int
    command: dict[int, bytes]
    data: bytes

    def number(self, element: int) -> int:
        """A US element; 0 when it is missing."""
        return int.from_bytes(self.command.get(element, b"")[:2], "little")

    def text(self, element: int) -> str:
        """An element of text, without what cannot be printed."""
        found = self.command.get(element, b"").decode("ascii", "replace").strip(" \0")
        return "".join(c if c.isprintable() else " " for c in found)


def command_pdu(context: int, values: dict[int, int | str]) -> bytes:
    """A command set in a PDU of its own: group 0000 by element number, numbers as US and text as UI."""
    encoded = b""
    for element, value in values.items():
        raw = struct.pack("<H", value) if isinstance(value, int) else value.encode("ascii", "replace") + b"\0" * (len(value) % 2)
        encoded += struct.pack("<HHL", 0, element, len(raw)) + raw
    encoded = struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded
    return struct.pack(">BxLLBB", 4, len(encoded) + 6, len(encoded) + 2, context, 3) + encoded


def data_head(size: int, context: int, *, last: bool) -> bytes:
    """What stands before `size` bytes of a data set in a PDU of their own."""
    return struct.pack(">BxLLBB", 4, size + 6, size + 2, context, 2 if last else 0)


def elements(encoded: bytes) -> dict[int, bytes]:
    """The raw values of a command set by element number. Raises struct.error when it ends within an element's head."""
    found, stream = {}, io.BytesIO(encoded)
    while head := stream.read(8):
        _, element, size = struct.unpack("<HHL", head)
        found[element] = stream.read(size)
    return found
