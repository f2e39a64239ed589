"""Large pictures and rare kinds; that every usual kind is read is tested with `toolkit.geo.photo`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image

from toolkit.core.errors import BadData, Unavailable
from toolkit.geo.photo import read_photo

GPS = ExifTags.GPS
WIDE, HIGH = 1210, 830


def scene() -> np.ndarray:
    """Sky over a slope, smooth enough that every way of reducing it gives the same colours."""
    row, column = np.mgrid[0:HIGH, 0:WIDE]
    return np.stack([np.full_like(row, 90), row * 200 // HIGH, 40 + column * 180 // WIDE], axis=2).astype(np.uint8)


def block_means(pixels: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
    return pixels[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))


@pytest.mark.parametrize(("largest", "factor"), [(1210, 1), (1209, 2), (400, 4), (100, 16)])
@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.tif"])
def test_a_large_photo_is_halved_until_it_fits(tmp_path, name, largest, factor):
    picture = Image.fromarray(scene())
    picture.save(tmp_path / name, **({"quality": 98, "subsampling": 0} if name.endswith("jpg") else {}))
    pixels = read_photo(str(tmp_path / name), largest).pixels
    assert pixels.shape == (HIGH // factor, WIDE // factor, 3)
    assert np.abs(pixels - block_means(scene(), factor)).max() <= (5.0 if name.endswith("jpg") else 1.0)


def test_what_the_exif_tells_is_that_of_the_whole_picture(tmp_path):
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = 6
    block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    for name in ("photo.jpg", "photo.tif", "photo.png"):
        Image.fromarray(np.rot90(scene(), 1)).save(tmp_path / name, exif=block)
        whole, reduced = (read_photo(str(tmp_path / name), largest) for largest in (None, 300))
        assert whole.pixels.shape == (HIGH, WIDE, 3)
        assert reduced.pixels.shape == (HIGH // 8, WIDE // 8, 3)
        assert reduced.facts == whole.facts
        # Of the centres of both, the right one is bluer and the lower one greener, as upright.
        assert reduced.pixels[50, 130, 2] > reduced.pixels[50, 20, 2] + 80
        assert reduced.pixels[90, 75, 1] > reduced.pixels[10, 75, 1] + 80


def test_grey_of_any_depth_fills_the_range(tmp_path):
    grey = np.linspace(0, 1, 256 * 256).reshape(256, 256)
    for top in (255, 1023, 4095, 16383, 65535):
        Image.fromarray(np.round(grey * top).astype(np.uint16)).save(tmp_path / f"{top}.tif")
        pixels = read_photo(str(tmp_path / f"{top}.tif")).pixels
        assert np.abs(pixels[:, :, 0] - 255 * grey).max() <= 1.2, top
        half = read_photo(str(tmp_path / f"{top}.tif"), 128).pixels
        assert np.abs(half - block_means(255 * grey[:, :, None], 2)).max() <= 1.5, top


def test_gaps_of_a_picture_of_real_numbers_are_black(tmp_path):
    values = np.full((64, 64), 120.0, np.float32)
    values[0, 0], values[1, 1], values[2, 2] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "gaps.tif")
    pixels = read_photo(str(tmp_path / "gaps.tif")).pixels[:, :, 0]
    assert pixels[3, 3] == 120 and not pixels[[0, 1, 2], [0, 1, 2]].any()


PEAK = """
import json, sys
from toolkit.core.limits import kilobytes
from toolkit.geo.photo import read_photo
pixels = read_photo(sys.argv[1], 4096).pixels
# Not ru_maxrss, which begins with that of the process which started this one.
print(json.dumps([list(pixels.shape), int(pixels[0, 0, 0]), kilobytes("/proc/self/status", "VmHWM") / 1024]))
"""
MAKE = """
import sys
from PIL import Image
mode, width, height, colour, name, options = eval(sys.argv[1])
Image.new(mode, (width, height), colour).save(name, **options)
"""


@pytest.mark.parametrize(
    ("mode", "size", "name", "options", "most"),
    [
        ("RGB", (12000, 8400), "photo.jpg", {"quality": 90}, 250),
        ("RGB", (12000, 8400), "photo.jpg", {"quality": 90, "progressive": True, "subsampling": 0}, 800),
        ("RGBA", (12000, 8400), "photo.png", {"compress_level": 1}, 650),
        ("I;16", (12000, 8400), "photo.tif", {}, 650),
        ("L", (20000, 15000), "photo.jpg", {}, 250),  # 300 million, which Pillow by itself refuses
    ],
)
def test_a_hundred_million_pixels_in_bounded_memory(tmp_path, mode, size, name, options, most):
    colour = {"I;16": 65535, "L": 255}.get(mode, (255,) * len(mode))
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", MAKE, repr((mode, *size, colour, str(path), options))], check=True)
    told = subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True)
    shape, value, peak = json.loads(told.stdout)
    assert (shape, value) == ([size[1] // (4 if size[0] < 16384 else 8), size[0] // (4 if size[0] < 16384 else 8), 3], 255)
    assert peak < most * 1024, "kB"


def test_a_header_that_claims_too_much_is_refused_before_it_is_believed(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    content = bytearray((tmp_path / "small.png").read_bytes())
    import struct
    import zlib

    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(BadData, match="60000 x 60000 pixels, too many to decode in 1 GB"):
        read_photo(str(tmp_path / "huge.png"), 4096)
    assert Image.MAX_IMAGE_PIXELS == 89478485  # as it was


def heic(path, **settings) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(scene())
    pillow_heif.from_pillow(picture).save(path, quality=90, **settings)


def test_heic_is_read_where_its_decoder_is_installed(tmp_path):
    block = Image.Exif()
    block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    gps = block.get_ifd(ExifTags.IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude], gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = "N", (45, 55, 26.4), "E", (6, 52, 8.4)
    heic(tmp_path / "photo.heic", exif=block.tobytes())
    photo = read_photo(str(tmp_path / "photo.heic"), 700)
    assert np.abs(photo.pixels - block_means(scene(), 2)).max() < 6
    assert (photo.facts.latitude, photo.facts.longitude) == (pytest.approx(45.924), pytest.approx(6.869))
    assert photo.facts.hfov == pytest.approx(68.9, abs=0.1)


def test_heic_without_its_decoder_says_what_to_do(tmp_path, monkeypatch):
    # The first bytes of any such file: they alone decide.
    (tmp_path / "photo.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unavailable, match="photo.heic: is HEIC, which needs the package pillow-heif; pip install 'scape-toolkit"):
        read_photo(str(tmp_path / "photo.heic"))
