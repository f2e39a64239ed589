"""What is visible along rays from one point: marching out, a sample is seen when it rises above all before it.

With s = d / Re the angle at the Earth's centre, Re = R / (1 - k) the radius that refraction k straightens the rays to, and
heights h and h0 of ground and eye, the elevation angle e of a sample at distance d is exactly

    tan e = (cos s - 1) / sin s + (h - h0) / ((Re + h) sin s).

Two engines give the same result: numpy here, numba in `toolkit.geo.sweep_numba`. Both work on blocks of columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Leg:
    """A stretch of all rays that reads one grid.

    `heights`: float32, shape (rows, columns), NaN unseen. `distances`: float64, shape (steps,), metres, increasing, not 0.
    `columns`, `rows`: float64, shape (degree + 1, rays): polynomials in d / `unit`, constant first, that give the position on
    the grid, whole numbers at cell centres; they stay at least one cell inside.
    """

    heights: np.ndarray
    distances: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    unit: float


@dataclass(frozen=True)
class View:
    """The eye and the image: eye `height` and effective Earth `radius` in metres; rows of equal steps of elevation.

    Row r looks at `top` - (r + 0.5) `step` degrees.
    """

    height: float
    radius: float
    top: float
    step: float
    rows: int


def sweep_block(legs: list[Leg], block: slice, view: View) -> tuple[np.ndarray, np.ndarray]:
    """March the rays of `block` through all `legs`.

    Returns the distances in metres, float32, shape (rays, view.rows), NaN where the sky or nothing is seen; and the
    occluding contours, float64, shape (points, 4): ray, elevation in degrees, near and far distance in metres, sorted by ray and
    distance. A contour point is where the last sample of a visible stretch is followed by hidden ground; `far` is
    where the line of sight over it meets the ground again, infinite when it does not. Where data are missing right behind a
    visible sample nothing is known about a contour, and none is given.
    """
    distances = np.concatenate([leg.distances for leg in legs])
    tangents = np.concatenate([_tangents(leg, block, view) for leg in legs])
    highest = np.maximum.accumulate(tangents, axis=0)
    before = np.empty_like(highest)
    before[0] = -np.inf
    before[1:] = highest[:-1]
    rays, steps = np.nonzero((tangents > before).T)  # sorted by ray, then by distance
    seen = tangents[steps, rays]
    previous = np.maximum(steps - 1, 0)
    # The stretch of ground that ends at each visible sample, as z = tan e * d, linear in d between its two samples.
    tangent_0, tangent_1 = tangents[previous, rays], seen
    d_0, d_1 = distances[previous], distances[steps]
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (tangent_1 * d_1 - tangent_0 * d_0) / (d_1 - d_0)
        intercept = tangent_0 * d_0 - slope * d_0
    known = np.isfinite(slope)
    first_of_ray = np.empty(len(rays), bool)
    first_of_ray[:1] = True
    first_of_ray[1:] = rays[1:] != rays[:-1]

    top_row = np.clip(np.ceil((view.top - np.degrees(np.arctan(seen))) / view.step - 0.5), 0, view.rows).astype(np.int64)
    end_row = np.concatenate([[view.rows], top_row[:-1]])
    end_row[first_of_ray] = view.rows
    image = _fill(len(tangents[0]), rays, top_row, np.where(known, end_row, top_row), slope, intercept, d_0, d_1, view)

    # Contours: a visible sample whose successor is known and hidden.
    after = np.minimum(steps + 1, len(distances) - 1)
    tangent_2, d_2 = tangents[after, rays], distances[after]
    last = (steps + 1 < len(distances)) & np.isfinite(tangent_2) & (tangent_2 <= seen)
    at = np.nonzero(last)[0]
    peak, near = _parabola_top(tangent_0[at], seen[at], tangent_2[at], d_0[at], d_1[at], d_2[at])
    following = np.minimum(at + 1, len(rays) - 1)
    lands = (at + 1 < len(rays)) & (rays[following] == rays[at])
    with np.errstate(invalid="ignore", divide="ignore"):
        far = intercept[following] / (peak - slope[following])
    far = np.where(known[following] & np.isfinite(far), np.clip(far, d_0[following], d_1[following]), d_1[following])
    far = np.where(lands, far, np.inf)
    return image, np.stack([rays[at] + float(block.start), np.degrees(np.arctan(peak)), near, far], axis=1)


def _tangents(leg: Leg, block: slice, view: View) -> np.ndarray:
    """tan e of a leg's samples, float64, shape (steps, rays); -inf where no height is known."""
    powers = (leg.distances / leg.unit)[:, None] ** np.arange(len(leg.columns))
    x, y = powers @ leg.columns[:, block], powers @ leg.rows[:, block]
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    width = leg.heights.shape[1]
    row *= width
    row += column
    flat = leg.heights.reshape(-1)
    upper, lower = flat.take(row), flat[width:].take(row)
    upper = upper + x * (flat[1:].take(row) - upper)
    lower = lower + x * (flat[width + 1 :].take(row) - lower)
    lower -= upper
    lower *= y
    lower += upper  # the height, bilinear
    angle = leg.distances / view.radius
    upper = lower - view.height
    lower += view.radius
    upper /= lower
    upper *= (1.0 / np.sin(angle))[:, None]
    upper -= np.tan(angle / 2.0)[:, None]
    np.copyto(upper, -np.inf, where=np.isnan(upper))
    return upper


def _fill(
    columns: int,
    rays: np.ndarray,
    top: np.ndarray,
    end: np.ndarray,
    slope: np.ndarray,
    intercept: np.ndarray,
    d_0: np.ndarray,
    d_1: np.ndarray,
    view: View,
) -> np.ndarray:
    """Where each row's line of sight meets the stretch that it falls on: rows `top` to `end` - 1 belong to each stretch."""
    image = np.full((columns, view.rows), np.nan, np.float32)
    counts = end - top
    shown = np.nonzero(counts > 0)[0]
    counts = counts[shown]
    stretch = np.repeat(shown, counts)
    row = np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts - top[shown], counts)
    tangent = np.tan(np.radians(view.top - (np.arange(view.rows) + 0.5) * view.step))
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = intercept[stretch] / (tangent[row] - slope[stretch])
    image[rays[stretch], row] = np.clip(distance, d_0[stretch], d_1[stretch])
    return image


def _parabola_top(
    f_0: np.ndarray, f_1: np.ndarray, f_2: np.ndarray, d_0: np.ndarray, d_1: np.ndarray, d_2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Value and place of the top of the parabolas through three samples of which the middle one is the highest.

    A ridge between two samples would otherwise be cut by up to half a step. On fractal ground in cells of 30 m the skyline's
    error falls from 0.86 to 0.66 m (root mean square, against samples eight times as close); the edge of a plateau comes out too
    high, by at most an eighth of the drop of one cell. Without a first sample (-inf) or curvature the middle sample stands.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        rise, fall = (f_1 - f_0) / (d_1 - d_0), (f_2 - f_1) / (d_2 - d_1)
        bend = (fall - rise) / (d_2 - d_0)
        gradient = rise + bend * (d_1 - d_0)
        shift = -gradient / (2.0 * bend)
    good = np.isfinite(shift) & (bend < 0) & (np.abs(shift) <= np.maximum(d_2 - d_1, d_1 - d_0))
    shift = np.where(good, shift, 0.0)
    return f_1 + np.where(good, 0.5 * gradient, 0.0) * shift, d_1 + shift
