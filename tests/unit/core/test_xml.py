"""Parsing XML from strangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.core.errors import BadData, NoInput
from toolkit.core.xml import DEEPEST, MOST_TAGS, parse_safely


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"<a><b></a>", "line 1: is not well-formed"),
        (b"<a>\n\n<b>", "line 3: is not well-formed"),
        (b'<?xml version="1.0"?>\n<!-- --><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', "line 2: has a document type"),
        (b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>', "has a document type"),
        (b"<a>&undefined;</a>", "is not well-formed"),
        (b'<a xmlns:x="http://www.w3.org/2001/XInclude">\n<x:include href="/etc/passwd"/></a>', "line 2: asks for XInclude"),
        ("<a>ż</a>".encode("utf-16"), "UTF-16"),
        (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "declares the encoding utf-7"),
        ('<?xml version="1.0" encoding="UTF-8"?>\n<a>ż</a>'.encode("iso-8859-2"), "line 2: bytes are not utf-8"),
        ('<?xml version="1.0" encoding="ISO-8859-2"?><a>żółć</a>'.encode(), "declares iso-8859-2 but is in UTF-8"),
        (b'\xef\xbb\xbf<?xml version="1.0" encoding="ISO-8859-2"?><a/>', "begins as UTF-8"),
        (b"<a>" * (DEEPEST + 1) + b"</a>" * (DEEPEST + 1), "inside each other"),
    ],
)
def test_refuses(content: bytes, problem: str) -> None:
    with pytest.raises(BadData) as error:
        parse_safely(content, "visit.xml")
    assert problem in str(error.value)
    assert str(error.value).startswith("visit.xml: ")


def test_more_elements_than_memory_holds_are_refused_before_parsing() -> None:
    with pytest.raises(BadData, match="more than 2 million tags"):
        parse_safely(b"<r>" + b"<a/>" * MOST_TAGS + b"</r>", "visit.xml")
    assert len(parse_safely(b"<r>" + b"<a/>" * 100_000 + b"</r>", "visit.xml").getroot()) == 100_000


def test_a_message_repeats_nothing_of_the_document() -> None:
    with pytest.raises(BadData) as error:
        parse_safely(b"<a><Kowalski></a>", "visit.xml")
    assert "Kowalski" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-2", "windows-1250"])
def test_reads_polish_in_the_encoding_declared(encoding: str) -> None:
    tree = parse_safely(f'<?xml version="1.0" encoding="{encoding}"?><a>Łódź</a>'.encode(encoding), "visit.xml")
    assert tree.getroot().text == "Łódź"


def test_a_document_type_in_a_text_is_text() -> None:
    assert parse_safely(b"<a><![CDATA[<!DOCTYPE a>]]></a>", "visit.xml").getroot().text == "<!DOCTYPE a>"


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as stream:
        stream.truncate(500 << 20)
    with pytest.raises(BadData, match="larger than 64 MB"):
        parse_safely(path, str(path))


def test_a_scan_of_20_MB_is_read() -> None:
    assert len(parse_safely(b"<a>" + b"A" * (20 << 20) + b"</a>", "visit.xml").getroot().text or "") == 20 << 20


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="none.xml"):
        parse_safely(tmp_path / "none.xml", "none.xml")
