"""Moved dates: always legal, always the same distance apart, and None where nothing can be promised."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.hospital.dicom.cleaning.dates import shift

LEGAL_DA = re.compile(rb"(\d{8}(-(\d{8})?)?|-\d{8}|)")


@pytest.mark.parametrize(
    ("raw", "vr", "days", "expected"),
    [
        (b"20240301", "DA", -1, b"20240229"),
        (b"1997.01.31", "DA", 1, b"19970201"),
        (b"1997-01-31", "DA", 1, b"19970201"),
        (b"", "DA", -5, b""),
        (b"  ", "DA", -5, b""),
        (b"20240101\\20240131", "DA", 1, b"20240102\\20240201 "),
        (b"20240101\\ ", "DA", 1, b"20240102\\ "),
        (b"20240101-20240131", "DA", 1, b"20240102-20240201 "),
        (b"20240101-", "DA", 1, b"20240102- "),
        (b"-20240101", "DA", 1, b"-20240102 "),
        (b"20240101 ", "DA", 365, b"20241231"),
        (b"00010101", "DA", -1, None),
        (b"99991231", "DA", 1, None),
        (b"20230229", "DA", 1, None),
        (b"00000000", "DA", 1, None),
        (b"-", "DA", 1, None),
        (b"Kowalski", "DA", 1, None),
        (b"20240101\\Kowalski", "DA", 1, None),
        (b"20240101120000.123456+0100", "DT", -1, b"20231231120000.123456+0100"),
        (b"20240101120000.5-0500 ", "DT", 31, b"20240201120000.5-0500 "),
        (b"202401011200", "DT", 1, b"202401021200"),
        (b"20240101", "DT", 1, b"20240102"),
        (b"202401", "DT", -31, b"202312"),
        (b"2024", "DT", -365, b"2023"),
        (b"2024+0100", "DT", -365, b"2023+0100 "),
        (b"20240101120000-20240102130000", "DT", 1, b"20240102120000-20240103130000 "),
        (b"20240101120000-0500-20240102130000-0500", "DT", 1, b"20240102120000-0500-20240103130000-0500 "),
        (b"20240101126000", "DT", 1, None),
        (b"20241301", "DT", 1, None),
        (b"120000", "TM", 1, b"120000"),
        (b"20240101", "LO", 1, None),
    ],
)
def test_values_of_the_standard_and_odd_ones(raw, vr, days, expected):
    assert shift(raw, vr, days) == expected


@given(st.dates(), st.dates(), st.integers(-730, -1))
def test_intervals_are_kept(first, second, days):
    moved = [shift(day.strftime("%Y%m%d").rjust(8, "0").encode(), "DA", days) for day in (first, second)]
    if min(first, second) - date.min < timedelta(-days):
        assert None in moved
        return
    assert all(moved)
    one, other = (date(int(day[:4]), int(day[4:6]), int(day[6:])) for day in moved if day)
    assert one - other == first - second
    assert first - one == timedelta(-days)


@given(
    st.binary(max_size=30) | st.text("0123456789-.\\ +", max_size=40).map(str.encode),
    st.sampled_from(["DA", "DT"]),
    st.integers(-800, 800),
)
def test_whatever_comes_out_is_legal(raw, vr, days):
    moved = shift(raw, vr, days)
    if moved is None:
        return
    assert len(moved) % 2 == 0
    assert moved.count(b"\\") == raw.count(b"\\")
    for value in moved.split(b"\\"):
        if vr == "DA":
            assert LEGAL_DA.fullmatch(value.strip(b" "))
        assert re.fullmatch(rb"[0-9.+-]* ?", value)
    assert shift(moved, vr, 0) == moved
