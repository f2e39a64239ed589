"""The row tables of a data centre's store, filled with synthetic visits as several hospitals would send them over the years.

Everything is drawn by hashing the number of visit, version and item: the same seed gives the same bytes, and what a visit says does
not depend on how many packs there are. Nothing is parsed and no documents are kept, unless a directory for them is named: then the same
visits are also written as CDA documents, a file each. As a program it fills a store:

    python tests/analyses/generate.py build/visits --visits 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.analyses import catalogue  # noqa: E402
from tests.analyses.dice import (  # noqa: E402
    BASE_32,
    Numbers,
    Plan,
    characters,
    chosen,
    fixed,
    message_ids,
    moments,
    names,
    names_of,
    pseudonyms,
    times,
)  # fmt: skip
from tests.analyses.store import write_list, write_rows  # noqa: E402
from tests.visits.generate import LOINC  # noqa: E402
from toolkit.datacentre.cda import plain_code  # noqa: E402
from toolkit.datacentre.packs import month_of, row_schema  # noqa: E402

DAY = 86_400
# Shares of the patients, and how many years old they are in the middle of the time.
AGES = (
    (0.0, 0.0), (0.06, 0.1), (0.09, 1.0), (0.14, 7.0), (0.17, 18.0), (0.42, 45.0), (0.62, 63.0), (0.88, 80.0), (0.99, 93.0), (1.0, 103.0),
)  # fmt: skip
SEXES = ("F", "M", "UN", "UNK", "NI", "ASKU", "")


@dataclass(frozen=True)
class Generated:
    """A store: visits that differ, documents with corrections, rows of documents with those that are in two packs, bytes."""

    visits: int
    documents: int
    stored: int
    size: int


def generate(directory: Path, visits: int = 1_000_000, seed: int = 1, packs: int = 0, first: int = 2023, years: int = 3,
             renamed: float = 0.0, documents: Path | None = None) -> Generated:  # fmt: skip
    """Fill `directory`, a new store. `packs`: as many as a packer would make, by default. `documents`: also a file for each document there,
    as the row tables say it."""
    plan = Plan(visits, seed, packs or max(1, -(-visits // 10_000)), first, years, renamed, documents is None)
    patient, begin, length, is_open = _visits(plan)
    visit, version, received, order = _documents(plan, begin, length, is_open)
    size = stored = written = 0
    shares = np.array_split(order, plan.packs)
    twice = [here[plan.share("twice", visit[here], version[here]) < 0.005] for here in shares]
    for number, own in enumerate(shares):
        here = np.concatenate([own, twice[number - 1]]) if plan.packs > 1 else own  # received again, by another gateway
        v, k = visit[here], version[here]
        tables = _tables(plan, v, k, received[here], patient[v], begin[v], length[v], is_open[v])
        size, stored = size + _write_pack(directory, plan, number, tables), stored + len(here)
        if documents is not None:
            written += _write_documents(documents, written, tables)
    if renamed:
        _write_lists(directory, plan, patient)
    return Generated(visits, len(visit), stored, size)


def _visits(plan: Plan) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Of each visit the patient's number, start and length in seconds, and whether it is still open."""
    v = np.arange(plan.visits)
    people = max(1, plan.visits * 48 // 100)
    patient = (people * plan.share("patient", v) ** 1.5).astype(np.int64)
    first = np.datetime64(f"{plan.first}-01-01").astype("datetime64[D]").astype(np.int64)
    days = np.datetime64(f"{plan.first + plan.years}-01-01").astype("datetime64[D]").astype(np.int64) - first
    day = np.arange(days)
    week, year = (day + first + 3) % 7, np.abs(day % 365 - 182.5) / 91.25 - 1  # Monday is 0; 1 in the middle of winter, -1 in summer
    reach = np.cumsum(np.where(week < 5, 1.0, 0.55) * (1 + 0.15 * year))
    reach /= reach[-1]
    hour = np.interp(plan.share("hour", v), (0, 0.1, 0.65, 0.9, 1), (0, 7, 13, 19, 24))
    begin = (np.searchsorted(reach, plan.share("day", v), side="right").clip(0, days - 1) + first) * DAY + (hour * 3600).astype(np.int64)
    kind = plan.share("length", v)
    stay = np.exp2(plan.normal("stay", v) * 1.4 + 1.6) * DAY
    length = np.where(kind < 0.25, plan.share("short", v) * 10 * 3600 + 600, stay).astype(np.int64)
    length = np.where(kind > 0.995, -length, length)
    return patient, begin, length, plan.share("open", v) < 0.02


def _documents(plan: Plan, begin: Numbers, length: Numbers, is_open: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Of each document the visit, its version and when it was received (microseconds); and the order in which packs hold them."""
    v = np.arange(plan.visits)
    ended = np.where(is_open, begin + 10 * DAY, np.maximum(begin, begin + length))
    received = (ended + 3600 + plan.share("sent", v) ** 4 * 20 * DAY) * 1e6
    visits, versions, times = [v], [np.zeros(plan.visits, np.int64)], [received.astype(np.int64)]
    for number, share in ((1, 0.03), (2, 0.15)):
        these = np.flatnonzero(plan.share("corrected", visits[-1], number) < share)
        later = (3600 + plan.share("later", visits[-1][these], number) ** 3 * 60 * DAY) * 1e6
        if plan.ties:
            later = np.where(plan.share("tie", visits[-1][these], number) < 0.02, 0, later)
        times.append(times[-1][these] + later.astype(np.int64))
        visits.append(visits[-1][these])
        versions.append(np.full(len(these), number))
    visit, version, time = np.concatenate(visits), np.concatenate(versions), np.concatenate(times)
    return visit, version, time, np.argsort(time, kind="stable")


def _tables(plan: Plan, v: Numbers, k: Numbers, received: Numbers, patient: Numbers, begin: Numbers, length: Numbers,
            is_open: Numbers) -> dict[str, pyarrow.Table]:  # fmt: skip
    """The four tables of documents: versions `k` of the visits `v`."""
    change = np.where(k > 0, plan.dice("change", v, k) % np.uint64(7), 99).astype(np.int64)
    people = max(1, plan.visits * 48 // 100)
    patient = np.where(change == 0, (patient + 1 + (plan.dice("other patient", v) % np.uint64(people)).astype(np.int64)) % people, patient)
    begin = begin + np.where(change == 2, (plan.share("moved", v, k) * 80 - 40).astype(np.int64) * DAY, 0)
    is_open = is_open & (change != 3)
    length = np.where(change == 3, np.abs(length) * 3 // 2, length)
    written = np.where(change == 6, k, 0)
    form = np.searchsorted((0.4, 0.7, 0.9, 0.965, 0.98, 0.985, 0.992, 0.994), plan.share("precision", v, written), side="right")
    start = times(plan, v, begin, form)
    same = plan.share("same precision", v) < 0.7
    end = times(plan, v, begin + length, np.where(same, form, np.searchsorted((0.4, 0.7, 0.95), plan.share("end", v), side="right")))
    end = compute.if_else(pyarrow.array(is_open), "", end)
    years = _years(plan, v, np.where(change == 4, k, 0), patient, begin)
    sex = _sexes(plan, v, np.where(change == 4, k, 0), patient)
    head = [message_ids(plan, v, k), moments(received), pseudonyms(plan, "visit", v, k), pseudonyms(plan, "patient", patient, v), start]
    towns = chosen(catalogue.TOWNS, (plan.share("town", patient) ** 2 * len(catalogue.TOWNS)).astype(np.int64))
    kinds = chosen(catalogue.KINDS, (plan.share("kind", v) ** 3 * len(catalogue.KINDS)).astype(np.int64))
    is_known = pyarrow.array(plan.share("no age", v, written) >= 0.015)
    ages = compute.if_else(is_known, pyarrow.array(years), pyarrow.scalar(None, pyarrow.float64()))
    columns = [*head, end, chosen(SEXES, sex), ages, towns, kinds, _accessions(plan, v)]
    made = {
        "visits": columns,
        "diagnoses": _diagnoses(plan, v, change == 1, years, sex, head),
        "procedures": _procedures(plan, v, head),
        "results": _results(plan, v, np.where(change == 5, k, 0), head),
    }
    return {name: pyarrow.Table.from_arrays(one, schema=row_schema(name)) for name, one in made.items()}


def _years(plan: Plan, v: Numbers, written: Numbers, patient: Numbers, begin: Numbers) -> Numbers:
    """Ages at the visits: whole years, of infants months or days as a fraction."""
    middle = np.datetime64(f"{plan.first}-01-01").astype("datetime64[s]").astype(np.int64) + plan.years * 183 * DAY
    share, years = zip(*AGES, strict=True)
    age = np.interp(plan.share("born", patient), share, years) + (begin - middle) / (365.25 * DAY)
    age = np.clip(age + np.where(written > 0, 1, 0), 0, None)
    months = np.floor(age * 12) / 12
    young = np.where(plan.share("in days", v) < 0.3, np.floor(age * 365.25) / 365.25, months)
    return np.where(age < 2, np.where(plan.share("in years", v) < 0.2, np.floor(age), young), np.floor(age))


def _sexes(plan: Plan, v: Numbers, written: Numbers, patient: Numbers) -> Numbers:
    """The numbers of the sexes, which hospitals sometimes mistake."""
    sex = np.searchsorted((0.515, 0.992, 0.994, 0.997, 0.998, 0.999), plan.share("sex", patient), side="right")
    mistaken = (plan.share("mistaken sex", v) < 0.002) ^ (written > 0)
    return np.where(mistaken & (sex < 2), 1 - sex, sex)


def _items(plan: Plan, v: Numbers, name: str, reach: tuple[float, ...], head: list[pyarrow.Array],
           fewer: Numbers | int = 0) -> tuple[Numbers, Numbers, Numbers, list[Any]]:  # fmt: skip
    """Of each item its document's position here, its visit and its number among what the visit's first version held (some versions lack
    the first `fewer`); and the columns that all tables begin with."""
    count = np.maximum(np.searchsorted(reach, plan.share(f"{name} count", v), side="right") - fewer, 0)
    of = np.repeat(np.arange(len(v)), count)
    number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    shifted = number + (fewer[of] if isinstance(fewer, np.ndarray) else fewer)
    at = pyarrow.array(of)
    return of, v[of], shifted, [*(column.take(at) for column in head), pyarrow.array(number, pyarrow.int32())]


def _diagnoses(plan: Plan, v: Numbers, fewer: Numbers, years: Numbers, sex: Numbers, head: list[pyarrow.Array]) -> list[Any]:
    of, visit, number, columns = _items(plan, v, "diagnoses", (0.01, 0.41, 0.69, 0.85, 0.94), head, fewer.astype(np.int64))
    scheme = np.searchsorted((0.86, 0.95, 0.98), plan.share("scheme", visit), side="right")  # WHO, CM, ICD-9 only, or both
    scheme = np.where(scheme == 3, np.where(number % 2 == 0, 0, 2), scheme)
    lists = (catalogue.WHO, catalogue.CM, catalogue.ICD_9)
    first = np.cumsum([0, *map(len, lists)])
    which = plan.share("code", visit, number) ** 2.2
    code = np.select([scheme == 0, scheme == 1], [(which * first[1]).astype(np.int64), first[1] + (which * len(lists[1])).astype(np.int64)],
                     first[2] + (which * len(lists[2])).astype(np.int64))  # fmt: skip
    written = [one for codes in lists for one in codes]
    births, newborn = (np.array([one.startswith(start) for one in written]) for start in ("O", "Z38"))
    age, woman = years[of], sex[of] == 0
    wrong = (births[code] & ~(woman & (age >= 15) & (age < 50))) | (newborn[code] & (age > 0.1))
    code = np.where(wrong, np.where(scheme == 0, 0, first[1] + 1), code)  # hypertension
    signs = [one for pair in catalogue.WITH_SIGNS for one in pair]
    pair = (plan.dice("signs", visit) % np.uint64(len(catalogue.WITH_SIGNS))).astype(np.int64)
    signed = (scheme == 0) & (number < 2) & (plan.share("signed", visit) < 0.02)
    code = np.where(signed, len(written) + 2 * pair + number, code)
    codes = written + signs
    texts = codes + [one.replace(".", "") for one in codes] + [one.lower() for one in codes]
    shape = np.searchsorted((0.85, 0.99), plan.share("written", visit), side="right")
    plain = chosen([plain_code(one) for one in codes], code)
    return [*columns, chosen(texts, code + shape * len(codes)), chosen(catalogue.SYSTEMS, scheme), plain]


def _procedures(plan: Plan, v: Numbers, head: list[pyarrow.Array]) -> list[Any]:
    of, visit, number, columns = _items(plan, v, "procedures", (0.35, 0.65, 0.85, 0.95), head)
    known = len(catalogue.PROCEDURES)
    code = (plan.share("procedure", visit, number) ** 1.5 * known).astype(np.int64)
    other = plan.dice("other procedure", visit, number) % np.uint64(100)
    code = np.where(other < len(catalogue.OTHER_PROCEDURES), known + other.astype(np.int64), code)
    codes, systems = zip(*catalogue.PROCEDURES, *catalogue.OTHER_PROCEDURES, strict=True)
    time = compute.if_else(pyarrow.array(plan.share("done", visit, number) < 0.1), "", head[4].take(pyarrow.array(of)))
    return [*columns, chosen(codes, code), chosen(systems, code), time]


def _results(plan: Plan, v: Numbers, again: Numbers, head: list[pyarrow.Array]) -> list[Any]:
    reach = (0.45, 0.5, 0.55, 0.6, 0.66, 0.72, 0.78, 0.84, 0.88, 0.92, 0.95, 0.97, 0.985)
    of, visit, number, columns = _items(plan, v, "results", reach, head)
    key = visit, number, again[of]  # a correction may measure all again
    tests = catalogue.TESTS
    test = (plan.share("test", *key) ** 1.3 * len(tests)).astype(np.int64)
    lows = np.array([np.nan if one.low is None else one.low for one in tests])
    highs = np.array([np.nan if one.high is None else one.high for one in tests])
    places, factors = np.array([one.places for one in tests])[test], np.array([one.factor for one in tests])[test]
    low, high = lows[test], highs[test]
    least, most = np.where(np.isnan(low), 0, low), np.where(np.isnan(high), low * 2, high)
    value = np.clip((least + most) / 2 + (most - least) * 0.42 * plan.normal("value", *key), 0, None)
    value = np.where(plan.share("far off", *key) < 0.03, value * 3, value)
    scale = 10.0**places
    value = np.round(value * scale) / scale
    edge = plan.share("on the edge", *key)
    value = np.where((edge < 0.01) & ~np.isnan(low), low, np.where((edge > 0.99) & ~np.isnan(high), high, value))
    side = np.where(value < least, 1, np.where(value > most, 2, 0))
    judged = plan.share("judged", *key)
    others = len(catalogue.RIGHT) + (plan.dice("judgement", *key) % np.uint64(len(catalogue.OTHER_JUDGEMENTS))).astype(np.int64)
    judgement = np.select([judged < 0.55, judged < 0.7, judged < 0.75], [side, 0, others], -1)
    other_unit = (plan.share("unit", *key) < 0.03) & np.array([one.other != "" for one in tests])[test]
    value, low, high = (np.where(other_unit, np.round(one * factors * 1e4) / 1e4, one) for one in (value, low, high))
    limited, prints = plan.share("limits", *key) < 0.6, plan.share("printed", *key) < 0.5
    printing = np.where(plan.share("how", *key) < 0.6, 0, (plan.dice("printing", *key) % np.uint64(catalogue.PRINTINGS)).astype(np.int64))
    is_text = plan.share("text", *key) < 0.04
    text = (plan.dice("which text", *key) % np.uint64(len(catalogue.TEXTS))).astype(np.int64)
    prints, limited = prints & ~is_text, limited & ~is_text
    units = [one.unit for one in tests] + [one.other for one in tests] + [""]
    unit = np.where(is_text, len(units) - 1, test + other_unit * len(tests))
    judgements = (*catalogue.RIGHT, *catalogue.OTHER_JUDGEMENTS, *catalogue.JUDGED_TEXTS, "")
    meant = np.where(is_text & (judgement >= 0), len(judgements) - 1 - len(catalogue.TEXTS) + text, judgement) % len(judgements)
    inclusive = [np.where(limited & ~np.isnan(one), plan.share(f"{name} in", *key) >= share, True)
                 for name, one, share in (("low", low, 0.04), ("high", high, 0.08))]  # fmt: skip
    ranges = [one for test_ in tests for one in catalogue.printed(test_)] + [""]
    printed = np.where(prints, test * catalogue.PRINTINGS + printing, len(ranges) - 1)
    time = head[4].take(pyarrow.array(of))
    names = chosen([one.code for one in tests], test), chosen([LOINC], np.zeros_like(test))
    numbers = [pyarrow.array(one, mask=gone) for one, gone in
               ((value, is_text), (low, ~limited | np.isnan(low)), (high, ~limited | np.isnan(high)))]  # fmt: skip
    texts = chosen((*catalogue.TEXTS, ""), np.where(is_text, text, len(catalogue.TEXTS)))
    flags = [pyarrow.array(one) for one in inclusive]
    return [*columns, *names, time, numbers[0], chosen(units, unit), texts, *numbers[1:], *flags, chosen(judgements, meant),
            chosen(ranges, printed)]  # fmt: skip


def _accessions(plan: Plan, v: Numbers) -> pyarrow.Array:
    share = plan.share("images", v)
    count = np.where(share < 0.03, 2, np.where(share < 0.18, 1, 0))
    of = np.repeat(v, count)
    ends = np.cumsum(count)
    tokens = characters(plan, "accession", BASE_32, 5, 16, of, np.arange(len(of)) - np.repeat(ends - count, count))
    return pyarrow.ListArray.from_arrays(pyarrow.array(np.concatenate([[0], ends]), pyarrow.int32()), fixed(tokens))


def _write_pack(directory: Path, plan: Plan, number: int, tables: dict[str, pyarrow.Table]) -> int:
    """Write a pack's row tables by month, then its list; their bytes."""
    newest = compute.max(tables["visits"]["received"]).as_py() or f"{plan.first}-01-01T00:00:00.000000Z"
    name = newest[:19].replace("-", "").replace(":", "") + f"Z-{zlib.crc32(f'{plan.seed} {number}'.encode()):08x}{number:08x}"

    def by_month() -> Iterator[tuple[str, pyarrow.Table]]:
        for table, rows in tables.items():
            starts = rows["start"].combine_chunks().dictionary_encode()
            months = [month_of(start) for start in starts.dictionary.to_pylist()]
            known = {month: at for at, month in enumerate(sorted(set(months)))}
            of = np.array([known[one] for one in months], np.int64)[starts.indices.to_numpy()]
            for month, at in known.items():
                yield f"{table}/{month}", rows.take(pyarrow.array(np.flatnonzero(of == at)))

    return write_rows(directory, name, tables["visits"].num_rows, by_month())


def _write_lists(directory: Path, plan: Plan, patient: Numbers) -> None:
    """Two lists of new pseudonyms, of which the second goes on from the first."""
    for name in (0, 1):
        lines: list[tuple[str, str, str]] = []
        for kind, numbers in (("visit", np.arange(plan.visits)), ("patient", np.unique(patient))):
            these = numbers[names(plan, kind, numbers) > name + 1]
            old, new = (fixed(names_of(plan, kind, these, np.full(len(these), one))).to_pylist() for one in (name, name + 1))
            lines.extend((kind, *both) for both in zip(old, new, strict=True))
        write_list(directory, lines)


def _write_documents(directory: Path, first: int, tables: dict[str, pyarrow.Table]) -> int:
    from tests.analyses.documents import document

    directory.mkdir(parents=True, exist_ok=True)
    number = 0
    for number, (row, items) in enumerate(visits_of(tables), 1):
        (directory / f"{first + number:07d}-{row['message_id']}.xml").write_bytes(document(row, *items))
    return number


def visits_of(tables: dict[str, pyarrow.Table]) -> Iterator[tuple[dict[str, Any], list[list[dict[str, Any]]]]]:
    """Each document's row of the visit, and its rows of the other tables."""
    children: list[dict[str, dict[int, dict[str, Any]]]] = []
    for name in ("diagnoses", "procedures", "results"):
        children.append({})
        for row in tables[name].to_pylist():
            children[-1].setdefault(row["message_id"], {})[row["number"]] = row
    for row in tables["visits"].to_pylist():
        yield row, [list(one.get(row["message_id"], {}).values()) for one in children]


def main() -> None:
    """Fill a store."""
    parser = argparse.ArgumentParser(description="Write the row tables of synthetic visits.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--visits", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--packs", type=int, default=0, help="[one for 10,000 documents]")
    parser.add_argument("--renamed", type=float, default=0.0, help="share of visits and patients with new pseudonyms [0]")
    parser.add_argument("--documents", type=Path, help="write the CDA documents too, here")
    choice = parser.parse_args()
    made = generate(choice.directory, choice.visits, choice.seed, choice.packs, renamed=choice.renamed, documents=choice.documents)
    print(f"{made.visits} visits, {made.documents} documents, {made.size / 1e6:.0f} MB in {choice.directory}", file=sys.stderr)


if __name__ == "__main__":
    main()
