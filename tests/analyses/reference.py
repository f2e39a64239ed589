"""The five analyses over rows as dictionaries, in the plainest way: what mdc-analyse is held against.

Nothing is shared with it but the readers of codes and printed ranges. All rows are in memory and every rule is a loop.
"""

from __future__ import annotations

import csv
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyarrow import parquet

from toolkit.datacentre.cda import parse_printed, plain_code, same_unit

ICD_10 = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90")
ICD_9 = "2.16.840.1.113883.6.103"
ABNORMAL = ("L", "LL", "H", "HH", "A", "AA", "<", ">")
SEXES = ("F", "M", "UN", "ASKU", "INV", "MSK", "NA", "NASK", "NAV", "NI", "OTH", "UNK")  # null flavours in the order of the alphabet
OTHER_SEX = "another code"
TRUSTS = ("interpretation", "range", "either")
DAY = 86_400
Row = dict[str, Any]


@dataclass
class Visit:
    """The newest version of a visit, under its newest pseudonyms."""

    row: Row
    diagnoses: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)

    @property
    def patient(self) -> str:
        return str(self.row["patient"])

    @property
    def started(self) -> date | None:
        """The day, when it is known."""
        return _day(self.row["start"])

    def has(self, codes: Sequence[str]) -> bool:
        """Whether it was for one of the diseases."""
        plain = [plain_code(code) for code in codes]
        return any(one["system"] in ICD_10 and any(one["plain"].startswith(code) for code in plain) for one in self.diagnoses)


@dataclass
class Archive:
    """All visits of some stores once, and what did not count."""

    visits: list[Visit]
    superseded: int
    duplicates: int

    @property
    def undated(self) -> int:
        return sum(one.started is None for one in self.visits)

    def between(self, first: date, last: date) -> list[Visit]:
        """The visits that began then, both days included."""
        return [one for one in self.visits if one.started is not None and first <= one.started <= last]


def read(*directories: Path) -> Archive:
    """The visits of stores: their row tables and their lists of replaced pseudonyms."""
    renamed: dict[tuple[str, str], str] = {}
    for directory in directories:
        for path in (directory / "aliases").glob("*.csv"):
            for kind, old, new in list(csv.reader(path.read_text().splitlines()))[1:]:
                renamed[kind, old] = new

    def newest(kind: str, name: str) -> str:
        while (kind, name) in renamed:
            name = renamed[kind, name]
        return name

    def rows(table: str) -> Iterable[Row]:
        for directory in directories:
            for path in sorted((directory / "rows" / table).glob("*/*/*.parquet")):
                yield from parquet.ParquetFile(path).read().to_pylist()

    versions: dict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
    stored = 0
    for row in rows("visits"):
        stored += 1
        row["mdc_visit"], row["patient"] = newest("visit", row["mdc_visit"]), newest("patient", row["patient"])
        versions[row["mdc_visit"]][row["received"], row["message_id"]] = row
    documents = sum(map(len, versions.values()))
    visits = {}
    for some in versions.values():
        row = some[max(some)]
        visits[row["message_id"]] = Visit(row)
    for table in ("diagnoses", "results"):
        items: dict[tuple[str, int], Row] = {(row["message_id"], row["number"]): row for row in rows(table)}
        for message, number in sorted(items):
            if message in visits:
                getattr(visits[message], table).append(items[message, number])
    return Archive(list(visits.values()), documents - len(visits), stored - documents)


def in_icd_9(visits: Sequence[Visit]) -> int:
    """How many visits have diagnoses of ICD-9."""
    return sum(any(one["system"] == ICD_9 for one in visit.diagnoses) for visit in visits)


@dataclass
class Ages:
    """Patients below the first edge, between edges, and from the last one up; and those whose age is not known."""

    counts: list[int]
    unknown: int

    @property
    def total(self) -> int:
        return sum(self.counts) + self.unknown


def ages(visits: Sequence[Visit], edges: Sequence[float]) -> Ages:
    """Of the visits of a period: patients by their age at their first one."""
    counts, unknown = [0] * (len(edges) + 1), 0
    for age in _first(visits, lambda one: (one["age"] is None, one["age"] or 0.0), lambda one: one["age"]):
        if age is None:
            unknown += 1
        else:
            counts[sum(age >= edge for edge in edges)] += 1
    return Ages(counts, unknown)


def sexes(visits: Sequence[Visit]) -> dict[str, int]:
    """Of the visits of a period: patients by their sex at their first one; an empty text where nothing is said, OTHER_SEX for codes of no
    standard."""
    order = [*SEXES, "", OTHER_SEX]

    def sex(row: Row) -> str:
        return row["sex"] if row["sex"] in order else OTHER_SEX

    return dict(Counter(_first(visits, lambda one: order.index(sex(one)), sex)))


def parts_of(first: date, last: date, periods: int | str) -> list[tuple[date, date]]:
    """The sub-periods, first and last day of each: so many of about the same length, or calendar months, quarters or years."""
    days = (last - first).days + 1
    if isinstance(periods, int):
        begins = [first + timedelta(days=number * days // periods) for number in range(periods)]
    else:
        months = {"month": 1, "quarter": 3, "year": 12}[periods]
        every = [first + timedelta(days=number) for number in range(days)]
        begins = [one for one in every if one == first or (one.day == 1 and (one.month - 1) % months == 0)]
    return [(begin, after - timedelta(days=1)) for begin, after in zip(begins, [*begins[1:], last + timedelta(days=1)], strict=True)]


@dataclass
class Cases:
    """Visits or patients in each sub-period, and in all of them."""

    counts: list[int]
    total: int


def cases(visits: Sequence[Visit], codes: Sequence[str], parts: Sequence[tuple[date, date]], count: str) -> Cases:
    """Of the visits of a period: those for one of the diseases, in sub-periods."""

    def number(some: Sequence[Visit]) -> int:
        return len(some) if count == "visits" else len({one.patient for one in some})

    found = [one for one in visits if one.has(codes)]
    return Cases([number([one for one in found if begin <= _known(one) <= end]) for begin, end in parts], number(found))


@dataclass
class Abnormal:
    """Results that are not normal, of those that could be decided, by the rule that decided: interpretation, range or printed."""

    abnormal: Counter[str]
    normal: Counter[str]
    undecided: int


def abnormal(visits: Sequence[Visit], codes: Sequence[str], trust: str) -> Abnormal:
    """Of the visits of a period for one of the diseases: laboratory results that are not normal."""
    found = Abnormal(Counter(), Counter(), 0)
    for visit in visits:
        for result in visit.results if visit.has(codes) else ():
            rule, is_abnormal = judge(result, trust)
            if is_abnormal is None:
                found.undecided += 1
            else:
                (found.abnormal if is_abnormal else found.normal)[rule] += 1
    return found


def judge(result: Row, trust: str) -> tuple[str, bool | None]:
    """Which rule decides, and whether the result is abnormal; None when none does."""
    said = _by_interpretation(result)
    answers = {"interpretation": said, "range": _by_range(result), "printed": _by_printed(result)}
    order = {
        "interpretation": ("interpretation", "range", "printed"),
        "range": ("range", "printed", "interpretation"),
        "either": ("interpretation", "range", "printed") if said else ("range", "printed", "interpretation"),
    }[trust]
    for rule in order:
        if answers[rule] is not None:
            return rule, answers[rule]
    return "undecided", None


def _by_interpretation(result: Row) -> bool | None:
    return result["interpretation"] in ABNORMAL if result["interpretation"] else None


def _by_range(result: Row) -> bool | None:
    return _outside(result["value"], result["low"], result["high"], result["low_inclusive"], result["high_inclusive"])


def _by_printed(result: Row) -> bool | None:
    low, high, low_inclusive, high_inclusive, unit = parse_printed(result["printed"])
    return _outside(result["value"], low, high, low_inclusive, high_inclusive) if same_unit(unit, result["unit"]) else None


def _outside(value: float | None, low: float | None, high: float | None, low_inclusive: bool, high_inclusive: bool) -> bool | None:
    if value is None or (low is None and high is None):
        return None
    if low is not None and (value < low or (value == low and not low_inclusive)):
        return True
    return high is not None and (value > high or (value == high and not high_inclusive))


@dataclass
class Stay:
    """Closed visits, their lengths in days; visits that are still open, and those that ended before they began."""

    closed: int
    still_open: int
    negative: int
    mean: float | None
    deviation: float | None
    median: float | None


def stay(visits: Sequence[Visit], codes: Sequence[str]) -> Stay:
    """Of the visits of a period for one of the diseases: how long they were."""
    lengths, still_open, negative = [], 0, 0
    for visit in visits:
        if visit.has(codes):
            seconds = length(visit.row["start"], visit.row["end"])
            if seconds is None:
                still_open += 1
            elif seconds < 0:
                negative += 1
            else:
                lengths.append(seconds)
    if not lengths:
        return Stay(0, still_open, negative, None, None, None)
    mean, median = statistics.fmean(lengths), statistics.median(lengths)
    deviation = statistics.stdev(lengths) / DAY if len(lengths) > 1 else None
    return Stay(len(lengths), still_open, negative, mean / DAY, deviation, median / DAY)


def length(start: str, end: str) -> int | None:
    """Seconds from start to end; None when one is not known to the day."""
    first, last = _day(start), _day(end)
    if first is None or last is None:
        return None
    began, ended = _moment(start), _moment(end)
    if began is None or ended is None:
        return (last - first).days * DAY
    seconds = int((ended - began).total_seconds())
    ahead, behind = _offset(end), _offset(start)
    return seconds if ahead is None or behind is None else seconds - ahead + behind


def _first(visits: Sequence[Visit], tie: Callable[[Row], Any], value: Callable[[Row], Any]) -> list[Any]:
    """A value of each patient's first visit."""
    patients: dict[str, list[Row]] = defaultdict(list)
    for visit in visits:
        patients[visit.patient].append(visit.row)
    return [value(min(rows, key=lambda one: (_digits(one["start"])[:14].ljust(14, "0"), tie(one)))) for rows in patients.values()]


def _known(visit: Visit) -> date:
    day = visit.started
    assert day is not None
    return day


def _digits(time: str) -> str:
    return re.match(r"[0-9]*", time)[0]  # type: ignore[index]


def _day(time: str) -> date | None:
    try:
        return datetime.strptime(_digits(time)[:8], "%Y%m%d").date() if len(_digits(time)) >= 8 else None
    except ValueError:
        return None


def _moment(time: str) -> datetime | None:
    """To the second, minutes and seconds that are not written being 0; None where the hour is not known or there is no such time."""
    digits = _digits(time)[:14]
    try:
        return datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S") if len(digits) >= 10 else None
    except ValueError:
        return None


def _offset(time: str) -> int | None:
    """Seconds that a clock is ahead of UTC; HL7 writes one to four digits."""
    found = re.search(r"([+-])([0-9]{1,2}?)([0-9]{2})?$", time)
    return (1 if found[1] == "+" else -1) * (int(found[2]) * 60 + int(found[3] or 0)) * 60 if found else None
