import numpy as np

from tests.unit.geo import skies
from tests.unit.geo.test_edges_file import some_edges
from toolkit.geo.edges import REASONS, Dropped, EdgeParameters, detect_and_explain, detect_edges
from toolkit.geo.edges_preview import DROPPED, SKYLINE, edge_preview

NOTHING = Dropped(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int8))


def test_dropped_lines_have_reasons_and_kept_ones_stay():
    pixels, border = skies.mountains("cloudy", 0)
    edges, dropped = detect_and_explain(pixels)
    assert np.array_equal(edges.x, detect_edges(pixels).x)
    assert dropped.x.shape == dropped.y.shape == dropped.reason.shape and dropped.x.dtype == np.float32
    below = dropped.y - np.interp(dropped.x, np.arange(skies.COLUMNS), border)
    by_reason = {reason: below[dropped.reason == number] for number, reason in enumerate(REASONS)}
    assert len(by_reason["sky"]) > 1000 and by_reason["sky"].max() < 4  # clouds, all of them above the land
    assert len(by_reason["texture"]) > 1000 and (by_reason["texture"] > -4).mean() > 0.98
    # No point is both: the picture of all that was found is made of two parts.
    kept = {(round(float(x), 2), round(float(y), 2)) for x, y in zip(edges.x, edges.y, strict=True)}
    assert not kept & {(round(float(x), 2), round(float(y), 2)) for x, y in zip(dropped.x, dropped.y, strict=True)}


def test_the_preview_darkens_the_photo_and_shows_a_line_in_its_colour():
    edges = some_edges(1)
    preview = edge_preview(edges, NOTHING, np.full((1500, 2000, 3), 100, np.uint8))
    assert preview.shape == (1500, 2000, 3) and tuple(preview[0, 0]) == (40, 40, 40)
    row, column = round(float(edges.y[0])), round(float(edges.x[0]))
    assert preview[row, column].max() > 150 and (preview[row, column] != 40).any()


def test_what_was_dropped_has_the_colour_of_its_reason_and_the_skyline_is_white():
    pixels, _ = skies.mountains("cloudy", 1)
    edges, dropped = detect_and_explain(pixels)
    preview = edge_preview(edges, dropped, pixels)
    for number, reason in enumerate(REASONS):
        chosen = dropped.reason == number
        shown = preview[np.round(dropped.y[chosen]).astype(int), np.round(dropped.x[chosen]).astype(int)]
        assert chosen.sum() and (shown == DROPPED[reason]).all(axis=1).mean() > 0.5, reason  # kept lines and the legend cover some
    certain = edges.skyline > 0.9
    shown = preview[np.round(edges.y[certain]).astype(int), np.round(edges.x[certain]).astype(int)]
    assert (shown >= 0.85 * np.array(SKYLINE)).all(axis=1).mean() > 0.9


def test_a_large_photo_has_a_preview_of_twice_the_working_size():
    pixels = np.full((900, 1600, 3), 200, np.uint8)
    pixels[500:] = 30
    edges, dropped = detect_and_explain(pixels, EdgeParameters(working_size=400))
    preview = edge_preview(edges, dropped, pixels)
    assert preview.shape == (450, 800, 3)
    assert (preview[248:252, 400] > 100).any()  # the line at row 500 of 900


def test_a_tiny_photo_has_a_preview_without_legend():
    pixels = np.full((40, 50, 3), 200, np.uint8)
    pixels[20:] = 30
    edges, dropped = detect_and_explain(pixels)
    assert edge_preview(edges, dropped, pixels).shape == (40, 50, 3)
