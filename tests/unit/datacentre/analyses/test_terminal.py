import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.datacentre.analyses.answers import Chart, Series
from toolkit.datacentre.analyses.terminal import _width, terminal

BARS = Chart(
    "bars",
    "Ages of patients",
    "2026-01-01 to 2026-12-31",
    "Age in years",
    "Patients",
    ("0 to 17", "18 to 64", "65 and older", "unknown"),
    (Series("patients", (1000, 150, None, 0)),),
    ("* fewer than 5",),
)


def test_bars() -> None:
    assert terminal(BARS, 40) == (
        "Ages of patients\n"
        "2026-01-01 to 2026-12-31\n"
        "\n"
        "Patients by Age in years\n"
        "0 to 17      █████████████████████ 1,000\n"
        "18 to 64     ███▏                    150\n"
        "65 and older                           *\n"
        "unknown                                0\n"
        "\n"
        "* fewer than 5\n"
    )


def test_bars_without_blocks() -> None:
    lines = terminal(BARS, 40, blocks=False).splitlines()
    assert lines[4:6] == ["0 to 17      ##################### 1,000", "18 to 64     ###                     150"]


def test_several_series_stand_below_their_category() -> None:
    chart = Chart(
        "spread", "Stays", "2026", "Diagnosis", "Days", ("I50", "J45"),
        (Series("mean", (4.0, math.nan), (1.5, None)), Series("median", (3.0, math.nan))),
    )  # fmt: skip
    assert terminal(chart, 40).splitlines()[4:] == [
        "I50",
        "  mean   ███████████████████ 4.00 ± 1.50",
        "  median ██████████████▎            3.00",
        "J45",
        "  mean                                 -",
        "  median                               -",
    ]


def test_many_values_are_rows_of_blocks() -> None:
    months = tuple(f"{2020 + month // 12}-{month % 12 + 1:02}" for month in range(36))
    series = (Series("I50", (None, 0, *range(1, 35))), Series("J45", (7,) * 36))
    chart = Chart("lines", "Cases", "2020 to 2022", "Month", "Visits", months, series)
    assert terminal(chart, 40).splitlines()[3:] == [
        "Visits by Month, each to its own scale",
        "I50 (0 to 34)",
        "2020-01 *▁▂▂▂▂▂▂▂▃▃▃▃▃▄▄▄▄▅▅▅▅▅▆",
        "2022-01 ▆▆▆▆▇▇▇▇▇███",
        "J45 (7 to 7)",
        "2020-01 " + "█" * 24,
        "2022-01 " + "█" * 12,
        "",
        "* hidden: a small count, or one that a",
        "small count could be computed from",
    ]


def test_notes_explain_what_is_there() -> None:
    def notes(value: float | None) -> list[str]:
        chart = Chart("bars", "Ages", "2026", "Age", "Patients", ("0 to 17",), (Series("patients", (value,)),), BARS.notes)
        return terminal(chart, 40).splitlines()[5:]

    assert notes(None) == ["", "* fewer than 5"]
    assert notes(7) == []


def test_an_empty_chart_says_so() -> None:
    notes = ("No visit in the period.", "* fewer than 5", "ICD-9")
    assert terminal(Chart("lines", "Cases", "2026", "x", "y", (), (), notes)) == "Cases\n2026\n\nNo visit in the period\n\nICD-9\n"


def test_no_label_of_a_document_controls_the_terminal() -> None:
    chart = Chart("bars", "\x1b[2J", "\r", "\t", "y", ("\x1b]0;title\x07", "\u202eabc"), (Series("\x08", (1, 2)),))
    assert all(sign.isprintable() or sign == "\n" for sign in terminal(chart))


words = st.text(max_size=30)
values = st.one_of(st.none(), st.just(math.nan), st.integers(0, 10**9), st.floats(0, 1e6))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["bars", "lines", "stacked", "spread"]), st.integers(40, 120), st.booleans())
def test_every_line_fits(data: st.DataObject, kind: str, width: int, blocks: bool) -> None:
    categories = tuple(data.draw(st.lists(words, max_size=5)))
    row = st.tuples(*[values] * len(categories))
    names = data.draw(st.lists(words, max_size=3))
    series = tuple(Series(name, data.draw(row), data.draw(row) if data.draw(st.booleans()) else ()) for name in names)
    chart = Chart(kind, data.draw(words), data.draw(words), data.draw(words), data.draw(words), categories, series)  # type: ignore[arg-type]
    text = terminal(chart, width, blocks)
    assert max(map(_width, text.splitlines())) <= width
    if not blocks:
        assert text.isascii()


@pytest.mark.parametrize("count", [61, 500])
def test_every_row_of_blocks_fits(count: int) -> None:
    chart = Chart("lines", "Cases", "2026", "Day", "Visits", tuple(map(str, range(count))), (Series("a" * 90, tuple(range(count))),))
    assert max(map(len, terminal(chart, 72).splitlines())) <= 72
