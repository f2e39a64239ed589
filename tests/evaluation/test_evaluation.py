"""The counting of an evaluation against sums done by hand, and one evaluation from rendering to contact sheet."""

import html.parser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import calibrate  # noqa: E402
import table  # noqa: E402
import truth  # noqa: E402

from toolkit.geo.pose import Pose, angle_between, rotation_matrix  # noqa: E402

RESULTS = [
    table.Result("a1", "A", "elevation model", [0.4, 50.0], false_ratio=1e-6, confidence=0.95, verdict="accepted"),
    table.Result("a2", "A", "elevation model", [30.0, 0.9], false_ratio=3e-6, confidence=0.4, verdict="rejected"),
    table.Result("b1", "B", "elevation model", [2.0], false_ratio=2e-6, confidence=0.99, verdict="accepted"),
    table.Result("b2", "B", "elevation model", failure="locate: no"),
]


def test_each_station_counts_once() -> None:
    rows = {row[0]: row[1:] for row in table.station_table(RESULTS[:3])}
    assert rows["A"] == ["2", "50 %", "50 %", "100 %", "100 %", "15.20", "2.0e-06"]
    assert rows["B"] == ["1", "0 %", "100 %", "0 %", "100 %", "2.00", "2.0e-06"]
    assert rows["all"] == ["3", "25 %", "75 %", "50 %", "100 %", "2.00", "2.0e-06"]


def test_a_failure_is_a_row_that_is_wrong() -> None:
    rows = {row[0]: row[1:] for row in table.verdict_table(RESULTS)}
    assert rows == {
        "verdict": ["right", "wrong"], "accepted": ["1", "1"], "doubtful": ["0", "0"], "rejected": ["0", "1"], "failed": ["0", "1"],
    }  # fmt: skip
    assert table.station_table(RESULTS)[2][2] == "0 %"


def test_reliability_and_brier_score() -> None:
    rows = table.reliability_table(RESULTS)[1:]
    assert rows[:3] == [["0.3 to 0.5", "1", "0.40", "0 %"], ["0.9 to 0.98", "1", "0.95", "100 %"], ["0.98 to 1", "1", "0.99", "0 %"]]
    assert rows[3][2] == f"{(0.05**2 + 0.4**2 + 0.99**2) / 3:.3f}"


def test_the_prior_is_what_chance_gives() -> None:
    """Against a Monte Carlo sum over headings."""
    pose, limit = Pose(120.0, 1.5, -1.0), 2.5
    yaw = np.random.default_rng(0).uniform(0, 360, 400_000)
    expected = np.mean(angle_between(rotation_matrix(yaw, 0, 0), pose.matrix) <= limit)
    assert table.prior(pose, limit) == pytest.approx(expected, rel=0.05) and expected > 0.005
    assert table.prior(Pose(0.0, 4.0, 0.0), limit) == 0.0


def test_a_truth_is_read_with_the_model_that_holds_it(tmp_path: Path) -> None:
    for name, west in (("far", 20.0), ("west", 8.0), ("east", 9.0)):
        shape = {"width": 150, "height": 100, "transform": rasterio.transform.from_origin(west, 47.0, 0.01, 0.01)}
        with rasterio.open(tmp_path / f"dem_{name}.tif", "w", driver="GTiff", count=1, dtype="float32", crs=4326, **shape):
            pass
    (tmp_path / "photo").mkdir()
    columns = "photo,width,height,lat,lon,height_ellipsoid_m,yaw_deg_cw_from_grid_north,pitch_deg_up,roll_deg_down_right"
    columns += ",hfov_deg_pinhole,vfov_deg_pinhole,station,pose_note"
    rows = ["p1,900,600,46.5,9.2,2000,10,-3,1,50,35,S1,exact", "q1,900,600,46.5,8.2,2000,350,-3,1,50,35,S2,exact"]
    (tmp_path / "truth.csv").write_text("\n".join([columns, *rows]) + "\n")
    one, other = truth.read_truths(tmp_path)
    assert (one.dem.name, other.dem.name) == ("dem_west.tif", "dem_west.tif")
    assert [found.name for found in truth.read_truths(tmp_path, "S2")] == ["q1"] and truth.read_truths(tmp_path, "p*") == [one]
    # At 46.5 N, 0.2 degrees east of the zone's meridian, grid north lies 0.2 sin 46.5 degrees clockwise of true north.
    assert one.pose.yaw == pytest.approx(10 + 0.2 * np.sin(np.radians(46.5)), abs=1e-3)
    assert one.pinhole.hfov == pytest.approx(50.0) and one.camera is None and one.horizon is None


def test_weights_are_found_again() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(40_000, len(calibrate.USED))) * [0.1, 1.0]
    true = np.array([30.0, -0.7])
    right = random.random(40_000) < 1 / (1 + np.exp(-(values @ true - 0.5)))
    weights, origin = calibrate.fit(values, right)
    assert weights == pytest.approx(true, rel=0.1) and origin == pytest.approx(-0.5, abs=0.1)


class Figures(html.parser.HTMLParser):
    """Counts what the sheet shows, and whether every element ends."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures += 1
        if tag not in ("img", "br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_from_rendering_to_the_contact_sheet(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "synthetic.py"), str(tmp_path / "data"), "--seeds", "12:12", "--size", "600x400"]
    command += ["--terrain", "jacksboro"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=200)
    command = [sys.executable, str(HERE / "evaluate.py"), str(tmp_path / "data"), "-o", str(tmp_path / "out")]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout
    (line,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    result = json.loads(line)
    assert result["verdict"] in ("accepted", "doubtful", "rejected") and result["errors"] and result["false_ratio"] is not None
    assert not (result["verdict"] == "accepted" and result["errors"][0] > 1.0)
    assert "Stations, elevation model" in told and "jacksboro_0012" in told
    figures = Figures()
    figures.feed((tmp_path / "out" / "sheet.html").read_text())
    assert figures.pictures == 1 and not figures.open
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 10_000
