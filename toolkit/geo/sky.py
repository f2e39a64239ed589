"""Where a photograph's sky ends: a minimal cut between a model of its sky and a model of its land, and how far to trust it.

Several first guesses at what sky is (calm, bright, not warm, high in the picture) are cut along sharp lines. Then both sides are
learned from the picture itself and cut again (as GrabCut does: Rother, Kolmogorov, Blake 2004): the sky as a colour that changes
smoothly over the picture, with clouds in it, the land as a mixture of colours and roughnesses. The guess that ends where the
picture is told best stays, and those that are nearly as good count by how good they are: in haze a far ridge may end the sky or lie
in it. So faint hills, fog banks and snow before a white sky part from the sky where its own smooth colour ends,
and clouds stay in it. A camera that leans is no trouble: the border may climb as steeply as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from toolkit.geo.lines import Gradient, Points
from toolkit.geo.sky_border import Cut, best_border, border_probability, cut_costs
from toolkit.geo.sky_colours import sky_and_land

# Costs are in units of parting a cell from the one below it where no line is at all.
_FAINT, _FAINTEST = 0.1, (0.0015, 0.005)  # a line's gradient, of the picture's strong ones, but at least that of half a grey level
_RANGE, _GAIN = 0.6, 4.0  # brightness that a picture's colours are stretched to, at most by this
_CELLS = 240  # cells along the longer side in which sky and land are learned: finer shows noise, and takes longer
_ROUNDS = 2  # of learning and cutting; borders have come to rest by then
_WHOLE = 1.0  # a column without any border: as much as one along no line
_SHARE, _MOST = 0.1, 5.0  # of the logarithm by which a cell looks more like land: neighbours agree, and no model is surer than e^5
_TELLS = 0.02  # of the logarithms that count when results are compared: all land's texture is in them, most of it without meaning
_APART = 1.0  # results whose costs for a column differ by this much are e times less likely
_REACH = 2  # cells about the border within which its probability counts as its own
_NEVER = 100.0  # what a cell costs that must not be sky
_OTHER = 4  # cells from the border from which on a border is another one
_LEAST, _FULL = 0.02, 0.98  # shares of the picture: less sky than that shows no skyline, more is a picture of clouds
_UNSURE = 0.25  # skies less plausible than this are none


@dataclass(frozen=True)
class Sky:
    """`border`: the row where the sky ends in each column, float64, shape (columns,), -0.5 where it has none; `certainty`: 0 to 1, that
    this is the skyline, same shape; `haze`: the sky's colour above its end, float32, shape (columns, 3). Of cells of `step` x `step`
    pixels, float64: `probability`, of being sky, and `elsewhere`, that the sky ends there and not at the border.
    """

    border: np.ndarray
    certainty: np.ndarray
    haze: np.ndarray
    probability: np.ndarray
    elsewhere: np.ndarray
    step: int

    def covers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether the pixels nearest to `x`, `y` are sky, bool, shape as `x`."""
        column = np.clip(np.round(x), 0, len(self.border) - 1).astype(np.intp)
        return np.round(y) < self.border[column]

    def at(self, cells: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What `cells`, `probability` or `elsewhere`, are at the pixels `x`, `y`, shape as `x`."""
        rows, columns = cells.shape
        row, column = ((np.round(values) // self.step).astype(np.intp) for values in (y, x))
        return cells[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]


@dataclass(frozen=True)
class _Cells:
    """The reduced picture, arrays of shape (rows, columns): `colour` (and 3): brightness, yellow less blue, red less green, stretched;
    `rough`, 0 to 1: more gradient than noise has; `flat`, `upright`, 0 to 1: how clear a flat or an upright line is there.
    """

    colour: np.ndarray
    rough: np.ndarray
    flat: np.ndarray
    upright: np.ndarray


@dataclass(frozen=True)
class _Result:
    border: np.ndarray  # sky cells of each column
    cut: Cut
    unlikely: np.ndarray  # what it costs each cell to be sky
    cost: float  # for a column


def find_sky(picture: np.ndarray, gradient: Gradient, points: Points, noise: float) -> Sky | None:
    """The sky of `picture`, float32, shape (rows, columns, 3), 0..1; None without one.

    `points`: ridges of the gradient; `noise`: gradient that noise does not exceed.
    """
    step = max(1, -(-max(picture.shape[:2]) // _CELLS))
    # What a line is, and how much colours differ, is a matter of the picture's own contrast: in haze, dusk and blur both shrink.
    strong = float(np.quantile(gradient.magnitude[::2, ::2], 0.9))
    low = max(noise, float(np.clip(_FAINT * strong, *_FAINTEST)))
    columns = picture.shape[1] // step
    flat, upright = _clear_lines(gradient, low)
    cells = _reduced(picture, gradient, low, step, flat, upright)
    results = _results(cells)
    if not results:
        return None
    best = min(results, key=lambda result: result.cost)
    plausible = _plausible(cells, best.border)
    if plausible < _UNSURE:
        return None
    agreement, probability, elsewhere = _agreement(results, best, cells)
    certainty = plausible * agreement * _local(cells, best.border)
    fine = _refined(best, flat, upright, points, step) - 0.5
    fine = np.pad(fine, (0, picture.shape[1] - len(fine)), mode="edge")
    middles = (np.arange(columns) + 0.5) * step - 0.5
    certainty = np.interp(np.arange(picture.shape[1]), middles, certainty)
    row = np.clip(np.round(fine) - 2 * step, 0, picture.shape[0] - 1).astype(np.intp)
    haze = ndimage.uniform_filter1d(picture[row, np.arange(picture.shape[1])], 4 * step + 1, axis=0, mode="nearest")
    return Sky(fine, np.where(fine > 0, certainty, 0.0), haze, probability, plausible * elsewhere, step)


def _refined(best: _Result, flat: np.ndarray, upright: np.ndarray, points: Points, step: int) -> np.ndarray:
    """How many pixels of each column are sky: the cut once more in single pixels, along the ridges of the gradient alone within a cell
    of the border of cells, and with what was learned elsewhere. Columns beyond the last whole cell are left out.
    """
    rows, columns = best.unlikely.shape
    row = np.arange(rows)[:, None]
    unsure = (row >= ndimage.minimum_filter1d(best.border, 3) - 1) & (row <= ndimage.maximum_filter1d(best.border, 3))
    unlikely = np.where(unsure, 0.0, best.unlikely / step)
    last = min(rows, int(best.border.max()) + 3)
    window = slice(0, last * step), slice(0, columns * step)
    on_ridge = np.full(flat.shape, np.float32(0.5))  # beside a ridge its gradient says little: the border is to lie on it
    on_ridge[points.row, points.column] = 1.0
    unlikely = np.repeat(np.repeat(unlikely[:last], step, axis=0), step, axis=1)
    return best_border(_cut(unlikely, (flat * on_ridge)[window], (upright * on_ridge)[window]))


def _clear_lines(gradient: Gradient, low: float) -> tuple[np.ndarray, np.ndarray]:
    """How clear a flat and an upright line is at each pixel, 0 to 1: what exceeds noise little is nearly as good as what exceeds it
    much, for haze makes true skylines faint and clouds may be bright."""
    clear = gradient.magnitude / (gradient.magnitude + np.float32(4.0 * low))
    return clear * np.abs(gradient.normal_y), clear * np.abs(gradient.normal_x)


def _reduced(picture: np.ndarray, gradient: Gradient, low: float, step: int, flat: np.ndarray, upright: np.ndarray) -> _Cells:
    rows, columns = picture.shape[0] // step, picture.shape[1] // step
    red, green, blue = np.moveaxis(_blocks(picture, rows, columns, step).mean(axis=(1, 3), dtype=np.float64), 2, 0)
    rough = np.maximum(gradient.magnitude - np.float32(2.0 * low), 0.0)
    rough, flat, upright = (_blocks(values, rows, columns, step).max(axis=(1, 3)).astype(np.float64) for values in (rough, flat, upright))
    brightness = (red + green + blue) / 3.0
    darkest, brightest = np.quantile(brightness, (0.02, 0.98))
    gain = float(np.clip(_RANGE / max(brightest - darkest, 1e-6), 1.0, _GAIN))
    colour = gain * np.stack([brightness, 0.5 * (red + green) - blue, red - green], axis=2)
    return _Cells(colour, rough / (rough + 4.0 * low), flat, upright)


def _blocks(values: np.ndarray, rows: int, columns: int, step: int) -> np.ndarray:
    return values[: rows * step, : columns * step].reshape(rows, step, columns, step, *values.shape[2:])


def _guesses(cells: _Cells) -> tuple[np.ndarray, ...]:
    """What it costs each cell to be sky before anything is learned: a picture's weather decides which guess is a good start.

    The first is the one that always counts; it finds what ends calm. The second gives way for nothing: faint hills, snow. The others
    go by colour, through clouds with hard edges; one of them leans towards high borders, the other to the picture's middle.
    """
    brightness, yellow = cells.colour[:, :, 0], cells.colour[:, :, 1]
    warm = np.clip(yellow / 0.1, -1.0, 1.0)
    dark = np.clip((np.median(brightness) - brightness) / 0.2, -1.0, 1.0)
    mild = 0.01 * (np.maximum(warm, 0.0) + np.maximum(dark, 0.0))
    down = np.linspace(-1.0, 1.0, len(warm))[:, None]
    by_colour = 0.05 * cells.rough + 0.03 * (warm + dark)
    return 0.1 * cells.rough + mild, 0.2 * cells.rough + mild, by_colour + 0.03, by_colour + 0.03 * down


def _results(cells: _Cells) -> list[_Result]:
    """Where the guesses lead, without those that come upon a border that an earlier one led to, and those without sky or land."""
    features = np.concatenate([cells.colour, 0.2 * cells.rough[:, :, None]], axis=2)
    guesses = _guesses(cells)
    seen: list[np.ndarray] = []
    found = [_learned(_cut(guess, cells.flat, cells.upright), cells, features, guesses[0], seen) for guess in guesses]
    results = [result for result in found if result is not None]
    if results:
        # Whatever may lie in that sky: a far ridge that is fainter than the hill before it, and which only its line tells.
        best = min(results, key=lambda result: result.cost)
        below = np.where(np.arange(len(cells.rough))[:, None] < best.border - _OTHER, 0.0, _NEVER)
        higher = _learned(_cut(below, cells.flat, cells.upright), cells, features, guesses[0], seen)
        results += [higher] if higher is not None else []
    return results


def _learned(cut: Cut, cells: _Cells, features: np.ndarray, calm: np.ndarray, seen: list[np.ndarray]) -> _Result | None:
    """Where a first cut leads by learning both sides from it, and cutting again; None where it comes upon a border in `seen`, or has no
    sky or no land. `seen` gets its last border. `calm`: what it costs each cell to be sky, whatever is learned."""
    rows, every = np.arange(cells.rough.shape[0])[:, None], np.arange(cells.rough.shape[1])
    last: np.ndarray | None = None
    result = None
    for turn in range(_ROUNDS + 1):
        border = best_border(cut)
        above = rows < border
        if _met(border, seen) or not _LEAST < above.mean() < _FULL:
            break
        rests = turn == _ROUNDS or (last is not None and _met(border, [last]))
        last = border
        sky, land = sky_and_land(features, above)
        unlikely = calm + _SHARE * np.clip(land - sky, -_MOST, _MOST)
        cut = _cut(unlikely, cells.flat, cells.upright)
        if rests:
            lines = _cut(np.zeros_like(cells.rough), cells.flat, cells.upright)
            told = np.where(above, sky, land).sum()
            along = lines.above[every, border].sum() + np.abs(np.diff(_at_border(lines, border), axis=1)).sum()
            result = _Result(border, cut, unlikely, float((along + calm[above].sum() - _TELLS * told) / len(every)))
            break
    if last is not None:
        seen.append(last)
    return result


def _met(border: np.ndarray, others: list[np.ndarray]) -> bool:
    return any(np.mean(np.abs(border - other)) < 0.5 for other in others)


def _at_border(cut: Cut, border: np.ndarray) -> np.ndarray:
    """The prefix sums at both ends of each climb, shape (columns - 1, 2)."""
    every = np.arange(len(border) - 1)
    return np.stack([cut.climb[every, border[:-1]], cut.climb[every, border[1:]]], axis=1)


def _cut(unlikely: np.ndarray, flat: np.ndarray, upright: np.ndarray) -> Cut:
    below, right = 1.0 - flat, 1.0 - upright  # a line is in one of the two cells that it parts
    np.minimum(below[1:], 1.0 - flat[:-1], out=below[1:])
    np.minimum(right[:, :-1], 1.0 - upright[:, 1:], out=right[:, :-1])
    return cut_costs(unlikely, below, right, _WHOLE)


def _agreement(results: list[_Result], best: _Result, cells: _Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How probable it is in each column that the border is where the best result has it, shape (columns,), and in each cell that it is
    sky, and that a border goes through it that is another one and like a skyline, shape (rows, columns), over all results."""
    weight = np.exp(-np.array([result.cost - best.cost for result in results]) / _APART)
    row, every = np.arange(len(best.unlikely)), np.arange(len(best.border))
    sky, elsewhere, agreement = np.zeros(best.unlikely.shape), np.zeros(best.unlikely.shape), np.zeros(len(every))
    for share, result in zip(weight / weight.sum(), results, strict=True):
        summed = np.pad(np.cumsum(border_probability(result.cut), axis=1), ((0, 0), (1, 0)))
        last = summed.shape[1] - 1
        agreement += share * (
            summed[every, np.minimum(best.border + _REACH + 1, last)] - summed[every, np.maximum(best.border - _REACH, 0)]
        )
        sky += share * (1.0 - summed[:, 1:-1]).T
        # Of a cell both edges, and one beyond each.
        near = summed[:, np.minimum(row + _REACH + 1, last)] - summed[:, np.maximum(row - _REACH + 1, 0)]
        elsewhere += share * near.T * _local(cells, result.border)
    elsewhere[np.abs(row[:, None] + 0.5 - best.border) < _OTHER] = 0.0
    return agreement, sky, elsewhere


def _plausible(cells: _Cells, border: np.ndarray) -> float:
    """How much what lies above the border is like a sky, 0 to 1: walls, leaves and water have no such end, or are not so calm.

    Thresholds are from what is seen of skies: a tenth of a skyline is too faint to see, upright pieces (poles, towers) are a quarter
    of it at most, clouds are calmer than land, and where a sky is warm (sunset) it is a little likelier a wall.
    """
    rows, columns = cells.rough.shape
    row = np.arange(rows)[:, None]
    above = row < border
    inner = row < border - 2
    own = (border > 0) & (border < rows)
    if not inner.any() or own.mean() < 0.2:
        return 0.0
    climbs = _climbs(border, rows)
    upright = np.maximum(cells.upright[:, :-1], cells.upright[:, 1:])
    clear = np.concatenate([_flat_at(cells, border)[own], upright[climbs]])
    tall = (climbs & (np.abs(np.diff(border)) > 0.04 * rows)).sum() / len(clear)
    brightness, yellow = cells.colour[:, :, 0], cells.colour[:, :, 1]
    return float(
        _below(np.mean(clear < 0.3), 0.35, 0.06)
        * _below(tall, 0.3, 0.05)
        * _below(cells.rough[inner].mean() - 0.3 * cells.rough[~above].mean(), 0.12, 0.02)
        * _below(brightness[~above].mean() - brightness[above].mean(), 0.3, 0.05)
        * max(0.4, _below(yellow[above].mean(), 0.08, 0.02))
    )


def _local(cells: _Cells, border: np.ndarray) -> np.ndarray:
    """How much the border is like a skyline at each column, 0 to 1, shape (columns,): clear, and no saw of tree tops."""
    clear = ndimage.uniform_filter1d(_flat_at(cells, border), 9, mode="nearest")
    slanted = np.abs(np.diff(border, append=border[-1]))  # a steep skyline is clear in upright lines, which the cut has weighed
    climb, net = (ndimage.uniform_filter1d(values.astype(np.float64), 9, mode="nearest") for values in (slanted, _diff(border)))
    return np.clip((clear + 0.3 * climb) / 0.35, 0.0, 1.0) * np.exp(-np.maximum(climb - np.abs(net) - 0.5, 0.0))


def _diff(border: np.ndarray) -> np.ndarray:
    return np.diff(border, append=border[-1])


def _flat_at(cells: _Cells, border: np.ndarray) -> np.ndarray:
    """How clear the flat line along the border is, shape (columns,); 0 where it leaves the picture."""
    rows, columns = cells.flat.shape
    row, every = np.clip(border, 1, rows - 1), np.arange(columns)
    clear = np.maximum(cells.flat[row - 1, every], cells.flat[row, every])
    return np.where((border > 0) & (border < rows), clear, 0.0)


def _climbs(border: np.ndarray, rows: int) -> np.ndarray:
    """Which cells the border passes on their right, bool, shape (rows, columns - 1)."""
    row = np.arange(rows)[:, None]
    return (row >= np.minimum(border[:-1], border[1:])) & (row < np.maximum(border[:-1], border[1:]))


def _below(value: float | np.floating, limit: float, softness: float) -> float:
    """1 for values below the limit, 0 above, a logistic curve between."""
    return float(1.0 / (1.0 + np.exp(np.clip((value - limit) / softness, -50.0, 50.0))))
