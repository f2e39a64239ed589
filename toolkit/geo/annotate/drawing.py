"""An annotated photograph as a picture and as SVG; both draw the same things at the same places."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from toolkit.geo.annotate.captions import Caption, Line
from toolkit.geo.annotate.faces import Run
from toolkit.geo.annotate.labels import Label
from toolkit.geo.camera import Camera, project
from toolkit.geo.pose import Pose
from toolkit.geo.segments import Polylines

if TYPE_CHECKING:
    from PIL import Image

_INK, _HALO = "#ffffff", "#101820"  # light on dark: to be read on snow, rock and sky alike
_SKYLINE, _RIDGE = "#ff4020", "#ffd000"  # as the overlay of locate(1)
_QUALITY = 92


@dataclass(frozen=True)
class Outline:
    """A contour in the picture: `points`, pixels, shape (N, 2); whether it is `skyline`."""

    points: np.ndarray
    skyline: bool


@dataclass(frozen=True)
class Annotation:
    """What is drawn over a photograph: `labels` in letters of `size` pixels, `captions` by the labels' index, `contours`."""

    size: int
    labels: Sequence[Label]
    captions: Sequence[Caption]
    contours: Sequence[Outline]

    @property
    def thin(self) -> int:
        """Width of lines in pixels."""
        return max(1, round(self.size / 14))

    def texts(self) -> Iterator[tuple[Line, Run, float, float]]:
        """Each piece of text with its line, and the place of its left end on the base line; lines are centred."""
        for label in self.labels:
            caption = self.captions[label.index]
            for line in caption.lines:
                left = label.left + 0.5 * (caption.width - line.width)
                for run in line.runs:
                    yield line, run, left, label.top + line.base
                    left += run.width


def outlines(contours: Polylines, camera: Camera, pose: Pose) -> list[Outline]:
    """The parts of contours (East-North-Up) that are in the picture, cut where they leave it and where skyline turns into ridge."""
    x, y = project(camera, contours.points @ pose.matrix)  # the matrix takes camera to world; from the right it is its inverse
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (x < camera.width - 0.5) & (y > -0.5) & (y < camera.height - 0.5)
    sky, line = contours.skyline > 0.5, contours.line
    joined = inside[1:] & inside[:-1] & (line[1:] == line[:-1]) & (sky[1:] == sky[:-1])
    pieces = np.split(np.arange(len(x)), np.flatnonzero(~joined) + 1)
    return [Outline(np.stack([x[piece], y[piece]], axis=1), bool(sky[piece[0]])) for piece in pieces if len(piece) > 1 and inside[piece[0]]]


def draw_image(pixels: np.ndarray, annotation: Annotation) -> Image.Image:
    """The photograph, uint8, shape (rows, columns, 3), with its annotation."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(pixels)
    pen, thin = ImageDraw.Draw(image), annotation.thin
    for outline in annotation.contours:
        pen.line([tuple(point) for point in outline.points], fill=_colour(outline), width=thin, joint="curve")
    for label in annotation.labels:  # lines first: no letter is crossed by a halo
        ends = [(label.x, label.y0), (label.x, label.y1)]
        pen.line(ends, fill=_HALO, width=thin + 2)
        pen.line(ends, fill=_INK, width=thin)
        pen.circle(ends[0], 2.0 * thin, fill=_INK, outline=_HALO)
    for line, run, left, base in annotation.texts():
        font, edge = run.face.font(line.size), max(1, round(line.size / 10))
        pen.text((left, base), run.text, font=font, fill=_INK, stroke_width=edge, stroke_fill=_HALO, anchor="ls")
    return image


def draw_svg(pixels: np.ndarray, annotation: Annotation) -> bytes:
    """The same as SVG: the photograph as it was within, text as text, as wide as measured whatever face the reader has."""
    from PIL import Image

    rows, columns = pixels.shape[:2]
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=_QUALITY, subsampling=0)
    picture, thin = base64.b64encode(packed.getvalue()).decode(), annotation.thin
    box = f'width="{columns}" height="{rows}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} viewBox="-0.5 -0.5 {columns} {rows}">']
    parts.append(f'<image x="-0.5" y="-0.5" {box} href="data:image/jpeg;base64,{picture}"/>')
    for outline in annotation.contours:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_colour(outline)}" stroke-width="{thin}" stroke-linejoin="round"/>')
    for label in annotation.labels:
        ends = f'x1="{label.x:.1f}" y1="{label.y0:.1f}" x2="{label.x:.1f}" y2="{label.y1:.1f}"'
        parts.append(f'<line {ends} stroke="{_HALO}" stroke-width="{thin + 2}"/><line {ends} stroke="{_INK}" stroke-width="{thin}"/>')
        parts.append(f'<circle cx="{label.x:.1f}" cy="{label.y0:.1f}" r="{2 * thin}" fill="{_INK}" stroke="{_HALO}"/>')
    ink = f'fill="{_INK}" stroke="{_HALO}" paint-order="stroke" stroke-linejoin="round" font-weight="500"'
    for line, run, left, base in annotation.texts():
        place = f'x="{left:.1f}" y="{base:.1f}" textLength="{run.width:.1f}" lengthAdjust="spacingAndGlyphs"'
        face = f'font-family="{run.face.family}, Noto Sans, DejaVu Sans, sans-serif" font-size="{line.size}"'
        parts.append(f'<text {place} {face} {ink} stroke-width="{max(2, round(line.size / 5))}">{escape(_printable(run.text))}</text>')
    return "\n".join([*parts, "</svg>\n"]).encode()


def _colour(outline: Outline) -> str:
    return _SKYLINE if outline.skyline else _RIDGE


def _printable(text: str) -> str:
    """Without the control characters that XML has no way to write (XML 1.0, 2.2)."""
    return re.sub("[\x00-\x1f\x7f\ufffe\uffff]", "", text)
