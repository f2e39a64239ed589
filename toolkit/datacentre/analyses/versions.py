"""Which rows count: of each visit those of its newest document, once; see `toolkit.datacentre.packs`.

Nearly all visits have one document. So a number for every visit's pseudonym finds those that may have several, and only of these more is
read.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import Unavailable
from toolkit.core.mapreduce.job import Job, guarded
from toolkit.datacentre.analyses.plan import parts_of
from toolkit.datacentre.analyses.rows import DATED, aliases, opened, pack_rows, read_failures, rows_of, sliced, version, view

_KEY = "hash({visit})"  # 64 bits, by DuckDB's own function: the same only where the same version runs
_REPEATED = "SELECT key FROM {} GROUP BY key HAVING count(*) > 1"
_RECEIVED = "regexp_replace(received, '[^0-9]', '', 'g')"  # stores write ISO 8601, documents tell their time in HL7's way
_NEWEST = """
    CREATE TABLE ranked AS SELECT *, row_number() OVER (PARTITION BY visit ORDER BY received DESC, message_id DESC, part) AS place,
        row_number() OVER (PARTITION BY visit, received, message_id ORDER BY part) AS copy
    FROM rows
"""


@dataclass(frozen=True)
class Versions:
    """What counts: the message ids that do not, by the number of their part; how many documents were replaced by newer ones of their visit,
    or are there twice; how many visits are left; how many of them have a start that is known to the day, by the number of their part."""

    dropped: dict[int, list[str]]
    dated: dict[int, int]
    superseded: int
    duplicates: int
    visits: int


class VersionsJob(Job):
    """Sends keys of all visits to buckets, asks the parts for what stands under keys that come twice, and finds the newest among these."""

    def steps(self) -> list[Any]:
        return [self.mr(mapper=self.keys, reducer=self.repeated), self.mr(reducer=self.look_up), self.mr(reducer=self.decide)]

    @guarded
    def keys(self, _: None, text: str) -> Iterator[tuple[Any, Any]]:
        """The keys of a group's visits, by bucket; of the only group at once what stands under those that come more than once."""
        group, buckets = json.loads(text), self.parameters["buckets"]
        with opened(self.parameters["threads"]) as database, read_failures():
            visit = _visits(database, group)
            database.execute(f"CREATE TABLE keys AS SELECT {_KEY.format(visit=visit)} AS key, part, {DATED} AS dated FROM versions")
            if buckets == 1:
                database.execute(f"CREATE VIEW repeated AS {_REPEATED.format('keys')}")
                database.execute(f"CREATE TABLE rows AS {_under(visit, 'repeated')}")
                yield from _decided(database, 0)
            else:
                rows = database.sql(f"SELECT key FROM keys ORDER BY key % {buckets}").to_arrow_table()
                for bucket, some in enumerate(sliced(rows, buckets)):
                    yield ["bucket", bucket], [text, version(), pack_rows(some)]
            dated = database.execute("SELECT part, count(*) FILTER (dated) FROM keys GROUP BY part").fetchall()
            ((number,),) = database.execute("SELECT count(*) FROM keys").fetchall()
        yield ["rows"], number
        yield ["dated"], dated
        self.done(group["done"])

    @guarded
    def repeated(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """For each group, which of a bucket's keys come more than once."""
        if key[0] != "bucket":
            yield from ((key, value) for value in values)
            return
        groups, versions, texts = zip(*values, strict=True)
        if len(set(versions)) > 1:
            raise Unavailable("the workers", f"have differing versions of DuckDB: {', '.join(sorted(set(versions)))}", "install one on all")
        with opened(self.parameters["threads"]) as database:
            rows_of(database, texts)
            repeated = database.sql(_REPEATED.format("rows")).to_arrow_table()
        if len(repeated):
            keys = pack_rows(repeated)
            for group in groups:
                yield ["group", group], keys

    @guarded
    def look_up(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """What a group holds under these keys, by bucket."""
        if key[0] != "group":
            yield from ((key, value) for value in values)
            return
        with opened(self.parameters["threads"]) as database, read_failures():
            rows_of(database, values)
            yield from _found(database, _visits(database, json.loads(key[1])), self.parameters["buckets"])

    @guarded
    def decide(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """What does not count among the documents of these visits, by part, and counts."""
        if key[0] != "visits":
            yield from ((key, value) for value in values)
            return
        with opened(self.parameters["threads"]) as database:
            rows_of(database, values)
            yield from _decided(database, key[1])


def _visits(database: Any, group: dict[str, Any]) -> str:
    """Make a group's visits known as ``versions``; what a visit's newest pseudonym is in them."""
    columns = ("message_id", "received", "mdc_visit", "start")
    if not aliases(database, group["aliases"], "visit"):
        view(database, "versions", "visits", parts_of(group), columns)
        return "mdc_visit"
    view(database, "known", "visits", parts_of(group), columns)
    database.execute("CREATE VIEW versions AS SELECT known.*, newest FROM known LEFT JOIN renamed_visit ON mdc_visit = old")
    return "coalesce(newest, mdc_visit)"


def _found(database: Any, visit: str, buckets: int) -> Iterator[tuple[Any, Any]]:
    """What ``versions`` holds under the keys in ``rows``, by bucket."""
    rows = database.sql(f"SELECT * FROM ({_under(visit, 'rows')}) ORDER BY key % {buckets}").to_arrow_table()
    for bucket, some in enumerate(sliced(rows, buckets)):
        if len(some):
            yield ["visits", bucket], pack_rows(some.drop_columns("key"))


def _under(visit: str, keys: str) -> str:
    """SQL for what ``versions`` holds under some keys."""
    key = _KEY.format(visit=visit)
    columns = f"{key} AS key, {visit} AS visit, {_RECEIVED} AS received, message_id, part, {DATED} AS dated"
    return f"SELECT {columns} FROM versions WHERE {key} IN (SELECT key FROM {keys})"


def _decided(database: Any, bucket: int) -> Iterator[tuple[Any, Any]]:
    """Of the visits in ``rows``: how many documents do not count, and which, by part."""
    database.execute(_NEWEST)
    out, twice = database.execute("SELECT count(*), count(*) FILTER (copy > 1) FROM ranked WHERE place > 1").fetchall()[0]
    for name, number in (("rows", -out), ("duplicates", twice), ("superseded", out - twice)):
        yield [name], number
    yield ["dated"], database.execute("SELECT part, -count(*) FILTER (dated) FROM ranked WHERE place > 1 GROUP BY part").fetchall()
    found = database.execute("SELECT part, list(message_id ORDER BY message_id) FROM ranked WHERE place > 1 GROUP BY part")
    yield ["dropped", bucket], found.fetchall()


def versions_of(pairs: Iterator[tuple[Any, Any]]) -> Versions:
    """What the job's pairs say together."""
    dropped: dict[int, list[str]] = defaultdict(list)
    dated: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    for key, value in pairs:
        if key[0] == "dropped":
            for part, ids in value:
                dropped[part] += ids
        elif key[0] == "dated":
            for part, number in value:
                dated[part] += number
        else:
            counts[key[0]] += value
    return Versions(dict(dropped), dict(dated), counts["superseded"], counts["duplicates"], counts["rows"])


if __name__ == "__main__":
    VersionsJob.run()
