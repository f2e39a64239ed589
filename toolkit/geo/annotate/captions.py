"""What a label says and how large it is: the peak's name, and below it height and distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.geo.annotate.faces import Faces, Run, line_height
from toolkit.geo.annotate.peaks import FOOT
from toolkit.geo.annotate.visible import Sight

_MILE = 1609.344  # metres
_LABELS_ACROSS = 75  # letters' heights in the longer side of a picture: read at arm's length on paper, and on a screen
_SMALLEST = 11  # pixels; below, letters run together
_SECOND = 0.8  # size of the second line


@dataclass(frozen=True)
class Line:
    """A line of a label: its pieces, its size in pixels, and where its base line is below the label's top."""

    runs: tuple[Run, ...]
    size: int
    base: float

    @property
    def width(self) -> float:
        """Pixels."""
        return sum(run.width for run in self.runs)


@dataclass(frozen=True)
class Caption:
    """The lines of a label and the pixels that they take."""

    lines: tuple[Line, ...]
    width: float
    height: float


def text_size(width: int, height: int) -> int:
    """Pixels of letters for a picture of that size."""
    return max(_SMALLEST, round(max(width, height) / _LABELS_ACROSS))


def captions(sights: Sequence[Sight], size: int, language: str | None = None, imperial: bool = False) -> list[Caption]:
    """The labels of peaks in letters of `size` pixels, in the faces for a language (see `toolkit.geo.annotate.faces`)."""
    faces = Faces(language)
    small = max(_SMALLEST - 2, round(_SECOND * size))
    found = []
    for sight in sights:
        name, figures = (tuple(faces.runs(*line)) for line in ((sight.peak.name, size), (measures(sight, imperial), small)))
        (above, below), (above_2, below_2) = line_height(size, name), line_height(small, figures)
        first, second = Line(name, size, above), Line(figures, small, above + below + above_2)
        found.append(Caption((first, second), max(first.width, second.width), above + below + above_2 + below_2))
    return found


def measures(sight: Sight, imperial: bool = False) -> str:
    """Height and distance as a hiker reads them: ``4158 m · 12.3 km``."""
    height, distance = (sight.height / FOOT, sight.distance / _MILE) if imperial else (sight.height, sight.distance / 1000.0)
    far = f"{distance:.1f}" if distance < 19.95 else f"{distance:.0f}"
    return f"{height:.0f} {'ft' if imperial else 'm'} · {far} {'mi' if imperial else 'km'}"
