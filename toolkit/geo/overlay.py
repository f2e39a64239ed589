"""The rendered contours of a pose drawn over the photograph: the picture by which a person judges the pose."""

from __future__ import annotations

import numpy as np

from toolkit.geo.camera import Camera, project, scaled
from toolkit.geo.panorama import Panorama, contour_polylines
from toolkit.geo.pose import Pose

_LARGEST = 2000  # pixels of the longer side: enough to judge a pose, and quick to draw
_SKYLINE, _RIDGE = (255, 64, 32), (255, 208, 0)


def draw_overlay(pixels: np.ndarray, panorama: Panorama, camera: Camera, pose: Pose) -> np.ndarray:
    """The photograph, uint8, shape (rows, columns, 3), with the skyline in red and nearer contours in yellow, fainter the smaller
    their step of depth; at most 2000 pixels wide or high."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    lens = scaled(camera, *picture.size)
    contours = contour_polylines(panorama)
    # The matrix takes the camera to the world; applied from the right it is its inverse.
    x, y = project(lens, contours.points @ pose.matrix)
    start = np.flatnonzero(contours.line[1:] == contours.line[:-1])
    (x0, y0), (x1, y1) = (x[start], y[start]), (x[start + 1], y[start + 1])
    strength, skyline = contours.strength[start], contours.skyline[start] > 0.5
    width, height = picture.size
    seen = np.isfinite(x0 + x1 + y0 + y1) & (np.abs(x0 - width / 2) < width) & (np.abs(y0 - height / 2) < height)
    drawing = Image.new("RGBA", (2 * width, 2 * height))
    pen = ImageDraw.Draw(drawing)  # at twice the size, so that reducing smooths the lines
    for i in np.flatnonzero(seen)[np.argsort((strength + skyline)[seen], kind="stable")]:
        colour = (*(_SKYLINE if skyline[i] else _RIDGE), 230 if skyline[i] else int(60 + 150 * strength[i]))
        pen.line([(2 * x0[i] + 1, 2 * y0[i] + 1), (2 * x1[i] + 1, 2 * y1[i] + 1)], fill=colour, width=max(3, round(width / 250)))
    drawing = drawing.resize(picture.size, Image.Resampling.BOX)
    return np.asarray(Image.alpha_composite(picture.convert("RGBA"), drawing).convert("RGB"))
