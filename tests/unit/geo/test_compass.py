import numpy as np
import pytest
from scipy import ndimage

from toolkit.geo import lines
from toolkit.geo.compass import parted
from toolkit.geo.edges import EdgeParameters, detect_edges

HAZE = np.tile(np.float32([0.8, 0.85, 0.95]), (300, 1))


def points_along(picture, row):
    """The points of the gradient's ridges within a pixel of a row, away from the border."""
    points = lines.ridge_points(lines.colour_gradient(picture, 1.4), 0.005)
    return points[(np.abs(points.y - row) < 1.0) & (points.x > 30) & (points.x < 270)]


def two_surfaces(upper, lower, grain=0.0, seed=0):
    random = np.random.default_rng(seed)
    picture = np.where(np.arange(200)[:, None, None] < 100, np.float32(upper), np.float32(lower)) * np.ones((1, 300, 1), np.float32)
    noise = ndimage.gaussian_filter(random.normal(size=(200, 300, 1)), (1.2, 1.2, 0))
    return np.clip(picture + grain * noise / noise.std(), 0, 1).astype(np.float32)


def test_an_even_step_is_fully_parted_and_a_turned_one_too():
    picture = two_surfaces([0.5, 0.5, 0.5], [0.3, 0.3, 0.3])
    for turned in (picture, picture[::-1], picture.swapaxes(0, 1)):
        points = lines.ridge_points(lines.colour_gradient(np.ascontiguousarray(turned), 1.4), 0.005)
        assert len(points.x) > 150
        assert parted(points, np.ascontiguousarray(turned), None, 10.0, 0.01).parted.min() > 0.95


def test_grain_alone_is_not_parted_and_a_step_in_grain_is():
    grain = two_surfaces([0.5] * 3, [0.5] * 3, grain=0.1)
    every = lines.ridge_points(lines.colour_gradient(grain, 1.4), 0.005)
    step = two_surfaces([0.6] * 3, [0.35] * 3, grain=0.1)
    among, along = parted(every, grain, None, 10.0, 0.01).parted, parted(points_along(step, 99.5), step, None, 10.0, 0.01).parted
    assert len(among) > 1000 and len(along) > 50
    assert np.median(among) < 0.3 < 0.6 < np.median(along)


def test_the_farther_surface_is_the_one_that_has_the_colour_of_haze():
    far, near = [0.7, 0.75, 0.85], [0.3, 0.3, 0.25]
    right, wrong = two_surfaces(far, near), two_surfaces(near, far)
    order = [parted(points_along(picture, 99.5), picture, HAZE, 10.0, 0.01).ordered for picture in (right, wrong)]
    assert order[0].min() == 1.0 and order[1].max() < 0.5
    assert (parted(points_along(wrong, 99.5), wrong, None, 10.0, 0.01).ordered == 1.0).all()


def test_a_shore_weighs_less_than_a_ridge_of_the_same_contrast():
    """Sky, a far hill, a near slope, and water at its foot that mirrors the sky."""
    sky, far, near = (0.75, 0.82, 0.95), (0.60, 0.66, 0.75), (0.25, 0.28, 0.2)
    picture = np.repeat(np.repeat(np.array([[sky], [far], [near], [far]]), [100, 80, 80, 140], axis=0), 600, axis=1)
    picture += 0.004 * np.random.default_rng(0).normal(size=picture.shape)
    edges = detect_edges(np.clip(picture, 0, 1), EdgeParameters(depth=1e9))
    mean = {row: edges.strength[np.abs(edges.y - row) < 1].mean() for row in (99.5, 179.5, 259.5)}
    assert mean[259.5] < 0.75 * mean[179.5] < mean[179.5] < mean[99.5]
    heedless = detect_edges(np.clip(picture, 0, 1), EdgeParameters(depth=1e9, haze=1.0))
    same = [heedless.strength[np.abs(heedless.y - row) < 1].mean() for row in (179.5, 259.5)]
    assert same[1] == pytest.approx(same[0], rel=0.02)
