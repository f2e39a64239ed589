"""Documents out of real databases: every visit once and whole, no value becomes markup, nothing is written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from toolkit.core.errors import BadData, NoInput, ToolError, UsageError
from toolkit.hospital.sending.from_sql import documents_from_sql

TABLES = """
CREATE TABLE visit (number text, patient text, born date, city text, remark text);
CREATE TABLE diagnosis (visit text, code text, name text);
CREATE TABLE result (visit text, test text, amount numeric(8, 2));
INSERT INTO visit VALUES ('V1', '44051401359', '1944-05-14', 'Łódź', 'a < b & "c" {d}'), ('V2', '92032100157', '1992-03-21', NULL, NULL);
INSERT INTO diagnosis VALUES ('V1', 'I50.9', 'niewydolność'), ('V2', 'J45', 'dychawica'), ('V1', 'I10', 'nadciśnienie');
INSERT INTO result VALUES ('V1', 'HGB', 7.80), ('V1', 'WBC', 4.5);
"""
QUERY = """
SELECT v.number AS visit, v.patient, v.city, v.remark, d.code, d.name, r.test, r.amount
FROM visit v LEFT JOIN diagnosis d ON d.visit = v.number LEFT JOIN result r ON r.visit = v.number ORDER BY d.code, r.test;
"""
TEMPLATE = """<?xml version="1.0" encoding="UTF-8"?>
<d xmlns="urn:hl7-org:v3" xmlns:t="urn:scape-toolkit:template" id="{visit}" braces="{{}}">
  <patient extension="{patient}"/>
  <!-- where {patient} lives --><city t:when="city">{city}</city>
  <note title="{remark}">{remark}</note>
  <diagnoses><value t:each="code name" code="{code}" displayName="{name}"><name>{name}</name></value> after</diagnoses>
  <results><row t:each="test"><cell>{test}</cell><cell t:each="amount">{amount} g/dl</cell></row></results>
</d>
"""
V3 = "{urn:hl7-org:v3}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The hospital's database, filled."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "his.db") as connection:
            connection.executescript(TABLES)
        connection.close()
        return str(tmp_path / "his.db")
    import psycopg

    address = request.getfixturevalue("postgresql")
    with psycopg.connect(address) as connection:
        connection.execute(TABLES)
    return address


def documents(url: str, tmp_path: Path, query: str = QUERY, template: str = TEMPLATE):  # type: ignore[no-untyped-def]
    (tmp_path / "visits.sql").write_text(query)
    (tmp_path / "visit.xml").write_text(template)
    return list(documents_from_sql(url, str(tmp_path / "visits.sql"), str(tmp_path / "visit.xml")))


def test_every_visit_becomes_one_document_wherever_its_rows_stand(url: str, tmp_path: Path) -> None:
    first, second = documents(url, tmp_path)
    assert (first.error, first.place) == (None, f"{tmp_path}/visits.sql: visit V1")
    root = etree.fromstring(first.data)
    assert dict(root.attrib) == {"id": "V1", "braces": "{}"}
    assert root.findtext(V3 + "city") == "Łódź"
    note = root.find(V3 + "note")
    assert (note.get("title"), note.text) == ('a < b & "c" {d}',) * 2
    codes = [(v.get("code"), v.get("displayName"), v.findtext(V3 + "name")) for v in root.iter(V3 + "value")]
    assert codes == [("I10", "nadciśnienie", "nadciśnienie"), ("I50.9", "niewydolność", "niewydolność")]
    assert root.find(V3 + "diagnoses")[-1].tail == " after"
    cells = [[cell.text for cell in row] for row in root.iter(V3 + "row")]
    assert [[name, *(text.rstrip(" g/dl").rstrip("0") for text in rest)] for name, *rest in cells] == [["HGB", "7.8"], ["WBC", "4.5"]]
    assert b"scape-toolkit" not in first.data and b"<!--" not in first.data
    other = etree.fromstring(second.data)
    assert (other.find(V3 + "city"), other.find(V3 + "note").get("title")) == (None, None)
    assert [v.get("code") for v in other.iter(V3 + "value")] == ["J45"] and len(other.find(V3 + "results")) == 0


def test_the_same_rows_give_the_same_bytes(url: str, tmp_path: Path) -> None:
    assert documents(url, tmp_path) == documents(url, tmp_path)


def test_the_database_is_only_read(url: str, tmp_path: Path) -> None:
    returning = "INSERT INTO diagnosis VALUES ('V9', 'x', 'y') RETURNING visit, code, name"
    with pytest.raises(BadData, match=r"visits\.sql: .* does not answer it: .*read.?only"):
        documents(url, tmp_path, returning, "<d>{visit}</d>")
    assert len(documents(url, tmp_path, "SELECT visit, code FROM diagnosis WHERE visit = 'V9'", "<d>{visit}</d>")) == 0


def test_a_query_that_is_wrong(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"visits\.sql: .* does not answer it: .*no_such_table"):
        documents(url, tmp_path, "SELECT number FROM no_such_table")
    with pytest.raises(BadData, match="gives two columns number"):
        documents(url, tmp_path, "SELECT number, number FROM visit")


def test_a_value_that_is_not_one_value_is_refused_and_the_others_go_on(url: str, tmp_path: Path) -> None:
    first, second = documents(url, tmp_path, template='<d id="{visit}" code="{code}"/>')
    assert isinstance(first.error, BadData) and "column code has several values there" in str(first.error)
    assert second.error is None and b'code="J45"' in second.data


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("<d>{nothing}</d>", "line 1: the query has no column 'nothing'"),
        ("<d a='{nothing}'/>", "the query has no column 'nothing'"),
        ("<d>{visit</d>", "a brace is left alone"),
        ("<d xmlns:t='urn:scape-toolkit:template'><e t:each='nothing'/></d>", "the query has no column 'nothing'"),
        ("<d xmlns:t='urn:scape-toolkit:template'><e t:each=''/></d>", "names no column"),
        ("<d xmlns:t='urn:scape-toolkit:template' t:each='visit'/>", "its root is repeated"),
        ("<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><d>&e;</d>", "DOCTYPE"),
        ("<d>", "visit.xml"),
    ],
)
def test_a_template_that_is_wrong_is_told_before_the_first_visit(tmp_path: Path, template: str, words: str) -> None:
    (sqlite3.connect(tmp_path / "his.db")).close()
    with pytest.raises(BadData, match=words):
        documents(str(tmp_path / "his.db"), tmp_path, "SELECT 'V1' AS visit", template)


def test_a_row_without_a_visit_and_bytes_are_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "his.db").close()
    query = "SELECT NULL AS visit, 'a' AS scan UNION ALL SELECT 'V2', x'00ff' UNION ALL SELECT 'V3', 'a' || char(1)"
    errors = [str(source.error) for source in documents(str(tmp_path / "his.db"), tmp_path, query, "<d>{scan}</d>")]
    assert ["belongs to no visit" in errors[0], "is of type bytes" in errors[1], "characters that XML cannot" in errors[2]] == [True] * 3


def test_databases_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="is no file"):
        documents(str(tmp_path / "none.db"), tmp_path)
    with pytest.raises(UsageError, match="holds a password"):
        documents("postgresql://me:secret@host/his", tmp_path)
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 20)
    with pytest.raises(BadData, match="not a database"):
        documents(str(tmp_path / "text.db"), tmp_path)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(st.sampled_from(["A", "B"]), st.none() | st.text(max_size=8)), min_size=1, max_size=8))
def test_whatever_a_value_holds_it_stays_a_value(rows: list[tuple[str, str | None]], tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("sql")
    connection = sqlite3.connect(directory / "his.db")
    with connection:
        connection.execute("CREATE TABLE t (visit text, word text)")
        try:
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        except UnicodeEncodeError:  # a lone surrogate is no text for a database either
            connection.close()
            return
    connection.close()
    template = "<d xmlns:t='urn:scape-toolkit:template'>{visit}<!-- no column can end this --><e t:each='word' a='{word}'>{word}</e></d>"
    for source in documents(str(directory / "his.db"), directory, "SELECT visit, word FROM t", template):
        visit = source.place[-1]
        words = list(dict.fromkeys(word for name, word in rows if name == visit and word is not None))
        if source.error is not None:
            assert isinstance(source.error, ToolError)
            with pytest.raises(ValueError):
                for word in words:
                    etree.Element("e").text = word
            continue
        root = etree.fromstring(source.data)
        assert root.text == visit
        got = [element.text or "" for element in root]
        assert [text.replace("\r", "\n") for text in got] == [word.replace("\r", "\n") for word in words]
