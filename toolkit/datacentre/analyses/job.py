"""The map-reduce job behind all questions."""

from __future__ import annotations

import calendar
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from toolkit.core.errors import InputOutput
from toolkit.core.mapreduce.job import Job, guarded
from toolkit.datacentre.analyses.plan import TABLES, Part, parts_of
from toolkit.datacentre.analyses.questions import Question, questions
from toolkit.datacentre.analyses.rows import OutOfMemory, aliases, opened, pack_rows, read_failures, rows_of, sliced, table_of, view

ICD_10 = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90")  # of WHO (Poland's too), CM
ICD_9 = "2.16.840.1.113883.6.103"  # CM
SUMS = ["sums"]  # the key of all sums of a group, tuples with the number at their end
NEAR = 3  # codes that are named when one is not found
DISTANCE = "damerau_levenshtein({0}, left({1}, length({0})))"
_COLUMNS = {
    "visits": ("end", "sex", "age"),
    "diagnoses": ("code", "system", "plain"),
    "procedures": ("code", "system", "time"),
    "results": (
        *("number", "code", "system", "value", "unit", "text", "interpretation", "printed"),
        *("low", "high", "low_inclusive", "high_inclusive"),
    ),
}
_HEAD = ("message_id", "patient", "start")


class QuestionJob(Job):
    """Adds up what a question counts; where patients are told apart, in buckets of patients."""

    def steps(self) -> list[Any]:
        first = self.mr(mapper=self.map, reducer=self.reduce)
        return [first, self.mr(reducer=self.add)] if self._question().patients else [first]

    def _question(self) -> Question:
        return questions()[self.parameters["question"]]

    @guarded
    def map(self, _: None, text: str) -> Iterator[tuple[Any, Any]]:
        """The sums of a group of parts, and its patients by bucket."""
        group = json.loads(text)
        yield from _mapped(group, parts_of(group), self.parameters, self._question())
        self.done(group["done"])

    @guarded
    def reduce(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Sums of sums, and the sums of a bucket of patients."""
        if key == SUMS:
            yield from self.add(key, values)
            return
        with opened(self.parameters["threads"]) as database:
            rows_of(database, values)
            yield SUMS, [("sum", *row) for row in database.execute(self._question().per_patient).fetchall()]

    @guarded
    def add(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Sums of sums."""
        first, second = next(values), next(values, None)
        if second is None:  # a list may have a hundred thousand sums
            yield key, first
            return
        total: Counter[tuple[Any, ...]] = Counter()
        for sums in itertools.chain((first, second), values):
            for *words, number in sums:
                total[tuple(words)] += number
        yield key, [(*words, number) for words, number in total.items()]


def _mapped(group: dict[str, Any], parts: list[tuple[int, Part]], parameters: dict[str, Any], question: Question) -> list[tuple[Any, Any]]:
    """What the mapper says of some of a group's parts; of each half on its own where all at once need too much memory."""
    try:
        with opened(parameters["threads"]) as database, read_failures():
            told_apart = question.patients(parameters) if question.patients else ""
            _views(database, group, parts, parameters, question, bool(told_apart))
            sums = [("visits", _visits(database, group, parts))]
            if "icd10" in parameters:
                sums += _codes(database)
            if question.counts:
                sums += (("sum", *row) for row in question.counts(database, parameters))
            if told_apart and parameters["buckets"] == 1 and len(parts) == len(group["parts"]):  # all patients are here
                database.execute(f"CREATE VIEW rows AS SELECT patient AS low, 0 AS high, * EXCLUDE (patient) FROM ({told_apart})")
                sums += (("sum", *row) for row in database.execute(question.per_patient).fetchall())
                told_apart = ""
            return [(SUMS, sums), *(_buckets(database, told_apart, parameters["buckets"]) if told_apart else ())]
    except OutOfMemory as error:
        half = len(parts) // 2
        if not half:
            raise InputOutput(parts[0][1].object("visits"), "needs more memory than a task has", "pack smaller packs") from error
        return [*_mapped(group, parts[:half], parameters, question), *_mapped(group, parts[half:], parameters, question)]


def _views(
    database: Any, group: dict[str, Any], parts: list[tuple[int, Part]], parameters: dict[str, Any], question: Question, apart: bool
) -> None:
    """What a question's functions find in the database; whose visits have the codes only where patients are told apart."""
    lost = [(number, one) for number, ids in group["dropped"] for one in ids]
    known = dict(group["dated"])
    partly = [(number, part) for number, part in parts if number not in known]
    if lost:
        table_of(database, "dropped", {"part INTEGER": [number for number, _ in lost], "message_id VARCHAR": [one for _, one in lost]})
    renamed = aliases(database, group["aliases"], "patient")
    months = [part.number for _, part in parts]
    ends = max(parameters["from"], min(months) * 100 + 1), _day(min(parameters["to"], max(months) * 100 + 31))
    first, last = (f"strptime('{day:08d}', '%Y%m%d')" for day in ends)
    database.execute(f"CREATE TABLE days AS SELECT strftime(unnest(generate_series({first}, {last}, INTERVAL 1 DAY)), '%Y%m%d') AS day")
    tables = [(table, table, parts, (*_HEAD, *_COLUMNS[table])) for table in TABLES if table in question.tables]
    if partly:
        tables.append(("visits_to_count", "visits", partly, _HEAD))
    for name, table, some, wanted in tables:
        view(database, f"all_{name}", table, some, wanted)
        patient = "coalesce(newest, patient)" if renamed else "patient"
        database.execute(
            f"CREATE VIEW {name} AS SELECT all_{name}.* REPLACE ({patient} AS patient), left(start, 8)::INTEGER AS day"
            f" FROM all_{name}" + (" ANTI JOIN dropped USING (part, message_id)" if lost else "")
            + (" LEFT JOIN renamed_patient ON patient = old" if renamed else "")
            + " WHERE left(start, 8) IN (SELECT day FROM days)"
        )  # fmt: skip
    if "icd10" in parameters:
        prefixes = [(number, prefix) for number, series in enumerate(parameters["icd10"]) for prefix in series]
        any_of = " OR ".join(f"starts_with(plain, '{prefix}')" for _, prefix in prefixes)
        values = ", ".join(f"({number}, '{prefix}')" for number, prefix in prefixes)
        database.execute(f"CREATE VIEW prefixes AS SELECT * FROM (VALUES {values}) AS given (series, prefix)")
        condition = f"system = '{ICD_9}' OR (({any_of}) AND system IN {ICD_10})"
        head = "message_id, patient, day" if apart else "message_id, day"
        database.execute(f"CREATE TABLE picked AS SELECT {head}, system, plain FROM diagnoses WHERE {condition}")
        database.execute(
            f"CREATE TABLE coded AS SELECT DISTINCT series, {head} FROM picked, prefixes"
            f" WHERE system <> '{ICD_9}' AND starts_with(plain, prefix)"
        )


def _visits(database: Any, group: dict[str, Any], parts: list[tuple[int, Part]]) -> int:
    """How many visits began in the period: known of months that lie in it as a whole, counted in the others."""
    known = dict(group["dated"])
    if all(number in known for number, _ in parts):
        return sum(known[number] for number, _ in parts)
    ((counted,),) = database.execute("SELECT count(*) FROM visits_to_count").fetchall()
    return counted + sum(known.get(number, 0) for number, _ in parts)


def _day(number: int) -> int:
    """The number of a day of the calendar: 20260231 is 20260228."""
    year, month = number // 10000, number // 100 % 100
    return min(number, number // 100 * 100 + calendar.monthrange(year, month)[1])


def _codes(database: Any) -> list[tuple[Any, ...]]:
    """How many visits there are by series of codes, which editions the codes are of, and how many visits have diagnoses in ICD-9; for
    each series that no diagnosis of this group begins with, the codes that are written most like it."""
    editions = f"SELECT system, count(*) FROM picked WHERE system <> '{ICD_9}' GROUP BY system"
    found = [("edition", *row) for row in database.execute(editions).fetchall()]
    found += [("coded", *row) for row in database.execute("SELECT series, count(*) FROM coded GROUP BY series").fetchall()]
    in_icd9 = f"SELECT count(DISTINCT message_id) FROM picked WHERE system = '{ICD_9}'"
    found += [("in_icd9", *row) for row in database.execute(in_icd9).fetchall()]
    missing = "SELECT series, prefix FROM prefixes WHERE series NOT IN (SELECT series FROM coded)"
    if database.execute(missing).fetchall():
        near = f"""
            SELECT series, plain FROM (SELECT DISTINCT plain FROM diagnoses WHERE system IN {ICD_10}) AS known, ({missing}) AS missing
            QUALIFY row_number() OVER (PARTITION BY series ORDER BY {DISTANCE.format("prefix", "plain")}, plain) <= {NEAR}
        """
        found += [("near", *row, 1) for row in database.execute(near).fetchall()]
    return found


def _buckets(database: Any, sql: str, buckets: int) -> Iterator[tuple[Any, Any]]:
    """The rows of patients by bucket, each patient as 128 bits: two share them with a chance of 1e-27 among 1e6."""
    key = "(digest & 18446744073709551615)::UBIGINT AS low, (digest >> 64)::UBIGINT AS high"
    digests = f"SELECT md5_number(patient) AS digest, * EXCLUDE (patient) FROM ({sql})"
    rows = database.sql(f"SELECT {key}, * EXCLUDE (digest) FROM ({digests}) ORDER BY low % {buckets}").to_arrow_table()
    for bucket, some in enumerate(sliced(rows, buckets)):
        yield ["patients", bucket], pack_rows(some)


if __name__ == "__main__":
    QuestionJob.run()
