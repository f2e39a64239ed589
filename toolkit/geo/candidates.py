"""From a correlation stream to a short list of camera poses: local maxima, refined below the cell, none close to a better one."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

import numpy as np

from toolkit.core.errors import BadData
from toolkit.geo.block import Block
from toolkit.geo.pose import Pose, angle_between, rotation_matrix

_MOST_MAXIMA = 100_000  # the highest local maxima that suppression looks at; bounds the memory at 12 MB
_SPOOL_BYTES = 64 << 20


@dataclass(frozen=True)
class Candidate:
    """A camera pose that the correlation proposes; angles in degrees."""

    rank: int
    yaw: float
    pitch: float
    roll: float
    score: float

    @property
    def pose(self) -> Pose:
        """Its angles."""
        return Pose(self.yaw, self.pitch, self.roll)


@dataclass(frozen=True)
class Quality:
    """How well a block knows the truth (the seed experiment's figure).

    `false_candidates`: cells scoring above the best cell within `tolerance` degrees of the truth; `false_ratio`: their share of
    `cells`; `rank_of_truth`: rank of the first candidate within the tolerance, None when none is. `tolerance`: degrees.
    `bandwidth`: of the block's raster, None when it is a single cell.
    """

    false_candidates: int
    cells: int
    false_ratio: float
    rank_of_truth: int | None
    tolerance: float
    bandwidth: int | None


def rank_candidates(
    block: Block, top: int = 10, separation: float = 3.0, truth: Pose | None = None, tolerance: float = 2.5
) -> tuple[list[Candidate], Quality | None]:
    """The `top` best local maxima of a block, best first, no two closer than `separation` degrees of rotation.

    A local maximum is not lower than any of its 26 neighbours in the block (yaw and roll go around where the block does).
    Angles and score are those of the summit of a quadratic form fitted to the 27 cells. With a `truth` also the block's quality.
    The score that counts for that is known only when the truth's neighbourhood, within `tolerance` degrees, has gone by; the
    scores wait meanwhile in memory and, beyond 64 MB, in an unnamed temporary file.
    """
    if truth is None:
        return best_apart(block_maxima(block), block, top, separation), None
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        best = [-np.inf]
        found = best_apart(_maxima_of(block, _watch(block, truth, tolerance, spool, best)), block, top, separation)
        spool.seek(0)
        above = 0
        while piece := spool.read(1 << 24):
            above += int(np.count_nonzero(np.frombuffer(piece, np.float32) > best[0]))
    cells = len(block.yaw) * len(block.pitch) * len(block.roll)
    near = [c.rank for c in found if angle_between(c.pose.matrix, truth.matrix) <= tolerance]
    return found, Quality(above, cells, above / cells, near[0] if near else None, tolerance, block.bandwidth)


def read_candidates(stream: BinaryIO, place: str) -> list[Candidate]:
    """Read a list of poses, one JSON object with yaw, pitch and roll, degrees, a line; score is 0 where there is none, ranks are counted.

    `place` names the stream in messages. Raises BadData for a line that is no pose, and when there is none.
    """
    found: list[Candidate] = []
    for number, line in enumerate(stream, 1):
        if line.isspace():
            continue
        try:
            entry = {"score": 0.0} | json.loads(line)
            yaw, pitch, roll, score = (float(entry[name]) for name in ("yaw", "pitch", "roll", "score"))
        except (ValueError, TypeError, KeyError) as error:
            remedy = 'lines are {"yaw": DEG, "pitch": DEG, "roll": DEG, "score": NUMBER}'
            raise BadData(place, f"has no pose in line {number}", remedy) from error
        if not np.isfinite([yaw, pitch, roll, score]).all() or abs(pitch) > 90.0:
            raise BadData(place, f"has angles in line {number} that no camera has", "yaw is 0 to 360, pitch -90 to 90, roll -180 to 180")
        found.append(Candidate(len(found) + 1, yaw % 360.0, pitch, roll, score))
    if not found:
        raise BadData(place, "lists no pose", "make it with rank-candidates or locate --coarse")
    return found


def block_maxima(block: Block) -> Maxima:
    """The highest local maxima of a block, which is used up."""
    return _maxima_of(block, block.slices)


def _maxima_of(block: Block, slices: Iterator[np.ndarray]) -> Maxima:
    maxima = Maxima()
    for pitch, (before, here, after) in enumerate(_neighbours(slices)):
        maxima.add(pitch, before, here, after, goes_around(block.yaw), goes_around(block.roll))
    return maxima


def _watch(block: Block, truth: Pose, tolerance: float, spool: IO[bytes], best: list[float]) -> Iterator[np.ndarray]:
    for pitch, scores in zip(block.pitch, block.slices, strict=True):
        if abs(pitch - truth.pitch) <= tolerance:  # a rotation by less cannot move the optical axis farther
            near = angle_between(rotation_matrix(block.yaw[:, None], pitch, block.roll), truth.matrix) <= tolerance
            if near.any():
                best[0] = max(best[0], float(scores[near].max()))
        spool.write(np.ascontiguousarray(scores, np.float32).data)
        yield scores


def _neighbours(slices: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray | None, np.ndarray, np.ndarray | None]]:
    held: deque[np.ndarray | None] = deque([None, None], 3)
    for scores in itertools.chain((s.copy() for s in slices), [None]):
        held.append(scores)
        if held[1] is not None:
            yield held[0], held[1], held[2]


def goes_around(axis: np.ndarray) -> bool:
    """Whether an axis of cells, degrees, closes to a ring."""
    return len(axis) > 2 and bool(np.isclose(axis[-1] - axis[0] + axis[1] - axis[0], 360.0))


class Maxima:
    """The highest local maxima seen so far.

    `cells`: their places [pitch, yaw, roll] in the block, int32, shape (M, 3). `around`: the scores of each and its 26 neighbours, NaN
    outside the block, float32, shape (M, 3, 3, 3).
    """

    def __init__(self, cells: np.ndarray | None = None, around: np.ndarray | None = None) -> None:
        self.cells = np.empty((0, 3), np.int32) if cells is None else cells
        self.around = np.empty((0, 3, 3, 3), np.float32) if around is None else around
        self.floor = -np.inf

    def add(
        self, pitch: int, before: np.ndarray | None, here: np.ndarray, after: np.ndarray | None, yaw_around: bool, roll_around: bool
    ) -> None:
        highest = _highest_around(here, yaw_around, roll_around)
        candidate = (here >= highest) & (here > self.floor)
        for other in (before, after):
            if other is not None and candidate.any():
                candidate &= here >= _highest_around(other, yaw_around, roll_around)
        yaw, roll = np.nonzero(candidate)
        if not len(yaw):
            return
        missing = np.full_like(here, np.nan)
        layers = [missing if other is None else other for other in (before, here, after)]
        around = np.stack([_window_of(layer, yaw, roll, yaw_around, roll_around) for layer in layers], axis=1)
        self.cells = np.concatenate([self.cells, np.stack([np.full_like(yaw, pitch), yaw, roll], 1).astype(np.int32)])
        self.around = np.concatenate([self.around, around])
        if len(self.cells) > 2 * _MOST_MAXIMA:
            keep = np.argpartition(self.around[:, 1, 1, 1], -_MOST_MAXIMA)[-_MOST_MAXIMA:]
            self.cells, self.around = self.cells[keep], self.around[keep]
            self.floor = self.around[:, 1, 1, 1].min()


def _highest_around(scores: np.ndarray, yaw_around: bool, roll_around: bool) -> np.ndarray:
    """The highest of each cell and its eight neighbours within one pitch."""
    for axis, around in ((0, yaw_around), (1, roll_around)):
        padded = np.concatenate([scores.take([-1], axis), scores, scores.take([0], axis)], axis) if around else _pad(scores, axis)
        length = scores.shape[axis]
        left, middle, right = (padded.take(range(start, start + length), axis) for start in range(3))
        scores = np.maximum(np.maximum(left, middle), right)
    return scores


def _pad(scores: np.ndarray, axis: int) -> np.ndarray:
    width = [(0, 0), (0, 0)]
    width[axis] = (1, 1)
    return np.pad(scores, width, constant_values=-np.inf)


def _window_of(layer: np.ndarray, yaw: np.ndarray, roll: np.ndarray, yaw_around: bool, roll_around: bool) -> np.ndarray:
    """The 3 x 3 scores around each cell, NaN outside the block: float32, shape (cells, 3, 3)."""
    rows, columns = yaw[:, None, None] + np.arange(-1, 2)[:, None], roll[:, None, None] + np.arange(-1, 2)
    inside = (yaw_around | (rows >= 0) & (rows < layer.shape[0])) & (roll_around | (columns >= 0) & (columns < layer.shape[1]))
    return np.where(inside, layer[rows % layer.shape[0], columns % layer.shape[1]], np.nan)


def best_apart(maxima: Maxima, block: Block, top: int, separation: float) -> list[Candidate]:
    """The `top` best that are `separation` degrees apart, refined below the cell, best first; of the block only the axes are used."""
    chosen = apart(maxima, block, top, separation)
    return ranked(refined(block, maxima.cells[chosen], maxima.around[chosen]))


def ranked(found: list[tuple[float, float, float, float]]) -> list[Candidate]:
    """Best first; each of yaw, pitch, roll and score."""
    return [Candidate(rank, *entry) for rank, entry in enumerate(sorted(found, key=lambda entry: -entry[3]), 1)]


def apart(maxima: Maxima, block: Block, top: int, separation: float) -> list[int]:
    """Take the best, strike out what is nearer to it than `separation`, and so on: the places of those taken."""
    best_first = np.argsort(-maxima.around[:, 1, 1, 1], kind="stable")
    cells = maxima.cells[best_first]
    rotations = rotation_matrix(block.yaw[cells[:, 1]], block.pitch[cells[:, 0]], block.roll[cells[:, 2]])
    alive = np.ones(len(cells), bool)
    found: list[int] = []
    while len(found) < top and alive.any():
        chosen = int(np.argmax(alive))
        found.append(int(best_first[chosen]))
        alive &= angle_between(rotations, rotations[chosen]) >= separation
        alive[chosen] = False
    return found


_OFFSETS = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), -1).reshape(27, 3)
_PRODUCTS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
_DESIGN = np.column_stack([np.ones(27), _OFFSETS, *(_OFFSETS[:, a] * _OFFSETS[:, b] for a, b in _PRODUCTS)])
_FIT = np.round(108.0 * np.linalg.pinv(_DESIGN)) / 108.0  # all are such fractions: a symmetric summit stays on its cell


def refined(block: Block, cells: np.ndarray, around: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Yaw, pitch, roll, degrees, and score of the summits near `cells` (n, 3), [pitch, yaw, roll].

    `around`: the scores there, shape (n, 3, 3, 3), NaN outside the block.
    """
    offset, score = _summits(around.astype(np.float64))
    pitch, yaw, roll = (
        axis[cells[:, number]] + offset[:, number] * ((axis[1] - axis[0]) if len(axis) > 1 else 0.0)
        for number, axis in enumerate((block.pitch, block.yaw, block.roll))
    )
    angles = yaw % 360.0, np.clip(pitch, -90.0, 90.0), (roll + 180.0) % 360.0 - 180.0
    return list(zip(*(values.tolist() for values in (*angles, score)), strict=True))


def _summits(around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets in cells (n, 3), each within one cell, and heights (n,) of the summits of least-squares quadratic forms through 27 cells.

    At the block's edge, or where the form has no summit, each axis with both neighbours gets its own parabola.
    """
    centre = around[:, 1, 1, 1]
    offset, height = np.zeros((len(around), 3)), centre.copy()
    for axis in range(3):
        lower, upper = (around[:, *(1 + step * (np.arange(3) == axis))] for step in (-1, 1))
        curvature = lower - 2.0 * centre + upper
        bent = np.isfinite(curvature) & (curvature < 0)
        step = np.clip((lower - upper)[bent] / (2.0 * curvature[bent]), -0.5, 0.5)
        offset[bent, axis] = step
        height[bent] += (upper - lower)[bent] * step / 2.0 + curvature[bent] * step**2 / 2.0
    inner = np.flatnonzero(np.isfinite(around).all(axis=(1, 2, 3)))
    form = around[inner].reshape(-1, 27) @ _FIT.T
    hessian = np.zeros((len(inner), 3, 3))
    for number, (a, b) in enumerate(_PRODUCTS, 4):
        hessian[:, a, b] += form[:, number]
        hessian[:, b, a] += form[:, number]
    bent = np.linalg.eigvalsh(hessian)[:, -1] < 0
    inner, form, hessian = inner[bent], form[bent], hessian[bent]
    step = -np.linalg.solve(hessian, form[:, 1:4, None])[:, :, 0]
    near = (np.abs(step) <= 1.0).all(axis=1)
    offset[inner[near]] = step[near].round(12)  # the rest is rounding, which differs from machine to machine
    height[inner[near]] = np.maximum(form[near, 0] + (form[near, 1:4] * step[near]).sum(axis=1) / 2.0, centre[inner[near]])
    return offset, height
