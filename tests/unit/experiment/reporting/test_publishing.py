"""The directory of a report: eight figures, tables, one page; whole or not at all."""

from __future__ import annotations

import io
import os
import random
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.experiment.reporting.records import PAIRS, command, study, written
from tests.unit.experiment.reporting.test_quality import figures as quality
from tests.unit.experiment.reporting.test_quality import put
from toolkit.core import drawing
from toolkit.core.errors import CannotCreate, InputOutput
from toolkit.experiment.reporting import publishing
from toolkit.experiment.reporting.figures import all_figures
from toolkit.experiment.reporting.page import page
from toolkit.experiment.reporting.publishing import check_place, files_of, write_report
from toolkit.experiment.reporting.report import Report, Request, as_csv, make_report

SVG = "{http://www.w3.org/2000/svg}"
LONG = "a-very-long-name-of-a-node.of.a.cluster.example.org"
NAMES = [f"fig-{number:02d}" for number in range(4, 12)]


def whole_report(directory: Path) -> Report:
    (directory / "run.jsonl").write_bytes(written(study(repetitions=1, hosts=(("anvil", 1.0), (LONG, 1.7)), pairs=PAIRS[-6:])) + b"{\n")
    chance = random.Random(3)
    for bandwidth in (32, 64, 128, 256):
        some = [
            quality(min(8000, int(10 ** chance.gauss(4 - bandwidth / 80, 1))), 8000, chance.choice([1, 2, 5, 12, None])) for _ in range(20)
        ]
        put(directory / f"quality.{bandwidth}.json", *({**one, "bandwidth": bandwidth} for one in some))
    put(directory / "other.json", {**quality(0, 9), "bandwidth": 256, "tolerance": 10.0})
    return make_report(Request((str(directory),), compare=("anvil", LONG)))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return whole_report(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def files(report: Report) -> dict[str, bytes]:
    return files_of(report)


def test_files(files: dict[str, bytes]) -> None:
    tables = ("statistics", "shares", "laws", "forecast", "comparison", "quality", "machines", "bad")
    drawn = [f"figures/{name}.{kind}" for name in NAMES for kind in ("svg", "png")]
    assert set(files) == {"index.html", "tables/report.json", *(f"tables/{name}.csv" for name in tables), *drawn}


@pytest.mark.parametrize("name", NAMES)
def test_a_figure(name: str, files: dict[str, bytes]) -> None:
    svg = files[f"figures/{name}.svg"]
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.find(SVG + "title").text  # type: ignore[union-attr]
    assert len(root.find(SVG + "desc").text or "") > 40  # type: ignore[union-attr]
    image = Image.open(io.BytesIO(files[f"figures/{name}.png"]))
    assert image.size[0] == 1600
    assert image.info["Title"] == root.find(SVG + "title").text  # type: ignore[union-attr]
    assert not re.search(rb"\bNo (command|stage|samples|quality)", svg)


def outside(axes: Any) -> list[Any]:
    """The labels of ticks beyond the axes' ends: they exist and are not drawn."""
    labels = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        margin = 1e-9 * (high - low)
        labels += [label for tick in ticks if not low - margin <= tick.get_loc() <= high + margin for label in (tick.label1, tick.label2)]
    return labels


def test_figures_are_the_same_bytes_again_and_their_texts_do_not_overlap(
    report: Report, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    seen: list[tuple[str, float, float, list[tuple[str, Any]]]] = []
    original = drawing.draw

    def watch(make: Any, title: str, description: str, salt: str) -> tuple[bytes, bytes]:
        def watched() -> Any:
            figure = make()
            renderer = FigureCanvasAgg(figure).get_renderer()
            figure.draw_without_rendering()
            unseen = {label for axes in figure.axes for label in outside(axes)}
            texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in unseen]
            boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
            seen.append((salt, figure.bbox.width, figure.bbox.height, boxes))
            return figure

        return original(watched, title, description, salt)

    monkeypatch.setattr("toolkit.experiment.reporting.figures.draw", watch)
    for one in all_figures(report):
        assert (one.svg, one.png) == (files[f"figures/{one.name}.svg"], files[f"figures/{one.name}.png"])
    assert [name for name, *_ in seen] == NAMES
    for name, width, height, boxes in seen:
        assert len(boxes) > 8
        for place, (text, box) in enumerate(boxes):
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, (name, text)
            for other, second in boxes[place + 1 :]:
                wide = min(box.x1, second.x1) - max(box.x0, second.x0)
                high = min(box.y1, second.y1) - max(box.y0, second.y0)
                assert min(wide, high) < 2.5, (name, text, other)


def test_figures_that_nothing_was_measured_for_say_so(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_bytes(written([command("true", 10**6, 10**6)]))
    drawn = all_figures(make_report(Request((str(tmp_path),))))
    assert [one.name for one in drawn] == NAMES
    assert max(len(line) for one in drawn for line in re.findall(rb"<text[^>]*>([^<]*)</text>", one.svg)) < 100
    assert [one.words.split()[0] for one in drawn] == ["No"] * 8


class Checked(HTMLParser):
    """Whether elements close as they open; what they refer to and are called."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.outside: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.outside.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    checked = Checked(text)
    assert checked.outside == []
    assert not re.search(r"<script|@import|url\((?!#)", text)
    named = [one for one in checked.ids if re.match(r"fig-|laws|forecast|comparison|quality|figures|tables|machines|bad", one)]
    assert len(named) == len(set(named))
    assert text.count("<svg ") == 8
    assert set(re.findall(r'href="#(\w+)"', text)) <= set(checked.ids)
    assert {"Fitted laws", "Forecast", "seed a", "1.0780", "26.7 h", "1.05 TB", "anvil", LONG} <= set(checked.words)


def test_thousands_of_bad_lines_do_not_fill_the_page(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(written([command("true", 10**6, 10**6)]) + b"?\n" * 3000)
    report = make_report(Request((str(path),)))
    lines = len(written([command("true", 10**6, 10**6)]).splitlines())
    places = [line.split(",")[0] for line in as_csv(report.tables["bad"]).decode().splitlines()[1:]]
    assert places == [f"{path}:{lines + number}" for number in range(1, 3001)]
    text = page(report, []).decode()
    assert text.count("is torn or no JSON") == 200
    assert "… and 2800 more, in tables/bad.csv" in text


def test_what_a_record_says_is_never_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DOTS", 40)
    evil = "<script>alert(1)</script>&amp;\x00\ud800$\\frac{"
    runs = []
    for r in (64, 128):
        run = command(
            evil, 10**9, 10**6, tags={"output": str(r), "photo": evil}, host=evil, stages=[(evil, 0, 10)], samples=[(1, 2), (3, 4)]
        )
        run.machine = {**run.machine, "kernel": evil, "cpu": {"model": evil}}
        run.software = {"python": evil, "packages": {evil: evil}}
        runs += [run, command(evil, 1, 1, host=evil, status=3, identifier=f"{evil}{r}")]
    path = tmp_path / "run.jsonl"
    path.write_bytes(written(runs))
    files = files_of(make_report(Request((str(path),), by=("photo",))))
    text = files["index.html"].decode()
    Checked(text)
    assert "<script" not in text
    for name in NAMES:
        ElementTree.fromstring(files[f"figures/{name}.svg"])


def test_it_appears_whole_and_replaces_only_a_report(tmp_path: Path, files: dict[str, bytes]) -> None:
    place = tmp_path / "report"
    write_report(str(place), files)
    assert {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()} == files
    number = place.stat().st_ino
    write_report(f"{place}/", {**files, "index.html": b"newer"})
    assert (place / "index.html").read_bytes() == b"newer"
    assert place.stat().st_ino != number
    assert os.listdir(tmp_path) == ["report"]


@pytest.mark.parametrize("what", ["mine.txt", "tables/mine.txt", "tables/report.json"])
def test_other_things_are_not_replaced(what: str, tmp_path: Path, files: dict[str, bytes]) -> None:
    place = tmp_path / "report"
    write_report(str(place), files)
    (place / what).write_text('{"report": "mine"}')
    with pytest.raises(CannotCreate, match="holds other things than a report; name a new directory"):
        check_place(str(place))
    with pytest.raises(CannotCreate):
        write_report(str(place), files)
    assert (place / what).read_text() == '{"report": "mine"}'


def test_an_empty_directory_is_taken_and_a_file_is_not(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "empty").mkdir()
    write_report(str(tmp_path / "empty"), files)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotCreate, match="is a file"):
        check_place(str(tmp_path / "file"))
    with pytest.raises(CannotCreate, match="the directory above it does not exist"):
        check_place(str(tmp_path / "none" / "report"))


def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(tmp_path: Path, files: dict[str, bytes], monkeypatch: Any) -> None:
    place = tmp_path / "report"
    write_report(str(place), files)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing.os, "fsync", full)
    with pytest.raises(InputOutput, match="No space left on device"):
        write_report(str(place), {**files, "index.html": b"newer"})
    assert (place / "index.html").read_bytes() == files["index.html"]
    assert os.listdir(tmp_path) == ["report"]


def test_where_directories_cannot_change_places_at_once(tmp_path: Path, files: dict[str, bytes], monkeypatch: Any) -> None:
    place = tmp_path / "report"
    write_report(str(place), files)
    monkeypatch.setattr(publishing.ctypes, "CDLL", lambda *_, **__: object())
    write_report(str(place), {**files, "index.html": b"newer"})
    assert (place / "index.html").read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["report"]
