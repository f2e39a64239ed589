"""Visit documents out of a hospital's own tables: the rows of a query, one visit after another, put into a template.

The template is a document with two attributes in the namespace ``urn:scape-toolkit:template``. ``each="COLUMN ..."`` repeats its
element for every distinct set of values of these columns, ``when="COLUMN"`` keeps its element only where the column is not
NULL. ``{COLUMN}`` in texts and attributes is replaced, ``{{`` and ``}}`` stand for braces; an attribute that is nothing but a
column goes where that is NULL. It is filled as a tree: no value can become markup.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from toolkit.core.database import failures_named, open_database, place_of
from toolkit.core.errors import BadData, NoInput
from toolkit.core.streams import open_input, stream_name
from toolkit.hospital.sending.sources import Source

if TYPE_CHECKING:
    from lxml.etree import _Element

NAMESPACE = "urn:scape-toolkit:template"
_EACH, _WHEN = f"{{{NAMESPACE}}}each", f"{{{NAMESPACE}}}when"
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NOT_XML = re.compile("[^\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_Row = dict[str, Any]


def documents_from_sql(url: str, query_file: str, template_file: str) -> Iterator[Source]:
    """A document for each value of the query's first column, made of all its rows, wherever they stand in the result.

    The database, SQLite (a path) or PostgreSQL by `url`, is only read. Raises NoInput, BadData or UsageError when query, template or
    database cannot be used; a visit whose rows do not fit the template comes as a source with its error.
    """
    query = _text(query_file)
    template = _parsed(template_file)
    with _cursor(url, query_file) as cursor:
        cursor.execute(query)
        if not cursor.description:
            raise BadData(query_file, "gives no rows: it is no SELECT", "write one SELECT whose first column is the visit")
        columns = [str(column[0]) for column in cursor.description]
        _check_columns(columns, query_file)
        _check_template(template, columns, template_file)
        visits: dict[Any, list[_Row]] = {}
        for values in cursor:
            visits.setdefault(values[0], []).append(dict(zip(columns, values, strict=True)))
    for visit, rows in visits.items():
        place = f"{query_file}: {columns[0]} {visit}"
        if visit is None:
            yield Source(place, error=BadData(place, "a row belongs to no visit", "leave rows without a visit out of the query"))
            continue
        try:
            yield Source(place, _filled(template, rows, place))
        except BadData as error:
            yield Source(place, error=error)


def _text(path: str) -> str:
    with open_input(path) as stream:
        data = stream.read()
    try:
        return data.decode("utf-8-sig").strip().removesuffix(";")
    except UnicodeDecodeError as error:
        raise BadData(stream_name(path), "is not text in UTF-8", "save it in UTF-8") from error


def _parsed(path: str) -> _Element:
    from toolkit.core.xml import parse_safely

    with open_input(path) as stream:
        data = stream.read()
    return parse_safely(data, stream_name(path)).getroot()


@contextlib.contextmanager
def _cursor(url: str, query_file: str) -> Iterator[Any]:
    """A cursor that cannot change anything; the query's faults name its file."""
    faults: tuple[type[Exception], ...] = (sqlite3.Error,)
    if "://" not in url or url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        if not os.path.isfile(path):
            raise NoInput(path, "is no file", "name the hospital's database")
        connection: Any = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
        place, engine = path, None
    else:
        engine = open_database(url, create=False)
        from psycopg import Error

        faults, place = (sqlite3.Error, Error), place_of(engine)
        with failures_named(place):
            connection = engine.raw_connection()
        connection.driver_connection.read_only = True
    try:
        yield connection.cursor()
    except faults as error:
        words = " ".join(((str(error).strip().splitlines() or [type(error).__name__])[0]).split())
        raise BadData(query_file, f"{place} does not answer it: {words}", "try the query in the database's own shell") from error
    finally:
        connection.close()
        if engine is not None:
            engine.dispose()


def _check_columns(columns: list[str], path: str) -> None:
    for number, column in enumerate(columns):
        if column in columns[:number]:
            raise BadData(path, f"gives two columns {column}", "name them apart with AS")


def _check_template(template: _Element, columns: list[str], path: str) -> None:
    """Whether every column that the template names is one of the query's; told before the first visit."""
    if template.get(_EACH) is not None or template.get(_WHEN) is not None:
        raise BadData(path, "its root is repeated or left out", "put each and when on elements inside")
    for element in template.iter():
        rules = [element.get(name) for name in (_EACH, _WHEN)] if isinstance(element.tag, str) else []
        names = [name for rule in rules for name in (rule or "").split()]
        if any(rule is not None and not rule.split() for rule in rules):
            raise BadData(path, f"line {element.sourceline}: an attribute of the template names no column", "name one or several")
        texts = [element.tail, *((element.text, *map(str, element.attrib.values())) if isinstance(element.tag, str) else ())]
        for text in filter(None, texts):
            for match in _PLACEHOLDER.finditer(text):
                if match[0] in "{}":
                    raise BadData(path, f"line {element.sourceline}: a brace is left alone", "write {{ or }} for a brace")
                names += [match[1]] if match[1] is not None else []
        for name in names:
            if name not in columns:
                known = ", ".join(columns)
                raise BadData(path, f"line {element.sourceline}: the query has no column {name!r}", f"its columns are {known}")


def _filled(template: _Element, rows: list[_Row], place: str) -> bytes:
    from lxml import etree

    root = copy.deepcopy(template)
    _fill(root, rows, place)
    etree.cleanup_namespaces(root)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _fill(element: _Element, rows: list[_Row], place: str) -> None:
    """Fill `element` and all below it from `rows`."""
    _set(element, rows, place)
    for child in list(element):
        tail = _replaced(child.tail, rows, place)
        pattern = copy.deepcopy(child)
        pattern.tail = None
        place_in_parent = element.index(child)
        _remove(element, child)
        if not isinstance(child.tag, str):  # comments are for who reads the template, and a value could end one
            _append_text(element, place_in_parent, tail)
            continue
        each, when = (pattern.get(name) for name in (_EACH, _WHEN))
        for name in (_EACH, _WHEN):
            pattern.attrib.pop(name, "")
        groups = [rows] if each is None else _groups(rows, each.split())
        made = []
        for group in groups:
            if when is not None and _value(group, when, place) is None:
                continue
            made.append(copy.deepcopy(pattern))
            _fill(made[-1], group, place)
        for number, filled in enumerate(made):
            element.insert(place_in_parent + number, filled)
        _append_text(element, place_in_parent + len(made), tail)


def _set(element: _Element, rows: list[_Row], place: str) -> None:
    for name in [str(name) for name in element.attrib]:
        text = element.get(name, "")
        match = _PLACEHOLDER.fullmatch(text)
        if match and match[1] is not None and _value(rows, match[1], place) is None:
            del element.attrib[name]
        else:
            element.set(name, _replaced(text, rows, place) or "")
    element.text = _replaced(element.text, rows, place)


def _remove(parent: _Element, child: _Element) -> None:
    child.tail = None  # lxml would take the text behind it away too; _append_text puts it back
    parent.remove(child)


def _append_text(parent: _Element, index: int, text: str | None) -> None:
    """Put `text` behind the element before `index`, or at the parent's beginning."""
    if not text:
        return
    if index == 0:
        parent.text = (parent.text or "") + text
    else:
        parent[index - 1].tail = (parent[index - 1].tail or "") + text


def _groups(rows: list[_Row], columns: list[str]) -> list[list[_Row]]:
    """The rows by their values in `columns`, in the order of appearance; without those where all are NULL."""
    groups: dict[tuple[Any, ...], list[_Row]] = {}
    for row in rows:
        values = tuple(row[column] for column in columns)
        if any(value is not None for value in values):
            groups.setdefault(values, []).append(row)
    return list(groups.values())


def _replaced(text: str | None, rows: list[_Row], place: str) -> str | None:
    if not text or ("{" not in text and "}" not in text):
        return text

    def value(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else _value(rows, match[1], place) or ""

    return _PLACEHOLDER.sub(value, text)


def _value(rows: list[_Row], column: str, place: str) -> str | None:
    """The one value of `column` in `rows`; several would leave the choice to chance."""
    first = rows[0][column]
    if any(row[column] != first for row in rows):
        raise BadData(
            place, f"column {column} has several values there", 'repeat the element with each="' + column + '", or mend the query'
        )
    text = None if first is None else _hl7(first, column, place)
    if text is not None and _NOT_XML.search(text):
        raise BadData(place, f"column {column} holds characters that XML cannot", "remove them in the query")
    return text


def _hl7(value: Any, column: str, place: str) -> str:
    """A value as HL7 v3 writes it: times as YYYYMMDDHHMMSS with their offset from UTC when they have one (data types R1, TS)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.strftime("%Y%m%d%H%M%S%z")
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, time):
        return value.strftime("%H%M%S")
    raise BadData(place, f"column {column} is of type {type(value).__name__}, which is no text", "convert it in the query")
