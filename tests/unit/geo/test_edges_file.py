import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from toolkit.core.errors import BadData, NoInput
from toolkit.geo.edges import EdgeParameters, Edges
from toolkit.geo.edges_file import read_edges, write_edges
from toolkit.geo.photo import PhotoFacts
from toolkit.geo.photo_sphere import camera_of, sphere_of_edges

FACTS = PhotoFacts(latitude=45.9, longitude=-6.8, altitude=1035.0, focal_35mm=28.0, hfov=65.0, make="Canon", model="É")


def some_edges(points=500, facts=FACTS):
    random = np.random.default_rng(1)
    x, y = random.uniform(0, 1999, points), random.uniform(0, 1499, points)
    angle, strength, length = random.uniform(-1.57, 1.57, points), random.uniform(0, 2, points), random.uniform(1, 1.41, points)
    columns = (values.astype(np.float32) for values in (x, y, angle, strength, length, random.uniform(0, 1, points)))
    chain = np.arange(points, dtype=np.int32) // 7
    return Edges(2000, 1500, *columns, chain, facts=facts, parameters=EdgeParameters(working_size=1000, contrast=0.01))


def write(edges, path):
    with open(path, "wb") as stream:
        write_edges(edges, stream)


def test_round_trip(tmp_path):
    path, edges = tmp_path / "e.tif", some_edges()
    write(edges, path)
    back = read_edges(str(path))
    for name in ("x", "y", "angle", "strength", "length", "skyline", "chain"):
        np.testing.assert_array_equal(getattr(back, name), getattr(edges, name))
        assert getattr(back, name).dtype == (np.int32 if name == "chain" else np.float32)
    assert (back.width, back.height, back.facts, back.parameters) == (2000, 1500, edges.facts, edges.parameters)


def test_the_first_page_is_a_picture_for_any_program(tmp_path):
    path, edges = tmp_path / "e.tif", some_edges(3)
    write(edges, path)
    with Image.open(path) as picture:
        assert (picture.mode, picture.size) == ("L", (1000, 750))
        grey = np.asarray(picture)
    strongest = int(np.argmax(edges.strength))
    assert grey[round(edges.y[strongest] / 2 - 0.25), round(edges.x[strongest] / 2 - 0.25)] == 255
    assert np.count_nonzero(grey) == 3


def test_an_empty_map_is_written_with_a_warning_and_refused_by_its_users(tmp_path, caplog):
    path = tmp_path / "e.tif"
    write(some_edges(0), path)
    assert "no line" in caplog.text
    back = read_edges(str(path))
    assert back.x.shape == (0,) and back.facts == FACTS
    with pytest.raises(BadData, match=r"e\.tif"):
        sphere_of_edges(back, camera_of(back, 50.0, "e.tif"), 64, "e.tif")


def test_what_is_no_edge_file(tmp_path):
    path = tmp_path / "e.tif"
    write(some_edges(), path)
    whole = path.read_bytes()
    stream = io.BytesIO()
    Image.new("L", (50, 50)).save(stream, "TIFF")
    for content in (b"", b"text", whole[:20], whole[: len(whole) // 2], whole[:-10000], stream.getvalue()):
        path.write_bytes(content)
        with pytest.raises(BadData, match=r"e\.tif"):
            read_edges(str(path))
    with pytest.raises(NoInput):
        read_edges(str(tmp_path / "none.tif"))


def test_damaged_files_never_crash_the_reader(tmp_path):
    path = tmp_path / "e.tif"
    write(some_edges(20), path)
    whole, random = path.read_bytes(), np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        try:
            edges = read_edges(str(path))
        except BadData:
            continue
        assert np.isfinite(edges.x).all() and edges.strength.min(initial=0) >= 0


def rewrite(path, change, table=None):
    edges = some_edges(10)
    write(edges, path)
    with tifffile.TiffFile(path) as tiff:
        metadata, numbers = json.loads(tiff.pages[0].description), tiff.pages[1].asarray()
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.zeros((10, 10), np.uint8), description=json.dumps(metadata | change), metadata=None)
        tiff.write(numbers if table is None else table, photometric="minisblack", metadata=None)


@pytest.mark.parametrize(
    ("change", "table", "message"),
    [
        ({"schema": 3}, None, "schema 3"),
        ({"format": "other"}, None, "no edge file"),
        ({"points": 11}, None, "table"),
        ({"width": 0}, None, "table"),
        ({}, np.full((10, 7), np.nan, np.float32), "finite"),
        ({}, np.full((10, 7), -1, np.float32), "negative"),
        ({}, np.ones((10, 4), np.float32), "table"),
    ],
)
def test_impossible_contents(tmp_path, change, table, message):
    path = tmp_path / "e.tif"
    rewrite(path, change, table)
    with pytest.raises(BadData, match=message):
        read_edges(str(path))


def test_facts_of_a_later_version_are_passed_over(tmp_path):
    path = tmp_path / "e.tif"
    rewrite(path, {"facts": {"hfov": 50.0, "weather": "fine"}})
    assert read_edges(str(path)).facts == PhotoFacts(hfov=50.0)


def test_the_sphere_holds_all_of_the_lines(tmp_path):
    edges = some_edges()
    camera = camera_of(edges, None, "e.tif")
    assert camera.hfov == pytest.approx(65.0)
    sphere = sphere_of_edges(edges, camera, 64, "e.tif")
    assert sphere.shape == (128, 128, 3) and sphere.dtype == np.float32
    rows = np.cos(np.pi * np.arange(129) / 128)
    total = (sphere[:, :, 0].astype(float) * ((rows[:-1] - rows[1:]) * np.pi / 64)[:, None]).sum()
    # The pieces at the optical axis are strength x length / f long, shorter towards the corners: within 40 % for 65 degrees.
    at_axis = float((edges.strength * edges.length).sum()) / camera.fx
    assert 0.6 * at_axis < total < at_axis


def test_bandwidth_and_field_of_view_are_checked():
    edges = some_edges(facts=PhotoFacts())
    with pytest.raises(BadData, match=r"e\.tif.*--hfov"):
        camera_of(edges, None, "e.tif")
    with pytest.raises(BadData, match="fisheye"):
        camera_of(edges, 175.0, "e.tif")
    with pytest.raises(BadData, match="give at most"):
        one = (getattr(edges, name)[:1] for name in ("angle", "strength", "length", "skyline", "chain"))
        coarse = Edges(30, 20, edges.x[:1] / 100, edges.y[:1] / 100, *one)
        sphere_of_edges(coarse, camera_of(coarse, 60.0, "e.tif"), 4096, "e.tif")


def test_reading_and_projecting_load_neither_scipy_nor_imageio(tmp_path):
    path = tmp_path / "e.tif"
    write(some_edges(), path)
    program = (
        "import sys; from toolkit.geo.edges_file import read_edges; from toolkit.geo.photo_sphere import camera_of, sphere_of_edges;"
        "e = read_edges(sys.argv[1]); sphere_of_edges(e, camera_of(e, None, ''), 16, '');"
        "print([m for m in ('scipy', 'imageio', 'PIL.Image', 'numba') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
