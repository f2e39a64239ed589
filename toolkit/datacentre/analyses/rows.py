"""Row tables as DuckDB sees them, and columns of it as text that passes between tasks."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import BadData, Unavailable
from toolkit.datacentre.analyses.plan import Part

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow import Table

# The start is known to the day. DuckDB's own reading skips blanks.
DATED = "(regexp_matches(start, '^[0-9]{8}') AND try_strptime(left(start, 8), '%Y%m%d') IS NOT NULL)"
MEMORY = "300MB"  # of one task; more goes to a private directory
_MISSING = re.compile(r'No files found that match the pattern "(.*)"')
_PATTERN = re.compile(r"[*?\[\]{}]")  # what DuckDB would take for a pattern of names
_REMEDY = "run mdc-store verify, which restores it from the other copy"


@contextlib.contextmanager
def opened(threads: int) -> Iterator[DuckDBPyConnection]:
    """A database in memory. Raises Unavailable when its package is not installed where this task runs."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise Unavailable(f"Python package {error.name}", "is not installed on a worker", "install it for the workers' Python") from error
    with tempfile.TemporaryDirectory(prefix="toolkit-rows-") as place:
        settings: dict[str, Any] = {"threads": threads, "memory_limit": MEMORY, "temp_directory": place, "preserve_insertion_order": False}
        with duckdb.connect(config={**settings, "python_enable_replacements": False}) as database:
            database.execute("LOAD parquet")
            database.execute("SET parquet_metadata_cache = true")  # a group has hundreds of files, and is scanned several times
            yield database


def view(database: DuckDBPyConnection, name: str, table: str, parts: Sequence[tuple[int, Part]], columns: Sequence[str]) -> None:
    """Make `columns` of a row table, and ``part``, the number of the part, known as `name`. Local files are read when they are
    needed, others now. Raises BadData when a part is damaged, and what its store raises."""
    having = [(number, part) for number, part in parts if table in part.sizes]
    paths = [os.path.join(part.store, part.object(table)) for _, part in having]
    listed = ", ".join(f'"{column}"' for column in columns)
    if having and not any("://" in path or _PATTERN.search(path) for path in paths):
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        source = f"read_parquet([{files}], hive_partitioning = false)"
        numbers = [number for number, _ in having]
        database.execute(f"CREATE VIEW {name} AS SELECT {listed}, {numbers}[file_index::BIGINT + 1]::INTEGER AS part FROM {source}")
        return
    import pyarrow
    from pyarrow import ArrowException, concat_tables, int32, parquet, repeat

    from toolkit.core.storage import open_store
    from toolkit.datacentre.packs import row_schema

    stores = {url: open_store(url) for url in {part.store for _, part in having}}
    schema = row_schema(table)
    tables = [schema.empty_table().select(columns).append_column("part", [pyarrow.array([], int32())])]
    for (number, part), path in zip(having, paths, strict=True):
        try:
            with stores[part.store].open(part.object(table)) as stream:
                rows = parquet.read_table(stream, columns=list(columns), schema=schema)
        except (ArrowException, OSError) as error:
            raise BadData(path, "is damaged", _REMEDY) from error
        tables.append(rows.append_column("part", repeat(number, len(rows)).cast(int32())))
    known_as(database, f"{name}_arrow", concat_tables(tables))
    database.execute(f"CREATE VIEW {name} AS SELECT {listed}, part FROM {name}_arrow")


def aliases(database: DuckDBPyConnection, lists: Sequence[Sequence[str]], kind: str) -> bool:
    """Make the table ``renamed_KIND`` (old, newest) of replaced pseudonyms of one kind; False when there is none."""
    if not lists:
        return False
    newest = _newest(tuple((url, name) for url, name in lists), kind)
    columns = {"old VARCHAR": list(newest), "newest VARCHAR": list(newest.values())}
    table_of(database, f"renamed_{kind}", columns)
    return bool(newest)


@cache
def _newest(lists: tuple[tuple[str, str], ...], kind: str) -> dict[str, str]:
    """The newest pseudonym of each that was replaced, however often; read once by each process."""
    from toolkit.core.storage import open_store
    from toolkit.datacentre.aliases import read_kept

    pairs: dict[str, str] = {}
    for url, name in lists:
        for alias in read_kept(open_store(url).get(name), f"{url}/{name}"):
            if alias.kind == kind:
                pairs[alias.old] = alias.new
    newest = dict(pairs)
    for old in pairs:
        seen = {old}
        while (new := newest[old]) in pairs and new not in seen:
            seen.add(new)
            newest[old] = pairs[new]
    return newest


def table_of(database: DuckDBPyConnection, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Make a table of lists; `columns` by name and type. Not by way of pyarrow.array: that imports pandas where it is installed."""
    listed = ", ".join(f"unnest(${place}::{column.split()[1]}[]) AS {column.split()[0]}" for place, column in enumerate(columns, 1))
    database.execute(f"CREATE TABLE {name} AS SELECT {listed}", list(columns.values()))


def known_as(database: DuckDBPyConnection, name: str, table: Table) -> None:
    """Make a table known to the database."""
    modules: dict[str, Any] = sys.modules
    hidden = modules.get("pandas")
    modules["pandas"] = None  # else DuckDB would import it, 0.4 s and 40 MB, to see that the table is none of its
    try:
        database.register(name, table)
    finally:
        del modules["pandas"]
        if hidden is not None:
            modules["pandas"] = hidden


def pack_rows(table: Table) -> str:
    """Rows as text."""
    from pyarrow import BufferOutputStream, ipc

    sink = BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def sliced(rows: Table, buckets: int) -> Iterator[Table]:
    """The rows by bucket, in whose order they come: each row's first column modulo the number of buckets."""
    import numpy

    ends = numpy.searchsorted(rows.column(0).to_numpy() % buckets, range(buckets), side="right")
    for begin, end in zip([0, *ends], ends, strict=False):
        yield rows.slice(begin, end - begin)


def rows_of(database: DuckDBPyConnection, texts: Iterable[str]) -> None:
    """Make the rows of several such texts known as ``rows``."""
    from pyarrow import concat_tables, ipc

    known_as(database, "rows", concat_tables([ipc.open_stream(base64.b64decode(text)).read_all() for text in texts]))


def version() -> str:
    """DuckDB's, and the machine's kind: what its own functions give is the same where both are."""
    import platform

    import duckdb

    return f"{duckdb.__version__} on {platform.machine()}"


class OutOfMemory(Exception):
    """A task needs more than it may use."""


@contextlib.contextmanager
def read_failures() -> Iterator[None]:
    """What DuckDB says of a file that it cannot read, as BadData; it names the file. OutOfMemory stays for whoever can help it."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise OutOfMemory from error
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        words = str(error).splitlines()[0]
        named = _MISSING.search(words)
        raise BadData(*((named[1], "is missing") if named else ("row table", words)), _REMEDY) from error
