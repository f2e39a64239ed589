"""Documents that come one after the other in a stream, as ``cat *.xml`` writes them, are told apart without parsing them.

A document ends behind the end tag of its ClinicalDocument, with any prefix, that stands in no comment, CDATA section or processing
instruction (XML 1.0, 2.4 to 2.7); a broken one ends where another begins: at an XML declaration or at a second start tag. The bytes
come out as they were written to their files, but for comments between two documents: where the second has no XML declaration, they are its.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from toolkit.core.xml import LARGEST

_CHUNK = 1 << 20  # bytes that are read at once; more while a document has not ended
_MOST = 16 << 20
_NAME = "ClinicalDocument"
_BEFORE = re.compile(r"<(/?)(?:[^\s<>/:=\"']+:)?\Z")  # of a tag, before that name
_LONGEST = 100  # characters of such a beginning
_TAG = re.compile(r"(?:[^\"'>]|\"[^\"]*\"|'[^']*')*+>")
_SPACE = re.compile(r"[ \t\r\n]*")
_HIDING = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}  # what may hold a tag that is none, and how it ends
_DECLARATION = re.compile(r"<\?xml[ \t\r\n]")
_UTF_8, _UTF_16 = "\xef\xbb\xbf", {"\xff\xfe": "utf-16-le", "\xfe\xff": "utf-16-be"}  # marks at the beginning, a byte a letter
_MARKS = (_UTF_8, *_UTF_16, "\ufeff")


def split(stream: BinaryIO, limit: int = LARGEST) -> Iterator[bytes]:
    """The documents of a stream. Of one above `limit` bytes only the first `limit` + 1 come; the next begins where it is seen to."""
    held = bytearray()
    skipping = ended = False
    while not ended:
        chunk = stream.read(min(max(_CHUNK, len(held)), _MOST))
        held += chunk
        ended = not chunk
        scan, at = _Scan(held.decode("latin-1"), ended), 0
        while at < len(held) and (end := _end(held, scan, at, skipping)) is not None:
            if not skipping and not scan.only_between(at, end):
                yield bytes(held[at:end][: limit + 1])
            skipping, at = False, end
        del held[:at]
        if len(held) > limit:
            if not skipping:
                yield bytes(held[: limit + 1])
            skipping = True
            del held[:-_LONGEST]


def _end(held: bytearray, scan: _Scan, at: int, skipping: bool) -> int | None:
    """Where the document at `at` ends; None when what has been read does not tell."""
    encoding = _UTF_16.get(scan.text[at : at + 2])
    if encoding is None:
        return scan.end(at, skipping)
    text = held[at : at + (len(held) - at) // 2 * 2].decode(encoding, "replace")
    end = _Scan(text, scan.ended).end(0, False)
    if end is None:
        return None
    return len(held) if scan.ended and end == len(text) else at + len(text[:end].encode(encoding, "surrogatepass"))


class _Scan:
    """A text, a letter for each byte or in its own encoding, which is looked through once, and whether it is all that there is."""

    def __init__(self, text: str, ended: bool) -> None:
        self.text, self.ended = text, ended
        self._known: dict[str, int] = {}  # where each word comes next, so that none is looked for twice

    def end(self, start: int, opened: bool) -> int | None:
        """Where the document at `start` ends, whose root's start tag has been seen or not; None when that cannot be told yet."""
        rest = len(self.text) if self.ended else None
        at = begin = start + next((len(mark) for mark in _MARKS if self.text.startswith(mark, start)), 0)
        while True:
            name = self._find(_NAME, at)
            place, word = min(((found, word) for word in _HIDING if (found := self._find(word, at)) >= 0), default=(-1, ""))
            if word and (name < 0 or place < name):
                if place > begin and word == "<?" and _DECLARATION.match(self.text, place):
                    return place - 3 if self.text.startswith(_UTF_8, place - 3) else place
                closed = self.text.find(_HIDING[word], place + len(word))
                if closed < 0:
                    return rest
                at = closed + len(_HIDING[word])
                continue
            if name < 0:
                return rest
            at = name + len(_NAME)
            tag = _BEFORE.search(self.text, max(start, name - _LONGEST), name)
            if tag is None or self.text[at : at + 1] not in (" ", "\t", "\r", "\n", ">", "/", ""):
                continue
            closing = _TAG.match(self.text, at)
            if opened and not tag[1]:
                return tag.start()
            if closing is None:
                return rest
            opened, at = True, closing.end()
            if tag[1] or self.text[at - 2] == "/":
                return self._with_what_follows(at)

    def only_between(self, start: int, end: int) -> bool:
        """Whether there is nothing but space and comments."""
        return self._between(start) == end

    def _with_what_follows(self, at: int) -> int | None:
        """Where the document ends whose root has ended at `at`: its last line's end is its own; comments are, when the next one begins with
        an XML declaration or there is no next."""
        space, end = _SPACE.match(self.text, at), self._between(at)
        if end is None or (len(self.text) - end < 6 and not self.ended):
            return len(self.text) if self.ended else None
        alone = end == len(self.text) or self.text.startswith(_MARKS, end) or _DECLARATION.match(self.text, end) is not None
        return end if alone or space is None else space.end()

    def _between(self, at: int) -> int | None:
        """Where space, comments and processing instructions end; None when one has not ended."""
        while True:
            space = _SPACE.match(self.text, at)
            at = space.end() if space is not None else at
            word = next((word for word in ("<!--", "<?") if self.text.startswith(word, at)), None)
            if word is None or _DECLARATION.match(self.text, at):
                return at
            closed = self.text.find(_HIDING[word], at + len(word))
            if closed < 0:
                return None
            at = closed + len(_HIDING[word])

    def _find(self, word: str, at: int) -> int:
        known = self._known.get(word, -2)
        if known == -2 or 0 <= known < at:
            known = self._known[word] = self.text.find(word, at)
        return known
