import itertools

import numpy as np
import pytest

from tests.unit.geo import skies
from toolkit.geo import lines
from toolkit.geo.edges import detect_edges
from toolkit.geo.sky import find_sky
from toolkit.geo.sky_border import best_border, border_probability, cut_costs
from toolkit.geo.sky_colours import fit_mixture, sky_and_land


def sky_of(pixels):
    picture = pixels.astype(np.float32) / 255
    gradient = lines.colour_gradient(picture, 1.4)
    noise = 2.5 * lines.noise_level(gradient.magnitude)
    return find_sky(picture, gradient, lines.ridge_points(gradient, max(0.005, noise)), noise)


def off(sky, border, rows=skies.ROWS):
    """How far the border that was found is from the true one, in pixels, of those columns that have one."""
    return np.abs(sky.border - np.clip(border, -0.5, rows - 0.5))


@pytest.mark.parametrize("kind", ["clear", "cloudy", "hazy", "fog"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_border_is_found_to_a_pixel_and_certain(kind, seed):
    pixels, border = skies.mountains(kind, seed)
    sky = sky_of(pixels)
    error = off(sky, border)
    assert np.median(error) < 0.8
    assert (error > 4).mean() < 0.03
    assert sky.certainty.mean() > 0.45  # one sky of clouds might end higher too


@pytest.mark.parametrize("seed", [0, 2])
def test_snow_before_a_white_sky(seed):
    """A twentieth of the range between snow and sky: the line is found, and is less certain than that of rock."""
    pixels, border = skies.mountains("snow", seed)
    sky = sky_of(pixels)
    error = off(sky, border)
    assert np.median(error) < 1.0 and (error > 4).mean() < 0.05
    assert sky.certainty.mean() < sky_of(skies.mountains("clear", seed)[0]).certainty.mean()


@pytest.mark.parametrize(("share", "light", "step"), [(0.35, 0, 1), (0.4, 125, 1), (1.0, 0, -1)])
def test_dusk_haze_and_a_mirror_change_nothing(share, light, step):
    """The border is that of the picture's own contrast, and there is no side from which it is sought."""
    pixels, border = skies.mountains("clear", 3)
    sky = sky_of(np.ascontiguousarray(np.round(share * pixels + light).astype(np.uint8)[:, ::step]))
    error = np.abs(sky.border[::step] - border)
    assert np.median(error) < 0.8 and (error > 4).mean() < 0.03
    assert sky.certainty.mean() > 0.8


def test_tree_tops_are_less_certain_than_the_crest_between():
    pixels, border = skies.mountains("trees", 0)
    crest = skies.mountains("clear", 0)[1]
    sky = sky_of(pixels)
    assert (off(sky, border) > 4).mean() < 0.03
    trees = border < crest - 10
    assert 5 < trees.sum() < 200
    assert sky.certainty[trees].mean() < 0.6 < 0.85 < sky.certainty[~trees].mean()


@pytest.mark.parametrize(("seed", "degrees"), [(0, 30), (1, -30)])
def test_a_camera_that_leans(seed, degrees):
    pixels, border = skies.turned(seed, degrees)
    assert np.ptp(border) > 250  # the border runs through most of the picture's height
    error = off(sky_of(pixels), border)
    assert np.median(error) <= 1.0 and (error > 6).mean() < 0.05


def test_a_portrait():
    pixels, border = skies.mountains("clear", 5, rows=720, columns=480)
    sky = sky_of(pixels)
    assert np.median(off(sky, border, 720)) < 0.8 and sky.certainty.mean() > 0.9


@pytest.mark.parametrize("picture", ["indoors", "forest"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_rooms_and_woods_have_no_skyline(picture, seed):
    edges = detect_edges(getattr(skies, picture)(seed))
    assert (edges.skyline == 0).all()


def test_noise_and_even_pictures_have_no_sky():
    noise = np.random.default_rng(0).normal(128, 20, (480, 720, 3))
    assert sky_of(np.clip(noise, 0, 255).astype(np.uint8)) is None
    assert sky_of(np.full((480, 720, 3), 200, np.uint8)) is None


def test_the_whole_picture_reaches_the_edges():
    """Certainty comes through to the points, and clouds are dropped."""
    pixels, border = skies.mountains("cloudy", 0)
    edges = detect_edges(pixels)
    below = edges.y - np.interp(edges.x, np.arange(skies.COLUMNS), border)
    certain = edges.skyline > 0.5
    assert np.abs(below[certain]).max() < 8 and np.median(np.abs(below[certain])) < 0.4
    found = np.zeros(skies.COLUMNS, bool)
    found[np.round(edges.x[certain]).astype(int)] = True
    assert found.mean() > 0.85
    assert (below < -4).sum() < 0.01 * len(below)


def test_where_a_sky_might_end_higher_its_lines_stay_and_weigh_little():
    """Clouds that another cut takes for land: what parts them from the clear sky counts as a skyline by its probability."""
    pixels, border = skies.mountains("cloudy", 1)
    edges = detect_edges(pixels)
    clouds = edges.y - np.interp(edges.x, np.arange(skies.COLUMNS), border) < -4
    weight = edges.strength * edges.length
    assert 0.1 < clouds.mean() < 0.4 and weight[clouds].sum() < 0.25 * weight.sum()
    assert 0.1 < edges.skyline[clouds].max() < edges.skyline[~clouds].max() - 0.2
    assert (weight * edges.skyline)[clouds].sum() < 0.25 * (weight * edges.skyline).sum()


def test_a_far_ridge_over_a_near_hill_is_not_lost():
    """A faint ridge between the sky and a sharp hill, both across the picture: the hill parts more, the ridge is the skyline."""
    x, y = np.arange(480), np.arange(320)[:, None]
    far, near = 120 + 12 * np.sin(x / 37) + 5 * np.sin(x / 11), 190 + 30 * np.sin(x / 90)
    pixels = np.full((320, 480, 3), (196.0, 208.0, 226.0)) - 0.12 * (320 - y)[..., None]
    pixels[y >= far] -= (14.0, 11.0, 5.0)
    pixels[y >= near] = (60.0, 75.0, 40.0)
    pixels += np.random.default_rng(3).normal(0, 2.0, pixels.shape)
    edges = detect_edges(np.clip(pixels, 0, 255).astype(np.uint8))
    on_far = np.abs(edges.y - np.interp(edges.x, x, far)) < 3
    assert len(np.unique(np.round(edges.x[on_far]))) > 0.7 * len(x)


def brute_force(unlikely, below, right, whole):
    """The cost of every border of a tiny picture, as a dictionary."""
    rows, columns = unlikely.shape
    costs = {}
    for border in itertools.product(range(rows + 1), repeat=columns):
        cost = 0.0
        for column, sky in enumerate(border):
            cost += unlikely[:sky, column].sum() + (whole if sky in (0, rows) else below[sky, column])
        for column, (one, other) in enumerate(itertools.pairwise(border)):
            cost += right[min(one, other) : max(one, other), column].sum()
        costs[border] = cost
    return costs


@pytest.mark.parametrize("seed", range(5))
def test_the_cut_is_the_cheapest_of_all_and_its_probabilities_are_exact(seed):
    random = np.random.default_rng(seed)
    unlikely, below, right = random.normal(size=(4, 5)), random.random((4, 5)), random.random((4, 5))
    costs = brute_force(unlikely, below, right, 0.7)
    cut = cut_costs(unlikely, below, right, 0.7)
    cheapest = min(costs, key=costs.__getitem__)
    assert tuple(best_border(cut)) == cheapest
    expected = np.zeros((5, 5))
    for border, cost in costs.items():
        expected[np.arange(5), border] += np.exp(-cost)
    np.testing.assert_allclose(border_probability(cut), expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)


def test_probabilities_do_not_overflow_in_large_pictures():
    random = np.random.default_rng(0)
    cut = cut_costs(5 * random.normal(size=(300, 400)), random.random((300, 400)), random.random((300, 400)), 1.0)
    probability = border_probability(cut)
    assert np.isfinite(probability).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    assert probability[np.arange(400), best_border(cut)].mean() > 0.2


def test_a_mixture_finds_its_parts():
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(0.2, 0.03, (1500, 4)), random.normal(0.7, 0.05, (500, 4))])
    mixture = fit_mixture(values, 2, 0.001)
    order = np.argsort(mixture.mean[:, 0])
    np.testing.assert_allclose(mixture.mean[order], [[0.2] * 4, [0.7] * 4], atol=0.01)
    np.testing.assert_allclose(mixture.weight[order], [0.75, 0.25], atol=0.01)
    deviation = np.sqrt(np.diagonal(mixture.covariance[order], axis1=1, axis2=2))
    np.testing.assert_allclose(deviation, [[0.03] * 4, [0.05] * 4], atol=0.006)
    one = fit_mixture(values[:1500], 1, 0.001)
    centre = one.logarithm(one.mean)
    assert centre[0] == pytest.approx(-0.5 * np.linalg.slogdet(2 * np.pi * one.covariance[0])[1])


def test_sky_and_land_tell_a_smooth_sky_from_land_of_one_of_its_colours():
    """The sky goes from dark to bright; land has its darkest colour, low in the picture where the sky is bright."""
    random = np.random.default_rng(2)
    features = np.zeros((60, 80, 4))
    features[..., 0] = np.linspace(0.3, 0.9, 60)[:, None]
    features[..., 3] = 0.02
    features[40:, :, 0] = 0.3
    features += 0.004 * random.normal(size=features.shape)
    above = np.arange(60)[:, None] < np.full(80, 40)
    above[38:44, 10:30] = True  # the guess takes some land for sky
    sky, land = sky_and_land(features, above)
    assert ((sky > land)[:40].mean()) > 0.99 and ((land > sky)[44:].mean()) > 0.99
