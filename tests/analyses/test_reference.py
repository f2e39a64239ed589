"""The plain analyses on sixteen documents; what is expected was worked out by hand from the documents as written below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from tests.analyses.reference import (
    TRUSTS,
    Archive,
    Cases,
    abnormal,
    ages,
    cases,
    in_icd_9,
    judge,
    length,
    parts_of,
    read,
    sexes,
    stay,
)  # fmt: skip
from tests.analyses.store import write_list, write_rows
from toolkit.datacentre.cda import Diagnosis, Result, VisitRow, VisitRows, plain_code
from toolkit.datacentre.packs import RowTables

WHO, CM, ICD_9 = "2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.103"
FIRST, LAST = date(2026, 1, 1), date(2026, 3, 31)  # 90 days


def visit(message: str, name: str, patient: str, start: str, end: str, sex: str, age: float | None, *codes: str,
          received: str = "2026-05-01", results: tuple[Result, ...] = ()) -> VisitRows:  # fmt: skip
    """A document; a code is of the WHO's ICD-10 unless CM: or 9: stands before it."""
    systems = {"CM": CM, "9": ICD_9, "": WHO}
    written = [(one.rpartition(":")[2], systems[one.rpartition(":")[0]]) for one in codes]
    diagnoses = tuple(Diagnosis(code, system, plain_code(code)) for code, system in written)
    return VisitRows(VisitRow(name, patient, sex, age, "", start, end, "", ()), diagnoses, (), results, message, received)


def result(value: float | None, interpretation: str = "", low: float | None = None, high: float | None = None, printed: str = "",
           unit: str = "g/dl", includes: bool = True) -> Result:  # fmt: skip
    return Result("718-7", "", "", value, unit, "", low, high, includes, includes, interpretation, printed)


FIRST_PACK = (
    # Patient a: two visits in the period; the first one, at the age of 17, is the one with the earlier hour, though its day is the same.
    visit("m01", "v01", "a", "202601010800", "202601012000", "F", 17, "I50.9", results=(result(10, "N", 12, 16), result(13, "H", 12, 16))),
    visit("m02", "v02", "a", "20260101093000+0100", "20260104093000+0100", "M", 18, "J18.9", "I50.0"),
    # Patient b: born in the period; dagger, no dot; printed ranges only.
    visit("m03", "v03", "b", "20260131", "20260203", "M", 0.0, "e114†", "CM:I509", results=(result(11, "", printed="12,0 - 16,0"),)),
    # Patient c: the first version says March and heart failure, a later one in another pack February and no such code.
    visit("m04", "v04", "c", "20260331", "20260401", "F", 65, "I50.9"),
    # Patient d: before the period, on its last day, and after it.
    visit("m05", "v05", "d", "20251231", "20260102", "UN", 40, "I50.9"),
    visit("m06", "v06", "d", "20260331235959-0500", "", "UNK", 41, "I50"),
    visit("m07", "v07", "d", "20260401", "20260402", "UN", 41, "I50.9"),
    # Patient e: ICD-9 codes that look like ICD-10's; the age is not known; it ends before it begins.
    visit("m08", "v08", "e", "202602101000", "202602100900", "", None, "9:428.0", "9:I50.9"),
)
SECOND_PACK = (
    visit("m09", "v04", "c", "20260215", "20260216", "F", 66, "I11.0", received="2026-05-02"),
    # The same message again.
    visit("m03", "v03", "b", "20260131", "20260203", "M", 0.0, "e114†", "CM:I509", results=(result(11, "", printed="12,0 - 16,0"),)),
    # Patient f was f1, then f2 (two lists); ties: two visits at one time, known ages before unknown, F before M.
    visit("m10", "v10", "f1", "20260301", "20260302", "M", None, "I50.9"),
    visit("m11", "v11", "f2", "20260301000000", "20260302", "F", 30, "X60"),
    visit("m12", "v12", "f", "20260310", "20260307", "F", 31, "I50.9"),
    # Not known to the day, and no day at all.
    visit("m13", "v13", "g", "202602", "202602", "F", 50, "I50.9"),
    visit("m14", "v14", "g", "20260230", "20260301", "F", 50, "I50.9"),
    # Visit v16 was v15; both were received at the same moment: the greater message id counts.
    visit("m15", "v16", "h", "20260120", "20260121", "M", 90, "I50.9"),
    visit("m16", "v15", "h", "20260121", "202601250600", "M", 91, "I50.9"),
)


def store(directory: Path, *packs: Sequence[VisitRows]) -> None:
    """Write packs of documents, and two lists of pseudonyms of which one goes on from the other."""
    for number, documents in enumerate(packs):
        tables = RowTables()
        for one in documents:
            tables.add(one)
        write_rows(directory, f"pack{number}", len(documents), tables.tables())
    write_list(directory, [("patient", "f1", "f2"), ("visit", "v15", "v16")])
    write_list(directory, [("patient", "f2", "f")])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    directory = tmp_path_factory.mktemp("store")
    store(directory, FIRST_PACK, SECOND_PACK)
    return read(directory)


def test_counts_the_newest_version_of_a_visit_once(archive: Archive) -> None:
    assert len(archive.visits) == 14
    assert (archive.superseded, archive.duplicates, archive.undated) == (2, 1, 2)
    found = {one.row["message_id"] for one in archive.between(FIRST, LAST)}
    assert found == {"m01", "m02", "m03", "m06", "m08", "m09", "m10", "m11", "m12", "m16"}
    assert in_icd_9(archive.between(FIRST, LAST)) == 1


def test_ages_at_the_first_visit(archive: Archive) -> None:
    found = ages(archive.between(FIRST, LAST), [1, 18, 66])
    # b 0; a 17; d 41 and f 30; c 66 and h 91; e unknown
    assert (found.counts, found.unknown, found.total) == ([1, 1, 2, 2], 1, 7)
    assert ages(archive.between(FIRST, LAST), [0]).counts == [0, 6]


def test_sexes_at_the_first_visit(archive: Archive) -> None:
    assert sexes(archive.between(FIRST, LAST)) == {"F": 3, "M": 2, "UNK": 1, "": 1}


def test_cases_by_part_and_in_all(archive: Archive) -> None:
    visits, parts = archive.between(FIRST, LAST), parts_of(FIRST, LAST, "month")
    # January a two times, b (CM's code), h; March d, f two times
    assert cases(visits, ["I50"], parts, "visits") == Cases([4, 0, 3], 7)
    assert cases(visits, ["I50"], parts, "patients") == Cases([3, 0, 2], 5)
    assert cases(visits, ["I50.9"], parts, "visits") == Cases([3, 0, 2], 5)
    assert cases(visits, ["i11", "E11.4*"], parts, "patients") == Cases([1, 1, 0], 2)
    assert cases(visits, ["428"], parts, "visits") == Cases([0, 0, 0], 0)
    assert cases(visits, ["I50"], parts_of(FIRST, LAST, 1), "patients") == Cases([5], 5)


def test_parts_of_a_period() -> None:
    assert parts_of(date(2026, 1, 1), date(2026, 1, 10), 3) == [
        (date(2026, 1, 1), date(2026, 1, 3)), (date(2026, 1, 4), date(2026, 1, 6)), (date(2026, 1, 7), date(2026, 1, 10)),
    ]  # fmt: skip
    assert parts_of(date(2026, 2, 10), date(2026, 7, 1), "quarter") == [
        (date(2026, 2, 10), date(2026, 3, 31)), (date(2026, 4, 1), date(2026, 6, 30)), (date(2026, 7, 1), date(2026, 7, 1)),
    ]  # fmt: skip
    assert parts_of(date(2025, 12, 31), date(2026, 1, 1), "year") == [
        (date(2025, 12, 31), date(2025, 12, 31)), (date(2026, 1, 1), date(2026, 1, 1)),
    ]  # fmt: skip


def test_abnormal_results_by_trust(archive: Archive) -> None:
    visits = archive.between(FIRST, LAST)
    found = {trust: abnormal(visits, ["I50"], trust) for trust in TRUSTS}
    said = "interpretation"
    # 10 said normal, below 12 to 16; 13 said high, within; 11 outside what is printed
    assert (found["interpretation"].abnormal, found["interpretation"].normal) == (
        {"interpretation": 1, "printed": 1},
        {"interpretation": 1},
    )
    assert (found["range"].abnormal, found["range"].normal) == ({"range": 1, "printed": 1}, {"range": 1})
    assert (found["either"].abnormal, found["either"].normal) == ({said: 1, "range": 1, "printed": 1}, {})
    assert not any(one.undecided for one in found.values())


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (result(16, low=12, high=16), ("range", False)),
        (result(16, low=12, high=16, includes=False), ("range", True)),
        (result(12, low=12, includes=False), ("range", True)),
        (result(11.9, low=12), ("range", True)),
        (result(99, low=12), ("range", False)),
        (result(5, printed="< 5"), ("printed", True)),
        (result(5, printed="<= 5,0 g/dL"), ("printed", False)),
        (result(5, printed="do 5 (g/l)"), ("undecided", None)),
        (result(13, printed="12,0 - 16,0 g/dl; 12-16"), ("printed", False)),
        (result(13, printed="12 - 16; 13 - 17"), ("undecided", None)),
        (result(13, printed="K: 12 - 16"), ("undecided", None)),
        (result(13, printed="14 do 16", unit=""), ("printed", True)),
        (result(5, printed="4,0 - 10,0 10*3/ul", unit="10*3/ul"), ("printed", False)),
        (result(13, printed="14 - 16 g/dl", unit=""), ("printed", True)),
        (result(None, low=12, high=16), ("undecided", None)),
        (result(None, "A", low=12, high=16), ("interpretation", True)),
        (result(None, "POS", low=12, high=16), ("interpretation", False)),
        (result(1, "LL", low=0, high=16), ("range", False)),
    ],
)
def test_what_decides_about_a_result(one: Result, expected: tuple[str, bool | None]) -> None:
    assert judge(one._asdict(), "range") == expected


def test_length_of_stay(archive: Archive) -> None:
    found = stay(archive.between(FIRST, LAST), ["I50"])
    # v01 half a day, v02 3 days, v03 3 days, v10 1 day, v16 4 days (no hour at its start); v06 open; v12 ends before it begins
    assert (found.closed, found.still_open, found.negative) == (5, 1, 1)
    assert found.mean == pytest.approx(11.5 / 5)
    assert found.median == 3
    assert found.deviation == pytest.approx(((1.8**2 + 0.7**2 + 0.7**2 + 1.3**2 + 1.7**2) / 4) ** 0.5)
    assert stay(archive.between(FIRST, LAST), ["Z99"]).mean is None


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("20260101", "20260101", 0),
        ("2026010123", "20260102", 86400),
        ("2026010123", "2026010201", 7200),
        ("20260101230000+0100", "202601022300+0000", 90_000),
        ("20260101230000+0100", "20260102230000", 86_400),
        ("20260101230000.250-0500", "20260101230001-0530", 1801),
        ("20260102", "20260101", -86_400),
        ("202601012300+1", "202601022300+0", 90_000),
        ("202601012300+02", "202601022300+0100", 90_000),
        ("202601012300+100", "202601022300-100", 93_600),
        ("2026010110", "2026010225", 86_400),
        ("20260101106000", "20260101235959", 0),
        ("20260102", "202601", None),
        ("20260102", "20260231", None),
    ],
)
def test_length_in_seconds(start: str, end: str, seconds: int | None) -> None:
    assert length(start, end) == seconds
