"""Surveyed horizons as panoramas."""

import json
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import BadData, NoInput, UsageError
from toolkit.geo.horizon_file import WIDTH, horizon_panorama, read_horizon
from toolkit.geo.panorama import contour_polylines
from toolkit.geo.terrain import GEOD
from toolkit.geo.view import view_from

EYE = (45.0, 7.0, 100.0)


def ring(azimuths: np.ndarray, distances: np.ndarray, heights: np.ndarray) -> list[list[float]]:
    """Coordinates of a line at these azimuths and distances from the eye."""
    same = np.ones(len(azimuths))
    longitude, latitude, _ = GEOD.fwd(EYE[1] * same, EYE[0] * same, azimuths, distances)
    return np.stack([longitude, latitude, heights], axis=1).tolist()


def write(path: Path, *lines: list[list[float]]) -> str:
    path.write_text(json.dumps({"type": "MultiLineString", "coordinates": lines}))
    return str(path)


def test_elevations_are_those_of_points_over_a_round_earth(tmp_path: Path) -> None:
    """Without refraction, against directions in space computed from geocentric coordinates."""
    import pyproj

    azimuth = np.arange(300.0, 420.0, 0.1)
    distance = 40e3 + 20e3 * np.sin(np.radians(3 * azimuth))
    height = 2000 + 500 * np.cos(np.radians(7 * azimuth))
    coordinates = np.array(ring(azimuth, distance, height))
    view = horizon_panorama(write(tmp_path / "h.geojson", coordinates.tolist()), *EYE, refraction=0.0)
    lines = contour_polylines(view)
    assert len(lines.first) == 2 and len(lines.points) == pytest.approx(120 * WIDTH / 360, abs=10)  # across north too
    ecef = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    eye = np.array(ecef.transform(EYE[1], EYE[0], EYE[2]))
    north, east = np.radians(EYE[:2])
    up = np.array([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
    line = np.stack(ecef.transform(*coordinates.T), axis=1) - eye
    elevation = np.degrees(np.arcsin((line @ up) / np.linalg.norm(line, axis=1)))
    found = np.degrees(np.arcsin(lines.points[:, 2]))
    at = np.degrees(np.arctan2(lines.points[:, 0], lines.points[:, 1])) % 360.0
    expected = np.interp(np.where(at < 180, at + 360, at), azimuth, elevation)
    assert np.abs(found - expected).max() < 0.003
    assert (lines.skyline == 1).all()
    np.testing.assert_allclose(lines.distance, np.interp(np.where(at < 180, at + 360, at), azimuth, distance), rtol=1e-3)


def test_refraction_lifts_what_is_far(tmp_path: Path) -> None:
    azimuth = np.arange(80.0, 100.0, 0.1)
    path = write(tmp_path / "h.geojson", ring(azimuth, np.full(200, 50e3), np.full(200, 100.0)))
    low, high = (horizon_panorama(path, *EYE, refraction=k).contours.elevation.mean() for k in (0.0, 0.13))
    assert high - low == pytest.approx(np.degrees(0.13 * 50e3 / (2 * 6371e3)), rel=0.01)


def test_the_highest_line_is_the_horizon_and_leaps_are_no_walls(tmp_path: Path) -> None:
    azimuth = np.arange(80.0, 100.0, 0.1)
    far, near = ring(azimuth, np.full(200, 50e3), np.full(200, 3000.0)), ring(azimuth[:100], np.full(100, 5e3), np.full(100, 250.0))
    leap = ring(np.array([99.95, 100.4]), np.array([5e3, 50e3]), np.array([150.0, 3000.0]))
    view = horizon_panorama(write(tmp_path / "h.geojson", near, far, leap), *EYE)
    azimuths = (view.contours.column + 0.5) * 360 / WIDTH
    assert (view.contours.near[azimuths < 89.8] > 49e3).all()
    assert azimuths.max() < 100.0 and len(set(view.contours.column)) == len(view.contours.column)
    assert view.distance is not None and np.isfinite(view.distance).sum() == len(view.contours.column)


def test_the_eye_beside_a_horizon_must_be_known(tmp_path: Path) -> None:
    path = write(tmp_path / "h.geojson", [[7.1, 45.0, 900.0], [7.1, 45.1, 900.0]])
    with pytest.raises(UsageError, match="HEIGHT"):
        view_from([path], 45.0, 7.0, None, range_m=1e5, refraction=0.13)
    with pytest.raises(BadData, match="own position"):
        horizon_panorama(path, 45.0, 7.1, 100.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no JSON"),
        ("[1, 2]", "no LineString"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null}]}', "no LineString"),
        ('{"type": "LineString", "coordinates": [[7, 45], [7, 46]]}', "line 1"),
        ('{"type": "LineString", "coordinates": [[7, 45, "high"], [7, 46, 3]]}', "line 1"),
        ('{"type": "LineString", "coordinates": [[400000, 5000000, 3], [400001, 5000000, 3]]}', "not in degrees"),
    ],
)
def test_what_is_no_horizon_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "h.geojson"
    path.write_text(text)
    with pytest.raises(BadData, match=problem):
        read_horizon(str(path))


def test_a_horizon_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoInput):
        read_horizon(str(tmp_path / "h.geojson"))


def test_a_horizon_below_the_eye_is_suspicious(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A height in feet."""
    azimuth = np.arange(80.0, 100.0, 0.1)
    path = write(tmp_path / "h.geojson", ring(azimuth, np.full(200, 20e3), np.full(200, 1500.0)))
    horizon_panorama(path, EYE[0], EYE[1], 1000.0)
    assert not caplog.records
    horizon_panorama(path, EYE[0], EYE[1], 3281.0)
    assert "below the eye" in caplog.text
