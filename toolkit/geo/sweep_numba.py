"""The sweep of `toolkit.geo.sweep`, compiled: one pass per ray, nothing kept but the running state. Same arguments and results."""

from __future__ import annotations

import math

import numba
import numpy as np

from toolkit.geo.sweep import Leg, View


def sweep_block(legs: list[Leg], block: slice, view: View) -> tuple[np.ndarray, np.ndarray]:
    """See `toolkit.geo.sweep.sweep_block`."""
    steps = sum(len(leg.distances) for leg in legs)
    rays = block.stop - block.start
    image = np.full((rays, view.rows), np.nan, np.float32)
    state = np.full((rays, _FIELDS), -np.inf)
    state[:, _ROW] = view.rows
    state[:, _PENDING] = -1.0
    contours = np.empty((rays, steps // 2 + 1, 3))
    counts = np.zeros(rays, np.int64)
    tangent_of_row = np.tan(np.radians(view.top - (np.arange(view.rows) + 0.5) * view.step))
    for leg in legs:
        angle = leg.distances / view.radius
        columns, rows = np.ascontiguousarray(leg.columns[:, block].T), np.ascontiguousarray(leg.rows[:, block].T)
        reduction, inverse = np.tan(angle / 2.0), 1.0 / np.sin(angle)
        scaled = leg.distances / leg.unit
        _march(
            leg.heights, leg.distances, scaled, reduction, inverse, columns, rows,
            view.height, view.radius, view.top, view.step, tangent_of_row, state, image, contours, counts,
        )  # fmt: skip
    counts += state[:, _PENDING] > 0.0  # the sky is behind these
    found = np.arange(contours.shape[1]) < counts[:, None]
    points = contours[found]
    points[:, 0] = np.degrees(np.arctan(points[:, 0]))
    return image, np.column_stack([np.nonzero(found)[0] + float(block.start), points])


# What a ray carries from sample to sample and from leg to leg.
_HIGHEST, _LAST, _LAST_D, _ROW, _PENDING, _VISIBLE, _BEFORE, _BEFORE_D = range(8)
_FIELDS = 8


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _march(  # type: ignore[no-untyped-def]
    heights, distances, scaled, reduction, inverse, columns, rows,
    eye, radius, top, step, tangent_of_row, state, image, contours, counts,
):  # fmt: skip
    degree = columns.shape[1] - 1
    for ray in range(len(columns)):
        highest, last, last_d = state[ray, _HIGHEST], state[ray, _LAST], state[ray, _LAST_D]
        row, pending, visible = int(state[ray, _ROW]), state[ray, _PENDING], state[ray, _VISIBLE] > 0.0
        before, before_d = state[ray, _BEFORE], state[ray, _BEFORE_D]
        count = counts[ray]
        for i in range(len(distances)):
            u, d = scaled[i], distances[i]
            x, y = columns[ray, degree], rows[ray, degree]
            for n in range(degree - 1, -1, -1):
                x, y = x * u + columns[ray, n], y * u + rows[ray, n]
            c, r = int(x), int(y)
            x, y = x - c, y - r
            upper = heights[r, c] + x * (heights[r, c + 1] - heights[r, c])
            lower = heights[r + 1, c] + x * (heights[r + 1, c + 1] - heights[r + 1, c])
            h = upper + y * (lower - upper)
            tangent = (h - eye) / (radius + h) * inverse[i] - reduction[i]
            if math.isnan(tangent):
                tangent = -math.inf
            if tangent > highest:
                slope = (tangent * d - last * last_d) / (d - last_d)
                known = math.isfinite(slope)
                intercept = last * last_d - slope * last_d
                if pending >= 0.0:
                    far = d
                    if known:
                        crossing = intercept / (contours[ray, count, 0] - slope)
                        if math.isfinite(crossing):
                            far = min(max(crossing, last_d), d)
                    contours[ray, count, 2] = far
                    count += 1
                    pending = -1.0
                new_row = int(min(max(math.ceil((top - math.degrees(math.atan(tangent))) / step - 0.5), 0.0), float(len(tangent_of_row))))
                if known:
                    for k in range(new_row, row):
                        image[ray, k] = min(max(intercept / (tangent_of_row[k] - slope), last_d), d)
                row = min(row, new_row)
                highest = tangent
                visible = True
            else:
                if visible and math.isfinite(tangent):
                    peak, near = _parabola_top(before, last, tangent, before_d, last_d, d)
                    contours[ray, count, 0] = peak
                    contours[ray, count, 1] = near
                    contours[ray, count, 2] = math.inf
                    pending = 1.0
                visible = False
            before, before_d = last, last_d
            last, last_d = tangent, d
        state[ray, _HIGHEST], state[ray, _LAST], state[ray, _LAST_D] = highest, last, last_d
        state[ray, _ROW], state[ray, _PENDING], state[ray, _VISIBLE] = row, pending, 1.0 if visible else -1.0
        state[ray, _BEFORE], state[ray, _BEFORE_D] = before, before_d
        counts[ray] = count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _parabola_top(f_0, f_1, f_2, d_0, d_1, d_2):  # type: ignore[no-untyped-def]
    rise, fall = (f_1 - f_0) / (d_1 - d_0), (f_2 - f_1) / (d_2 - d_1)
    bend = (fall - rise) / (d_2 - d_0)
    gradient = rise + bend * (d_1 - d_0)
    shift = -gradient / (2.0 * bend)
    if math.isfinite(shift) and bend < 0.0 and abs(shift) <= max(d_2 - d_1, d_1 - d_0):
        return f_1 + 0.5 * gradient * shift, d_1 + shift
    return f_1, d_1
