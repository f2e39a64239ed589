"""The search from coarse to fine against the search of all cells."""

import numpy as np
import pytest

from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.core.errors import UsageError
from toolkit.geo import coarse_to_fine
from toolkit.geo.block import Block
from toolkit.geo.candidates import Candidate, rank_candidates
from toolkit.geo.coarse_to_fine import REACH, Limit, levels, neighbourhoods, search
from toolkit.geo.correlation import correlate, window
from toolkit.geo.pose import angle_between, rotation_matrix
from toolkit.geo.segments import Segments
from toolkit.geo.sphere import Coefficients, analyse, splat
from toolkit.geo.wigner import products

BANDWIDTH = 96


@pytest.fixture
def coarser(monkeypatch):
    """Levels 24, 48 and 96, which are enough for such drawings, instead of 128 and more."""
    monkeypatch.setattr(coarse_to_fine, "FIRST_BANDWIDTH", 24)


def world_and_photo(bandwidth: int, *pose: float) -> tuple[Coefficients, Coefficients]:
    """A drawing seen in that pose among others all around, which share some of its lines."""
    photo = cap_of_arcs(count=400)
    parts = [rotated(photo, rotation_matrix(*pose))]
    for number in range(6):
        other = cap_of_arcs(2 + number, 400)
        likeness = Segments(*(np.concatenate([a[:250], b[:150]]) for a, b in zip(vars(other).values(), vars(photo).values(), strict=True)))
        parts.append(rotated(likeness, rotation_matrix(pose[0] + 50 * (number + 1), 15 * (number % 3) - 10, 5 * number - 10)))
    world = sum(splat(part, bandwidth) for part in parts)
    return analyse(world, bandwidth), analyse(splat(photo, bandwidth), bandwidth)


def search_of_all(panorama, photo, limit: Limit, **options) -> list[Candidate]:
    cells = window(photo.bandwidth, limit.yaw, limit.pitch, limit.roll)
    return rank_candidates(Block(*cells.axes, correlate(panorama, photo, cells, **options)))[0]


@pytest.mark.parametrize(
    ("pose", "limit"),
    [
        ((77.0, -13.0, 7.0), Limit(None, (-45, 45), (-30, 30))),
        ((359.7, 2.0, -3.0), Limit(None, (-45, 45), (-30, 30))),
        ((0.4, -5.0, 0.0), Limit((-20, 20), (-30, 30), (-15, 15))),
        ((350.0, 10.0, 12.0), Limit((330, 410), (-30, 30), (-15, 15))),
        ((200.0, 30.0, 178.0), Limit((150, 250), (0, 45), None)),
        ((120.0, 72.0, 5.0), Limit(None, (40, 90), (-30, 30))),
        ((120.0, -68.0, -160.0), Limit(None, (-90, -45), None)),
        ((45.0, 44.6, 29.7), Limit((30, 45.2), (-45, 45), (-30, 30))),
    ],
)
def test_the_first_pose_is_that_of_all_cells(coarser, pose, limit):
    panorama, photo = world_and_photo(BANDWIDTH, *pose)
    found, expected = search(panorama, photo, limit), search_of_all(panorama, photo, limit)
    assert angle_between(expected[0].pose.matrix, rotation_matrix(*pose)) < 180 / BANDWIDTH  # a search that could go wrong elsewhere
    assert [found[0].rank, found[0].yaw, found[0].pitch, found[0].roll] == pytest.approx(
        [1, expected[0].yaw, expected[0].pitch, expected[0].roll], abs=0.002
    )
    assert found[0].score == pytest.approx(expected[0].score, rel=1e-5)
    assert [one.rank for one in found] == list(range(1, len(found) + 1))


def test_at_the_zenith_the_pose_is_the_same_rotation(coarser):
    panorama, photo = world_and_photo(BANDWIDTH, 30.0, 89.0, 10.0)
    limit = Limit(None, (60, 90), None)
    found, expected = search(panorama, photo, limit)[0], search_of_all(panorama, photo, limit)[0]
    assert angle_between(found.pose.matrix, expected.pose.matrix) < 90 / BANDWIDTH
    assert found.score > 0.97 * expected.score


def test_the_list_is_that_of_all_cells_as_long_as_its_poses_stand_out(coarser):
    panorama, photo = world_and_photo(BANDWIDTH, 77.0, -13.0, 7.0)
    limit = Limit(None, (-45, 45), (-30, 30))
    found, expected = search(panorama, photo, limit, top=7), search_of_all(panorama, photo, limit)[:7]
    for one, other in zip(found, expected, strict=True):
        assert (one.yaw, one.pitch, one.roll) == pytest.approx((other.yaw, other.pitch, other.roll), abs=0.002)
    assert len(search(panorama, photo, limit, top=1)) == 1


@pytest.mark.parametrize("spin", ["0", "both"])
def test_the_strengths_are_searched_likewise(coarser, spin):
    panorama, photo = world_and_photo(BANDWIDTH, 77.0, -13.0, 7.0)
    limit = Limit(None, (-45, 45), (-30, 30))
    options = {"spin": spin, "scalar_weight": 0.2}
    found, expected = search(panorama, photo, limit, **options)[0], search_of_all(panorama, photo, limit, **options)[0]
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((expected.yaw, expected.pitch, expected.roll), abs=0.002)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "limits", [{}, {"yaw": (-20, 20), "pitch": (-30, 60), "roll": (-15, 15)}, {"yaw": (300, 420), "roll": (150, 190)}, {"yaw": (5, 12)}]
)
def test_the_scores_around_a_cell_are_those_of_the_correlation(monkeypatch, limits, precision):
    monkeypatch.setattr(coarse_to_fine, "_TURNED_BYTES", 1 << 18)  # so that the orders come in several blocks
    bandwidth = 48
    panorama, photo = world_and_photo(bandwidth, 10.0, 20.0, 3.0)
    cells = window(bandwidth, **limits)
    scores = np.stack([row.copy() for row in correlate(panorama, photo, cells, precision=precision)])
    random = np.random.default_rng(4)
    corners = [[0, 0, 0], [size - 1 for size in cells.shape], [0, cells.shape[1] - 1, 1]]
    centres = np.concatenate([np.stack([random.integers(0, size, 12) for size in cells.shape], 1), corners])
    found = neighbourhoods(products(panorama, photo, precision=precision), cells, centres, precision)
    assert found.dtype == precision
    whole = [False, "yaw" not in limits, "roll" not in limits]
    padded = np.pad(scores, [(REACH, REACH), (0, 0), (0, 0)], constant_values=np.nan)
    for axis in (1, 2):
        width = [(REACH, REACH) if one == axis else (0, 0) for one in range(3)]
        padded = np.pad(padded, width, mode="wrap") if whole[axis] else np.pad(padded, width, constant_values=np.nan)
    expected = np.stack([padded[tuple(slice(place, place + 2 * REACH + 1) for place in centre)] for centre in centres])
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    tolerance = {"float32": 1e-5, "float64": 1e-11}[precision] * np.abs(scores).max()
    assert np.nanmax(np.abs(found - expected)) < tolerance


def test_a_search_ends_on_a_maximum_that_is_far_from_the_coarse_one():
    bandwidth = 48
    panorama, photo = world_and_photo(bandwidth, 100.0, 5.0, 2.0)
    limit = Limit(None, (-45, 45), (-30, 30))
    cells = window(bandwidth, None, limit.pitch, limit.roll)
    best = search_of_all(panorama, photo, limit)[0]
    beside = [Candidate(1, best.yaw + 2 * REACH * 180 / bandwidth, best.pitch + REACH * 90 / bandwidth, best.roll, 0.0)]
    maxima = coarse_to_fine.maxima_around(products(panorama, photo), cells, beside, top=1)
    assert np.isfinite(maxima.around[:, 1, 1, 1]).all()
    assert maxima.around[:, 1, 1, 1].max() <= best.score * (1 + 1e-5)
    for around in maxima.around:
        assert np.nanmax(around) == around[1, 1, 1]


def test_the_levels_double_from_the_first():
    assert levels(256) == [128, 256]
    assert levels(1024) == [128, 256, 512, 1024]
    assert levels(255) == [255]
    assert levels(16) == [16]
    assert levels(300) == [150, 300]


def test_low_degrees_are_those_of_the_analysis():
    sphere = splat(cap_of_arcs(), 32)
    low, whole = analyse(sphere, 16), analyse(sphere, 32)
    for name in ("scalar", "electric", "magnetic"):
        assert np.allclose(getattr(whole.below(16), name), getattr(low, name), atol=1e-9)


def test_an_interval_smaller_than_a_coarse_cell_is_searched(coarser):
    panorama, photo = world_and_photo(BANDWIDTH, 77.0, -13.0, 7.0)
    limit = Limit((76.0, 78.0), (-14.0, -12.0), (6.0, 8.5))
    found, expected = search(panorama, photo, limit), search_of_all(panorama, photo, limit)
    assert (found[0].yaw, found[0].pitch, found[0].roll) == pytest.approx((expected[0].yaw, expected[0].pitch, expected[0].roll), abs=0.002)
    with pytest.raises(UsageError, match="no cell"):
        search(panorama, photo, Limit((76.0, 76.1)))
