"""What mdc-analyse finds is what the plain analyses find, whatever is asked, however the work is split and wherever the rows lie."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analyses import reference
from tests.analyses.generate import generate
from tests.analyses.reference import Archive
from toolkit.core.errors import ToolError
from toolkit.core.mapreduce.running import SPLIT_BYTES
from toolkit.datacentre.analyses.answers import Answer
from toolkit.datacentre.analyses.run import Found, Request, analyse
from toolkit.datacentre.cda import plain_code

VISITS = 2000
CODES = ("I50", "I50.9", "I10", "E11", "E84", "V43", "J18.9", "O80", "G63.2", "S72.001A", "I5099", "A", "Z38", "V30")
DAYS = st.dates(date(2023, 1, 1), date(2025, 12, 31))
EDGES = st.lists(st.sampled_from([0, 0.5, 1, 2, 18, 40.5, 65, 80, 110]), min_size=1, unique=True).map(sorted)
SERIES = st.lists(st.lists(st.sampled_from([one for one in CODES if len(one) > 2]), min_size=1, max_size=3), min_size=1, max_size=3)
PERIODS = st.one_of(st.integers(1, 40), st.sampled_from(["month", "quarter", "year"]))
TRUSTS = st.sampled_from(reference.TRUSTS)
SPLITS = st.integers(1, 4)
COUNTS = st.sampled_from(["visits", "patients"])


class Stores:
    """The same visits in several ways, made when they are asked for; and what the plain analyses know of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.archives: dict[int, Archive] = {}

    def of(self, seed: int, packs: int = 4) -> Path:
        """Some visits in so many packs; many of them under several pseudonyms."""
        place = self.home / f"{seed}-{packs}"
        if not place.exists():
            generate(place, VISITS, seed, packs, renamed=0.2)
        return place

    def archive(self, seed: int) -> Archive:
        if seed not in self.archives:
            self.archives[seed] = reference.read(self.of(seed))
        return self.archives[seed]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    home = tmp_path_factory.mktemp("stores")
    yield Stores(home)
    shutil.rmtree(home)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(1, 3), days=st.tuples(DAYS, DAYS), edges=EDGES, splits=SPLITS)
def test_ages(stores: Stores, seed: int, days: tuple[date, date], edges: list[float], splits: int) -> None:
    hold(stores, "ages", seed, days, {"edges": edges}, splits)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(1, 3), days=st.tuples(DAYS, DAYS), splits=SPLITS)
def test_sexes(stores: Stores, seed: int, days: tuple[date, date], splits: int) -> None:
    hold(stores, "sexes", seed, days, {}, splits)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(1, 3), days=st.tuples(DAYS, DAYS), codes=SERIES, periods=PERIODS, count=COUNTS, splits=SPLITS)
def test_cases(
    stores: Stores, seed: int, days: tuple[date, date], codes: list[list[str]], periods: int | str, count: str, splits: int
) -> None:
    hold(stores, "cases", seed, days, {"icd10": codes, "periods": periods, "count": count}, splits)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(1, 3), days=st.tuples(DAYS, DAYS), codes=SERIES, trust=TRUSTS, splits=SPLITS)
def test_abnormal(stores: Stores, seed: int, days: tuple[date, date], codes: list[list[str]], trust: str, splits: int) -> None:
    hold(stores, "abnormal", seed, days, {"icd10": codes, "trust": trust}, splits)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(1, 3), days=st.tuples(DAYS, DAYS), codes=SERIES, splits=SPLITS)
def test_stay(stores: Stores, seed: int, days: tuple[date, date], codes: list[list[str]], splits: int) -> None:
    hold(stores, "stay", seed, days, {"icd10": codes}, splits)


WHOLE = {"from": 20230201, "to": 20251130}
ASKED: dict[str, tuple[dict[str, Any], int]] = {  # and in how many splits once
    "ages": ({"edges": [0, 1, 18, 65]}, 16),
    "sexes": ({}, 2),
    "cases": ({"icd10": [["I50", "E11"], ["J"]], "periods": "quarter", "count": "patients"}, 7),
    "abnormal": ({"icd10": [["I"], ["E11"]], "trust": "either"}, 5),
    "stay": ({"icd10": [["I"], ["E11"]]}, 9),
}


@pytest.mark.parametrize("question", ASKED)
def test_splits_and_order_change_no_digit(stores: Stores, tmp_path: Path, question: str) -> None:
    """With 1 to 16 packs and splits, and with packs shared out over two stores of which both hold some."""
    parameters, splits = ASKED[question]
    asked, dice = {**WHOLE, **parameters}, random.Random(question)
    first, last = (date.fromisoformat(str(asked[name])) for name in ("from", "to"))
    archive = stores.archive(1)
    expected = ask(question, asked, (stores.of(1, 1),), 1).answer
    assert TOLD[question](expected) == EXPECTED[question](archive.between(first, last), asked)
    halves = share_out(stores.of(1), tmp_path, dice)
    for places, number in (((stores.of(1, 16),), splits), (halves, 1), (halves[::-1], 3)):
        found = ask(question, asked, places, number).answer
        assert (found.rows, found.counts) == (expected.rows, expected.counts), number


def test_documents_say_the_same_as_row_tables(tmp_path: Path) -> None:
    """Read as CDA, in any order of their names, some of them twice."""
    store, documents = tmp_path / "store", tmp_path / "documents"
    generate(store, 400, seed=5, packs=3, documents=documents)
    dice = random.Random(5)
    for path in sorted(documents.iterdir()):
        path.rename(documents / f"{dice.randrange(1 << 60):x}.xml")
    for question, (parameters, _) in ASKED.items():
        ours, theirs = (ask(question, {**WHOLE, **parameters}, (place,), 1) for place in (documents, store))
        assert (ours.answer.rows, ours.answer.counts) == (theirs.answer.rows, theirs.answer.counts)
        assert (ours.superseded, ours.duplicates, ours.documents) == (theirs.superseded, theirs.duplicates, theirs.documents)
    both = ask(question, {**WHOLE, **parameters}, (documents, store), 1)  # the newest version counts, wherever it is
    assert (both.answer.rows, both.answer.counts) == (theirs.answer.rows, theirs.answer.counts)


def hold(stores: Stores, question: str, seed: int, days: tuple[date, date], parameters: dict[str, Any], splits: int) -> None:
    """The product's answer is the reference's."""
    first, last = sorted(days)
    archive = stores.archive(seed)
    visits = archive.between(first, last)
    if "icd10" in parameters:
        parameters["icd10"] = [[plain_code(code) for code in series] for series in parameters["icd10"]]
    asked = {"from": int(f"{first:%Y%m%d}"), "to": int(f"{last:%Y%m%d}"), **parameters}
    found = ask(question, asked, (stores.of(seed),), splits)
    assert TOLD[question](found.answer) == EXPECTED[question](visits, asked)
    assert (found.superseded, found.duplicates) == (archive.superseded, archive.duplicates)
    counts = {name: found.answer.counts[name] for name in ("visits", "in_period", "start_unknown")}
    assert found.answer.counts.get("in_icd9", 0) == (reference.in_icd_9(visits) if "icd10" in parameters else 0)
    assert counts == {"visits": len(archive.visits), "in_period": len(visits), "start_unknown": archive.undated}


def ask(question: str, parameters: Mapping[str, Any], places: tuple[Path, ...], splits: int) -> Found:
    """Ask the product, in about so many splits."""
    size = sum(path.stat().st_size for place in places for path in place.glob("rows/visits/*/*/*"))
    request = Request(question, parameters, tuple(map(str, places)), split_bytes=size // splits or SPLIT_BYTES)
    return analyse(request, _never)


def _never(error: ToolError) -> None:
    raise error


def share_out(store: Path, home: Path, dice: random.Random) -> tuple[Path, Path]:
    """Copy each pack of a store into one of two others, one pack into both; the lists of pseudonyms, one each."""
    halves = home / "one", home / "other"
    packs = sorted(path.stem for path in (store / "packs").iterdir())
    for number, pack in enumerate(packs):
        for half in halves if number == 2 else (halves[number] if number < 2 else dice.choice(halves),):
            for path in (store / "packs" / f"{pack}.json", *store.glob(f"rows/*/*/*/{pack}.parquet")):
                place = half / path.relative_to(store)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
    for half, path in zip(halves, sorted((store / "aliases").iterdir()), strict=True):
        (half / "aliases").mkdir()
        shutil.copy(path, half / "aliases")
    return halves


def _numbers(answer: Answer, *names: str) -> list[tuple[Any, ...]]:
    """The columns of these names, row by row."""
    places = [[column.name for column in answer.columns].index(name) for name in names]
    return [tuple(row[place] for place in places) for row in answer.rows]


def _told_ages(answer: Answer) -> list[Any]:
    numbers = [number for (number,) in _numbers(answer, "patients")]
    return numbers if str(answer.rows[0][0]).startswith("under") else [0, *numbers]  # nobody is younger than 0


def _told_sexes(answer: Answer) -> dict[str, Any]:
    codes = {"nothing said": "", "total": "total", reference.OTHER_SEX: reference.OTHER_SEX}
    found = {codes[word] if word in codes else re.split(r"[()]", word)[1]: number for word, number in _numbers(answer, "sex", "patients")}
    return {code: number for code, number in found.items() if number or code == "total"}


def _told_cases(answer: Answer) -> list[Any]:
    return [row[1:] for row in answer.rows]


def _told_abnormal(answer: Answer) -> list[Any]:
    return _numbers(answer, "results", "judged", "abnormal", "by_interpretation", "by_range", "by_printed_range", "undecided")


def _told_stay(answer: Answer) -> list[Any]:
    rows = _numbers(answer, "visits", "stays", "open", "negative", "mean", "standard_deviation", "median")
    return [(*row[:4], *(one if one is None else pytest.approx(one, rel=1e-12, abs=1e-12) for one in row[4:])) for row in rows]


def _ages(visits: list[reference.Visit], asked: Mapping[str, Any]) -> list[int]:
    found = reference.ages(visits, asked["edges"])
    return [*found.counts, found.unknown, found.total]


def _sexes(visits: list[reference.Visit], asked: Mapping[str, Any]) -> dict[str, int]:
    found = reference.sexes(visits)
    return {**found, "total": sum(found.values())}


def _cases(visits: list[reference.Visit], asked: Mapping[str, Any]) -> list[Any]:
    first, last = (date.fromisoformat(str(asked[name])) for name in ("from", "to"))
    parts = reference.parts_of(first, last, asked["periods"])
    found = [reference.cases(visits, series, parts, asked["count"]) for series in asked["icd10"]]
    rows = [(str(begin), str(end), *(one.counts[number] for one in found)) for number, (begin, end) in enumerate(parts)]
    return [*rows, (str(first), str(last), *(one.total for one in found))]


def _abnormal(visits: list[reference.Visit], asked: Mapping[str, Any]) -> list[Any]:
    rows = []
    for series in asked["icd10"]:
        found = reference.abnormal(visits, series, asked["trust"])
        rules = [found.abnormal[rule] + found.normal[rule] for rule in ("interpretation", "range", "printed")]
        rows.append((sum(rules) + found.undecided, sum(rules), sum(found.abnormal.values()), *rules, found.undecided))
    return rows


def _stay(visits: list[reference.Visit], asked: Mapping[str, Any]) -> list[Any]:
    rows = []
    for series in asked["icd10"]:
        found = reference.stay(visits, series)
        number = found.closed + found.still_open + found.negative
        rows.append((number, found.closed, found.still_open, found.negative, found.mean, found.deviation, found.median))
    return rows


TOLD: dict[str, Callable[[Answer], Any]] = {
    "ages": _told_ages, "sexes": _told_sexes, "cases": _told_cases, "abnormal": _told_abnormal, "stay": _told_stay,
}  # fmt: skip
EXPECTED: dict[str, Callable[[list[reference.Visit], Mapping[str, Any]], Any]] = {
    "ages": _ages, "sexes": _sexes, "cases": _cases, "abnormal": _abnormal, "stay": _stay,
}  # fmt: skip
