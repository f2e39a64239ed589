"""Type, captions, drawing, SVG, metadata: what gets into the file."""

import base64
import io
import json
import logging

import numpy as np
import pytest
from lxml import etree
from PIL import ExifTags, Image, ImageCms

from toolkit.core.errors import BadData, UsageError
from toolkit.geo.annotate.captions import captions, measures, text_size
from toolkit.geo.annotate.drawing import Annotation, draw_image, draw_svg, outlines
from toolkit.geo.annotate.faces import Faces
from toolkit.geo.annotate.labels import place_labels
from toolkit.geo.annotate.metadata import Metadata, read_metadata, with_pose
from toolkit.geo.annotate.output import encode, kind_of
from toolkit.geo.annotate.peaks import Peak
from toolkit.geo.annotate.poses import Found, camera_for, read_first
from toolkit.geo.annotate.visible import Sight
from toolkit.geo.camera import camera_from_hfov
from toolkit.geo.photo import read_photo
from toolkit.geo.pose import Pose
from toolkit.geo.segments import Polylines

POSE = Pose(359.9996, -6.5, 2.25)
GPANO = "{http://ns.google.com/photos/1.0/panorama/}"
NAMES = {
    "Matterhorn": "Noto Sans",
    "Эльбрус": "Noto Sans",
    "Όλυμπος": "Noto Sans",
    "სახარა": "Noto Sans Georgian",
    "Արարատ": "Noto Sans Armenian",
    "कंचनजंघा": "Noto Sans Devanagari",
    "دماوند": "Noto Sans Arabic",
    "הר חרמון": "Noto Sans Hebrew",
    "富士山": "Noto Sans CJK JP",
    "한라산": "Noto Sans CJK JP",
    "ดอยอินทนนท์": "Noto Sans Thai",
    "ⴰⴷⵔⴰⵔ": "DejaVu Sans",
}


def sight(name, height=2000.0, distance=12_340.0):
    return Sight(Peak(name, 46.0, 8.0), 0.0, 1.0, distance, height, "list", 100.0)


def draw_pixels(pixels, annotation):
    return np.asarray(draw_image(pixels, annotation))


def annotation_of(names, size=20, width=800, height=600, contours=()):
    texts = captions([sight(name) for name in names], size)
    anchors = np.array([[width * (0.5 + place) / len(names), 0.6 * height] for place in range(len(names))])
    sizes = np.array([(text.width, text.height) for text in texts])
    return Annotation(size, place_labels(anchors, sizes, (width, height), gap=6, margin=8), texts, contours)


@pytest.mark.parametrize("name", NAMES)
def test_each_script_gets_a_face_that_has_its_signs(name, caplog):
    (run,) = Faces().runs(name, 30)
    assert run.face.family == NAMES[name]
    assert run.text == name
    assert 30 < run.width < 30 * len(name) * 1.3
    assert not caplog.records


def test_names_of_two_scripts(caplog):
    faces = Faces()
    pieces = [(run.text, run.face.family) for run in faces.runs("ดอย / जंघा", 20)]
    assert pieces == [("ดอย ", "Noto Sans Thai"), ("/ ", "Noto Sans"), ("जंघा", "Noto Sans Devanagari")]
    # From right to left the second script stands left of the first.
    assert [run.text for run in faces.runs("دماوند जंघा", 20)] == ["जंघा", "دماوند "]
    assert not caplog.records


_HAN = [("ja", "JP"), ("ko", "KR"), ("zh", "SC"), ("zh-Hant", "TC"), ("zh-CN", "SC"), (None, "JP")]


@pytest.mark.parametrize(("language", "family"), _HAN)
def test_han_signs_are_drawn_as_the_language_has_them(language, family):
    (run,) = Faces(language).runs("直角", 20)
    assert run.face.family == f"Noto Sans CJK {family}"


def test_a_sign_that_no_face_has_is_told_once(caplog):
    faces = Faces()
    with caplog.at_level(logging.WARNING):
        assert "".join(run.text for run in faces.runs("Peak \U0001340d", 20)) == "Peak \U0001340d"
        faces.runs("Other \U0001340d", 20)
    assert [record.getMessage() for record in caplog.records] == [
        "'Peak \U0001340d': no face has U+1340D, EGYPTIAN HIEROGLYPH AA001; a box stands for it"
    ]


def test_measures():
    assert measures(sight("A", 4158.4, 12_340.0)) == "4158 m · 12.3 km"
    assert measures(sight("A", 4158.4, 123_400.0)) == "4158 m · 123 km"
    assert measures(sight("A", 4158.4, 12_340.0), imperial=True) == "13643 ft · 7.7 mi"


def test_letters_grow_with_the_picture():
    assert [text_size(*size) for size in ((100, 80), (968, 648), (4000, 3000), (3000, 4000))] == [11, 13, 53, 53]


def test_letters_are_within_their_label():
    """What is drawn of a label alone stays in its box but for the halo, whatever the script."""
    for name in [*NAMES, "ÅÊgjpqy"]:
        annotation = annotation_of([name], size=40)
        (label,) = annotation.labels
        drawn = draw_pixels(np.full((600, 800, 3), 128, np.uint8), annotation)
        rows, columns = np.nonzero((drawn != 128).any(axis=2))
        above = rows < label.y1 - 1
        halo = 5
        assert label.left - halo <= columns[above].min() and columns[above].max() <= label.right + halo
        assert rows.min() >= label.top - halo
        assert np.count_nonzero(drawn.min(axis=2) > 240) > 300  # white letters


def test_lines_and_dots_are_at_the_peaks():
    annotation = annotation_of(["A", "B"])
    drawn = draw_pixels(np.full((600, 800, 3), 90, np.uint8), annotation)
    for label in annotation.labels:
        middle = (label.y0 + label.y1) / 2
        assert tuple(drawn[round(middle), round(label.x)]) == (255, 255, 255)
        assert tuple(drawn[round(label.y0), round(label.x)]) == (255, 255, 255)
    untouched = draw_pixels(np.full((600, 800, 3), 90, np.uint8), Annotation(20, [], [], []))
    assert (untouched == 90).all()


def test_contours_are_cut_at_the_border():
    camera, pose = camera_from_hfov(800, 600, 60.0), Pose(0.0, 0.0, 0.0)
    azimuth = np.radians(np.arange(-180.0, 180.0, 0.5))
    ring = np.stack([np.sin(azimuth), np.cos(azimuth), np.zeros_like(azimuth)], axis=1)
    count = len(ring)
    contours = Polylines(ring, np.array([0, count]), np.ones(count), (azimuth < 0).astype(float), np.full(count, 1e4))
    left, right = outlines(contours, camera, pose)
    assert (left.skyline, right.skyline) == (True, False)
    assert left.points[:, 1] == pytest.approx(299.5) and right.points[:, 1] == pytest.approx(299.5)
    assert left.points[0, 0] == pytest.approx(-0.5, abs=10) and right.points[-1, 0] == pytest.approx(799.5, abs=10)
    drawn = draw_pixels(np.zeros((600, 800, 3), np.uint8), Annotation(20, [], [], [left, right]))
    assert tuple(drawn[300, 100]) == (255, 64, 32) or tuple(drawn[299, 100]) == (255, 64, 32)
    assert tuple(drawn[300, 700]) == (255, 208, 0) or tuple(drawn[299, 700]) == (255, 208, 0)


def test_svg_is_well_formed_and_keeps_text_as_text():
    names = ["Tom & Jerry <Peak>", "富士山", "\u0007Bell", "می\u200cخوش"]
    annotation = annotation_of(names, width=1600)
    pixels = np.random.default_rng(0).integers(0, 256, (600, 1600, 3), np.uint8)
    root = etree.fromstring(draw_svg(pixels, annotation))
    ns = {"s": "http://www.w3.org/2000/svg"}
    texts = [element.text for element in root.findall("s:text", ns)]
    assert {"Tom & Jerry <Peak>", "富士山", "Bell", "می\u200cخوش"} <= set(texts)
    assert len(annotation.labels) == len(root.findall("s:circle", ns)) == 4
    (image,) = root.findall("s:image", ns)
    assert (image.get("width"), image.get("height")) == ("1600", "600")
    packed = base64.b64decode(image.get("href").removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(packed)).size == (1600, 600)
    for element, (line, run, left, base) in zip(root.findall("s:text", ns), annotation.texts(), strict=True):
        assert float(element.get("x")) == pytest.approx(left, abs=0.06)
        assert float(element.get("y")) == pytest.approx(base, abs=0.06)
        assert float(element.get("textLength")) == pytest.approx(run.width, abs=0.06)
        assert element.get("font-size") == str(line.size)


def photograph(path, orientation=6, xmp=None, icc=None, note=b"maker's own"):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Nikon", orientation
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.FocalLengthIn35mmFilm: 35, ExifTags.Base.DateTimeOriginal: "2024:08:01 12:00:00", ExifTags.Base.MakerNote: note,
        ExifTags.Base.ExifImageWidth: 64, ExifTags.Base.ExifImageHeight: 48,
    }  # fmt: skip
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (46.0, 30.0, 0.0), ExifTags.GPS.GPSLongitudeRef: "E",
        ExifTags.GPS.GPSLongitude: (8.0, 15.0, 0.0), ExifTags.GPS.GPSImgDirection: 10.0, ExifTags.GPS.GPSImgDirectionRef: "M",
    }  # fmt: skip
    more = {name: value for name, value in (("xmp", xmp), ("icc_profile", icc)) if value}
    Image.new("RGB", (64, 48), (40, 80, 120)).save(path, exif=exif.tobytes(), **more)
    return str(path)


def annotated(path, kind):
    photo = read_photo(path)
    rows, columns = photo.pixels.shape[:2]
    metadata = with_pose(read_metadata(path), POSE, 54.4, columns, rows, path)
    return encode(kind, photo.pixels, Annotation(11, [], [], []), metadata)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_is_kept_the_picture_upright_and_the_pose_added(tmp_path, kind):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "named").write_bytes(annotated(photograph(tmp_path / "photo.jpg", icc=icc), kind))
    image = Image.open(io.BytesIO((tmp_path / "named").read_bytes()))
    assert (image.format, image.size) == (kind, (48, 64))
    exif = image.getexif()
    inner, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation]) == ("Nikon", 1)
    assert (inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight]) == (48, 64)
    assert (inner[ExifTags.Base.DateTimeOriginal], inner[ExifTags.Base.MakerNote]) == ("2024:08:01 12:00:00", b"maker's own")
    assert (gps[ExifTags.GPS.GPSImgDirectionRef], float(gps[ExifTags.GPS.GPSImgDirection])) == ("T", 0.0)
    assert image.info["icc_profile"] == icc
    facts = read_photo(str(tmp_path / "named")).facts  # as the next command reads it
    assert (facts.latitude, facts.longitude, facts.heading, facts.heading_reference) == (46.5, 8.25, 0.0, "true")
    assert facts.hfov == read_photo(str(tmp_path / "photo.jpg")).facts.hfov


def gpano(xmp):
    root = etree.fromstring(xmp)
    return {name: value for node in root.iter() for name, value in node.attrib.items() if name.startswith(GPANO)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_pose_is_in_the_xmp(tmp_path, kind):
    image = Image.open(io.BytesIO(annotated(photograph(tmp_path / "photo.jpg"), kind)))
    xmp = image.info["xmp"] if kind == "JPEG" else image.info["XML:com.adobe.xmp"].encode()
    assert gpano(xmp) == {
        GPANO + name: value
        for name, value in {
            "PoseHeadingDegrees": "0.000", "PosePitchDegrees": "-6.500", "PoseRollDegrees": "2.250", "InitialViewHeadingDegrees": "0",
            "InitialViewPitchDegrees": "-6", "InitialViewRollDegrees": "2", "InitialHorizontalFOVDegrees": "54.400",
        }.items()
    }  # fmt: skip


OLD_XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" dc:creator="Somebody" GPano:PoseHeadingDegrees="12">
<GPano:PosePitchDegrees>3</GPano:PosePitchDegrees></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def test_other_xmp_is_kept_and_an_old_pose_replaced(tmp_path):
    image = Image.open(io.BytesIO(annotated(photograph(tmp_path / "photo.jpg", xmp=OLD_XMP), "JPEG")))
    found = gpano(image.info["xmp"])
    assert found[GPANO + "PoseHeadingDegrees"] == "0.000" and len(found) == 7
    assert b'dc:creator="Somebody"' in image.info["xmp"]
    assert b"<GPano:PosePitchDegrees>" not in image.info["xmp"]


@pytest.mark.parametrize("xmp", [b"<broken", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<x>" + b"a" * 70_000 + b"</x>"])
def test_xmp_that_cannot_be_kept(xmp, caplog):
    saved = with_pose(Metadata(None, None, xmp), POSE, 54.4, 10, 10, "photo.jpg")
    assert len(gpano(saved["xmp"])) == 7 and len(saved["xmp"]) < 1000
    assert len(caplog.records) == (0 if xmp.endswith(b"</x>") else 1)


@pytest.mark.parametrize("ending", ["tif", "png", "webp"])
def test_exif_of_other_kinds_of_pictures(tmp_path, ending):
    path = photograph(tmp_path / f"photo.{ending}", orientation=1)
    image = Image.open(io.BytesIO(annotated(path, "JPEG")))
    exif = image.getexif()
    assert exif[ExifTags.Base.Make] == "Nikon"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] == 35
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (46.0, 30.0, 0.0)
    assert not {ExifTags.Base.StripOffsets, ExifTags.Base.BitsPerSample, ExifTags.Base.Compression} & set(exif)


def test_exif_that_is_damaged(tmp_path, caplog):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x03junkjunkjunkjunk")
    image = Image.open(io.BytesIO(annotated(str(path), "JPEG")))
    assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSImgDirectionRef] == "T"


def test_a_maker_s_note_that_is_too_long_for_a_jpeg(tmp_path, caplog):
    (tmp_path / "photo.png").touch()
    path = photograph(tmp_path / "photo.png", note=b"x" * 70_000)
    image = Image.open(io.BytesIO(annotated(path, "JPEG")))
    inner = image.getexif().get_ifd(ExifTags.IFD.Exif)
    assert inner[ExifTags.Base.DateTimeOriginal] == "2024:08:01 12:00:00" and ExifTags.Base.MakerNote not in inner
    assert "too long to be kept" in caplog.text


def test_the_ending_says_what_is_written():
    assert [kind_of(path) for path in ("a.JPG", "b.jpeg", "c.png", "d.svg", "-")] == ["JPEG", "JPEG", "PNG", "SVG", "PNG"]
    with pytest.raises(UsageError, match="ends in none"):
        kind_of("a.gif")


def test_the_first_of_a_list_of_poses(tmp_path):
    path = tmp_path / "candidates.jsonl"
    first = {"rank": 1, "yaw": 370.0, "pitch": 2.0, "roll": -1.0, "hfov": 51.0, "latitude": 46.0, "longitude": 8.0}
    path.write_text("\n" + json.dumps(first | {"verdict": "doubtful", "reason": "short skyline"}) + "\n" + json.dumps(first) + "\n")
    assert read_first(str(path)) == Found(Pose(10.0, 2.0, -1.0), 51.0, (46.0, 8.0), "doubtful", "short skyline")
    path.write_text('{"rank": 1, "yaw": 10, "pitch": 2, "roll": -1, "score": 5}\n')
    assert read_first(str(path)) == Found(Pose(10.0, 2.0, -1.0))


_NO_POSES = ["", "\n\n", "yaw,pitch,roll\n", "[1, 2]", "[" * 100_000, "\xff"]
_NO_POSES += ['{"yaw": 1}', '{"yaw": 1, "pitch": 95, "roll": 0}', '{"yaw": "1"}']


@pytest.mark.parametrize("content", _NO_POSES)
def test_what_is_no_list_of_poses(tmp_path, content):
    (tmp_path / "candidates").write_text(content, encoding="latin-1")
    with pytest.raises(BadData):
        read_first(str(tmp_path / "candidates"))


def test_the_lens(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text('{"width": 968, "height": 648, "fx": 1000, "fy": 1010, "cx": 480, "cy": 320, "k": [-0.1]}')
    assert camera_for(968, 648, None, None, 50.0, "photo").hfov == pytest.approx(50.0)
    assert camera_for(968, 648, None, 48.0, 50.0, "photo").hfov == pytest.approx(48.0)
    assert camera_for(968, 648, str(path), None, 50.0, "photo").fx == 1000
    refined = camera_for(968, 648, str(path), 50.0, None, "photo")
    assert refined.hfov == pytest.approx(50.0) and refined.fy / refined.fx == pytest.approx(1.01) and refined.k[0] == -0.1
    with pytest.raises(BadData, match="no focal length"):
        camera_for(968, 648, None, None, None, "photo")
