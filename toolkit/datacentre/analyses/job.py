"""The map-reduce job behind all questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from toolkit.core.mapreduce.job import Job, guarded
from toolkit.datacentre.analyses.plan import TABLES, parts_of
from toolkit.datacentre.analyses.questions import Question, questions
from toolkit.datacentre.analyses.rows import aliases, opened, pack_rows, read_failures, rows_of, view

ICD_10 = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90")  # of WHO (Poland's too), CM
NEAR = 3  # codes that are named when one is not found
DISTANCE = "damerau_levenshtein({0}, left({1}, length({0})))"
_COLUMNS = {
    "visits": ("end", "sex", "age"),
    "diagnoses": ("code", "system", "plain"),
    "procedures": ("code", "system", "time"),
    "results": ("number", "code", "system", "value", "unit", "text", "low", "high", "low_inclusive", "high_inclusive", "interpretation", "printed"),
}
_HEAD = ("message_id", "patient", "start")
_DATED = "regexp_matches(left(start, 8), '^[0-9]{8}$')"


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
        group, parameters, question = json.loads(text), self.parameters, self._question()
        with read_failures(), opened(parameters["threads"]) as database:
            _views(database, group, parameters, question)
            yield ["visits"], database.execute("SELECT count(*) FROM visits").fetchall()[0][0]
            if "diagnoses" in question.tables:
                for system, number in database.execute("SELECT system, count(*) FROM diagnoses GROUP BY system").fetchall():
                    yield ["diagnoses", system], number
            if "icd10" in parameters:
                for series, number in database.execute("SELECT series, count(*) FROM coded GROUP BY series").fetchall():
                    yield ["coded", series], number
                yield from _near(database)
            for *key, number in question.counts(database, parameters) if question.counts else ():
                yield ["sum", *key], number
            told_apart = question.patients(parameters) if question.patients else ""
            if told_apart:
                yield from _buckets(database, told_apart, parameters["buckets"])
        self.done(group["done"])

    @guarded
    def reduce(self, key: Any, values: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Sums of sums, and the sums of a bucket of patients."""
        if key[0] != "patients":
            yield key, sum(values)
            return
        with opened(self.parameters["threads"]) as database:
            rows_of(database, values)
            for *found, number in database.execute(self._question().per_patient).fetchall():
                yield ["sum", *found], number

    @guarded
    def add(self, key: Any, values: Iterator[int]) -> Iterator[tuple[Any, Any]]:
        """Sums of the buckets' sums."""
        yield key, sum(values)


def _views(database: Any, group: dict[str, Any], parameters: dict[str, Any], question: Question) -> None:
    """What a question's functions find in the database."""
    import pyarrow

    parts = parts_of(group)
    lost = [(number, one) for number, ids in group["dropped"] for one in ids]
    if lost:
        columns = {"part": pyarrow.array([number for number, _ in lost], pyarrow.int32()), "message_id": [one for _, one in lost]}
        database.register("dropped_arrow", pyarrow.table(columns))
        database.execute("CREATE TABLE dropped AS SELECT * FROM dropped_arrow")
    renamed = bool(group["aliases"]) and aliases(database, group["aliases"], "patient")
    for table in TABLES:
        if table != "visits" and table not in question.tables:
            continue
        columns = (*_HEAD, *(_COLUMNS[table] if table in question.tables else ()))
        view(database, f"all_{table}", table, parts, columns)
        patient = "coalesce(newest, patient)" if renamed else "patient"
        database.execute(
            f"CREATE VIEW {table} AS SELECT all_{table}.* REPLACE ({patient} AS patient), TRY_CAST(left(start, 8) AS INTEGER) AS day"
            f" FROM all_{table}" + (" ANTI JOIN dropped USING (part, message_id)" if lost else "")
            + (" LEFT JOIN renamed_patient ON patient = old" if renamed else "")
            + f" WHERE {_DATED} AND TRY_CAST(left(start, 8) AS INTEGER) BETWEEN {parameters['from']:d} AND {parameters['to']:d}"
        )  # fmt: skip
    if "icd10" in parameters:
        prefixes = [(number, prefix) for number, series in enumerate(parameters["icd10"]) for prefix in series]
        columns = {"series": [number for number, _ in prefixes], "prefix": [prefix for _, prefix in prefixes]}
        database.register("prefixes", pyarrow.table(columns))
        database.execute(
            "CREATE TABLE coded AS SELECT DISTINCT series, message_id, patient, day FROM diagnoses, prefixes"
            f" WHERE system IN {ICD_10} AND starts_with(plain, prefix)"
        )


def _near(database: Any) -> Iterator[tuple[Any, Any]]:
    """For each series of codes that no diagnosis of this group begins with, the codes that are written most like it."""
    found = database.execute(f"""
        SELECT series, plain FROM (SELECT DISTINCT plain FROM diagnoses WHERE system IN {ICD_10}) AS known, prefixes
        WHERE series NOT IN (SELECT series FROM coded)
        QUALIFY row_number() OVER (PARTITION BY series ORDER BY {DISTANCE.format("prefix", "plain")}, plain) <= {NEAR}
    """).fetchall()
    yield from ((["near", series, plain], 1) for series, plain in found)


def _buckets(database: Any, sql: str, buckets: int) -> Iterator[tuple[Any, Any]]:
    """The rows of patients by bucket, each patient as 128 bits: two share them with a chance of 1e-27 among 1e6."""
    key = "md5_number_lower(patient) AS low, md5_number_upper(patient) AS high"
    database.execute(f"CREATE TABLE told_apart AS SELECT {key}, * EXCLUDE (patient) FROM ({sql})")
    for bucket in range(buckets):
        yield ["patients", bucket], pack_rows(database.sql(f"SELECT * FROM told_apart WHERE low % {buckets} = {bucket}").to_arrow_table())


if __name__ == "__main__":
    QuestionJob.run()
