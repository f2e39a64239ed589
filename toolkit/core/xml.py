"""XML from strangers, parsed without ever following what it names.

Document types, entities, XInclude and the network are refused, not ignored: a document that asks for them is not a record.
Messages give lines, never content, because content can be personal data.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, NoInput

if TYPE_CHECKING:
    from lxml import etree

LARGEST = 64 << 20  # bytes of a document; a visit with scanned pages stays below
MOST_TAGS = 2_000_000  # of which each takes some 100 bytes of memory; a record of 64 MB of text and scans has far fewer
DEEPEST = 200  # elements inside each other; a CDA document needs about 30
_XINCLUDE = "http://www.w3.org/2001/XInclude"
_ENCODINGS = {"utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-2", "windows-1250"}
_LIBXML_LIMIT = 9 << 20  # above about 10 MB a single text needs libxml2's huge_tree
_DECLARATION = re.compile(rb"<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]*)[\"']")
_PROLOG = re.compile(rb"\s+|<!--.*?-->|<\?.*?\?>", re.DOTALL)


def parse_safely(data: bytes | str | os.PathLike[str], place: str, limit: int = LARGEST) -> etree._ElementTree:
    """The tree of an XML document, given as bytes or as the path of a file; `place` is for messages.

    At most `limit` bytes in UTF-8, ASCII, ISO-8859-1, ISO-8859-2 or windows-1250 (XML 1.0, 4.3.3).

    Raises NoInput when the file cannot be read, BadData (with the line where there is one) when the document is empty, too large, too
    deep or of too many elements, is not well-formed, is not in the encoding that it declares, has a document type, or uses XInclude.
    """
    content = data if isinstance(data, bytes) else _read(data, place, limit)
    _check_size(len(content), place, limit)
    if len(content) > MOST_TAGS and content.count(b"<") > MOST_TAGS:
        raise BadData(place, f"has more than {MOST_TAGS // 1_000_000} million tags", "a visit's record has some thousands")
    _check_encoding(content, place)
    _check_prolog(content, place)
    return _parse(content, place)


def _read(path: str | os.PathLike[str], place: str, limit: int) -> bytes:
    """What says to be too large is not read at all, what says nothing, such as a pipe, one byte further than allowed."""
    try:
        with open(path, "rb") as stream:
            _check_size(os.fstat(stream.fileno()).st_size, place, limit)
            return stream.read(limit + 1)
    except OSError as error:
        raise NoInput(place, error.strerror or str(error), "name a file that exists and can be read") from error


def _check_size(size: int, place: str, limit: int) -> None:
    if size > limit:
        raise BadData(place, f"is larger than {limit >> 20} MB", "a visit's record is smaller; send scans by other means")


def _check_encoding(content: bytes, place: str) -> None:
    if not content.strip():
        raise BadData(place, "is empty", "export the document again")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:64]:
        raise BadData(place, "is in UTF-16 or UTF-32, or is not XML", "export it in UTF-8")
    declared = _DECLARATION.match(content.removeprefix(b"\xef\xbb\xbf"))
    encoding = declared[1].decode().lower() if declared else "utf-8"
    if encoding not in _ENCODINGS:
        raise BadData(place, f"declares the encoding {encoding[:20]}", "export it in UTF-8 or ISO-8859-2")
    if content.startswith(b"\xef\xbb\xbf") and encoding != "utf-8":
        raise BadData(place, f"declares {encoding} but begins as UTF-8", "correct its XML declaration")
    if content.isascii():
        return
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if encoding in ("utf-8", "ascii", "us-ascii"):
            line = content.count(b"\n", 0, error.start) + 1
            raise BadData(
                place, f"line {line}: bytes are not {encoding}, which the document is said to be in", "correct its XML declaration"
            ) from None
        return
    # Text in one byte a letter is valid UTF-8 only by a chance that shrinks with each letter outside ASCII.
    if encoding != "utf-8":
        raise BadData(place, f"declares {encoding} but is in UTF-8", "correct its XML declaration")


def _check_prolog(content: bytes, place: str) -> None:
    """Before the parser sees it: a document type stands only before the first element (XML 1.0, 2.8)."""
    at = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    while match := _PROLOG.match(content, at):
        at = match.end()
    if content.startswith(b"<!", at):
        line = content.count(b"\n", 0, at) + 1
        raise BadData(
            place, f"line {line}: has a document type (DOCTYPE), which is refused", "export it without; entities are never resolved"
        )


def _parse(content: bytes, place: str) -> etree._ElementTree:
    from lxml import etree

    huge = len(content) > _LIBXML_LIMIT
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, attribute_defaults=False, no_network=True, huge_tree=huge
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        raise BadData(place, f"{where}is not well-formed XML", "export the document again") from None
    tree = root.getroottree()
    if tree.docinfo.internalDTD is not None:
        raise BadData(place, "has a document type (DOCTYPE), which is refused", "export it without; entities are never resolved")
    for element in root.iter(f"{{{_XINCLUDE}}}*"):
        raise BadData(place, f"line {element.sourceline}: asks for XInclude, which is refused", "export the document whole")
    if _deep()(root):
        raise BadData(place, f"has more than {DEEPEST} elements inside each other", "a visit's record has about 30")
    return tree


@cache
def _deep() -> etree.XPath:
    """Whether there is an element below DEEPEST others: asked of libxml2, which needs no recursion and no Python object for each."""
    from lxml import etree

    return etree.XPath("boolean(/*" + "/*" * DEEPEST + ")")
