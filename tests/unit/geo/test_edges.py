import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from toolkit.core.errors import BadData
from toolkit.geo.camera import camera_from_hfov, rays
from toolkit.geo.edges import EdgeParameters, Edges, detect_edges, edge_segments

ROWS, COLUMNS = 400, 600


def smooth_noise(random, scale, shape=(ROWS, COLUMNS)):
    noise = ndimage.gaussian_filter(random.normal(size=shape), scale)
    return noise / noise.std()


def skyline_rows(columns=COLUMNS):
    x = np.arange(columns)
    return 150 - 50 * np.exp(-(((x - 200) / 70) ** 2)) - 35 * np.exp(-(((x - 420) / 50) ** 2)) + 6 * np.sin(x / 23)


def mountain(seed=0, clouds=True, texture=True, noise=0.008):
    """A picture of a hazy mountain before a sky with clouds, as float in 0..1, and the row of its skyline per column."""
    random = np.random.default_rng(seed)
    top = skyline_rows()
    rows = np.arange(ROWS)[:, None]
    sky = np.stack([0.55 + 0.0005 * rows, 0.65 + 0.0004 * rows, 0.85 + 0.0001 * rows], axis=-1) * np.ones((1, COLUMNS, 1))
    if clouds:
        cover = np.clip(smooth_noise(random, 14) - 0.4, 0, 1.2)[:, :, None] / 1.2
        sky = sky * (1 - 0.5 * cover) + 0.95 * 0.5 * cover
    land = np.full((ROWS, COLUMNS, 3), 0.42)
    if texture:
        land += 0.06 * smooth_noise(random, 1.5)[:, :, None]
    share = np.clip(rows - top + 0.5, 0, 1)[:, :, None]  # how much of the pixel is land
    return np.clip(sky * (1 - share) + land * share + noise * random.normal(size=(ROWS, COLUMNS, 3)), 0, 1), top


@settings(max_examples=25)
@given(st.floats(-89.9, 90.0), st.floats(-40.0, 40.0), st.floats(0.05, 0.6), st.booleans())
def test_a_straight_step_is_found_to_a_tenth_of_a_pixel(degrees, offset, contrast, flipped):
    angle = np.radians(degrees)
    y, x = np.mgrid[:200, :200] - 99.5
    distance = -np.sin(angle) * x + np.cos(angle) * y - offset
    steepest = max(abs(np.sin(angle)), abs(np.cos(angle)))
    share = np.clip(distance / steepest + 0.5, 0, 1)  # the pixel's area beyond the line, to first order
    pixels = np.repeat((0.2 + contrast * (1 - share if flipped else share))[:, :, None], 3, axis=2).astype(np.float32)
    edges = detect_edges(pixels, EdgeParameters(skyline=1.0, texture=0.0))
    middle = np.hypot(edges.x - 99.5, edges.y - 99.5) < 85
    off = -np.sin(angle) * (edges.x - 99.5) + np.cos(angle) * (edges.y - 99.5) - offset
    turned = (edges.angle - angle + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(off[middle]).max() < 0.1
    assert np.degrees(np.abs(turned[middle]).max()) < 1.5
    # One point for each step: the pieces' lengths add up to the chord of the circle of radius 85.
    assert edges.length[middle].sum() == pytest.approx(2 * np.sqrt(85**2 - offset**2), abs=4)
    assert edges.length.min() > 0.999 and edges.length.max() < 1.4143


@pytest.mark.parametrize("level", [0.002, 0.01, 0.05])
def test_noise_has_no_lines(level):
    random = np.random.default_rng(1)
    assert detect_edges(np.clip(0.5 + level * random.normal(size=(ROWS, COLUMNS, 3)), 0, 1)).x.size < 0.0005 * ROWS * COLUMNS


def test_an_even_picture_has_no_lines():
    for value in (0, 128, 255):
        assert detect_edges(np.full((ROWS, COLUMNS, 3), value, np.uint8)).x.size == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_skyline_stays_and_clouds_go(seed):
    pixels, top = mountain(seed)
    edges = detect_edges(pixels)
    weight = edges.strength * edges.length
    above = edges.y - np.interp(edges.x, np.arange(COLUMNS), top)
    on_skyline = np.abs(above) < 1.5
    assert weight[above < -4].sum() < 0.02 * weight.sum()  # clouds
    assert weight[on_skyline].sum() > 0.8 * weight.sum()  # texture of the slopes
    found = np.zeros(COLUMNS, bool)
    found[np.clip(np.round(edges.x[on_skyline]).astype(int), 0, COLUMNS - 1)] = True
    assert found[10:-10].mean() > 0.95
    slope = np.arctan(np.interp(edges.x, np.arange(COLUMNS), np.gradient(top)))
    turned = (edges.angle - slope + np.pi / 2) % np.pi - np.pi / 2
    assert np.degrees(np.median(np.abs(turned[on_skyline]))) < 4


def test_texture_is_suppressed_and_a_ridge_before_it_is_not():
    random = np.random.default_rng(3)
    ice = np.clip(0.6 + 0.12 * smooth_noise(random, 1.5), 0, 1)
    pixels = np.repeat(ice[:, :, None], 3, axis=2)
    pixels[:200] = 0.3  # a shaded flank ends at the ice
    edges = detect_edges(pixels, EdgeParameters(skyline=1.0, depth=1e9))
    weight = edges.strength * edges.length
    ridge = np.abs(edges.y - 199.5) < 2
    assert edges.length[ridge].sum() > 500 and weight[ridge].sum() > 150  # its sides are grain and shade: parted, but not fully
    assert weight[~ridge].sum() < 0.2 * weight[ridge].sum()
    untamed = detect_edges(pixels, EdgeParameters(skyline=1.0, depth=1e9, texture=0.0, shortest=0.0))
    assert untamed.x.size > 5 * edges.x.size


@pytest.mark.parametrize("colour", [0, 255])
def test_frames_are_no_lines(colour):
    pixels, top = mountain(5)
    framed = np.full((ROWS + 70, COLUMNS + 90, 3), colour / 255)
    framed[30:-40, 40:-50] = pixels
    edges = detect_edges(framed)
    for border in (edges.x - 39.5, edges.x - (COLUMNS + 39.5), edges.y - 29.5, edges.y - (ROWS + 29.5)):
        assert np.abs(border).min() > 2.5
    plain = detect_edges(pixels)
    assert edges.x.size == pytest.approx(plain.x.size, rel=0.05)
    above = edges.y - 30 - np.interp(edges.x - 40, np.arange(COLUMNS), top)
    assert (np.abs(above) < 1.5).sum() > 500


def test_black_land_is_no_frame():
    pixels = np.full((200, 300, 3), 200, np.uint8)
    pixels[90:] = 0
    edges = detect_edges(pixels)
    assert np.abs(edges.y - 89.5).max() < 0.1 and edges.x.size > 285


def test_a_larger_photo_gives_the_same_lines_in_its_own_pixels():
    pixels, _ = mountain(6, clouds=False, texture=False, noise=0.0)
    big = np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1)
    small, large = detect_edges(pixels), detect_edges(big, EdgeParameters(working_size=COLUMNS))
    assert (large.width, large.height) == (3 * COLUMNS, 3 * ROWS)
    assert large.x.size == pytest.approx(small.x.size, rel=0.02)
    assert np.median(large.length) == pytest.approx(3 * np.median(small.length), rel=0.02)
    # Photo pixel u has its centre where working pixel (u + 0.5) / 3 - 0.5 has: the skylines must agree without a shift.
    order, big_order = np.argsort(small.x), np.argsort(large.x)
    at = np.arange(50, 550, 10.0)
    rows = np.interp(at, small.x[order], small.y[order])
    big_rows = (np.interp(3 * at + 1, large.x[big_order], large.y[big_order]) - 1) / 3
    assert np.abs(rows - big_rows).max() < 0.3 and abs(np.mean(rows - big_rows)) < 0.05


def test_a_hard_shadow_does_not_outweigh_a_faint_skyline():
    pixels, top = mountain(7, clouds=False, texture=False)
    pixels[300:, :] *= 0.25
    edges = detect_edges(pixels)
    skyline = np.abs(edges.y - np.interp(edges.x, np.arange(COLUMNS), top)) < 2
    shadow = np.abs(edges.y - 299.5) < 2
    assert skyline.sum() > 500 and shadow.sum() > 500
    assert edges.strength[skyline].mean() > 1.5 * edges.strength[shadow].mean()


def edges_at(x, y, degrees, length, width=1000, height=667):
    ones = np.ones_like(x, float)
    fields = [np.atleast_1d(np.asarray(values, np.float32)) for values in (x, y, np.radians(degrees), ones, length, ones)]
    return Edges(width, height, *fields, np.zeros(len(fields[0]), np.int32))


def test_directions_in_the_corner_go_through_the_lens():
    """A point's arc must lie in the plane of the line's true image: naive angles are off by many degrees in a corner."""
    camera = camera_from_hfov(1000, 667, 50.0)
    for degrees in (0.0, 30.0, 90.0, -60.0):
        x, y = 980.0, 20.0
        segments = edge_segments(edges_at(x, y, degrees, 1.2), camera)
        along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        near, far = rays(camera, np.array([x, x + 200 * along[0]]), np.array([y, y + 200 * along[1]]))
        normal = np.cross(near, far) / np.linalg.norm(np.cross(near, far))
        chord = (segments.end - segments.start)[0]
        assert abs(chord @ normal) / np.linalg.norm(chord) < 1e-6
        assert np.linalg.norm(chord) == pytest.approx(1.2 * np.linalg.norm(rays(camera, [x + along[0]], [y + along[1]]) - near), rel=0.01)
    # How large the effect is: the image's horizontal against the direction that keeps the angle at the axis.
    chord = edge_segments(edges_at(980.0, 20.0, 0.0, 1.2), camera)
    tangent = (chord.end - chord.start)[0] / np.linalg.norm(chord.end - chord.start)
    place = chord.start[0]
    theta = np.arccos(place[2])
    e_theta = np.array([np.cos(theta) * place[0], np.cos(theta) * place[1], -(np.sin(theta) ** 2)]) / np.sin(theta)
    e_phi = np.cross(place, e_theta)
    psi = np.degrees(np.arctan2(tangent @ e_phi, tangent @ e_theta))
    naive = np.degrees(np.arctan2(-1, 0) - np.arctan2(place[1], place[0]))
    difference = (psi - naive + 90) % 180 - 90
    assert 2 < abs(difference) < 15


def test_a_camera_of_another_size_is_scaled():
    edges = edges_at(700.0, 100.0, 20.0, 1.0)
    full, half = edge_segments(edges, camera_from_hfov(1000, 667, 40.0)), edge_segments(edges, camera_from_hfov(2000, 1334, 40.0))
    np.testing.assert_allclose(full.start, half.start, atol=1e-9)
    with pytest.raises(BadData, match="667 x 1000"):
        edge_segments(edges, camera_from_hfov(667, 1000, 40.0))


def test_no_edges_and_no_directions():
    with pytest.raises(BadData, match="no line"):
        edge_segments(edges_at([], [], [], []), camera_from_hfov(1000, 667, 40.0))
    folding = dataclasses.replace(camera_from_hfov(1000, 667, 120.0), k=(-1.0, 0, 0, 0, 0, 0))
    with pytest.raises(BadData, match="lens"):
        edge_segments(edges_at(990.0, 10.0, 0.0, 1.0), folding)
    segments = edge_segments(edges_at([990.0, 500.0], [10.0, 330.0], [0.0, 0.0], [1.0, 1.0]), folding)
    assert segments.start.shape == segments.end.shape == (1, 3) and segments.strength.dtype == np.float64


def test_tiny_pictures_and_gaps_are_refused():
    with pytest.raises(BadData, match="no numbers"):
        detect_edges(np.full((300, 100, 3), np.nan))
    with pytest.raises(BadData, match="10 x 300"):
        detect_edges(np.zeros((300, 10, 3), np.uint8))


def test_the_command_has_the_parameters_and_their_defaults():
    from toolkit.commands.edges import edges as command

    names = {entry.name for entry in dataclasses.fields(EdgeParameters)}
    assert {option.name: option.default for option in command.params if option.name in names} == dataclasses.asdict(EdgeParameters())
