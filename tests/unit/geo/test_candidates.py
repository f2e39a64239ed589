"""Local maxima of a block, their refinement, and the quality figure."""

import io

import numpy as np
import pytest

from toolkit.core.errors import BadData
from toolkit.geo.block import Block, read_block, write_block
from toolkit.geo.candidates import Candidate, rank_candidates, read_candidates
from toolkit.geo.correlation import window
from toolkit.geo.pose import Pose, angle_between, rotation_matrix

SUMMITS = [(77.3, -12.1, 6.4, 10.0), (200.0, 5.0, -170.0, 8.0), (359.5, -20.0, 0.3, 6.0), (74.0, -12.0, 6.0, 9.0)]


def hills(bandwidth: int = 32, width: float = 12.0, **limits) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Axes and scores (pitch, yaw, roll) with smooth summits at known poses."""
    axes = window(bandwidth, **limits).axes
    rotations = rotation_matrix(axes[0][:, None], axes[1][:, None, None], axes[2])
    scores = np.zeros(rotations.shape[:3])
    for yaw, pitch, roll, height in SUMMITS:
        scores = np.maximum(scores, height * np.exp(-((angle_between(rotations, rotation_matrix(yaw, pitch, roll)) / width) ** 2)))
    return axes, scores.astype(np.float32)


def as_block(axes, scores) -> Block:
    return Block(*axes, iter(scores))


def test_summits_are_found_below_the_cell_and_in_order():
    found, _ = rank_candidates(as_block(*hills()), top=3, separation=8.0)
    assert [candidate.rank for candidate in found] == [1, 2, 3]
    for candidate, (yaw, pitch, roll, height) in zip(found, SUMMITS, strict=False):
        error = angle_between(rotation_matrix(candidate.yaw, candidate.pitch, candidate.roll), rotation_matrix(yaw, pitch, roll))
        assert error < 1.0  # cells are 5.6 degrees
        assert candidate.score == pytest.approx(height, rel=0.1)
        assert 0 <= candidate.yaw < 360
        assert -180 <= candidate.roll < 180


def test_no_two_are_closer_than_the_separation():
    found, _ = rank_candidates(as_block(*hills(64, 1.5)), top=50, separation=6.0)
    rotations = rotation_matrix(*(np.array([getattr(c, name) for c in found]) for name in ("yaw", "pitch", "roll")))
    distances = angle_between(rotations[:, None], rotations) + 1000 * np.eye(len(found))
    assert distances.min() > 6.0 - 180 / 64  # the separation is between cells, refinement moves each by less than one
    assert sum(abs(c.yaw - 75) < 5 and c.score > 5 for c in found) == 1


def test_a_summit_on_the_seam_is_one_summit():
    axes, scores = hills(yaw=None)
    near_north = [c for c in rank_candidates(as_block(axes, scores), top=10)[0] if min(c.yaw, 360 - c.yaw) < 5 and c.score > 3]
    assert len(near_north) == 1


def test_a_block_of_one_cell_is_its_own_summit():
    cell = Block(np.array([10.0]), np.array([5.0]), np.array([-3.0]), iter([np.array([[7.0]], np.float32)]))
    ((candidate,), _) = rank_candidates(cell)
    assert (candidate.yaw, candidate.pitch, candidate.roll, candidate.score) == (10.0, 5.0, -3.0, 7.0)


@pytest.mark.parametrize("spool_bytes", [64, 64 << 20])
def test_quality_is_what_counting_gives(monkeypatch, spool_bytes):
    monkeypatch.setattr("toolkit.geo.candidates._SPOOL_BYTES", spool_bytes)
    axes, scores = hills()
    truth = Pose(200.0, 5.0, -170.0)
    _, quality = rank_candidates(as_block(axes, scores), truth=truth, tolerance=6.0)
    rotations = rotation_matrix(axes[0][:, None], axes[1][:, None, None], axes[2])
    near = angle_between(rotations, truth.matrix) <= 6.0
    expected = int((scores > scores[near].max()).sum())
    assert expected > 0
    assert (quality.false_candidates, quality.cells, quality.rank_of_truth) == (expected, scores.size, 2)
    assert quality.false_ratio == expected / scores.size
    assert quality.bandwidth == 32


@pytest.mark.parametrize("bandwidth", [8, 32, 500])
@pytest.mark.parametrize("lost", [[], ["yaw"], ["yaw", "roll"]])
def test_the_bandwidth_of_a_window_is_that_of_its_raster(bandwidth, lost):
    cells = window(bandwidth, (150.0, 210.0), (-40.0, 40.0), (-40.0, 40.0))
    yaw, pitch, roll = (axis[:1] if name in lost else axis for name, axis in zip(("yaw", "pitch", "roll"), cells.axes, strict=True))
    assert Block(yaw, pitch, roll, iter(())).bandwidth == bandwidth


def test_a_single_cell_has_no_bandwidth():
    one = np.zeros(1)
    assert Block(one, one, one, iter(())).bandwidth is None


def test_a_truth_outside_the_block_has_no_rank_and_all_cells_above():
    axes, scores = hills(pitch=(-30, 30))
    _, quality = rank_candidates(as_block(axes, scores), truth=Pose(10.0, 80.0, 0.0))
    assert quality.rank_of_truth is None
    assert quality.false_candidates == quality.cells


def written(axes, scores) -> bytes:
    stream = io.BytesIO()
    write_block(stream, *axes, scores)
    return stream.getvalue()


def test_the_stream_is_four_plain_arrays():
    axes, scores = hills(8)
    stream = io.BytesIO(written(axes, scores))
    loaded = [np.load(stream) for _ in range(4)]
    for axis, expected in zip(loaded, axes, strict=False):
        assert axis.dtype == np.float64
        assert np.array_equal(axis, expected)
    assert loaded[3].dtype == np.float32
    assert np.array_equal(loaded[3], scores)
    block = read_block(io.BytesIO(written(axes, scores)), "x")
    assert np.array_equal(np.stack(list(block.slices)), scores)


@pytest.mark.parametrize("kept", [0, 5, 200, 1000, -1])
def test_a_stream_cut_short_is_refused(kept):
    data = written(*hills(8))[:kept]
    with pytest.raises(BadData, match="cut short|too early"):
        list(read_block(io.BytesIO(data), "pipe").slices)


def test_what_is_no_block_is_refused():
    axes, scores = hills(8)
    scores[3, 4, 5] = np.nan
    with pytest.raises(BadData, match="pitch slice 3"):
        list(read_block(io.BytesIO(written(axes, scores)), "pipe").slices)
    with pytest.raises(BadData, match="yaw axis"):
        read_block(io.BytesIO(written((axes[0][::-1], *axes[1:]), scores)), "pipe")
    with pytest.raises(BadData, match="scores of shape"):
        read_block(io.BytesIO(written(axes, scores).replace(b"(16, 16, 16)", b"(16, 16, 17)")), "pipe")


def test_a_list_of_poses_is_read_as_any_command_writes_it() -> None:
    lines = b'{"rank": 7, "yaw": -10, "pitch": 3.5, "roll": 1, "verdict": "doubtful"}\n\n{"roll": 0, "yaw": 370, "pitch": -90, "score": 2}'
    found = read_candidates(io.BytesIO(lines), "list")
    assert found == [Candidate(1, 350.0, 3.5, 1.0, 0.0), Candidate(2, 10.0, -90.0, 0.0, 2.0)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "lists no pose"),
        (b"[1, 2, 3]\n", "has no pose in line 1"),
        (b'{"yaw": 1, "pitch": 2, "roll": 3}\nyaw\n', "has no pose in line 2"),
        (b'{"yaw": 1, "pitch": 2}\n', "has no pose in line 1"),
        (b'{"yaw": 1, "pitch": null, "roll": 3}\n', "has no pose in line 1"),
        (b'{"yaw": 1, "pitch": 95, "roll": 3}\n', "has angles in line 1"),
        (b'{"yaw": NaN, "pitch": 5, "roll": 3}\n', "has angles in line 1"),
        (b'\xff\xfe{"yaw"\n', "has no pose in line 1"),
    ],
)
def test_a_list_that_holds_no_pose_is_told_where(text: bytes, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        read_candidates(io.BytesIO(text), "list")
