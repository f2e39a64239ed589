"""Arcs on the sphere grid: nothing lost, nothing turned, and harmonics that agree with two independent transforms."""

import io

import ducc0
import numpy as np
import pytest

from tests.unit.geo.signals import cap_of_arcs, lengths, rotated
from toolkit.core.errors import BadData, UsageError
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.segments import Segments
from toolkit.geo.sphere import analyse, cell_solid_angles, read_sphere, splat


def harmonics_of_the_arcs(segments: Segments, bandwidth: int, pieces: int = 40) -> np.ndarray:
    """E and B by direct summation over points on the arcs, no grid in between."""
    fraction = (np.arange(pieces) + 0.5) / pieces
    point = segments.start[:, None] + fraction[:, None] * (segments.end - segments.start)[:, None]
    point = (point / np.linalg.norm(point, axis=2)[..., None]).reshape(-1, 3)
    tangent = np.repeat(segments.end - segments.start, pieces, axis=0)
    amount = np.repeat(segments.strength * lengths(segments) / pieces, pieces)
    theta, phi = np.arccos(point[:, 2]), np.arctan2(point[:, 1], point[:, 0]) % (2 * np.pi)
    to_theta = np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)], 1)
    to_phi = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], 1)
    psi = np.arctan2((tangent * to_phi).sum(1), (tangent * to_theta).sum(1))
    field = np.stack([amount * np.cos(2 * psi), amount * np.sin(2 * psi)])
    location = np.stack([theta, phi], 1)
    return ducc0.sht.adjoint_synthesis_general(map=field, spin=2, lmax=bandwidth - 1, mmax=bandwidth - 1, loc=location, epsilon=1e-10)


@pytest.mark.parametrize("bandwidth", [3, 16, 64, 256])
@pytest.mark.parametrize("pose", [(0, 90, 0), (33, 5, 12), (200, -90, 0)])
def test_the_integral_is_kept(bandwidth, pose):
    segments = rotated(cap_of_arcs(), rotation_matrix(*pose))
    sphere = splat(segments, bandwidth)
    assert sphere.dtype == np.float32
    assert sphere.shape == (2 * bandwidth, 2 * bandwidth, 3)
    integral = (sphere[..., 0].sum(axis=1, dtype=np.float64) * cell_solid_angles(bandwidth)).sum()
    assert integral == pytest.approx((lengths(segments) * segments.strength).sum(), rel=1e-6)


@pytest.mark.parametrize("pose", [(0, 90, 0), (33, 5, 12)])
def test_low_harmonics_are_those_of_the_arcs(pose):
    bandwidth = 64
    segments = rotated(cap_of_arcs(), rotation_matrix(*pose))
    exact = harmonics_of_the_arcs(segments, bandwidth)
    ours = analyse(splat(segments, bandwidth), bandwidth)
    degree = np.concatenate([np.arange(order, bandwidth) for order in range(bandwidth)])
    low = (degree >= 2) & (degree < bandwidth // 2)
    for expected, actual in zip(exact, (ours.electric, ours.magnetic), strict=True):
        assert np.linalg.norm((actual - expected)[low]) < 0.1 * np.linalg.norm(expected[low])


def test_point_sampling_would_fail_that_bound():
    """The bound above tells splatting from the nearest cell's value: what point sampling gives is far outside it."""
    bandwidth = 64
    segments = cap_of_arcs()
    exact = harmonics_of_the_arcs(segments, bandwidth)[0]
    sphere = splat(segments, bandwidth)
    sampled = np.zeros_like(sphere)
    kept = sphere[::4, ::4]
    sampled[::4, ::4] = kept * 16
    ours = analyse(sampled, bandwidth).electric
    degree = np.concatenate([np.arange(order, bandwidth) for order in range(bandwidth)])
    low = (degree >= 2) & (degree < bandwidth // 2)
    assert np.linalg.norm((ours - exact)[low]) > 0.3 * np.linalg.norm(exact[low])


def test_a_long_arc_leaves_no_holes_where_cells_are_small():
    bandwidth = 256
    meridian = Segments(np.array([[np.sin(0.1), 0, np.cos(0.1)]]), np.array([[np.sin(0.9), 0, np.cos(0.9)]]), np.ones(1))
    rows = np.flatnonzero(splat(meridian, bandwidth)[:, 0, 0])
    assert (np.diff(rows) == 1).all()
    assert rows[0] == pytest.approx(0.1 / (np.pi / 2 / bandwidth), abs=2)


@pytest.mark.parametrize(("end", "psi"), [((0.0, 0.01, 0.0), np.pi / 2), ((0.0, 0.0, -0.01), 0.0), ((0.0, 0.01, -0.01), np.pi / 4)])
def test_direction_is_from_e_theta_towards_e_phi(end, psi):
    start = np.array([[1.0, 0.0, 0.0]])
    stop = start + np.array([end])
    sphere = splat(Segments(start, stop / np.linalg.norm(stop), np.ones(1)), 16)
    total = sphere.sum(axis=(0, 1))
    assert np.arctan2(total[2], total[1]) == pytest.approx(2 * psi, abs=0.02)


def test_pyshtools_agrees_with_ducc0():
    sphere = splat(rotated(cap_of_arcs(), rotation_matrix(33, 5, 12)), 32)
    for bandwidth in (32, 20):
        ours, theirs = analyse(sphere, bandwidth).scalar, analyse(sphere, bandwidth, "pyshtools").scalar
        assert np.abs(ours - theirs).max() < 1e-12 * np.abs(ours).max()


def test_analysis_inverts_synthesis():
    bandwidth = 24
    random = np.random.default_rng(3)
    count = bandwidth * (bandwidth + 1) // 2
    alm = random.normal(size=(2, count)) + 1j * random.normal(size=(2, count))
    degree = np.concatenate([np.arange(order, bandwidth) for order in range(bandwidth)])
    alm[:, degree < 2] = 0
    alm[:, :bandwidth] = alm[:, :bandwidth].real
    grid = {"lmax": bandwidth - 1, "mmax": bandwidth - 1, "geometry": "F1", "ntheta": 2 * bandwidth, "nphi": 2 * bandwidth}
    field = ducc0.sht.synthesis_2d(alm=alm, spin=2, **grid)
    sphere = np.concatenate([np.hypot(*field)[None], field]).transpose(1, 2, 0)
    ours = analyse(sphere, bandwidth)
    assert np.abs(ours.electric - alm[0]).max() < 1e-10
    assert np.abs(ours.magnetic - alm[1]).max() < 1e-10


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8)), "shape"),
        (np.zeros((8, 6, 3)), "shape"),
        (np.zeros((8, 8, 3)), "no edge"),
        (np.full((8, 8, 3), np.nan), "not a finite number at row 0, column 0"),
        (-np.ones((8, 8, 3)), "negative"),
        (np.array([["a"]]), "cannot be used"),
    ],
)
def test_bad_spheres_are_named(array, words):
    stream = io.BytesIO()
    np.save(stream, array)
    stream.seek(0)
    with pytest.raises(BadData, match=f"here.npy.*{words}"):
        read_sphere(stream, "here.npy")


def test_bandwidths_that_cannot_be_used():
    with pytest.raises(UsageError):
        splat(cap_of_arcs(), 0)
    with pytest.raises(UsageError, match="exceeds the input's bandwidth 8"):
        analyse(splat(cap_of_arcs(), 8), 9)
