"""Where labels go: above their peaks, on vertical leader lines, none over another, over another's line, or over the picture's border.

Vertical lines cannot cross each other. Labels are placed one after the other, the most important first, each at the free place with the
shortest line that leaves others room; one that finds no place is left out. The method is the greedy one of Christensen, Marks and
Shieber, *An empirical study of algorithms for point-feature label placement*, ACM Transactions on Graphics 14(3), 1995; importance makes
greedy right here: no label may push out a more important one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIDES = (0.5, 0.15, 0.85, 0.32, 0.68, 0.0, 1.0)  # where along the label its line ends, best first
_AHEAD = 60  # so many less important peaks are looked at: a label leaves them room where that costs it little
_LEVELS = 0.5  # of a label's height: steps in which lines grow


@dataclass(frozen=True)
class Label:
    """A label that found its place: `index` of its peak, `left`, `top`, `right`, `bottom`, and its line from (x, y0) to (x, y1), pixels.

    y0 is at the peak, y1 at the label's edge.
    """

    index: int
    left: float
    top: float
    right: float
    bottom: float
    x: float
    y0: float
    y1: float


def place_labels(
    anchors: np.ndarray,
    sizes: np.ndarray,
    picture: tuple[float, float],
    *,
    gap: float,
    margin: float,
    most: int | None = None,
    longest: float = 0.45,
) -> list[Label]:
    """Place labels of `sizes` (width, height) for peaks at `anchors` (x, y), float64, shapes (N, 2), the most important first.

    `picture`: width and height in pixels. `gap`: pixels kept free around each label, and the shortest line. `margin`: pixels kept
    free along the border. At most `most` labels; no line longer than the share `longest` of the picture's height.
    """
    width, height = picture
    placed: list[Label] = []
    taken, lines = np.zeros((0, 4)), np.zeros((0, 4))  # boxes of labels and of lines with their peaks
    for index, ((x, y), (wide, high)) in enumerate(zip(anchors, sizes, strict=True)):
        if most is not None and len(placed) >= most:
            break
        if not (0 <= x < width and 0 <= y < height):
            continue
        boxes, ends, cost = _places(float(x), float(y), float(wide), float(high), gap, longest * height)
        own = np.stack([np.full_like(ends, x), np.minimum(y, ends), np.full_like(ends, x), np.maximum(y, ends)], axis=1)
        left, top, right, bottom = boxes.T
        free = (left >= margin) & (right <= width - margin) & (top >= margin) & (bottom <= height - margin)
        free &= ~_touch(boxes, taken, gap) & ~_touch(boxes, lines, gap) & ~_touch(own, taken, gap) & ~_touch(own, lines, gap)
        if not free.any():
            continue
        cost += 2.0 * high * _shut_out(boxes, anchors[index + 1 : index + 1 + _AHEAD], high + 3.0 * gap)
        best = int(np.argmin(np.where(free, cost, np.inf)))
        placed.append(Label(index, *(float(value) for value in (*boxes[best], x, y, ends[best]))))
        taken, lines = np.vstack([taken, boxes[best]]), np.vstack([lines, own[best]])
    return placed


def _places(x: float, y: float, wide: float, high: float, gap: float, longest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All places of a label: boxes, shape (places, 4), where its line ends, and what the place costs, pixels, shape (places,)."""
    lengths = np.arange(2.0 * gap, max(longest, 2.5 * gap), _LEVELS * high)
    length, side = (values.ravel() for values in np.meshgrid(lengths, np.arange(len(_SIDES)), indexing="ij"))
    left, cost = x - np.array(_SIDES)[side] * wide, length + 0.1 * high * side
    above = np.stack([left, y - length - high, left + wide, y - length], axis=1)
    # Below the summit a label hides the mountain: only where there is no room above, and close by.
    short = length <= 3.0 * high
    below = np.stack([left, y + length, left + wide, y + length + high], axis=1)[short]
    ends = np.concatenate([y - length, (y + length)[short]])
    return np.concatenate([above, below]), ends, np.concatenate([cost, 10.0 * longest + cost[short]])


def _shut_out(boxes: np.ndarray, anchors: np.ndarray, room: float) -> np.ndarray:
    """How many of the `anchors`, shape (M, 2), have each of the boxes right above them, with less `room` than a label takes: (N,)."""
    x, y = anchors.T[:, :, None]
    over = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3] + room)
    return np.count_nonzero(over, axis=0)


def _touch(boxes: np.ndarray, others: np.ndarray, gap: float) -> np.ndarray:
    """Which of the `boxes`, shape (N, 4), come nearer than `gap` to one of the `others`, shape (M, 4), in both directions: bool, (N,)."""
    left, top, right, bottom = others.T[:, :, None]
    near = (boxes[:, 0] < right + gap) & (left - gap < boxes[:, 2]) & (boxes[:, 1] < bottom + gap) & (top - gap < boxes[:, 3])
    return near.any(axis=0)
