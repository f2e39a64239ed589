import csv
import subprocess
import sys

import numpy as np
import pytest

from tests.unit.geo.terrains import write_dem


def hilltops(east, north):
    tops = [(0, 3000, 900), (2500, 0, 700), (-2500, -2500, 800)]
    return np.max([top * np.exp(-((east - x) ** 2 + (north - y) ** 2) / 4e5) for x, y, top in tops], axis=0)


def test_each_summit_gets_a_name(tmp_path, root):
    dem, table = write_dem(tmp_path / "dem.tif", hilltops, 5e3, 30, crs="EPSG:4326"), tmp_path / "peaks.csv"
    for _ in range(2):  # the same names each time
        before = table.read_text() if table.exists() else None
        script = [sys.executable, root / "examples/demo/invent_peaks.py", dem, "-o", table]
        subprocess.run(script, check=True, env={"PYTHONPATH": str(root)})
        assert before in (None, table.read_text())
    rows = list(csv.DictReader(table.open(newline="")))
    named = [row for row in rows if row["height"] and float(row["height"]) > 500]
    assert rows[0]["name"] == "Alder Knob" and float(rows[0]["height"]) == pytest.approx(900, abs=2)
    assert [float(row["height"]) for row in named] == pytest.approx([900, 700], abs=2)  # every second has no height
    east, north = (float(rows[2]["lon"]) - 8.2) * 77_400, (float(rows[2]["lat"]) - 46.0) * 111_150
    assert np.hypot(east - 2500, north) < 60
    assert len({row["name"] for row in rows}) == len(rows)
