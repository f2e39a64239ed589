"""Line features of a photograph: what a picture of mountains shares with the contours of an elevation model.

An elevation model knows silhouettes: the skyline and the ridges in front of one another. It knows nothing of clouds, crevasses,
bushes, shadows or the frame around a scanned picture. So the detector asks of each line whether it is long, smooth and stands
out from at least one side of its surroundings, and not how strong its contrast is: haze makes the most useful ridges faint.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from toolkit.core.errors import BadData
from toolkit.geo.camera import Camera, rays, scaled
from toolkit.geo.photo import PhotoFacts
from toolkit.geo.segments import Polylines, Segments

if TYPE_CHECKING:
    from toolkit.geo.lines import Points
    from toolkit.geo.sky import Sky

# Why lines are dropped: above the skyline; the same on both sides, or no clearer than their surroundings; hardly more than noise; short.
REASONS = ("sky", "texture", "faint", "short")
_KNOWN = 0.3  # certainty from which on a point of the skyline needs no other evidence, and clouds above it are dropped
_NEAR = 2.0  # working pixels across a line at which its sides are sky and land if it is the skyline
_SKY = 0.85  # probability of being sky from which on lines are clouds: in haze a far ridge may be the skyline, and the border a nearer one
_STEEP = 0.5  # cosine of the steepest line that is taken for a part of another skyline


@dataclass(frozen=True)
class EdgeParameters:
    """How edges are found. Lengths are pixels of the working picture, contrasts shares of the full range (0 black, 1 white)."""

    # The longer side that the photo is reduced to: at 50 degrees one pixel is then 0.04 degrees, finer than elevation
    # models are true, while grass and gravel average out.
    working_size: int = 1200
    # Gaussian of the gradient: wide enough for JPEG blocks and sensor noise, narrow enough for ridges 5 pixels apart.
    scale: float = 1.4
    # Lines must exceed this many times the gradient that noise makes (its root mean square in the quietest places): noise alone
    # reaches 4 times once in 10^7 pixels.
    noise: float = 4.0
    # No line is fainter than this gradient per pixel: about one grey level, where quantisation draws lines into clear skies.
    contrast: float = 0.005
    # Share of the mean gradient of the calmer side that is taken off a line: texture (ice, scree, forest) has it on both sides, a
    # silhouette before sky, snow, shade or haze on one side at most (one-sided surround inhibition).
    texture: float = 1.6
    # Gaussian of that mean: a few grains of the texture, less than the distance of two ridges.
    texture_scale: float = 7.0
    # Chains shorter than this share of the longer side are dropped.
    shortest: float = 0.025
    # Chains from this share on have their full weight.
    long: float = 0.15
    # Distance from a line to the far pair of places at its two sides whose colours are compared (the near pair is at 0.4 of it): twice
    # the grain that the texture's Gaussian averages, so that only a line between two surfaces is seen at both.
    compass: float = 10.0
    # Lines that part their two sides less clearly than this (0 not at all, 1 fully) are dropped as texture: on glaciers, woods and scree
    # four in ten lines do, of skylines of rock and snow before the sky one in twenty at most, and of hazy or cloudless ones none.
    parted: float = 0.3
    # Share of its weight that a line keeps when the lower side has the sky's colour and the upper has not: of two surfaces the nearer one
    # lies lower and the farther one is hazier, but snow lies on rock and rock on snow, hence not less.
    haze: float = 0.4
    # Weight of the border between sky and land against other lines; lines above the border (clouds) are dropped.
    skyline: float = 2.5
    # Below the skyline lines lose weight with the distance to it, down to 1 / e at this share of the height: in a photograph near
    # ground lies low, and it is what coarse elevation models do not hold.
    depth: float = 0.25


@dataclass(frozen=True)
class Edges:
    """Edge points of an upright photo of `width` x `height` pixels, all arrays of shape (N,), float32 but for `chain`.

    `x`, `y`: place, pixels, the centre of the top-left pixel being (0, 0). `angle`: of the tangent, radians in (-pi/2, pi/2], from
    x (right) towards y (down). `strength`: not negative, 1 is a clear line. `length`: pixels of the line that the point stands for.
    `skyline`: how certain it is that the sky lies above the point, 0 to 1. `chain`: int32, not decreasing: points of one number are
    neighbours along one line, in its order.
    `facts`: what the photo's EXIF tells; `parameters`: how the edges were found.
    """

    width: int
    height: int
    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    strength: np.ndarray
    length: np.ndarray
    skyline: np.ndarray
    chain: np.ndarray
    facts: PhotoFacts = field(default_factory=PhotoFacts)
    parameters: EdgeParameters = field(default_factory=EdgeParameters)


@dataclass(frozen=True)
class Dropped:
    """Points of lines that were found and dropped: `x`, `y` as in `Edges`, float32, and `reason`: int8, indices of `REASONS`."""

    x: np.ndarray
    y: np.ndarray
    reason: np.ndarray


def detect_edges(pixels: np.ndarray, parameters: EdgeParameters = EdgeParameters(), facts: PhotoFacts | None = None) -> Edges:
    """Find line features in `pixels`, uint8 or float in 0..1, shape (rows, columns, 3), upright. See `EdgeParameters`.

    Raises BadData when the picture is smaller than 16 x 16 pixels or holds values that are no numbers.
    """
    return detect_and_explain(pixels, parameters, facts)[0]


def detect_and_explain(
    pixels: np.ndarray, parameters: EdgeParameters = EdgeParameters(), facts: PhotoFacts | None = None
) -> tuple[Edges, Dropped]:
    """As `detect_edges`, and the lines that were dropped with the reason."""
    from toolkit.geo import lines  # here: reading edges must not load scipy
    from toolkit.geo.compass import parted
    from toolkit.geo.sky import find_sky

    height, width = pixels.shape[:2]
    if min(height, width) < 16:
        raise BadData("photo", f"has only {width} x {height} pixels", "give the photograph itself, not an icon")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BadData("photo", "holds values that are no numbers", "fill its gaps first")
    picture, reduction = lines.working_picture(pixels, parameters.working_size)
    window = lines.without_frame(picture)
    picture = picture[window]
    size = max(picture.shape[:2])
    gradient = lines.colour_gradient(picture, parameters.scale)
    noise = parameters.noise / 1.6 * lines.noise_level(gradient.magnitude)
    low = max(parameters.contrast, noise)
    points = lines.ridge_points(gradient, low)
    sky = find_sky(picture, gradient, points, noise)
    points = lines.inside(points, gradient.magnitude.shape, margin=3.0 * parameters.scale)
    points, above = _by_sky(points, sky)
    dropped: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    points = _without(points, above, "sky", dropped)
    contrast = lines.without_texture(points, gradient.magnitude, parameters.texture, parameters.texture_scale)
    points = dataclasses.replace(points, contrast=np.where(points.skyline > _KNOWN, points.contrast, contrast))
    points = _without(points, points.contrast <= 0.0, "texture", dropped)
    points = _without(points, points.contrast <= 0.5 * low, "faint", dropped)
    points = parted(points, picture, None if sky is None else sky.haze, parameters.compass, 2.0 * low)
    points = _without(points, points.parted < parameters.parted, "texture", dropped)
    points, strongest, extent = lines.link(points, points.skyline > _KNOWN, parameters.long * size)
    faint = (strongest <= 1.6 * low) & (points.skyline <= _KNOWN)
    points, extent = _without(points, faint, "faint", dropped), extent[~faint]
    points = _without(points, extent < parameters.shortest * size, "short", dropped)
    strength = lines.compress(points) * _weights(points, sky, picture.shape[0], parameters)
    order, first = lines.ordered(points)
    points, strength = points[order], strength[order]
    rows, columns = window

    def photo_x(x: np.ndarray) -> np.ndarray:
        return ((x + columns.start + 0.5) * reduction[0] - 0.5).astype(np.float32)

    def photo_y(y: np.ndarray) -> np.ndarray:
        return ((y + rows.start + 0.5) * reduction[1] - 0.5).astype(np.float32)

    edges = Edges(
        width,
        height,
        x=photo_x(points.x),
        y=photo_y(points.y),
        angle=points.angle.astype(np.float32),
        strength=strength.astype(np.float32),
        length=(points.length * np.hypot(np.cos(points.angle) * reduction[0], np.sin(points.angle) * reduction[1])).astype(np.float32),
        skyline=points.skyline.astype(np.float32),
        chain=np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first)),
        facts=facts or PhotoFacts(),
        parameters=parameters,
    )
    x, y, reason = (np.concatenate(values) for values in zip(*dropped, strict=True))
    return edges, Dropped(photo_x(x), photo_y(y), reason)


def _without(points: Points, bad: np.ndarray, reason: str, dropped: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Points:
    """Those that are not `bad`, bool, shape (N,), or are the skyline's and need no other evidence; the others go to `dropped`."""
    bad = bad & (points.skyline <= _KNOWN)
    dropped.append((points.x[bad], points.y[bad], np.full(int(bad.sum()), REASONS.index(reason), np.int8)))
    return points[~bad]


def _by_sky(points: Points, sky: Sky | None) -> tuple[Points, np.ndarray]:
    """The points with how certain each is to be the skyline's, and which are above it, bool, shape (N,)."""
    if sky is None:
        return points, np.zeros(len(points.x), np.bool_)
    across, down = -_NEAR * np.sin(points.angle), _NEAR * np.cos(points.angle)
    one, other = sky.covers(points.x - across, points.y - down), sky.covers(points.x + across, points.y + down)
    certainty = np.interp(points.x, np.arange(len(sky.certainty)), sky.certainty)
    another = np.where(np.cos(points.angle) > _STEEP, sky.at(sky.elsewhere, points.x, points.y), 0.0)
    above = one & other & (sky.at(sky.probability, points.x, points.y) > _SKY)
    return dataclasses.replace(points, skyline=np.where(one != other, certainty, another)), above


def _weights(points: Points, sky: Sky | None, rows: int, parameters: EdgeParameters) -> np.ndarray:
    """Weight of each point by what it parts and by its likely place in depth, shape (N,)."""
    weight = points.parted
    if sky is not None:
        column = np.clip(np.round(points.x), 0, len(sky.border) - 1).astype(np.intp)
        near = np.exp(-np.maximum(points.y - sky.border[column], 0.0) / (parameters.depth * rows))
        weight = weight * (parameters.haze + (1.0 - parameters.haze) * points.ordered) * near
    return points.skyline * parameters.skyline + (1.0 - points.skyline) * weight


def edge_segments(edges: Edges, camera: Camera) -> Segments:
    """The edges as arcs in camera axes: both ends of each point's piece of line go through the lens, so its direction is right
    at the corners too, where the angle in the picture is off by 14 degrees (50 degrees wide).

    A camera of the same picture in another size is scaled. Points without a direction in the lens model are left out.
    Raises BadData when there are no edges, or the camera is not for this picture.
    """
    camera = _camera_for(edges, camera)
    x, y, angle, half = (values.astype(np.float64) for values in (edges.x, edges.y, edges.angle, 0.5 * edges.length))
    start = rays(camera, x - half * np.cos(angle), y - half * np.sin(angle))
    end = rays(camera, x + half * np.cos(angle), y + half * np.sin(angle))
    seen = _seen(start, end)
    return Segments(start[seen], end[seen], edges.strength[seen].astype(np.float64))


def edge_polylines(edges: Edges, camera: Camera) -> Polylines:
    """The edges as lines through their points in camera axes; as `edge_segments`."""
    points = rays(_camera_for(edges, camera), edges.x, edges.y)
    seen = _seen(points, points)
    first = np.searchsorted(edges.chain[seen], np.arange(edges.chain[-1] + 2))
    return Polylines(points[seen], np.unique(first), edges.strength[seen].astype(np.float64), edges.skyline[seen].astype(np.float64))


def _camera_for(edges: Edges, camera: Camera) -> Camera:
    if not edges.x.size:
        raise BadData("edges", "hold no line at all", "take another photo, or find edges with a lower contrast")
    return scaled(camera, edges.width, edges.height)


def _seen(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    seen = np.isfinite(start[:, 0]) & np.isfinite(end[:, 0])
    if not seen.any():
        raise BadData("edges", "lie outside what the lens model describes", "check the camera's k and p")
    return seen
