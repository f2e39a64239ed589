"""What hospitals should not write, but do: mdc-analyse and the plain analyses make the same of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.analyses import reference
from tests.analyses.store import write_list, write_rows
from tests.analyses.test_answers import EXPECTED, TOLD, ask
from tests.analyses.test_reference import CM, FIRST_PACK, ICD_9, SECOND_PACK, WHO
from tests.analyses.test_reference import store as hand_written
from toolkit.datacentre.cda import Diagnosis, Result, VisitRow, VisitRows, plain_code
from toolkit.datacentre.packs import RowTables

DAYS = ("20240228", "20240229", "20230229", "20240301", "20240430", "20240431", "20241231", "20250101", "20240001", "20241301", "00000000")
CLOCKS = ("", "", "0", "00", "09", "23", "24", "0930", "0960", "2359", "235959", "235960", "093000.000", "093000.5", "093", "09300")
ZONES = ("", "", "", "+0100", "+0200", "-0500", "+0545", "+01", "-3", "+130", "+000", "Z")
WHOLE_TIMES = ("", "2024", "202402", "2024022", "2024-02-29", " 20240229", "20240229 ", "٢٠٢٤٠٢٢٩", "brak", "2024022909300012345")
SEXES = ("F", "M", "UN", "UNK", "NI", "ASKU", "NASK", "", "f", "K", "Ż")
AGES = (None, 0.0, 0.5, 17.999, 18.0, 18.0, 64.0, 65.0, 66.0, 120.0, -1.0, float("inf"))
CODES = ("I50", "I50.9", "i509", "I50.9†", "I5", "I500 ", "E11", "E11.40*", "E84.9", "", "-", "Ł50", "I50.9/J12")
RANGES = (
    "", "", "12 - 16", "12,0-16,0 g/dl", "12-16 g/DL", "< 5", "<5,0", "do 41", "od 3 do 5", "12 - 16; 12 - 16", "12 - 16; 13 - 17",
    ">= 3 mg/l", "K: 12 - 16", "16 - 12", "ujemny", "12 - 16 g/dl; 12 - 16",
    "(3.5–5.1)", "1 000 - 2 000", ";", "- ; -",
)  # fmt: skip
UNITS = ("", "g/dl", "g/dL", "mg/l", "G/DL ", "µg/l", "μg/l")
VALUES = (None, 0.0, 3.0, 5.0, 12.0, 12.000001, 16.0, 41.0, 1500.0, -2.0, 1e300, float("inf"))
EDGES = (None, None, 0.0, 3.0, 5.0, 12.0, 16.0)
SAID = ("", "", "N", "L", "LL", "H", "HH", "A", "AA", "<", ">", "POS", "n", "l", " ")
QUESTIONS = (
    ("ages", {"edges": [0, 18, 65]}),
    ("sexes", {}),
    ("cases", {"icd10": [["I50"], ["E11", "E84"]], "periods": 7, "count": "patients"}),
    ("cases", {"icd10": [["I50"], ["E11", "E84"]], "periods": "month", "count": "visits"}),
    *(("abnormal", {"icd10": [["I50"], ["E11", "E84"]], "trust": trust}) for trust in reference.TRUSTS),
    ("stay", {"icd10": [["I50"], ["E11", "E84"]]}),
)


def test_of_documents_written_by_hand(tmp_path: Path) -> None:
    hand_written(tmp_path, FIRST_PACK, SECOND_PACK)
    for question, parameters in QUESTIONS:
        hold(tmp_path, question, {"from": 20260101, "to": 20260331, **parameters})


@settings(max_examples=2, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # seeds do not shrink
@given(st.integers(0, 1 << 32))
def test_of_odd_rows(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    dice = random.Random(seed)
    store = tmp_path_factory.mktemp("odd")
    rows = [_visit(dice, number) for number in range(250)]
    for name in ("first", "second"):
        _write(store, name, rows if name == "first" else [_again(dice, one) for one in rows if dice.random() < 0.3])
    write_list(store, [("patient", "p1", "p2"), ("patient", "p2", "p3"), ("visit", "v1", "v2"), ("visit", "v3", "elsewhere")])
    first, last = sorted(dice.choices(("20231231", "20240229", "20240301", "20241231", "20250101"), k=2))
    for question, parameters in dice.sample(QUESTIONS, 5):
        hold(store, question, {"from": int(first), "to": int(last), **parameters})


def hold(store: Path, question: str, asked: dict[str, object]) -> None:
    """The product's answer is the reference's."""
    archive = reference.read(store)
    first, last = (date.fromisoformat(str(asked[name])) for name in ("from", "to"))
    found = ask(question, asked, (store,), 2)
    assert TOLD[question](found.answer) == EXPECTED[question](archive.between(first, last), asked)
    assert (found.superseded, found.duplicates) == (archive.superseded, archive.duplicates)
    assert found.answer.counts["start_unknown"] == archive.undated
    if "icd10" in asked:
        assert found.answer.counts["in_icd9"] == reference.in_icd_9(archive.between(first, last))


def _visit(dice: random.Random, number: int) -> VisitRows:
    systems = (WHO, WHO, WHO, CM, ICD_9, "1.2.3")
    diagnoses = tuple(Diagnosis(code, dice.choice(systems), plain_code(code)) for code in dice.choices(CODES, k=dice.randrange(4)))
    results = tuple(_result(dice) for _ in range(dice.randrange(6)))
    visit = VisitRow(f"v{number}", f"p{dice.randrange(90)}", dice.choice(SEXES), dice.choice(AGES), "", _time(dice), _time(dice), "", ())
    return VisitRows(visit, diagnoses, (), results, f"m{number}", f"2026-01-0{dice.randrange(1, 9)}")


def _again(dice: random.Random, one: VisitRows) -> VisitRows:
    """The same message in another pack, or another version of the visit."""
    if dice.random() < 0.3:
        return one
    other = _visit(dice, int(one.visit.mdc_visit[1:]))
    return other._replace(message_id=f"n{one.message_id}")


def _time(dice: random.Random) -> str:
    if dice.random() < 0.1:
        return dice.choice(WHOLE_TIMES)
    return dice.choice(DAYS[: 4 if dice.random() < 0.7 else None]) + dice.choice(CLOCKS) + dice.choice(ZONES)


def _result(dice: random.Random) -> Result:
    low, high = dice.choice(EDGES), dice.choice(EDGES)
    flags = dice.random() < 0.8, dice.random() < 0.8
    return Result("1", "", "", dice.choice(VALUES), dice.choice(UNITS), "", low, high, *flags, dice.choice(SAID), dice.choice(RANGES))


def _write(store: Path, pack: str, rows: Sequence[VisitRows]) -> None:
    tables = RowTables()
    for one in rows:
        tables.add(one)
    write_rows(store, pack, len(rows), tables.tables())
