"""Wigner's d and the sums with it: against decimal arithmetic, two independent libraries, and what d must obey."""

import itertools
from math import pi

import ducc0
import numpy as np
import pytest
from pyshtools.rotate import djpi2

from tests.unit.geo import legendre_reference
from tests.unit.geo.exact_wigner import exact_d
from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.geo.correlation import correlate, window
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.sphere import Coefficients, analyse, splat
from toolkit.geo.wigner import Products, products, wigner_d, wigner_sums

# Relative to the greatest value.
EXACT = {"float64": 1e-10, "float32": 1e-4}
COMPLEX = {"float64": np.complex128, "float32": np.complex64}
LARGEST = 4096


def rows_of(bandwidth: int) -> np.ndarray:
    """Colatitudes of the raster from the first at the pole to the last, the opposite of each with it."""
    step = pi / (4 * bandwidth)
    rows = [0, 1, 5, bandwidth // 50, bandwidth // 7, bandwidth // 3, bandwidth - 1]
    return np.unique([*rows, *(2 * bandwidth - 1 - row for row in rows)]) * 2 * step + step


def pairs_up_to(most: int) -> list[tuple[int, int]]:
    """(m, n) of all kinds, scaled to `most`, the last degree."""
    part = [(0, 0), (1, 0), (2, 2), (most // 2, 0), (most - 9, 1), (most, 0), (most, most), (most, most - 1), (most - 95, most // 90)]
    part += [(3 * most // 4, most // 20), (most // 2, most // 2 - 1), (most // 2, -most // 2), (most // 8, -most // 16)]
    return part + [(most // 20, 3 * most // 4), (most // 9, -most // 3), (-most // 5, most // 3), (-most // 3, -most // 4), (-1, most)]


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize("bandwidth", [1, 2, 9, 40])
def test_single_functions_are_those_of_decimal_arithmetic(bandwidth, precision):
    rows = rows_of(max(bandwidth, 8))
    for m, n in itertools.product({0, 1, bandwidth // 2, bandwidth - 1, -1, -bandwidth // 3, 1 - bandwidth}, repeat=2):
        if max(abs(m), abs(n)) < bandwidth:
            expected = np.array([exact_d(m, n, beta, list(range(bandwidth))) for beta in rows]).T
            assert np.abs(wigner_d(m, n, rows, bandwidth, precision) - expected).max() < EXACT[precision] / 10, (m, n)


@pytest.mark.parametrize(("m", "n"), pairs_up_to(LARGEST - 1))
def test_the_recursion_stays_exact_up_to_a_bandwidth_of_4096(m, n):
    rows = rows_of(LARGEST)
    values = wigner_d(m, n, rows, LARGEST)
    assert np.isfinite(values).all()
    lowest = max(abs(m), abs(n))
    assert not values[:lowest].any()
    some = sorted({lowest, *range(lowest + 1, LARGEST, 450), LARGEST - 2, LARGEST - 1} - {lowest - 1})
    expected = np.array([exact_d(m, n, beta, some) for beta in rows]).T
    assert np.abs(expected).max() > 1e-3  # not all of them lie beyond their turning points
    assert np.abs(values[some] - expected).max() < EXACT["float64"]


def test_the_rows_of_d_are_unit_vectors():
    """d is a rotation: the squares of its elements add up to 1 over n, and two columns are orthogonal."""
    bandwidth, rows = 24, rows_of(24)
    for degree in (1, 7, bandwidth - 1):
        orders = range(-degree, degree + 1)
        d = np.array([[wigner_d(m, n, rows, bandwidth)[degree] for n in orders] for m in orders])
        assert np.abs(np.einsum("mnr,pnr->rmp", d, d) - np.eye(2 * degree + 1)).max() < 1e-12


@pytest.mark.parametrize("order", [0, 40, 350])
def test_functions_of_high_degrees_are_orthogonal(order):
    """The integral of d^l_mn d^k_mn sin beta is 2 / (2l + 1) for l = k and else 0, by Gauss and Legendre's quadrature."""
    bandwidth, n = 400, order // 2
    nodes, weights = np.polynomial.legendre.leggauss(bandwidth)
    values = wigner_d(order, n, np.arccos(nodes), bandwidth)[[order, order + 1, (order + bandwidth) // 2, bandwidth - 1]]
    degrees = np.array([order, order + 1, (order + bandwidth) // 2, bandwidth - 1])
    gram = (values * weights) @ values.T * np.sqrt(np.outer(degrees + 0.5, degrees + 0.5))
    assert np.abs(gram - np.eye(4)).max() < 1e-10


def test_the_equator_is_that_of_pyshtools():
    size = 60
    reference = djpi2(size - 1)  # [m, n, l] for m, n >= 0
    middle = np.array([pi / 2])
    for m, n in itertools.product(range(0, size, 7), repeat=2):
        assert np.abs(wigner_d(m, n, middle, size)[:, 0] - reference[m, n] * (-1) ** (m + n)).max() < 1e-12


def by_quarter_turns(m: int, n: int, beta: np.ndarray, size: int) -> np.ndarray:
    """The Fourier series of d in beta, whose coefficients are products of pyshtools' d(pi/2) (Varshalovich et al. 1988, 4.5.1)."""
    half = djpi2(size - 1)  # [m, n, l] for m, n >= 0, with the sign (-1)^(m - n)
    result = np.zeros((size, len(beta)))
    for degree in range(max(abs(m), abs(n)), size):
        k = np.arange(degree + 1)
        # d^l_-k,m(pi/2) = (-1)^(l + m) d^l_k,m(pi/2), and the same of n: half the series is enough
        series = np.ones(degree + 1)
        for order in (m, n):
            series *= half[k, abs(order), degree] * (-1.0) ** (k + order) * ((-1.0) ** (degree + k) if order < 0 else 1.0)
        mirrored = np.where(k == 0, 0.0, (-1.0) ** (m + n) * series)
        waves = np.exp(-1j * np.outer(beta, k))
        result[degree] = (1j ** (m - n) * (waves @ series + np.conj(waves) @ mirrored)).real
    return result


def spheres(bandwidth: int, everywhere: bool) -> tuple[Coefficients, Coefficients]:
    """A panorama, and a photograph in a cap, whose high orders are empty, or all over the sphere."""
    if everywhere:
        random = np.random.default_rng(bandwidth)
        values = random.normal(size=(2, 3, bandwidth * (bandwidth + 1) // 2)) * (1 + 0j)
        values[..., bandwidth:] += 1j * random.normal(size=values[..., bandwidth:].shape)  # order 0 of a real field is real
        return Coefficients(bandwidth, *values[0]), Coefficients(bandwidth, *values[1])
    photo = splat(cap_of_arcs(spread=0.15), bandwidth)
    panorama = splat(rotated(cap_of_arcs(), rotation_matrix(77.0, -13.0, 7.0)), bandwidth)
    return analyse(panorama, bandwidth), analyse(photo, bandwidth)


def sums(engine, factors: Products, rows: np.ndarray, kind: type, width: int | None = None) -> np.ndarray:
    size = factors.bandwidth
    out = np.full((size + 1, width or 2 * factors.orders + 1, len(rows) + 2), 7, kind)
    engine(factors, rows, out, 2)
    used = np.r_[0 : factors.orders + 1, out.shape[1] - factors.orders : out.shape[1]]
    left = out.copy()
    left[np.ix_(range(size), used, range(len(rows)))] = 7
    assert (left == 7).all(), "wrote where it should not"
    return out[:size, used, : len(rows)]


def test_the_reference_equals_the_sum_over_single_functions():
    size = 7
    rows = np.array([0.1, 1.0, 3.0])
    factors = products(*spheres(size, True), spin="both", scalar_weight=0.4)
    result = sums(legendre_reference.wigner_sums, factors, rows, np.complex128)
    panorama, photo = spheres(size, True)
    place = {(degree, m): at for at, (m, degree) in enumerate((m, degree) for m in range(size) for degree in range(m, size))}
    for m, k in itertools.product(range(size), range(1 - size, size)):
        total = np.zeros(3, complex)
        for degree in range(max(m, abs(k)), size):
            product = 0j
            for name, weight in (("electric", 1.0), ("magnetic", 1.0), ("scalar", 0.4)):
                p = getattr(photo, name)[place[degree, abs(k)]]
                p = p if k <= 0 else (-1) ** k * np.conj(p)  # P_l,-k
                product += weight * getattr(panorama, name)[place[degree, m]] * np.conj(p)
            total += product * np.array([exact_d(m, -k, beta, [degree])[0] for beta in rows])
        assert np.allclose(result[m, k], np.conj(1j**m * total), atol=1e-12), (m, k)


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize("spin", ["0", "2", "both"])
@pytest.mark.parametrize(("bandwidth", "everywhere"), [(2, True), (33, True), (64, False), (128, False)])
def test_sums_equal_the_reference(bandwidth, everywhere, spin, precision):
    factors = products(*spheres(bandwidth, everywhere), spin=spin, scalar_weight=0.3, precision=precision)
    assert everywhere == (factors.orders == bandwidth - 1)
    some = pi / (4 * bandwidth) * np.arange(1, 4 * bandwidth, 6)
    greatest = np.abs(sums(legendre_reference.wigner_sums, factors, some, np.complex128)).max()
    random = np.random.default_rng(3)
    for count in (1, 5, 33):
        # of the raster, not symmetrical about the equator; and anywhere
        first = random.integers(2 * bandwidth)
        raster = np.unique((first + np.arange(count)) % (2 * bandwidth))
        for rows in (pi / (4 * bandwidth) * (2 * raster + 1), random.uniform(1e-3, pi - 1e-3, count)):
            expected = sums(legendre_reference.wigner_sums, factors, rows, np.complex128)
            actual = sums(wigner_sums, factors, rows, COMPLEX[precision], 2 * bandwidth)
            assert np.abs(actual - expected).max() < EXACT[precision] * greatest


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize(("bandwidth", "everywhere"), [(256, True), (320, False)])
def test_sums_of_large_bandwidths_equal_the_reference(bandwidth, everywhere, precision):
    factors = products(*spheres(bandwidth, everywhere), precision=precision)
    rows = rows_of(bandwidth)[1::2]
    expected = sums(legendre_reference.wigner_sums, factors, rows, np.complex128)
    actual = sums(wigner_sums, factors, rows, COMPLEX[precision])
    assert np.abs(actual - expected).max() < EXACT[precision] * np.abs(expected).max()


def test_every_row_is_computed_that_is_asked_for():
    """Also one asked for twice, one whose opposite is not, and those that are opposite but for a hair."""
    size = 12
    factors = products(*spheres(size, True))
    rows = np.array([0.7, 2.0, 0.7, pi - 0.7, 1e-3, 1.1, pi - 1.1 + 4e-13, pi / 2, pi / 2, pi - 0.7])
    expected = sums(legendre_reference.wigner_sums, factors, rows, np.complex128)
    actual = sums(wigner_sums, factors, rows, np.complex128)
    assert np.abs(actual - expected).max() < EXACT["float64"] * np.abs(expected).max()


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_sums_do_not_depend_on_the_threads(threads):
    factors = products(*spheres(24, True))
    rows = rows_of(24)
    some = [np.empty((24, 47, len(rows)), np.complex128) for _ in range(2)]
    wigner_sums(factors, rows, some[0], 1)
    wigner_sums(factors, rows, some[1], threads)
    assert np.array_equal(*some)


@pytest.mark.parametrize("m", [0, 3, -5])
def test_single_functions_equal_those_of_pyshtools(m):
    rows = rows_of(40)
    for n in (0, 2, 11, -7, -20):
        assert np.abs(wigner_d(m, n, rows, 40) - by_quarter_turns(m, n, rows, 40)).max() < 1e-12, n


@pytest.mark.parametrize(
    ("bandwidth", "limits"),
    [(32, {}), (64, {"pitch": (-30, 30), "roll": (-15, 15)}), (128, {"yaw": (350, 380), "pitch": (-89, -70), "roll": (170, 190)})],
)
@pytest.mark.parametrize("spin", ["0", "2"])
@pytest.mark.parametrize("precision", EXACT)
def test_scores_equal_those_of_totalconvolve(bandwidth, limits, precision, spin):
    panorama, photo = spheres(bandwidth, False)
    cells = window(bandwidth, **limits)
    scores = np.stack([some.copy() for some in correlate(panorama, photo, cells, spin=spin, precision=precision)])
    assert scores.dtype == precision
    sky, beam = (np.stack([c.scalar] if spin == "0" else [c.electric, c.magnetic]) for c in (panorama, photo))
    interpolator = ducc0.totalconvolve.Interpolator(sky, beam, False, bandwidth - 1, bandwidth - 1, epsilon=3e-13, nthreads=2)
    yaw, pitch, roll = (np.radians(axis) for axis in cells.axes)
    random = np.random.default_rng(0)
    index = [random.integers(0, size, 500) for size in cells.shape]
    pointing = np.stack([pi / 2 - pitch[index[0]], (pi / 2 - yaw[index[1]]) % (2 * pi), roll[index[2]]], 1)
    expected = interpolator.interpol(pointing).ravel()
    assert np.abs(scores[tuple(index)] - expected).max() < EXACT[precision] * np.abs(scores).max()
