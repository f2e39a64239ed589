"""The correlation against direct sums, an independent library, and rotated signals."""

from math import factorial

import ducc0
import numpy as np
import pytest

from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.core.errors import UsageError
from toolkit.geo.correlation import correlate, window
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.sphere import Coefficients, analyse, splat

POSE = (77.0, -13.0, 7.0)


def spheres(bandwidth: int) -> tuple[Coefficients, Coefficients]:
    photo = cap_of_arcs()
    panorama = rotated(photo, rotation_matrix(*POSE))
    # A second drawing keeps the panorama from being just the photograph again.
    other = rotated(cap_of_arcs(2), rotation_matrix(200, 10, 0))
    sphere = splat(panorama, bandwidth) + splat(other, bandwidth)
    return analyse(sphere, bandwidth), analyse(splat(photo, bandwidth), bandwidth)


def block(panorama, photo, cells, **options) -> np.ndarray:
    return np.stack([scores.copy() for scores in correlate(panorama, photo, cells, **options)])


def wigner_d(degree: int, m: int, n: int, beta: float) -> float:
    """Wigner's own sum (Varshalovich et al. 1988, 4.3.1, equation 2)."""
    total = 0.0
    for k in range(max(0, n - m), min(degree + n, degree - m) + 1):
        term = np.cos(beta / 2) ** (2 * degree + n - m - 2 * k) * np.sin(beta / 2) ** (m - n + 2 * k)
        total += (-1) ** (m - n + k) * term / (factorial(degree + n - k) * factorial(k) * factorial(m - n + k) * factorial(degree - m - k))
    return total * np.sqrt(float(factorial(degree + m) * factorial(degree - m) * factorial(degree + n) * factorial(degree - n)))


def direct_sum(fields, bandwidth, alpha, beta, gamma) -> float:
    place = {}
    for m in range(bandwidth):
        for degree in range(m, bandwidth):
            place[degree, m] = len(place)

    def value(coefficients, degree, m):
        return coefficients[place[degree, m]] if m >= 0 else (-1) ** m * np.conj(coefficients[place[degree, -m]])

    total = 0j
    for degree in range(bandwidth):
        for m in range(-degree, degree + 1):
            for n in range(-degree, degree + 1):
                product = sum(weight * value(f, degree, m) * np.conj(value(p, degree, n)) for f, p, weight in fields)
                total += product * np.exp(1j * (m * alpha + n * gamma)) * wigner_d(degree, m, n, beta)
    assert abs(total.imag) < 1e-9 * max(1.0, abs(total))
    return total.real


@pytest.mark.parametrize("spin", ["0", "2", "both"])
def test_equals_the_direct_wigner_sum(spin):
    bandwidth = 9
    panorama, photo = spheres(bandwidth)
    line = [(panorama.electric, photo.electric, 1.0), (panorama.magnetic, photo.magnetic, 1.0)]
    strength = [(panorama.scalar, photo.scalar, 1.0 if spin == "0" else 0.3)]
    fields = {"0": strength, "2": line, "both": line + strength}[spin]
    cells = window(bandwidth)
    scores = block(panorama, photo, cells, spin=spin, scalar_weight=0.3)
    yaw, pitch, roll = cells.axes
    for i, j, k in [(0, 0, 0), (3, 5, 7), (17, 9, 4), (8, 17, 17)]:
        expected = direct_sum(fields, bandwidth, *np.radians([90 - yaw[j], 90 - pitch[i], roll[k]]))
        assert scores[i, j, k] == pytest.approx(expected, abs=2e-6 * float(np.abs(scores).max()))


def test_equals_totalconvolve():
    bandwidth = 32
    panorama, photo = spheres(bandwidth)
    cells = window(bandwidth)
    scores = block(panorama, photo, cells)
    sky, beam = (np.stack([c.electric, c.magnetic]) for c in (panorama, photo))
    limit = bandwidth - 1
    interpolator = ducc0.totalconvolve.Interpolator(sky, beam, False, limit, limit, epsilon=1e-10, nthreads=1)
    yaw, pitch, roll = (np.radians(axis) for axis in cells.axes)
    random = np.random.default_rng(0)
    index = [random.integers(0, size, 200) for size in cells.shape]
    pointing = np.stack([np.pi / 2 - pitch[index[0]], (np.pi / 2 - yaw[index[1]]) % (2 * np.pi), roll[index[2]]], 1)
    expected = interpolator.interpol(pointing).ravel()
    actual = scores[tuple(index)]
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(scores).max()


@pytest.mark.parametrize("bandwidth", [16, 33, 64])
def test_the_maximum_is_in_the_true_cell(bandwidth):
    panorama, photo = spheres(bandwidth)
    cells = window(bandwidth)
    scores = block(panorama, photo, cells)
    i, j, k = np.unravel_index(scores.argmax(), scores.shape)
    step = 180.0 / bandwidth
    found = np.array([cells.axes[0][j], cells.axes[1][i], cells.axes[2][k]])
    assert (np.abs(found - POSE) <= [step, step, step]).all()


def test_a_yaw_of_one_cell_rolls_the_block():
    bandwidth = 16
    photo = cap_of_arcs()
    scores = []
    for yaw in (90.0, 90.0 + 180.0 / bandwidth):
        panorama = splat(rotated(photo, rotation_matrix(yaw, 3, 0)), bandwidth)
        scores.append(block(analyse(panorama, bandwidth), analyse(splat(photo, bandwidth), bandwidth), window(bandwidth)))
    assert np.allclose(np.roll(scores[0], 1, axis=1), scores[1], atol=1e-5 * scores[0].max())


@pytest.mark.parametrize(
    "limits",
    [
        {"pitch": (-30, 30), "roll": (-15, 15)},
        {"roll": (-15, 15)},
        {"yaw": (300, 420), "pitch": (0, 20), "roll": (170, 190)},
        {"yaw": (-20, 20), "roll": (-180, 120)},
    ],
)
def test_a_window_is_part_of_the_whole(limits):
    bandwidth = 24
    panorama, photo = spheres(bandwidth)
    whole, cells = window(bandwidth), window(bandwidth, **limits)
    scores, part = block(panorama, photo, whole), block(panorama, photo, cells)
    step = 180.0 / bandwidth
    for axis, (name, values) in enumerate(zip(("yaw", "pitch", "roll"), cells.axes, strict=True)):
        low, high = limits.get(name, (-1e9, 1e9))
        assert (values >= low - 1e-9).all()
        assert (values <= high + 1e-9).all()
        assert len(values) >= min(len(whole.axes[axis]), (high - low) / step - 1)
    yaw = np.rint(cells.axes[0] / step).astype(int) % (2 * bandwidth)
    roll = (np.rint(cells.axes[2] / step).astype(int) + bandwidth) % (2 * bandwidth)
    pitch = np.searchsorted(whole.axes[1], cells.axes[1] - 1e-9)
    assert np.allclose(part, scores[np.ix_(pitch, yaw, roll)], atol=1e-5 * np.abs(scores).max())


def test_the_lower_output_bandwidth_is_the_lower_degree_limit():
    sphere_f, sphere_p = (splat(rotated(cap_of_arcs(), rotation_matrix(*pose)), 64) for pose in (POSE, (0, 90, 90)))
    low = block(analyse(sphere_f, 16), analyse(sphere_p, 16), window(16))
    assert low.shape == (32, 32, 32)
    cut = analyse(sphere_f, 64)
    degree = np.concatenate([np.arange(order, 64) for order in range(64)])
    order = np.repeat(np.arange(64), np.arange(64, 0, -1))
    kept = (degree < 16) & (order < 16)
    assert np.allclose(analyse(sphere_f, 16).electric, cut.electric[kept], atol=1e-9)


def test_a_window_without_cells_is_refused():
    for limits in ({"pitch": (0.01, 0.02)}, {"roll": (1, 2)}, {"yaw": (1, 2)}, {"pitch": (95, 99)}):
        with pytest.raises(UsageError, match="no cell"):
            window(16, **limits)
