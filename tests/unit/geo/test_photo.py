import io
import math

import numpy as np
import pytest
from PIL import ExifTags, Image

from toolkit.core.errors import BadData, NoInput
from toolkit.geo.photo import photo_facts, read_photo, sensor_size

WIDTH, HEIGHT = 48, 32
TAG, GPS = ExifTags.Base, ExifTags.GPS


def scene() -> np.ndarray:
    """Four quadrants of different colours, so that every turn and flip is seen."""
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24], pixels[16:, 24:] = (200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40)
    return pixels


def exif(tags=(), detail=(), gps=()) -> Image.Exif:
    block = Image.Exif()
    block.update(dict(tags))
    block.get_ifd(ExifTags.IFD.Exif).update(dict(detail))
    block.get_ifd(ExifTags.IFD.GPSInfo).update(dict(gps))
    return block


GPS_CHAMONIX = {
    GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (45.0, 55.0, 26.4), GPS.GPSLongitudeRef: "E", GPS.GPSLongitude: (6.0, 52.0, 8.4),
    GPS.GPSAltitudeRef: b"\x00", GPS.GPSAltitude: 1035.5, GPS.GPSImgDirectionRef: "M", GPS.GPSImgDirection: 123.25,
}  # fmt: skip

# How the stored picture comes from the upright one, for each orientation (EXIF 2.32, 4.6.4).
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_come_upright(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    stored = np.ascontiguousarray(STORED[orientation](scene()))
    block = exif({TAG.Orientation: orientation}, {TAG.FocalLengthIn35mmFilm: 28})
    Image.fromarray(stored).save(path, quality=95, subsampling=0, exif=block)
    photo = read_photo(str(path))
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(photo.pixels[::4, ::4].astype(int) - scene()[::4, ::4]).max() < 30
    # The field of view is that of the upright picture's width, however the sensor was held.
    assert photo.facts.hfov == pytest.approx(2 * math.degrees(math.atan(WIDTH / 2 / (28 / 43.27 * math.hypot(WIDTH, HEIGHT)))), abs=1e-6)


def test_position_and_heading(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(scene()).save(path, exif=exif({TAG.Make: "Canon", TAG.Model: "Canon EOS 5D Mark II"}, gps=GPS_CHAMONIX))
    facts = read_photo(str(path)).facts
    assert (facts.latitude, facts.longitude) == (pytest.approx(45.924), pytest.approx(6.869))
    assert (facts.altitude, facts.heading, facts.heading_reference) == (1035.5, 123.25, "magnetic")
    assert (facts.make, facts.model, facts.focal_35mm, facts.hfov) == ("Canon", "Canon EOS 5D Mark II", None, None)


def test_south_west_and_below_the_sea():
    gps = GPS_CHAMONIX | {GPS.GPSLatitudeRef: "S", GPS.GPSLongitudeRef: "W", GPS.GPSAltitudeRef: b"\x01"}
    facts = photo_facts({}, gps, 300, 200)
    assert (facts.latitude, facts.longitude, facts.altitude) == (pytest.approx(-45.924), pytest.approx(-6.869), -1035.5)


@pytest.mark.parametrize(
    "change",
    [
        {GPS.GPSLatitudeRef: ""},
        {GPS.GPSLatitude: (95.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (float("nan"),) * 3},
        {GPS.GPSLongitude: "6.8"},
        {GPS.GPSLatitude: (0.0,) * 3, GPS.GPSLongitude: (0.0,) * 3},
    ],
)
def test_impossible_positions_are_ignored_with_a_warning(change, caplog):
    facts = photo_facts({}, GPS_CHAMONIX | change, 300, 200, "photo.jpg")
    assert facts.latitude is facts.longitude is facts.altitude is None
    assert "photo.jpg" in caplog.text


def test_field_of_view_of_the_35_mm_equivalent():
    assert photo_facts({TAG.FocalLengthIn35mmFilm: 50}, {}, 3600, 2400).hfov == pytest.approx(39.6, abs=0.02)  # the textbook's figure
    assert photo_facts({TAG.FocalLengthIn35mmFilm: 50}, {}, 2400, 3600).hfov == pytest.approx(27.0, abs=0.02)
    assert photo_facts({TAG.FocalLengthIn35mmFilm: 0}, {}, 3600, 2400).hfov is None


def test_field_of_view_from_the_sensor_table():
    tags = {TAG.Make: "NIKON CORPORATION", TAG.Model: "NIKON D200", TAG.FocalLength: 24.0}
    wide = 2 * math.degrees(math.atan(23.6 / 2 / 24))
    assert photo_facts(tags, {}, 3872, 2592).hfov == pytest.approx(wide, abs=0.25)  # the sensor is not exactly 3:2
    assert photo_facts(tags, {}, 3872, 2178).hfov == pytest.approx(wide, abs=1e-9)  # 16:9 keeps the width
    assert photo_facts(tags, {}, 2592, 3872).hfov == pytest.approx(2 * math.degrees(math.atan(15.8 / 2 / 24)), abs=0.25)
    assert photo_facts(tags | {TAG.DigitalZoomRatio: 2.0}, {}, 3872, 2178).hfov == pytest.approx(2 * math.degrees(math.atan(23.6 / 4 / 24)))
    assert photo_facts(tags | {TAG.Model: "Unheard Of"}, {}, 3872, 2592).hfov is None
    assert photo_facts(tags | {TAG.FocalLengthIn35mmFilm: 100}, {}, 3600, 2400).hfov == pytest.approx(20.4, abs=0.02)  # goes first


def test_the_sensor_table_knows_what_cameras_write():
    for make, model, size in [
        ("Canon", "Canon EOS 5D Mark II", (36.0, 24.0)),
        ("OLYMPUS IMAGING CORP.", "E-M5", (17.3, 13.0)),
        ("SONY", "DSC-RX100", (13.2, 8.8)),
        ("FUJIFILM", "FinePix X100", (23.6, 15.8)),
        ("Apple", "iPhone 6", (4.89, 3.67)),
    ]:
        assert sensor_size(make, model) == size
    assert sensor_size(None, None) is None


def test_a_stitched_panorama_has_no_focal_length(caplog):
    assert photo_facts({TAG.FocalLengthIn35mmFilm: 28}, {}, 8000, 2000, "pano.jpg").hfov is None
    assert "pano.jpg" in caplog.text


def test_pictures_of_every_kind(tmp_path):
    colour = Image.fromarray(scene())
    grey = np.asarray(colour.convert("L"))
    for name, picture in {
        "grey.png": Image.fromarray(grey),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(grey.astype(np.uint16) * 257),
        "float.tif": Image.fromarray(grey.astype(np.float32) / 255),
    }.items():
        picture.save(tmp_path / name)
        pixels = read_photo(str(tmp_path / name)).pixels
        assert pixels.dtype == np.uint8 and np.abs(pixels.astype(int) - grey[:, :, None]).max() <= 1, name
    colour.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    alpha = colour.convert("RGBA")
    alpha.paste((0, 0, 0, 0), (0, 0, 8, HEIGHT))
    alpha.save(tmp_path / "alpha.png")
    for name in ("palette.png", "cmyk.jpg", "alpha.png"):
        pixels = read_photo(str(tmp_path / name)).pixels
        assert pixels.shape == (HEIGHT, WIDTH, 3) and np.abs(pixels[::4, 12::4].astype(int) - scene()[::4, 12::4]).max() < 40, name
    assert not read_photo(str(tmp_path / "alpha.png")).pixels[:, :8].any()


def test_what_is_no_photo(tmp_path):
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    whole = stream.getvalue()
    for name, content in {"cut.jpg": whole[: len(whole) // 2], "head.jpg": whole[:30], "text.jpg": b"no picture", "empty.jpg": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=name):
            read_photo(str(tmp_path / name))
    Image.fromarray(noise[:8]).save(tmp_path / "thin.png")
    with pytest.raises(BadData, match="200 x 8"):
        read_photo(str(tmp_path / "thin.png"))
    for name in ("none.jpg", ""):
        with pytest.raises(NoInput):
            read_photo(str(tmp_path / name))


def test_damaged_exif_costs_no_photo(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(scene()).save(stream, "JPEG", exif=exif({TAG.Make: "Canon"}, {TAG.FocalLengthIn35mmFilm: 28}, GPS_CHAMONIX).tobytes())
    whole, start = stream.getvalue(), stream.getvalue().index(b"Exif\0\0") + 6
    random = np.random.default_rng(2)
    for _ in range(100):
        broken = bytearray(whole)
        for place in random.integers(start, start + 200, 12):
            broken[place] = random.integers(256)
        (tmp_path / "broken.jpg").write_bytes(broken)
        assert min(read_photo(str(tmp_path / "broken.jpg")).pixels.shape[:2]) == HEIGHT
