"""Printed results, ranges and units."""

from __future__ import annotations

import pytest

from toolkit.hospital.visits.results import Quantity, Range, known_unit, read_quantity, read_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7,8 g/dl", Quantity("7.8", "g/dl")),
        ("250 000 /ul", Quantity("250000", "/ul")),
        ("< 5,0 mg/l", Quantity("5.0", "mg/l", "<")),
        ("-1.5", Quantity("-1.5")),
        ("7,8 Nowak", None),
        ("44051401359", None),
        ("44 051 401 359", None),
        ("600 123 456", None),
        ("600123456", None),
        ("1 051 401", Quantity("1051401")),
        ("440514 01359", None),
        ("ok. 5", None),
    ],
)
def test_quantities(text: str, expected: Quantity | None) -> None:
    assert read_quantity(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12,0 - 16,0", Range("12.0", "16.0")),
        ("[4.0–10.0] tys/µl", Range("4.0", "10.0", unit="tys/µl")),
        ("<130 mg/dL (calc)", Range(high="130", high_inclusive=False, unit="mg/dL")),
        (">=40 mg/dL", Range(low="40", unit="mg/dL")),
        ("do 5,2 mmol/l", Range(high="5.2", unit="mmol/l")),
        ("K: 12,0 - 16,0; M: 14,0 - 18,0", Range("12.0", "16.0")),
        ("0-14 lat: 11,0 - 14,5; >14 lat: 12,0 - 16,0", Range("12.0", "16.0")),
        ("K 15-60 lat: 12,0 - 16,0; M: 14,0 - 18,0", Range("12.0", "16.0")),
        ("16,0 - 12,0", None),
        ("12,0 - 16,0 dr Kowalski", None),
        ("K: 12,0 - 16,0; zlecił Kowalski", None),
    ],
)
def test_ranges_of_a_woman_of_40(text: str, expected: Range | None) -> None:
    assert read_range(text, 40, "F") == expected


def test_a_range_that_depends_on_what_is_unknown_is_none() -> None:
    assert read_range("0-14 lat: 11 - 14; >14 lat: 12 - 16", None, "F") is None
    assert read_range("K: 12 - 16; M: 14 - 18", 40, "UN") is None


@pytest.mark.parametrize("unit", ["mg/dL", "mm[Hg]", "10*3/uL", "kg/m2", "mL/min/1.73m2", "tys/µl", "[IU]/L", "/[HPF]", "%", "mmol/l"])
def test_known_units(unit: str) -> None:
    assert known_unit(unit) == unit


@pytest.mark.parametrize(("unit", "expected"), [("{INR}", "1"), ("{Nowak}", "1"), ("Nowak", None), ("600123456", None), ("g/Nowak", None)])
def test_other_units(unit: str, expected: str | None) -> None:
    assert known_unit(unit) == expected
