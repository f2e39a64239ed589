"""The camera model: pixels to directions and back, with OpenCV's rational lens distortion.

Pixel coordinates (x right, y down) follow OpenCV: the centre of the top-left pixel is (0, 0), so the left border of the picture
is at x = -0.5. Directions are in the camera axes of `toolkit.geo.pose`: x down in the image, y left in the image, z forward.

Distortion (OpenCV, "Camera Calibration and 3D Reconstruction"), with X right, Y down, r2 = X^2 + Y^2 on the plane z = 1:
    X' = X (1 + k1 r2 + k2 r4 + k3 r6) / (1 + k4 r2 + k5 r4 + k6 r6) + 2 p1 X Y + p2 (r2 + 2 X^2),   x = fx X' + cx, and
    Y' = Y (the same ratio) + p1 (r2 + 2 Y^2) + 2 p2 X Y,                                            y = fy Y' + cy.
The polynomials are fitted inside the picture only. Far outside they turn back on themselves; directions beyond that turning
point have no pixel here, instead of a false one in the middle of the picture.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input, stream_name

WIDEST_HFOV = 170.0  # degrees; wider pictures are fisheyes or panoramas, which this model does not describe
_EXACT = 1e-9  # residual of the undistortion on the plane z = 1


@dataclass(frozen=True)
class Camera:
    """A lens and its picture. `width`, `height`, `fx`, `fy`, `cx`, `cy` in pixels; `k` = k1..k6 and `p` = p1, p2 without unit."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k: tuple[float, ...] = (0.0,) * 6
    p: tuple[float, ...] = (0.0,) * 2

    @property
    def hfov(self) -> float:
        """Horizontal field of view in degrees, distortion left aside."""
        return math.degrees(2.0 * math.atan(self.width / (2.0 * self.fx)))


def camera_from_hfov(width: int, height: int, hfov_deg: float) -> Camera:
    """A camera without distortion, square pixels and the optical axis in the centre, whose picture is `hfov_deg` degrees wide.

    Raises BadData for a field of view that is not positive, or 170 degrees and wider (a fisheye or a panorama).
    """
    _check_hfov(hfov_deg, "field of view")
    focal = width / (2.0 * math.tan(math.radians(hfov_deg) / 2.0))
    return Camera(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)


def read_camera(path: str) -> Camera:
    """Read CAMERA.json, see camera(5): ``{"width","height","fx","fy","cx","cy","k":[k1..k6],"p":[p1,p2]}``; `k` may be shorter.

    Raises NoInput when there is no such file, BadData when it does not describe a camera.
    """
    place = stream_name(path)
    with open_input(path) as stream:
        try:
            content = json.loads(stream.read())
        except ValueError as error:
            raise BadData(place, f"is no JSON ({error})", "see camera(5)") from error
    if not isinstance(content, dict):
        raise BadData(place, "is not one JSON object", "see camera(5)")
    unknown = set(content) - {"width", "height", "fx", "fy", "cx", "cy", "k", "p"}
    if unknown:
        raise BadData(place, f"has the unknown key {min(unknown)!r}", "see camera(5)")
    width, height, fx, fy = (_number(content, key, place, positive=True) for key in ("width", "height", "fx", "fy"))
    cx, cy = (_number(content, key, place) for key in ("cx", "cy"))
    if width != int(width) or height != int(height):
        raise BadData(place, "has a width or height that is no whole number of pixels", "see camera(5)")
    if not (0 <= cx < width and 0 <= cy < height):
        raise BadData(place, f"has its optical axis at ({cx:g}, {cy:g}), outside the picture", "give cx and cy in pixels from the top left")
    camera = Camera(int(width), int(height), fx, fy, cx, cy, _coefficients(content, "k", 6, place), _coefficients(content, "p", 2, place))
    _check_hfov(camera.hfov, place)
    return camera


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """The same lens for the same picture resized to `width` x `height` pixels.

    Raises BadData when that is no pure scale: the aspect ratios differ by more than the rounding to whole pixels explains.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    right, down = width / camera.width, height / camera.height
    slack = 1.5 * (1.0 / min(width, height) + 1.0 / min(camera.width, camera.height))
    if abs(right / down - 1.0) > slack:
        raise BadData(
            "camera",
            f"is for pictures of {camera.width} x {camera.height}, the photo has {width} x {height} pixels, upright",
            "give the camera of this photo; a cropped or turned picture needs its own",
        )
    return replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * right,
        fy=camera.fy * down,
        cx=(camera.cx + 0.5) * right - 0.5,
        cy=(camera.cy + 0.5) * down - 0.5,
    )


def rays(camera: Camera, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The directions seen at pixels `x`, `y`, shape (N,): unit vectors in camera axes, float64, shape (N, 3).

    NaN where the lens model has no inverse.
    """
    across = (np.asarray(x, np.float64) - camera.cx) / camera.fx
    down = (np.asarray(y, np.float64) - camera.cy) / camera.fy
    if any(camera.k) or any(camera.p):
        across, down = _undistort(camera, across, down)
    length = np.sqrt(across**2 + down**2 + 1.0)
    return np.stack([down / length, -across / length, 1.0 / length], axis=-1)


def project(camera: Camera, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels x, y, float64, shape (N,), at which `directions`, shape (N, 3), camera axes, any length, are seen.

    They may lie outside the picture; NaN behind the camera and beyond the range of the lens model.
    """
    directions = np.asarray(directions, np.float64)
    forward = np.where(directions[..., 2] > 0.0, directions[..., 2], np.nan)
    across, down = -directions[..., 1] / forward, directions[..., 0] / forward
    if any(camera.k) or any(camera.p):
        seen_across, seen_down, (_, _, _, determinant) = _distortion(camera, across, down)
        inside = (across**2 + down**2 < _turning_point(camera.k)) & (determinant > 0)  # tangential terms fold a little earlier
        across, down = np.where(inside, seen_across, np.nan), np.where(inside, seen_down, np.nan)
    return camera.fx * across + camera.cx, camera.fy * down + camera.cy


def _undistort(camera: Camera, wanted_x: np.ndarray, wanted_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve distort(x, y) = wanted: the radial part by table, the rest by Newton's method in two dimensions."""
    limit = _turning_point(camera.k)
    wanted_radius = np.hypot(wanted_x, wanted_y)
    largest = math.sqrt(limit) if math.isfinite(limit) else 4.0 * max(1.0, float(np.nanmax(wanted_radius, initial=0.0)))
    table = np.linspace(0.0, largest, 4096)
    numerator, denominator = _radial_polynomials(camera.k)
    reached = table[:-1] * np.polyval(numerator, table[:-1] ** 2) / np.polyval(denominator, table[:-1] ** 2)
    start = np.interp(wanted_radius, reached, table[:-1]) / np.where(wanted_radius > 0, wanted_radius, 1.0)
    x, y = wanted_x * start, wanted_y * start
    with np.errstate(all="ignore"):  # what diverges turns into NaN below
        for _ in range(20):
            seen_x, seen_y, (xx, xy, yy, determinant) = _distortion(camera, x, y)
            residual_x, residual_y = seen_x - wanted_x, seen_y - wanted_y
            if not np.nanmax(np.hypot(residual_x, residual_y), initial=0.0) > 1e-14:
                break
            x, y = x - (yy * residual_x - xy * residual_y) / determinant, y - (xx * residual_y - xy * residual_x) / determinant
        seen_x, seen_y, (_, _, _, determinant) = _distortion(camera, x, y)
        good = (np.hypot(seen_x - wanted_x, seen_y - wanted_y) < _EXACT) & (determinant > 0) & (x * x + y * y < limit)
    return np.where(good, x, np.nan), np.where(good, y, np.nan)


def _distortion(
    camera: Camera, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """X', Y' and their (symmetric) Jacobian: dX'/dX, dX'/dY = dY'/dX, dY'/dY and its determinant."""
    p1, p2 = camera.p
    square = x * x + y * y
    numerator, denominator = _radial_polynomials(camera.k)
    n, d = np.polyval(numerator, square), np.polyval(denominator, square)
    ratio = n / d
    slope = 2.0 * (np.polyval(np.polyder(numerator), square) * d - n * np.polyval(np.polyder(denominator), square)) / d**2
    xx = ratio + slope * x * x + 2 * p1 * y + 6 * p2 * x
    xy = slope * x * y + 2 * p1 * x + 2 * p2 * y
    yy = ratio + slope * y * y + 6 * p1 * y + 2 * p2 * x
    seen_x = x * ratio + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    seen_y = y * ratio + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return seen_x, seen_y, (xx, xy, yy, xx * yy - xy * xy)


def _radial_polynomials(k: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of the radial ratio as polynomials in r^2, highest power first (numpy.polyval's order)."""
    return np.array([k[2], k[1], k[0], 1.0]), np.array([k[5], k[4], k[3], 1.0])


def _turning_point(k: tuple[float, ...]) -> float:
    """The r^2 up to which the distorted radius grows with the true one; infinity when it always does."""
    numerator, denominator = _radial_polynomials(k)
    # d/dr [r N/D] = [N D + 2 r^2 (N' D - N D')] / D^2
    cross: np.ndarray = np.polysub(np.polymul(np.polyder(numerator), denominator), np.polymul(numerator, np.polyder(denominator)))
    growth = np.polyadd(np.polymul(numerator, denominator), 2.0 * np.polymul([1.0, 0.0], cross))
    roots = np.concatenate([np.roots(_trimmed(growth)), np.roots(_trimmed(denominator))])
    positive = roots.real[(np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots.real))) & (roots.real > 0)]
    return float(positive.min()) if positive.size else math.inf


def _trimmed(polynomial: np.ndarray) -> np.ndarray:
    """Without leading coefficients so small that they only matter far outside any picture (they would overflow numpy.roots)."""
    return np.where(np.abs(polynomial) < 1e-12, 0.0, polynomial)


def _check_hfov(hfov_deg: float, place: str) -> None:
    if not hfov_deg > 0.0:  # also catches NaN
        raise BadData(place, f"gives a horizontal field of view of {hfov_deg:g} degrees", "it must be positive")
    if hfov_deg >= WIDEST_HFOV:
        raise BadData(place, f"gives a horizontal field of view of {hfov_deg:g} degrees", "from 170 on it is a fisheye or a panorama")


def _number(content: dict[str, object], key: str, place: str, positive: bool = False) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or (positive and value <= 0):
        wanted = "a positive number" if positive else "a number"
        problem = f"has no {key} that is {wanted}" if key in content else f"lacks {key!r}"
        raise BadData(place, problem, f"give {wanted} of pixels, see camera(5)")
    return float(value)


def _coefficients(content: dict[str, object], key: str, most: int, place: str) -> tuple[float, ...]:
    values = content.get(key, [])
    if not isinstance(values, list) or len(values) > most:
        raise BadData(place, f"has a {key!r} that is no list of at most {most} numbers", "see camera(5)")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadData(place, f"has {value!r} in {key!r}, which is no number", "see camera(5)")
    return tuple(float(value) for value in values) + (0.0,) * (most - len(values))
