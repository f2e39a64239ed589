import io
import json
import sys

import imageio.v3
import numpy as np
import pytest
import tifffile
from PIL import Image

from toolkit.core.errors import BadData, NoInput
from toolkit.core.streams import atomic_output
from toolkit.geo.panorama import Contours, Panorama
from toolkit.geo.panorama_file import picture, read_panorama, write_panorama
from toolkit.geo.panorama_picture import write_picture


def some_panorama(points=300, width=240, rows=60):
    random = np.random.default_rng(1)
    distance = np.sort(random.uniform(10, 9e4, (rows, width)).astype(np.float32), axis=0)[::-1].copy()
    distance[:20] = np.nan
    column = np.sort(random.integers(0, width, points)).astype(np.int32)
    near = random.uniform(100, 5e4, points).astype(np.float32)
    far = np.where(random.uniform(size=points) < 0.3, np.inf, 1.5 * near).astype(np.float32)
    contours = Contours(column, random.uniform(-40, 40, points).astype(np.float32), near, far)
    return Panorama(-46.5, 7.9, 3571.5, (-45.0, 45.0), "angle", width, rows, distance, contours, {"dem": ["Zermatt é.tif"], "range_m": 1e5})


@pytest.fixture
def path(tmp_path):
    with open(tmp_path / "view.tif", "wb") as stream:
        write_panorama(some_panorama(), stream)
    return tmp_path / "view.tif"


def same(a, b):
    for name in ("column", "elevation", "near", "far"):
        np.testing.assert_array_equal(getattr(a.contours, name), getattr(b.contours, name))
        assert getattr(a.contours, name).dtype == getattr(b.contours, name).dtype
    names = ("latitude", "longitude", "height", "elevations", "projection", "width", "rows", "parameters")
    assert [getattr(a, name) for name in names] == [getattr(b, name) for name in names]


def test_round_trip(path):
    panorama, back = some_panorama(), read_panorama(str(path))
    same(panorama, back)
    np.testing.assert_array_equal(back.distance, panorama.distance)
    assert back.distance.dtype == np.float32
    contours_only = read_panorama(str(path), distance=False)
    same(panorama, contours_only)
    assert contours_only.distance is None
    with pytest.raises(ValueError, match="distances"):
        write_panorama(contours_only, io.BytesIO())


def test_without_contours(tmp_path):
    with open(tmp_path / "view.tif", "wb") as stream:
        write_panorama(some_panorama(0), stream)
    assert read_panorama(str(tmp_path / "view.tif")).contours.column.shape == (0,)


def test_it_comes_from_a_pipe(path, monkeypatch):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(path.read_bytes())))
    same(some_panorama(), read_panorama("-"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(path.read_bytes()[:1000])))
    with pytest.raises(BadData, match="standard input"):
        read_panorama("-")


def test_other_programs_open_it(path):
    panorama = some_panorama()
    with Image.open(path) as image:
        assert (image.mode, image.size, image.n_frames) == ("L", (240, 60), 3)
        np.testing.assert_array_equal(np.asarray(image), picture(panorama.distance))
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image), panorama.distance)
    np.testing.assert_array_equal(imageio.v3.imread(path, index=0), picture(panorama.distance))
    np.testing.assert_array_equal(imageio.v3.imread(path, index=1), panorama.distance)
    with tifffile.TiffFile(path) as tiff:  # as panorama(5) shows
        facts = json.loads(tiff.pages[0].description)
        assert (facts["format"], facts["schema"], facts["contour_points"]) == ("scape-toolkit panorama", 1, 300)
        np.testing.assert_array_equal(tiff.pages[2].asarray()[:, 2], panorama.contours.near)


def test_the_picture_is_lighter_further_away():
    grey = picture(np.array([[np.nan, 1e5, 1e4, 1e3, 1.0]], np.float32))[0]
    assert grey[0] == 255 and (np.diff(grey.astype(int)) < 0).all()


def test_the_preview_shows_sky_over_ground(tmp_path):
    with open(tmp_path / "view.png", "wb") as stream:
        write_picture(some_panorama(0), stream)
    pixels = np.asarray(Image.open(tmp_path / "view.png")).astype(int)
    assert pixels.shape == (60, 240, 3)
    assert (pixels[:20, :, 2] > pixels[:20, :, 0] + 20).all(), "the sky is blue"
    assert pixels[40:].std() > 5


def test_every_cut_is_bad_data(path, tmp_path):
    data = path.read_bytes()
    for length in [0, 1, 8, 100, *range(500, len(data), 4999), len(data) - 1]:
        (tmp_path / "cut.tif").write_bytes(data[:length])
        with pytest.raises(BadData, match=r"cut\.tif"):
            read_panorama(str(tmp_path / "cut.tif"))


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_bad_data_or_harmless(path, tmp_path, seed):
    random = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for place in random.integers(0, min(len(data), 4000 if seed % 2 else len(data)), 20):
        data[place] = random.integers(256)
    (tmp_path / "bad.tif").write_bytes(data)
    try:
        back = read_panorama(str(tmp_path / "bad.tif"))
    except BadData as error:
        assert "bad.tif" in str(error)
    else:
        assert back.distance.shape == (back.rows, back.width) and (back.contours.column < back.width).all()


def test_what_is_no_panorama_is_refused(path, tmp_path):
    with pytest.raises(NoInput, match="nothing.tif"):
        read_panorama(str(tmp_path / "nothing.tif"))
    with pytest.raises(NoInput):
        read_panorama(str(tmp_path))
    Image.new("L", (20, 10)).save(tmp_path / "photo.tif")
    (tmp_path / "text.tif").write_text("words")
    for name in ("photo.tif", "text.tif"):
        with pytest.raises(BadData, match=f"{name}: is no panorama"):
            read_panorama(str(tmp_path / name))


def test_a_newer_schema_and_contradictions_are_told(path, tmp_path):
    with tifffile.TiffFile(path) as tiff:
        facts, pages = json.loads(tiff.pages[0].description), [page.asarray() for page in tiff.pages]

    def refused(changes, message):
        with tifffile.TiffWriter(tmp_path / "other.tif") as tiff:
            tiff.write(pages[0], description=json.dumps(facts | changes), metadata=None)
            for page in pages[1:]:
                tiff.write(page, metadata=None)
        with pytest.raises(BadData, match=message):
            read_panorama(str(tmp_path / "other.tif"))

    refused({"schema": 2}, "newer")
    refused({"width": 10}, "contradicts")
    refused({"contour_points": 301}, "contradicts")
    refused({"elevations": [10, -10]}, "contradicts")
    refused({"width": None}, "no panorama")


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    bad = some_panorama()
    bad.parameters["of no JSON type"] = object()
    with pytest.raises(TypeError), atomic_output(str(tmp_path / "view.tif")) as stream:
        write_panorama(bad, stream)
    assert list(tmp_path.iterdir()) == []
