"""The best border between what is above and what is below, exactly: a minimal cut of the picture, column by column.

Sky lies above land in every column, so a segmentation is one number for each column: how many of its rows are sky. With that
constraint the minimal cut of the pixel grid (Boykov, Jolly 2001: what each pixel is by itself, and what it costs to part two
neighbours) is a shortest path, and the cost of climbing is an L1 distance in the prefix sums of the horizontal costs: two running
minima find it for all rows at once, however steep the border is (Felzenszwalb, Huttenlocher 2012, the distance transform of a chain).
With running sums of probabilities in place of minima the same two passes give each row's probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """The costs of a border: `above`: of `b` rows being sky, float64, shape (columns, rows + 1), b = 0..rows; `climb`: prefix sums down
    the rows of what parting a pixel from its right neighbour costs, not decreasing, shape (columns - 1, rows + 1).
    """

    above: np.ndarray
    climb: np.ndarray


def cut_costs(unlikely: np.ndarray, part_below: np.ndarray, part_right: np.ndarray, whole: float) -> Cut:
    """The costs from those of pixels, all shape (rows, columns): `unlikely`: what it costs more to be sky than land (negative where it
    looks like sky); `part_below`: to part a pixel from the one above it; `part_right`: from its right neighbour (last column unused).
    `whole`: what a column costs that is all land or all sky.
    """
    rows, columns = unlikely.shape
    above = np.zeros((columns, rows + 1))
    np.cumsum(unlikely.T, axis=1, out=above[:, 1:])
    above[:, 1:-1] += part_below.T[:, 1:]
    above[:, [0, -1]] += whole
    climb = np.zeros((columns - 1, rows + 1))
    np.cumsum(part_right.T[:-1], axis=1, out=climb[:, 1:])
    return Cut(above, climb)


def best_border(cut: Cut) -> np.ndarray:
    """How many rows are sky in each column of the cheapest border, int64, shape (columns,)."""
    columns, states = cut.above.shape
    every = np.arange(states)
    best, came = cut.above[0], np.empty((columns, states), np.int32)
    for column in range(1, columns):
        climb = cut.climb[column - 1]
        fallen, fallen_from = _running_minimum(best - climb, every)
        risen, risen_from = _running_minimum((best + climb)[::-1], every)
        fallen, risen = fallen + climb, risen[::-1] - climb
        came[column] = np.where(fallen <= risen, fallen_from, states - 1 - risen_from[::-1])
        best = np.minimum(fallen, risen) + cut.above[column]
    border = np.empty(columns, np.int64)
    border[-1] = int(np.argmin(best))
    for column in range(columns - 1, 0, -1):
        border[column - 1] = came[column, border[column]]
    return border


def border_probability(cut: Cut) -> np.ndarray:
    """The probability of each number of sky rows in each column, float64, shape (columns, rows + 1), if a border's is exp(-cost)."""
    forward = _messages(cut.above, cut.climb)
    backward = _messages(cut.above[::-1], cut.climb[::-1])[::-1]
    logarithm = forward + backward + cut.above  # both hold minus the cost of the column itself
    probability = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return probability / probability.sum(axis=1, keepdims=True)


def _messages(above: np.ndarray, climb: np.ndarray) -> np.ndarray:
    """Minus costs summed from the first column on, as logarithms of sums over all borders, less a constant for each column."""
    summed = np.empty_like(above)
    summed[0] = -above[0]
    for column in range(1, len(above)):
        before, step = summed[column - 1], climb[column - 1]
        fallen = np.logaddexp.accumulate(before + step) - step
        risen = np.logaddexp.accumulate((before - step)[::-1])[::-1] + step
        # Staying is in both sums: it counts once.
        both = np.logaddexp(fallen, risen)
        both += np.log1p(-np.minimum(np.exp(before - both), 0.5))
        summed[column] = both - both.max() - above[column]
    return summed


def _running_minimum(values: np.ndarray, every: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least value up to each place and where it is."""
    least = np.minimum.accumulate(values)
    return least, np.maximum.accumulate(np.where(values == least, every, 0))
