"""What makes a contour count: cells, haze, shores."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.geo.terrains import EYE, write_dem
from toolkit.geo.contours import ContourParameters, contour_polylines, contour_segments, shores
from toolkit.geo.panorama import Contours, Panorama, render_panorama
from toolkit.geo.terrain import read_terrain
from toolkit.geo.view import view_from

WIDTH = 720


def rings(*ridges: tuple[float, float, float], **parameters: object) -> Panorama:
    """Ridges all around: elevation in degrees, near and far in metres, from the nearest to the farthest."""
    column = np.repeat(np.arange(WIDTH, dtype=np.int32), len(ridges))
    elevation, near, far = (np.tile(np.array(values, np.float32), WIDTH) for values in zip(*ridges, strict=True))
    contours = Contours(column, elevation, near, far)
    return Panorama(46.0, 8.0, 0.0, (-10.0, 10.0), "angle", WIDTH, 40, None, contours, parameters)


def strengths(view: Panorama, parameters: ContourParameters | None = None) -> dict[float, float]:
    """The strength of each ridge by its distance; each is one line."""
    lines = contour_polylines(view, parameters or ContourParameters())
    assert lines.distance is not None
    assert all(np.ptp(lines.strength[lines.distance == ridge]) < 1e-6 for ridge in np.unique(lines.distance))
    return {float(ridge): float(lines.strength[lines.distance == ridge][0]) for ridge in np.unique(lines.distance)}


def test_ridges_within_a_few_cells_count_little_and_far_ones_as_before() -> None:
    cells = [{"cell_m": 100.0, "to_m": 40e3}, {"cell_m": 200.0, "to_m": 80e3}]
    found = strengths(rings((-5, 100, 1e5), (-3, 800, 1e6), (-1, 8e3, np.inf), steps=cells))
    assert found[100.0] < 0.001
    assert found[800.0] == pytest.approx(0.5, abs=0.001)
    assert found[8000.0] == pytest.approx(1.0, abs=2e-4)
    assert strengths(rings((-5, 100, 1e5), (-1, 8e3, np.inf)))[100.0] == pytest.approx(0.999), "a survey has no cells"


def test_coarser_cells_far_away_are_taken_as_they_are() -> None:
    cells = [{"cell_m": 10.0, "to_m": 1000.0}, {"cell_m": 1000.0, "to_m": 80e3}]
    found = strengths(rings((-3, 900, np.inf), steps=cells)) | strengths(rings((-3, 8000, np.inf), steps=cells))
    assert found[900.0] == pytest.approx(1.0, abs=1e-4) and found[8000.0] == pytest.approx(0.5, abs=1e-4)


def test_haze_hides_what_is_beyond_the_visibility_and_makes_sky_of_what_fades() -> None:
    ridges = (-3, 5e3, 10e3), (-1, 15e3, 80e3), (1, 80e3, np.inf)
    clear, hazy = contour_polylines(rings(*ridges)), contour_polylines(rings(*ridges, visibility_m=20e3))
    assert set(clear.skyline) == {0.0, 1.0} and set(np.unique(clear.distance)) == {5e3, 15e3, 80e3}
    assert set(np.unique(hazy.distance)) == {5e3, 15e3}, "at 80 km nothing is left to be seen"
    assert hazy.skyline[hazy.distance == 15e3] == pytest.approx(1.0, abs=1e-5), "what lies behind has gone"
    assert hazy.skyline[hazy.distance == 5e3] == pytest.approx(1.0 - 0.02**0.5)
    found = strengths(rings(*ridges, visibility_m=20e3))
    # Koschmieder: 0.02^(5/20) = 0.376 and 0.02^(10/20) = 0.141 of contrast are left at 5 and 10 km, 0.0532 at 15 km.
    assert found[5e3] == pytest.approx((1 - 0.5 * 0.1414 / 0.3761) * 0.3761 / 0.4261 * 1.05, rel=1e-3)
    assert found[15e3] == pytest.approx(0.0532 / 0.1032 * 1.05, rel=1e-3)


def test_segments_and_lines_are_weighed_alike() -> None:
    view = rings((-3, 900, 4e3), (1, 5e3, np.inf), steps=[{"cell_m": 100.0, "to_m": 40e3}], visibility_m=30e3)
    segments, lines = contour_segments(view), contour_polylines(view)
    assert sorted(np.unique(segments.strength.round(9))) == pytest.approx(sorted(np.unique(lines.strength.round(9))))


@pytest.fixture(scope="module")
def coast(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eye on a hill 300 m high over the sea. North: a bank 8 m high, 3 km away, and water behind it; east: an ice cliff, a level surface
    60 m high that ends 3 km away; south: a hill of 250 m before the water. Behind the water, 7 km away all around, a mountain ridge.
    """

    def height(east: np.ndarray, north: np.ndarray) -> np.ndarray:
        distance, azimuth = np.hypot(east, north), np.degrees(np.arctan2(east, north))
        bump = np.exp(-(((distance - 3000) / 150) ** 2))
        land = 300 * np.exp(-((distance / 300) ** 2)) + 600 * np.exp(-(((distance - 7000) / 600) ** 2))
        land = np.where(np.abs(azimuth) < 45, land + 8 * bump, land)
        land = np.where(np.abs(azimuth - 90) < 45, np.maximum(land, np.where((distance > 900) & (distance < 3000), 60.0, 0.0)), land)
        return np.asarray(np.where(np.abs(azimuth) > 135, land + 250 * bump, land))

    return str(write_dem(tmp_path_factory.mktemp("coast") / "coast.tif", height, 9e3, 20))


def test_shores_and_fronts_of_ice_are_left_out_and_hills_over_water_stay(coast: str) -> None:
    view = render_panorama(read_terrain([coast], *EYE, 8e3), *EYE, None, range_m=8e3, width=4096, elevations=(-20, 20))

    def ridges(azimuth: float, panorama: Panorama = view) -> set[int]:
        """Kilometres of the ridges in a sector."""
        contours = panorama.contours
        off = (contours.column + 0.5) * 360 / panorama.width - azimuth
        seen = (np.abs((off + 180) % 360 - 180) < 35) & (contours.far > 1.01 * contours.near) & (contours.near > 1500)
        return set(np.round(contours.near[seen] / 1000).astype(int))

    assert ridges(0) == {7} and ridges(90) == {7}, "the bank and the cliff are gone, the skyline is not"
    assert ridges(180) == {3, 7} or ridges(180) == {3}
    assert not shores(view).any(), "nothing is left to be left out"
    hidden = replace(view, distance=None)
    with pytest.raises(ValueError, match="distances"):
        shores(hidden)


def test_the_visibility_goes_with_the_view(coast: str) -> None:
    view = view_from([coast], *EYE, None, range_m=8e3, refraction=0.13, visibility_m=5e3, width=WIDTH)
    assert view.parameters["visibility_m"] == 5e3
    lines = contour_polylines(view)
    assert lines.distance is not None and lines.distance.max() < 5e3 < view.contours.near.max()
