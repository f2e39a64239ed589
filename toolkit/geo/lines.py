"""Lines in a picture, step by step: reduce it, find gradient ridges to sub-pixels, suppress texture, link, weigh.

Gradient: Di Zenzo 1986 (structure tensor over the colour channels). Ridges and their sub-pixel place: Canny 1986, with a parabola
through the logarithm of the gradient across the line. Texture: surround inhibition (Grigorescu, Petkov, Westenberg 2003) taken
from the calmer of the two sides (Papari, Petkov 2011). All arrays here are in pixels of the working picture, x right, y down.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from toolkit.geo.segments import paths


@dataclass(frozen=True)
class Gradient:
    """`magnitude`: per pixel, float32, shape (rows, columns); `normal_x`, `normal_y`: unit vector across the line."""

    magnitude: np.ndarray
    normal_x: np.ndarray
    normal_y: np.ndarray


@dataclass(frozen=True)
class Points:
    """Points on lines, arrays of shape (N,): place, tangent angle (radians), contrast (gradient per pixel), length (pixels) and
    `row`, `column` of the pixel that found it; what is found out later, 0 to 1: `weight` of the chain it belongs to, `skyline`: how
    certain it is to lie there, `parted`: how clearly it parts two surfaces, `ordered`: whether they are in the order of depth.
    """

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    contrast: np.ndarray
    length: np.ndarray
    row: np.ndarray
    column: np.ndarray
    weight: np.ndarray
    skyline: np.ndarray
    parted: np.ndarray
    ordered: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Points:
        return Points(*(getattr(self, entry.name)[chosen] for entry in dataclasses.fields(self)))


def working_picture(pixels: np.ndarray, size: int) -> tuple[np.ndarray, tuple[float, float]]:
    """`pixels` as float32 in 0..1, its longer side reduced to at most `size` by area averaging, and photo pixels per working pixel
    in x and y.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    share = min(1.0, size / max(height, width))
    columns, rows = max(1, round(width * share)), max(1, round(height * share))
    if pixels.dtype == np.uint8:  # reduced as bytes: ten times faster, and rounding to a grey level is below the noise
        reduced = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX) if share < 1.0 else pixels
        return np.asarray(reduced, np.float32) / np.float32(255.0), (width / columns, height / rows)
    channels = [np.ascontiguousarray(pixels[:, :, channel], np.float32) for channel in range(pixels.shape[2])]
    if share < 1.0:
        channels = [np.asarray(Image.fromarray(channel).resize((columns, rows), Image.Resampling.BOX)) for channel in channels]
    return np.clip(np.stack(channels, axis=2), 0.0, 1.0), (width / columns, height / rows)


def without_frame(picture: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns inside a frame of one dark or light colour, as scans and exported slides have."""
    rows, columns = slice(0, picture.shape[0]), slice(0, picture.shape[1])
    for _ in range(3):  # a corner shared by two bars hides the end of one until the other is gone
        inner = picture[rows, columns]
        top, bottom = _bar(inner), _bar(inner[::-1])
        left, right = _bar(inner.swapaxes(0, 1)), _bar(inner[:, ::-1].swapaxes(0, 1))
        rows = slice(rows.start + top, rows.stop - bottom)
        columns = slice(columns.start + left, columns.stop - right)
    if 4 * (rows.stop - rows.start) < picture.shape[0] or 4 * (columns.stop - columns.start) < picture.shape[1]:
        return slice(0, picture.shape[0]), slice(0, picture.shape[1])  # that was no frame
    return rows, columns


def colour_gradient(picture: np.ndarray, scale: float) -> Gradient:
    """The gradient of a colour picture, float32, shape (rows, columns, 3), smoothed by a Gaussian of `scale` pixels."""
    xx, xy, yy = (np.zeros(picture.shape[:2], np.float32) for _ in range(3))
    for channel in range(picture.shape[2]):
        # Contiguous copies: scipy's filters run several times faster on them.
        smooth = ndimage.gaussian_filter(np.ascontiguousarray(picture[:, :, channel]), scale, mode="nearest")
        across, down = np.empty_like(smooth), np.empty_like(smooth)
        ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis=1, output=across, mode="nearest")
        ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis=0, output=down, mode="nearest")
        xx += across * across
        xy += across * down
        yy += down * down
    difference, mean = 0.5 * (xx - yy), 0.5 * (xx + yy)
    spread = np.hypot(difference, xy)
    # The larger eigenvalue is the squared gradient along its direction; three channels that agree would triple it.
    magnitude = np.sqrt(np.maximum(mean + spread, 0.0) / np.float32(picture.shape[2]))
    direction = 0.5 * np.arctan2(xy, difference)
    return Gradient(magnitude, np.cos(direction), np.sin(direction))


def noise_level(magnitude: np.ndarray, block: int = 16) -> float:
    """Root mean square gradient of the quietest twentieth of the picture's blocks: what noise alone makes."""
    rows, columns = magnitude.shape[0] // block, magnitude.shape[1] // block
    blocks = magnitude[: rows * block, : columns * block].reshape(rows, block, columns, block)
    return float(np.sqrt(np.quantile(np.mean(np.square(blocks), axis=(1, 3)), 0.05)))


def ridge_points(gradient: Gradient, low: float) -> Points:
    """Where the gradient is largest across the line, at most one point for each row (steep lines) or column (flat lines)."""
    inner = gradient.magnitude[1:-1, 1:-1]
    # A ridge is not lower than both neighbours along at least one axis; this leaves few pixels for the exact test. Between two
    # pixels the lower one may be it: hence a little slack.
    slack = inner * np.float32(1.05)
    peak_x = (slack >= gradient.magnitude[1:-1, :-2]) & (slack >= gradient.magnitude[1:-1, 2:])
    peak_y = (slack >= gradient.magnitude[:-2, 1:-1]) & (slack >= gradient.magnitude[2:, 1:-1])
    row, column = np.nonzero((inner > 0.5 * low) & (peak_x | peak_y))
    row, column = row + 1, column + 1
    normal_x, normal_y = gradient.normal_x[row, column].astype(np.float64), gradient.normal_y[row, column].astype(np.float64)
    smooth = ndimage.spline_filter(gradient.magnitude, order=3, output=np.float32, mode="nearest")
    places = np.stack([row + np.array([[-1.0], [1.0]]) * normal_y, column + np.array([[-1.0], [1.0]]) * normal_x])
    before, after = ndimage.map_coordinates(smooth, places, order=3, mode="nearest", prefilter=False)
    here = gradient.magnitude[row, column]
    # A smoothed step has a Gaussian gradient, whose logarithm is a parabola: the offset is exact, not only near the ridge.
    log_before, log_here, log_after = (np.log(np.maximum(value, 1e-9)) for value in (before, here, after))
    curvature = log_before - 2.0 * log_here + log_after
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = 0.5 * (log_before - log_after) / curvature
    steep = np.abs(normal_x) > np.abs(normal_y)
    steepest = np.where(steep, np.abs(normal_x), np.abs(normal_y))
    # The line meets the pixel's row (or column) within this pixel: one pixel for each step along the line. Two neighbours place a
    # line between them a little differently, so both may claim it, and one of them is taken.
    meets = offset / np.where(steep, normal_x, normal_y)
    chosen = np.flatnonzero((curvature < 0.0) & (np.abs(meets) <= 0.55))
    across = np.where(steep, column, row)[chosen] + meets[chosen]
    chosen = chosen[_apart(steep[chosen], np.where(steep, row, column)[chosen], across, 0.5)]
    row, column, offset, here, steepest = row[chosen], column[chosen], offset[chosen], here[chosen], steepest[chosen]
    normal_x, normal_y = normal_x[chosen], normal_y[chosen]
    angle = np.arctan2(normal_x, -normal_y)  # the normal turned by a quarter
    angle = np.where(angle > np.pi / 2, angle - np.pi, np.where(angle <= -np.pi / 2, angle + np.pi, angle))
    x, y, later = column + offset * normal_x, row + offset * normal_y, (np.zeros(len(row)) for _ in range(4))
    return Points(x, y, angle, here.astype(np.float64), 1.0 / steepest, row, column, *later)


def _apart(steep: np.ndarray, step: np.ndarray, across: np.ndarray, least: float) -> np.ndarray:
    """Indices of places, in their order, without those less than `least` beyond another one of the same step (row or column)."""
    order = np.lexsort((across, step, steep))
    close = (np.diff(across[order]) < least) & (np.diff(step[order]) == 0) & (steep[order][1:] == steep[order][:-1])
    return np.sort(order[np.concatenate([[True], ~close])]) if len(order) else order


def without_texture(points: Points, magnitude: np.ndarray, share: float, scale: float) -> np.ndarray:
    """Each point's contrast less `share` of the mean gradient of its calmer side, not below 0, shape (N,)."""
    around = ndimage.gaussian_filter(magnitude, scale, mode="nearest", truncate=3.0)
    normal_x, normal_y = -np.sin(points.angle), np.cos(points.angle)
    calmer = np.full(points.x.shape, np.inf)
    for side in (-2.0 * scale, 2.0 * scale):  # two widths away the line itself hardly counts
        there = [points.y + side * normal_y, points.x + side * normal_x]
        calmer = np.minimum(calmer, ndimage.map_coordinates(around, there, order=1, mode="nearest"))
    return np.maximum(points.contrast - share * calmer, 0.0)


def inside(points: Points, shape: tuple[int, ...], margin: float) -> Points:
    """Without the points within `margin` of the picture's border, where the smoothing saw no picture."""
    return points[(points.x >= margin) & (points.x <= shape[1] - 1 - margin) & (points.y >= margin) & (points.y <= shape[0] - 1 - margin)]


def link(points: Points, known: np.ndarray, long: float) -> tuple[Points, np.ndarray, np.ndarray]:
    """Link points to chains, neighbours that point the same way: the points with their chains' weights, and of each point's chain the
    highest contrast and the length, shapes (N,).

    Chains of `long` pixels and more weigh 1. The length of a chain is that of its bounding box's diagonal: a tangle of texture is not
    long however many pixels it has. Points that are `known`, bool, shape (N,), by other evidence weigh 1.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(points.x):
        return points, np.zeros(0), np.zeros(0)
    start, end = _links(points)
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(len(points.x), len(points.x)))
    chains, label = connected_components(graph, directed=False)
    strongest = ndimage.maximum(points.contrast, label, np.arange(chains))
    extent = np.hypot(_extent(points.x, label, chains), _extent(points.y, label, chains))
    weight = np.where(known, 1.0, np.sqrt(np.clip(extent / long, 0.0, 1.0))[label])
    return dataclasses.replace(points, weight=weight), strongest[label], extent[label]


def _links(points: Points, reach: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points in pixels not more than `reach` apart that point about the same way, each pair once: indices, shapes (M,)."""
    number = np.full((int(points.row.max()) + 1 + reach, int(points.column.max()) + 1 + 2 * reach), -1, np.int32)
    number[points.row, points.column + reach] = np.arange(len(points.row), dtype=np.int32)
    links = []
    for down in range(reach + 1):
        for across in range(-reach if down else 1, reach + 1):
            other = number[points.row + down, points.column + reach + across]
            here = np.nonzero(other >= 0)[0]
            other = other[here]
            aligned = np.abs(np.cos(points.angle[here] - points.angle[other])) > np.cos(np.radians(30.0))
            links.append((here[aligned], other[aligned]))
    start, end = (np.concatenate(side) for side in zip(*links, strict=True))
    return start, end


def ordered(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """The points in their order along lines, as of `toolkit.geo.segments.paths`: a point continues in the neighbour to each side that
    is closest to where its tangent leads, if that neighbour thinks the same; forks part into lines of their own."""
    partners = np.full((len(points.x), 2), -1)
    if len(points.x):
        start, end = _links(points, reach=2)
        start, end = np.concatenate([start, end]), np.concatenate([end, start])
        right, down = points.x[end] - points.x[start], points.y[end] - points.y[start]
        cosine, sine = np.cos(points.angle[start]), np.sin(points.angle[start])
        along, aside = right * cosine + down * sine, np.abs(down * cosine - right * sine)
        ahead = np.abs(along) > aside
        start, end, along, aside = start[ahead], end[ahead], along[ahead], aside[ahead]
        order = np.lexsort((np.abs(along) + 2.0 * aside, along > 0, start))
        side = (along > 0).astype(np.intp)
        chosen = order[np.concatenate([[True], np.diff(2 * start[order] + side[order]) != 0])] if len(order) else order
        best = np.full((len(points.x), 2), -1)
        best[start[chosen], side[chosen]] = end[chosen]
        mutual = (best >= 0) & (best[best] == np.arange(len(best))[:, None, None]).any(axis=2)
        partners = np.where(mutual, best, -1)
    return paths(partners)


def compress(points: Points) -> np.ndarray:
    """Strength, 0 to 1, shape (N,): the chain's weight times a contrast that saturates, so that one hard shadow or shore does
    not outweigh a hazy skyline. The middle contrast of the picture's own lines counts as half.
    """
    if not len(points.x):
        return np.zeros(0)
    middle = np.average(points.contrast, weights=points.length)
    return points.weight * np.sqrt(points.contrast / (points.contrast + middle))


def _bar(picture: np.ndarray) -> int:
    """How many leading rows are all of one dark or light colour, if a straight step to the picture follows them."""
    first = picture[0].mean(axis=0)
    if 16 / 255 < first.mean() < 240 / 255:
        return 0
    # A frame is even to the last grey levels, also after JPEG; the mean may be off, hence single pixels' share.
    same = (np.abs(picture - first).max(axis=2) < 6 / 255).mean(axis=1) > 0.99
    count = len(same) if same.all() else int(np.argmin(same))
    if count == 0 or count > 0.4 * len(same):  # more is no frame: land in deep shade, a white-out
        return 0
    following = picture[min(count + 2, len(same) - 1)]
    # A bright sky over peaks ends where a few columns differ; a frame ends along its whole length.
    return count + 2 if (np.abs(following - first).max(axis=1) > 6 / 255).mean() > 0.5 else 0


def _extent(values: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    every = np.arange(count)
    return ndimage.maximum(values, label, every) - ndimage.minimum(values, label, every)
