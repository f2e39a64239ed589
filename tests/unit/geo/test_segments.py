"""Points in their order along lines."""

import numpy as np

from toolkit.geo.camera import camera_from_hfov
from toolkit.geo.edges import detect_edges, edge_polylines
from toolkit.geo.panorama import Contours, Panorama, contour_polylines
from toolkit.geo.segments import Polylines, cut, paths


def test_paths_follow_partners_from_end_to_end_and_cut_rings_open():
    partners = np.full((9, 2), -1)
    for line in ([4, 0, 7], [2, 5, 8, 3, 2]):  # an open line, a ring; 1 and 6 are alone
        for a, b in zip(line, line[1:], strict=False):
            partners[a, np.argmin(partners[a])] = b
            partners[b, np.argmin(partners[b])] = a
    order, first = paths(partners)
    lines = {tuple(order[a:b]) for a, b in zip(first, first[1:], strict=False)}
    assert sorted(order) == list(range(9))
    assert {(1,), (6,)} < lines and ((4, 0, 7) in lines or (7, 0, 4) in lines)
    ring = max(lines, key=len)
    assert len(ring) == 4 and set(zip(ring, ring[1:], strict=False)) <= {(2, 5), (5, 8), (8, 3), (3, 2), (2, 3), (3, 8), (8, 5), (5, 2)}


def test_a_photographs_line_is_one_chain_in_its_order():
    x = np.arange(400)
    skyline = 120 + 40 * np.sin(x / 50.0)
    pixels = np.where(np.arange(300)[:, None] < skyline, 0.9, 0.2)[..., None] * np.ones(3)
    edges = detect_edges(pixels.astype(np.float32))
    longest = edges.chain == np.argmax(np.bincount(edges.chain))
    assert longest.sum() > 380
    steps = np.diff(edges.x[longest])
    assert (steps > 0).all() or (steps < 0).all()
    assert edges.skyline[longest].mean() > 0.9
    lines = edge_polylines(edges, camera_from_hfov(400, 300, 50.0))
    assert lines.first[-1] == len(edges.x) == len(lines.points) and (np.diff(lines.first) > 0).all()
    inner = lines.line[1:] == lines.line[:-1]
    steps = np.linalg.norm(np.diff(lines.points, axis=0), axis=1)[inner]
    assert steps.max() < 5 * np.radians(50.0) / 400


def test_a_panoramas_ridges_go_from_west_to_east():
    column = np.array([7, 0, 1, 2, 3, 4, 1, 2, 3])
    near = np.array([900, 1000, 1000, 1010, 1005, 1000, 200, 201, 202], np.float32)
    far = np.where(near > 800, np.inf, 1000).astype(np.float32)
    order = np.lexsort((near, column))
    contours = Contours(column[order].astype(np.int32), np.linspace(0, 0.1, 9, dtype=np.float32)[order], near[order], far[order])
    view = Panorama(46.0, 8.0, 500.0, (-45.0, 45.0), "angle", 8, 2, None, contours, {})
    lines = contour_polylines(view)
    assert sorted(np.diff(lines.first)) == [1, 3, 5]
    start = lines.first[np.argmax(np.diff(lines.first))]
    azimuth = np.degrees(np.arctan2(lines.points[start : start + 5, 0], lines.points[start : start + 5, 1])) % 360.0
    np.testing.assert_allclose(azimuth, [22.5, 67.5, 112.5, 157.5, 202.5])
    assert (lines.skyline[start : start + 5] == 1).all() and lines.distance[start + 2] == 1010


def test_lines_are_cut_into_equal_pieces_and_points_vanish():
    angles = [np.radians(np.arange(0.0, 10.01, 0.5)), np.radians([40.0]), np.radians([50.0, 50.7, 51.0, 53.0])]
    angle = np.concatenate(angles)
    points = np.stack([np.sin(angle), np.cos(angle), 0.0 * angle], axis=1)  # along the horizon, to the right
    strength = np.degrees(angle)
    lines = Polylines(points, np.array([0, 21, 22, 26]), strength, (angle > 0.8).astype(float), 1000.0 + 0.0 * angle)
    pieces = cut(lines, np.radians(0.25))
    assert np.bincount(pieces.line).tolist() == [40, 0, 12]
    np.testing.assert_allclose(np.degrees(pieces.length), 0.25, rtol=1e-4)
    place = np.degrees(np.arctan2(pieces.points[:, 0], pieces.points[:, 1]))
    np.testing.assert_allclose(place, [*np.arange(0.125, 10.0, 0.25), *np.arange(50.125, 53.0, 0.25)], atol=1e-3)
    np.testing.assert_allclose(pieces.strength, place, atol=2e-3)
    np.testing.assert_allclose(pieces.skyline, pieces.line == 2)
    assert (pieces.distance == 1000.0).all()
    east = np.stack([pieces.points[:, 1], -pieces.points[:, 0], 0.0 * place], axis=1)
    np.testing.assert_allclose((pieces.tangents * east).sum(axis=1), 1.0, atol=1e-9)


def test_nothing_is_cut_into_nothing():
    nothing = cut(Polylines(np.empty((0, 3)), np.zeros(1, np.int64), np.empty(0), np.empty(0)), 0.01)
    assert {len(values) for values in vars(nothing).values()} == {0}
