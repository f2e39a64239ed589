"""Fit the weights of `toolkit.geo.confidence` on photographs of known pose, and see on others how true its probabilities are.

    python tests/evaluation/calibrate.py DATA [--measured FILE]

DATA is a directory as synthetic.py writes it. Each photograph is searched for twice: as it is, and as its mirror image, which has the look
of a photograph from there and no true pose. Even lines of the table are fitted, odd ones judged. Prints the weights as they stand in
the module. FILE keeps what was measured; what is in it already isn't searched for again.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from truth import Truth, read_truths  # noqa: E402

from toolkit.geo.confidence import Measures  # noqa: E402

RIGHT = 1.0  # degrees
NAMES = [entry.name for entry in fields(Measures)]
COLUMNS = ["photo", "mirrored", "error", *NAMES]
# All measures are kept, and these two are fitted: of 120 photographs judged, the others told nothing that these had not.
USED = ["margin", "error"]
RIDGE = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit the weights of the confidence, and judge them.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--measured", type=Path, help="keep the measurements here, or take them from here")
    arguments = parser.parse_args()
    rows = measured(read_truths(arguments.data), arguments.measured)
    names = sorted({row[0] for row in rows})
    fitted = np.array([names.index(row[0]) % 2 == 0 for row in rows])
    values = np.array([[float(row[COLUMNS.index(name, 3)]) for name in USED] for row in rows])
    right = np.array([float(row[2]) <= RIGHT for row in rows])
    weights, origin = fit(values[fitted], right[fitted])
    for name, weight in zip(USED, weights, strict=True):
        print(f"    {name}={weight:.3g},")
    print(f"_ORIGIN = {origin:.3g}")
    for kind, chosen in (("fitted", fitted), ("judged", ~fitted)):
        print(f"{kind}:")
        report(1 / (1 + np.exp(-(values[chosen] @ weights + origin))), right[chosen])
    return 0


def fit(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights, shape (n,), and origin of a logistic regression with a ridge on standardised values."""
    from scipy.optimize import minimize

    scale = values.std(axis=0) + 1e-9
    standard = values / scale

    def loss(unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        odds = standard @ unknowns[:-1] + unknowns[-1]
        slope = 1 / (1 + np.exp(-odds)) - right
        gradient = np.append(standard.T @ slope + 2 * RIDGE * unknowns[:-1], slope.sum())
        return float(np.logaddexp(0, odds).sum() - odds[right].sum() + RIDGE * (unknowns[:-1] ** 2).sum()), gradient

    found = minimize(loss, np.zeros(len(scale) + 1), jac=True, method="L-BFGS-B").x
    return found[:-1] / scale, float(found[-1])


def report(probability: np.ndarray, right: np.ndarray) -> None:
    """How many were right of those that were said to be so with about each probability; and the mean square of what is between."""
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.98), (0.98, 1.0001)):
        chosen = (probability >= low) & (probability < high)
        if chosen.any():
            said, were = probability[chosen].mean(), right[chosen].mean()
            print(f"  {low:.2f} to {min(high, 1):.2f}: {chosen.sum():4} poses, said {said:.3f}, right {were:.3f}")
    print(f"  Brier score {np.mean((probability - right) ** 2):.4f}, of the mean alone {right.mean() * (1 - right.mean()):.4f}")


def measured(truths: list[Truth], path: Path | None = None) -> list[list[str]]:
    """One row of COLUMNS for each photograph and one for its mirror image, none where no pose was found; those in `path` are taken from
    there, and what is measured is added to it at once: what was interrupted goes on.
    """
    rows: list[list[str]] = []
    if path is not None and path.exists():
        with open(path, newline="") as stream:
            rows = list(csv.reader(stream))[1:]
    known = {row[0] for row in rows}
    missing = [truth for truth in truths if truth.name not in known]
    random.Random(1).shuffle(missing)  # what is measured until an interruption is a sample of all terrains
    with open(path or os.devnull, "a", newline="") as stream, ProcessPoolExecutor() as pool:
        writer = csv.writer(stream)
        if not rows:
            writer.writerow(COLUMNS)
        for running in as_completed([pool.submit(_measured, truth) for truth in missing]):
            found = [[str(value) for value in row] for row in running.result()]
            writer.writerows(found)
            stream.flush()
            rows += found
            print(".", end="", file=sys.stderr, flush=True)
    if missing:
        print(file=sys.stderr)
    return rows


def _measured(truth: Truth) -> list[list[object]]:
    from toolkit.geo.edges import detect_edges
    from toolkit.geo.locate import Search, rank_photo
    from toolkit.geo.photo import read_photo
    from toolkit.geo.pose import angle_between
    from toolkit.geo.precise import PreciseOptions
    from toolkit.geo.view import view_from

    seen = view_from([str(truth.dem)], truth.latitude, truth.longitude, truth.height, range_m=100e3, refraction=0.13)
    pixels = read_photo(str(truth.photo)).pixels
    search = Search(256, None, (-45.0, 45.0), (-30.0, 30.0), threads=1)
    rows: list[list[object]] = []
    for mirrored in (False, True):
        edges = detect_edges(np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels)
        found, _ = rank_photo(seen, edges, [truth.pinhole], search, truth.name, PreciseOptions())
        if found:
            error = 180.0 if mirrored else float(angle_between(found[0].pose.matrix, truth.pose.matrix))
            rows.append([truth.name, int(mirrored), error, *astuple(found[0].measures)])
    return rows


if __name__ == "__main__":
    sys.exit(main())
