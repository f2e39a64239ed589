import csv
import io
import json
import math

import pytest

from toolkit.datacentre.analyses.answers import Answer, Cell, Column
from toolkit.datacentre.analyses.suppression import hide
from toolkit.datacentre.analyses.writing import as_json, write_csv

COLUMNS = (
    Column("icd10", "Diagnosis", kind="label"),
    Column("month", "Month", kind="label"),
    Column("visits", "Visits"),
    Column("share", "Share", "%", "share"),
    Column("mean", "Mean length", "days", "number"),
)
TOTAL: Cell = ("count", "visits")
ANSWER = Answer(
    "Stays",
    "2026-01-01 to 2026-02-28",
    COLUMNS,
    (
        ("I50, I11.0", "2026-01", 1200, 92.30769, 3.14159),
        ('J45 "asthma"', "2026-01", 97, 7.4615, 2.0),
        ("Q00", "2026-02", 3, 0.23, 1.0),
        ("none", "2026-02", 0, 0, math.nan),
        ("nothing", "2026-02", 0, -0.04, None),
    ),
    {"visits": 1300, "open": 4},
    ((TOTAL, tuple(("table", row, 2) for row in range(5))),),
    {("table", row, column): (("table", row, 2), TOTAL) for row in range(5) for column in (3, 4)},
    notes=("a note",),
)


def csv_of(answer: Answer) -> str:
    stream = io.StringIO(newline="")
    write_csv(answer, stream)
    return stream.getvalue()


def test_csv() -> None:
    assert csv_of(ANSWER) == (
        "icd10,month,visits,share,mean\r\n"
        '"I50, I11.0",2026-01,1200,92.3,3.14\r\n'
        '"J45 ""asthma""",2026-01,97,7.5,2.00\r\n'
        "Q00,2026-02,3,0.2,1.00\r\n"
        "none,2026-02,0,0.0,\r\n"
        "nothing,2026-02,0,0.0,\r\n"
    )


def test_csv_marks_what_is_hidden() -> None:
    lines = csv_of(hide(ANSWER, 5)).splitlines()
    assert lines[2:5] == ['"J45 ""asthma""",2026-01,*,*,2.00', "Q00,2026-02,*,*,*", "none,2026-02,0,0.0,"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1"])
def test_no_spreadsheet_runs_a_text_of_a_document(text: str) -> None:
    answer = Answer("Sexes", "2026", (Column("sex", "Sex", kind="label"),), ((text,), ("-",), ("a,\n=1",)))
    assert list(csv.reader(io.StringIO(csv_of(answer), newline=""))) == [["sex"], ["'" + text], ["-"], ["a,\n=1"]]


def test_an_empty_table_has_its_heading() -> None:
    assert csv_of(Answer("Stays", "2026", COLUMNS, ())) == "icd10,month,visits,share,mean\r\n"


def test_json() -> None:
    found = as_json(hide(ANSWER, 5), {"version": "1.0", "parameters": {"b": 1, "a": 2}})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["title", "period", "version", "parameters", "columns", "rows", "counts", "suppressed", "notes"]
    assert found["columns"][3] == {"name": "share", "title": "Share", "unit": "%", "kind": "share"}
    assert found["rows"][0] == {"icd10": "I50, I11.0", "month": "2026-01", "visits": 1200, "share": 92.30769, "mean": 3.14159}
    assert found["rows"][2] == {"icd10": "Q00", "month": "2026-02", "visits": None, "share": None, "mean": None}
    assert found["rows"][3]["mean"] is None
    assert found["counts"] == {"visits": 1300, "open": None}
    assert found["suppressed"] == [
        *({"row": 'J45 "asthma", 2026-01', "column": name} for name in ("visits", "share")),
        *({"row": "Q00, 2026-02", "column": name} for name in ("visits", "share", "mean")),
        {"count": "open"},
    ]
    assert found["notes"][0] == "a note"
    assert len(found["notes"]) == 2


def test_a_row_without_a_label_goes_by_its_number() -> None:
    answer = hide(Answer("Visits", "2026", (Column("visits", "Visits"),), ((7,), (1,))), 5)
    assert as_json(answer, {})["suppressed"] == [{"row": "2", "column": "visits"}]


def test_what_is_said_about_an_answer_does_not_replace_it() -> None:
    assert as_json(ANSWER, {"rows": "mine", "counts": "mine"})["rows"] != "mine"
