"""What sky and land look like in one picture, learned from a guess at which is which.

Sky: a colour that changes as a quadratic over the picture (Preetham and others' daylight models are as smooth as that over a
photograph's angle), with clouds as a mixture of normal distributions. Land: a mixture of normal distributions alone. Mixtures are
fitted by expectation maximisation (Dempster, Laird, Rubin 1977) from starts that depend on nothing but the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SAMPLES = 3000  # cells that a model is fitted to, evenly spread
_STEPS = 6  # of expectation maximisation
_CLOUDS, _LANDS = 2, 5  # normal distributions: white and grey clouds; sunlit and shaded rock, snow, woods, water
_CLEAR_FLOOR, _CLOUD_FLOOR, _LAND_FLOOR = 0.008, 0.04, 0.02  # least standard deviation: 2 grey levels; clouds and land vary


@dataclass(frozen=True)
class Mixture:
    """K normal distributions in D dimensions: `weight`, shape (K,), sums to 1; `mean`, shape (K, D); `covariance`, shape (K, D, D)."""

    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def logarithms(self, values: np.ndarray) -> np.ndarray:
        """The logarithm of each part's weighted density at `values`, shape (N, D): shape (K, N)."""
        # A normal density's logarithm is quadratic in the values: all parts are one product of matrices.
        squares = _squares(values)
        terms = []
        for weight, mean, covariance in zip(self.weight, self.mean, self.covariance, strict=True):
            precision = np.linalg.inv(covariance)
            constant = np.log(weight) - 0.5 * (mean @ precision @ mean + np.linalg.slogdet(2.0 * np.pi * covariance)[1])
            upper = np.triu(-precision, 1) + np.diag(-0.5 * np.diag(precision))
            terms.append(np.concatenate([[constant], precision @ mean, upper[np.triu_indices(len(mean))]]))
        return np.stack(terms) @ squares

    def logarithm(self, values: np.ndarray) -> np.ndarray:
        """The logarithm of the density at `values`, shape (N, D): shape (N,)."""
        return _log_sum(self.logarithms(values))


def fit_mixture(values: np.ndarray, parts: int, floor: float) -> Mixture:
    """Fit `parts` normal distributions to `values`, shape (N, D); no standard deviation is less than `floor`."""
    values = values[:: max(1, len(values) // _SAMPLES)]
    parts = max(1, min(parts, len(values) // 20))
    # The start: equal shares along the direction in which the values spread most.
    centred = values - values.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    share = np.argsort(np.argsort(centred @ axis, kind="stable")) * parts // len(values)
    belongs = (share[:, None] == np.arange(parts)).astype(np.float64)
    for _ in range(_STEPS if parts > 1 else 0):
        logarithms = _maximised(values, belongs, floor).logarithms(values)
        belongs = np.exp(logarithms - _log_sum(logarithms)).T
    return _maximised(values, belongs, floor)


def sky_and_land(features: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each cell looks like sky and like land: logarithms of both densities, float64, shape (rows, columns).

    `features`: shape (rows, columns, 4), colour (three) and roughness; `above`: which cells are taken for sky, bool.
    """
    values = features.reshape(-1, features.shape[2]).astype(np.float64)
    known = above.ravel()
    terms = _quadratic(above.shape)
    smooth, residual = _smooth_colour(values, terms, known)
    clear = fit_mixture(residual[known & smooth], 1, _CLEAR_FLOOR) if (known & smooth).sum() > 40 else None
    clouds = fit_mixture(values[known], _CLOUDS, _CLOUD_FLOOR)
    sky = clouds.logarithm(values)
    if clear is not None:
        share = np.clip((known & smooth).sum() / known.sum(), 0.05, 0.95)
        sky = np.logaddexp(np.log1p(-share) + sky, np.log(share) + clear.logarithm(residual))
    land = fit_mixture(values[~known], _LANDS, _LAND_FLOOR).logarithm(values)
    return sky.reshape(above.shape), land.reshape(above.shape)


def _smooth_colour(values: np.ndarray, terms: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which cells have the smooth colour of the sky that is `known`, and how all differ from it (roughness as it is)."""
    residual = values.copy()
    chosen = known
    every = np.ones(len(values), bool)
    for _ in range(4):  # clouds leave the fit as those that lie off by more than the rest
        if chosen.sum() < 40:
            return np.zeros(len(values), bool), residual
        seen = terms[chosen]  # normal equations: six terms of size one are harmless, and a ridge keeps a sliver of sky from exploding
        coefficients = np.linalg.solve(seen.T @ seen + 1e-3 * np.eye(seen.shape[1]), seen.T @ values[chosen, :3])
        residual[:, :3] = values[:, :3] - terms @ coefficients
        size = np.sqrt(np.einsum("ij,ij->i", residual[:, :3], residual[:, :3]))
        every = size < max(2.5 * float(np.median(size[chosen])), 2.0 * _CLEAR_FLOOR)
        chosen = known & every
    return every, residual


def _quadratic(shape: tuple[int, ...]) -> np.ndarray:
    """The terms 1, x, y, x^2, xy, y^2 of each cell, shape (rows * columns, 6)."""
    y, x = np.meshgrid(np.linspace(-1.0, 1.0, shape[0]), np.linspace(-1.0, 1.0, shape[1]), indexing="ij")
    return np.stack([np.ones(shape), x, y, x * x, x * y, y * y], axis=2).reshape(-1, 6)


def _squares(values: np.ndarray) -> np.ndarray:
    """1, the values and the products of any two of them, shape (1 + D + D (D + 1) / 2, N)."""
    first, second = np.triu_indices(values.shape[1])
    columns = np.ascontiguousarray(values.T)
    return np.concatenate([np.ones((1, len(values))), columns, columns[first] * columns[second]])


def _maximised(values: np.ndarray, belongs: np.ndarray, floor: float) -> Mixture:
    size = belongs.sum(axis=0)
    kept = size > max(2.0 * values.shape[1], 1e-3 * len(values))  # a part of next to nothing would be one cell's own
    belongs, size = (belongs[:, kept], size[kept]) if kept.any() else (np.ones((len(values), 1)), np.array([float(len(values))]))
    mean = belongs.T @ values / size[:, None]
    covariance = []
    for part in range(len(size)):
        off = values - mean[part]
        covariance.append((off * belongs[:, part : part + 1]).T @ off / size[part] + floor**2 * np.eye(values.shape[1]))
    return Mixture(size / size.sum(), mean, np.stack(covariance))


def _log_sum(logarithms: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of all parts, shape (K, N): shape (N,)."""
    most = logarithms.max(axis=0)
    return most + np.log(np.exp(logarithms - most).sum(axis=0))
