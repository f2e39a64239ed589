"""Charts: what is drawn and what is not, that nothing overlaps, and that the same chart gives the same bytes."""

import dataclasses
import hashlib
import io
import itertools
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from toolkit.core.drawing import STYLE
from toolkit.datacentre.analyses import charts
from toolkit.datacentre.analyses.answers import Chart, Series
from toolkit.datacentre.analyses.charts import draw

SVG = "{http://www.w3.org/2000/svg}"
NOTES = ("1,034,470 documents read", "* fewer than 5, or hidden so that such a count cannot be computed")
KINDS = ("bars", "lines", "stacked", "spread")


def months(count: int) -> tuple[str, ...]:
    return tuple(f"{2017 + month // 12}-{month % 12 + 1:02}" for month in range(count))


def chart_of(kind: str, count: int, series: int, hidden: bool = True) -> Chart:
    numbers = random.Random(f"{kind} {count} {series}")
    names = ("I50", "I11.0, I11.9", "J45", "E10, E11", "C34")[:series]
    if kind == "stacked":
        rows = [[numbers.random() + 0.05 for _ in names] for _ in range(count)]
        columns = [[100 * row[place] / sum(row) for row in rows] for place in range(series)]
    else:
        columns = [[numbers.randrange(10**4 * (place + 1)) + (kind == "spread") * 0.25 for _ in range(count)] for place in range(series)]
    values = [tuple(None if hidden and count > 2 and place == 2 else value for place, value in enumerate(column)) for column in columns]
    spread = [None if value is None else value / 3 for value in values[0]]
    return Chart(
        kind,  # type: ignore[arg-type]
        "Cases of chosen diagnoses",
        "2026-01-01 to 2026-12-31",
        "Month",
        "Share in %" if kind == "stacked" else "Visits",
        months(count),
        tuple(
            Series(name, column, tuple(spread) if kind == "spread" and not place else ())
            for place, (name, column) in enumerate(zip(names, values, strict=True))
        ),
        NOTES,
    )


def drawn(chart: Chart) -> tuple[bytes, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    draw(chart, svg, png)
    return svg.getvalue(), png.getvalue()


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(SVG + "text")]


def page(chart: Chart) -> charts._Page:
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        return charts._page(chart)


@pytest.mark.parametrize("kind", KINDS)
def test_svg_and_png_of_every_kind(kind: str) -> None:
    chart = chart_of(kind, 5, 2)
    svg, png = drawn(chart)
    words = texts(svg)
    assert {chart.title, chart.subtitle, chart.x_label, chart.y_label, *NOTES, *chart.categories} <= set(words)
    assert "*" in words
    assert any(word.startswith("I11.0, I11.9") for word in words), "no legend"
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.find(SVG + "title").text == chart.title  # type: ignore[union-attr]
    described = root.find(SVG + "desc").text or ""  # type: ignore[union-attr]
    assert "2017-03 *" in described
    assert chart.subtitle in described
    assert b"<!DOCTYPE" not in svg
    assert b"font-family: 'DejaVu Sans', 'Verdana', 'Arial', 'Helvetica', sans-serif" in svg
    image = Image.open(io.BytesIO(png))
    assert image.size == (1600, 1000)
    assert image.info["Title"] == chart.title
    assert round(image.info["dpi"][0]) == 200


def _boxes(chart: Chart) -> tuple[float, list[tuple[str, Any]]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure = page(chart).figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    return figure.bbox.height, [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible() and not text.get_rotation() % 90
    ]


MANY_LABELS = Chart(
    "bars", "Long " * 60, "2026", "A long label of all these categories", "And one of their values " * 5,
    tuple(f"I{number}, I11.0, I13.0 heart failure and other diseases" for number in range(14)),
    tuple(Series(f"A name of a series that does not end soon {number}", tuple(range(10**5, 10**5 + 14))) for number in range(9)),
    tuple(f"Note {number} is long: " + "word " * 60 for number in range(4)),
)  # fmt: skip


@pytest.mark.parametrize(
    "chart",
    [
        *(chart_of(kind, *size) for kind, size in itertools.product(KINDS, [(1, 4), (5, 4), (12, 1), (36, 1), (120, 4)])),
        MANY_LABELS,
        dataclasses.replace(MANY_LABELS, kind="spread"),
        dataclasses.replace(MANY_LABELS, kind="stacked", series=tuple(Series(one.name, (100 / 9,) * 14) for one in MANY_LABELS.series)),
    ],
    ids=lambda chart: f"{chart.kind}-{len(chart.categories)}-{len(chart.series)}",
)
def test_texts_are_on_the_page_and_do_not_overlap(chart: Chart) -> None:
    height, found = _boxes(chart)
    assert height == 1000 or chart.title == MANY_LABELS.title
    for text, box in found:
        assert box.x0 > 0 and box.y0 > 0 and box.x1 < 1600 and box.y1 < height, text
    apart = [(text, box) for text, box in found if chart.kind in ("bars", "stacked") or text in (*chart.categories, chart.x_label, *NOTES)]
    for (one, first), (other, second) in itertools.combinations(apart, 2):
        if "*" not in (one, other):
            common = first.intersection(first, second)
            assert common is None or common.width < 2 or common.height < 6, f"{one} over {other}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_is_a_mark_and_not_zero(kind: str) -> None:
    svg, _ = drawn(chart_of(kind, 5, 1))
    shown, _ = drawn(chart_of(kind, 5, 1, hidden=False))
    assert NOTES[1] in texts(svg)
    assert NOTES[1] not in texts(shown)
    assert texts(svg).count("*") == 1
    assert texts(shown).count("*") == 0


def test_bars_are_as_high_as_their_values_and_there_is_none_for_hidden_ones() -> None:
    chart = chart_of("bars", 5, 2)
    heights = [bar.get_height() for container in page(chart).axes.containers for bar in container.patches]
    assert heights == [value for one in chart.series for value in one.values if value is not None]


def test_shares_are_as_long_as_their_values_and_what_is_hidden_stays_white() -> None:
    chart = Chart("stacked", "", "", "", "%", ("a",), (Series("x", (60.0,)), Series("y", (None,)), Series("z", (30.0,))))
    bars = [(bar.get_x(), bar.get_width(), bar.get_facecolor()[3]) for bar in page(chart).axes.patches]
    assert [bar for bar in bars if bar[1]] == [(0, 60, 1), (60, 30, 1), (90, 10, 0)]


def test_stacked_counts_are_drawn_as_counts() -> None:
    chart = Chart("stacked", "", "", "", "Results", ("a", "b"), (Series("x", (1000, 50)), Series("y", (500, None)), Series("z", (100, 20))))
    axes = page(chart).axes
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches if bar.get_facecolor()[3] and bar.get_width()]
    assert bars == [(0, 1000), (0, 50), (1000, 500), (1500, 100), (50, 20)]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "500", "1,000", "1,500"]
    assert [bar.get_x() for bar in axes.patches if not bar.get_facecolor()[3]] == [70]


def test_a_line_has_a_gap_where_a_value_is_hidden() -> None:
    (line,) = page(chart_of("lines", 5, 1)).axes.lines
    assert [math.isnan(value) for value in line.get_ydata()] == [False, False, True, False, False]


def test_every_series_can_be_told_apart_without_colours() -> None:
    fills = {(charts._fill(number, True)["facecolor"], charts._fill(number, True)["hatch"]) for number in range(20)}
    strokes = [charts._stroke(number, True) for number in range(20)]
    assert len(fills) == 20
    assert len({(one["marker"], str(one["linestyle"])) for one in strokes}) == 20
    assert len({charts._fill(number, True)["hatch"] for number in range(7)}) == 7


def test_bars_too_thin_to_be_told_apart_become_lines() -> None:
    assert page(chart_of("bars", 60, 4)).axes.lines
    assert not page(chart_of("bars", 60, 1)).axes.lines


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("categories", [(), ("I50",)])
def test_an_empty_chart_says_so(kind: str, categories: tuple[str, ...]) -> None:
    chart = Chart(kind, "Stays", "2026", "x", "y", categories, (Series("mean", (math.nan,) * len(categories)),))  # type: ignore[arg-type]
    svg, png = drawn(chart)
    assert texts(svg) == ["Stays", "2026", "No visit in the period"]
    assert Image.open(io.BytesIO(png)).size == (1600, 1000)


@pytest.mark.parametrize(("kind", "value"), [*((kind, None) for kind in KINDS), ("bars", 0), ("stacked", 0)])
def test_all_hidden_and_all_zero_are_drawn(kind: str, value: float | None) -> None:
    svg, _ = drawn(Chart(kind, "Stays", "2026", "x", "y", months(3), (Series("a", (value,) * 3),)))  # type: ignore[arg-type]
    assert texts(svg).count("*") == (0 if value == 0 else 3)
    assert "No visit in the period" not in texts(svg)


def test_labels_of_documents_are_text_and_nothing_else() -> None:
    names = ("$x^2$", "<b>&amp;", "a\x00\x1b[31mb\nc", "łódź 日本", "%s {0}")
    svg, _ = drawn(Chart("bars", "$T$ <script>", "]]>", "_x", "^y", names, (Series("&", (1, 2, 3, 4, 5)),), ("-->",)))
    words = texts(svg)
    assert {"$T$ <script>", "]]>", "$x^2$", "<b>&amp;", "łódź 日本", "%s {0}", "-->"} <= set(words)
    assert "a  [31mb c" in words or "a [31mb c" in words
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(SVG + "script"))


def test_series_and_categories_must_agree() -> None:
    with pytest.raises(ValueError, match="one value a category"):
        drawn(Chart("bars", "", "", "", "", ("a", "b"), (Series("x", (1,)),)))


_DRAW = """
import hashlib, io
from tests.unit.datacentre.analyses.test_charts import KINDS, chart_of, drawn
for kind in KINDS:
    print(*(hashlib.sha256(data).hexdigest() for data in drawn(chart_of(kind, 4, 3))))
"""


def test_the_same_chart_gives_the_same_bytes_whoever_draws_it(tmp_path: Path) -> None:
    """In another process, with other hashes, another day, settings of the user's own, and no home."""
    (tmp_path / "matplotlibrc").write_text("font.size: 33\naxes.facecolor: red\nsvg.fonttype: path\n")
    root = Path(__file__).parents[4]
    surroundings = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(root), "HOME": "/proc/nonexistent", "LC_ALL": "C"}
    other = subprocess.run([sys.executable, "-c", _DRAW], cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True)
    here = [" ".join(hashlib.sha256(data).hexdigest() for data in drawn(chart_of(kind, 4, 3))) for kind in KINDS]
    assert other.stdout.splitlines() == here
    assert other.stderr == ""


def test_what_a_thread_is_still_loading_is_waited_for() -> None:
    code = f"""
import threading
from tests.unit.datacentre.analyses.test_charts import chart_of, drawn
from {charts.__name__} import prepare
threading.Thread(target=prepare).start()
drawn(chart_of("bars", 2, 1))
from matplotlib.artist import ArtistInspector
from matplotlib.lines import Line2D
assert "color" in ArtistInspector(Line2D).get_setters()
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=True)


def test_settings_of_this_process_stay_as_they_are() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn(chart_of("bars", 2, 1))
    assert dict(matplotlib.rcParams) == before


def test_drawing_takes_less_than_a_second() -> None:
    drawn(chart_of("bars", 2, 1))
    begin = time.process_time()
    drawn(chart_of("bars", 24, 1))
    assert time.process_time() - begin < 1


def test_nothing_heavy_is_loaded_before_something_is_drawn() -> None:
    code = f"import sys, {charts.__name__}; sys.exit(bool(sys.modules.keys() & {{'matplotlib', 'numpy', 'PIL'}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
