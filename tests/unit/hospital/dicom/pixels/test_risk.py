"""The risk of text in pixels: what is a risk, what the rules make of it, and that what nobody knows is held back."""

from __future__ import annotations

import os
import timeit
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import UID_dictionary

from tests.unit.hospital.dicom.pixels.pixel_objects import described, dicom_files
from toolkit.core.errors import BadData, NoInput
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import open_part10
from toolkit.hospital.dicom.pixels.risk import (
    PixelAttributes,
    PixelRules,
    Rectangle,
    assess,
    attributes,
    kinds_of,
    outside,
    read_pixel_rules,
)

STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, MR, US, SC, WHOLE_SLIDE = STORAGE + "2", STORAGE + "4", STORAGE + "6.1", STORAGE + "7", STORAGE + "77.1.6"
SHIPPED = read_pixel_rules(None)


def image(sop_class: str, modality: str, **more: object) -> PixelAttributes:
    plain = PixelAttributes(
        sop_class=sop_class, modality=modality, image_type="ORIGINAL\\PRIMARY", manufacturer="GE MEDICAL SYSTEMS", model="X",
        rows=512, columns=512, photometric="MONOCHROME2", bits_allocated=16, bits_stored=12, high_bit=11,
        transfer_syntax="1.2.840.10008.1.2.1", pixel_element=1000, pixel_start=1012, pixel_end=1012 + 512 * 512 * 2,
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def held(a: PixelAttributes, rules: PixelRules = SHIPPED, clean: bool = True, reason: Reason = Reason.BURNED_IN) -> Quarantine:
    with pytest.raises(Quarantine) as caught:
        assess(a, rules, clean)
    assert caught.value.reason is reason
    return caught.value


def written(path: Path, text: str) -> PixelRules:
    (path / "rules.toml").write_text(text)
    return read_pixel_rules(str(path / "rules.toml"))


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [(CT, "CT"), (MR, "MR"), (STORAGE + "128", "PT"), (STORAGE + "20", "NM"), (STORAGE + "1.1", "DX"), (STORAGE + "1", "CR"),
     (STORAGE + "1.2", "MG"), (STORAGE + "12.1", "XA"), (STORAGE + "481.2", "RTDOSE"), (STORAGE + "66.4", "SEG"),
     (STORAGE + "481.1", "RTIMAGE")],
)  # fmt: skip
@pytest.mark.parametrize("clean", [False, True])
def test_images_as_the_modalities_make_them_are_no_risk(sop_class: str, modality: str, clean: bool) -> None:
    assert assess(image(sop_class, modality), SHIPPED, clean) == []


RISKS = {
    "ultrasound": image(US, "US", rows=601),
    "several frames": image(STORAGE + "3.1", "US", rows=601),
    "retired ultrasound": image(STORAGE + "6", "US", rows=601),
    "retired frames": image(STORAGE + "3", "US", rows=601),
    "modality alone": image(CT, "US", rows=601),
    "intravascular": image(CT, "IVUS", rows=601),
    "secondary capture": image(SC, "CT"),
    "captured frames": image(STORAGE + "7.4", "MR"),
    "other": image(CT, "OT"),
    "document": image(CT, "DOC"),
    "workstation": image(CT, "CT", conversion_type="WSD"),
    "scanned": image(CT, "CT", conversion_type="SD"),
    "capture device": image(CT, "CT", capture_manufacturer="ACME"),
    "screen save": image(CT, "CT", image_type="DERIVED\\SECONDARY\\SCREEN SAVE", rows=700),
    "screen save by name": image(MR, "MR", series_description="Screen Save"),
    "dose report": image(CT, "CT", series_description="Dose Report", rows=700),
    "dose by type": image(CT, "CT", image_type="DERIVED\\SECONDARY\\DOSE_INFO", rows=700),
    "film": image(STORAGE + "1", "CR", conversion_type="DF"),
    "film of a modality": image(STORAGE + "1.1", "FILM"),
    "endoscopy": image(STORAGE + "77.1.1", "ES"),
    "photograph": image(STORAGE + "77.1.4", "XC"),
    "slide": image(WHOLE_SLIDE, "SM"),
    "label": image(WHOLE_SLIDE, "SM", image_type="ORIGINAL\\PRIMARY\\LABEL", burned_in_annotation="NO"),
    "captured into CT": image(CT, "CT", image_type="DERIVED\\SECONDARY", bits_allocated=8, bits_stored=8, high_bit=7),
    "colour CT": image(CT, "CT", samples=3, photometric="RGB", bits_allocated=8, bits_stored=8, high_bit=7),
    "marked": image(CT, "CT", burned_in_annotation="YES", rows=700),
    "hard copy": image("1.2.840.10008.5.1.1.29", "HC"),
    "private class": image("1.3.12.2.1107.5.99.1", "CT"),
    "no class": image("", "CT"),
}


@pytest.mark.parametrize("a", RISKS.values(), ids=RISKS)
@pytest.mark.parametrize("clean", [False, True])
def test_a_risk_that_no_rule_knows_is_held_back(a: PixelAttributes, clean: bool) -> None:
    caught = held(a, clean=clean)
    assert "rule" in caught.remedy or "rule" in caught.detail
    assert "--clean-pixels" not in caught.remedy


@pytest.mark.parametrize("name", ["ultrasound", "secondary capture", "screen save", "film", "marked", "endoscopy"])
def test_the_mark_no_alone_is_not_believed(name: str) -> None:
    a = replace(RISKS[name], burned_in_annotation="NO")
    if name in ("endoscopy", "marked"):
        assert assess(a, SHIPPED, False) == []
    else:
        held(a)


def test_derived_images_of_the_modalitys_depth_pass() -> None:
    a = image(MR, "MR", image_type="DERIVED\\SECONDARY\\ADC")
    assert assess(a, SHIPPED, False) == []
    held(replace(a, burned_in_annotation="YES"), clean=True)
    held(replace(a, conversion_type="WSD"))
    held(replace(a, image_type="DERIVED\\SECONDARY\\SCREEN SAVE", rows=700))


def test_every_image_class_of_the_standard_is_judged() -> None:
    """A class that nobody thought of is a risk; those that are none are images of a modality, or computed from such."""
    plain = {
        name
        for uid, (name, kind, *_rest) in UID_dictionary.items()
        if kind == "SOP Class" and uid.startswith(STORAGE) and not kinds_of(image(uid, "XX"))
    }
    modalities = ["Radiography", "X-Ray", "XA", "XRF", "CT", "MR", "Nuclear", "Positron", "PET"]
    modalities += ["Tomography", "Tomosynthesis", "RT", "Parametric", "Segmentation"]
    assert [name for name in plain if not any(word in name for word in modalities)] == []
    assert len(plain) > 30
    risks = ("Ultrasound", "Capture", "Endoscop", "Photograph", "Hardcopy", "Encapsulated")
    assert not any(word in name for name in plain for word in risks)


def test_objects_without_pixels_are_no_risk() -> None:
    assert assess(PixelAttributes(sop_class=STORAGE + "88.11", modality="SR"), SHIPPED, False) == []
    assert assess(PixelAttributes(sop_class=SC, modality="OT"), SHIPPED, False) == []


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_encapsulated_documents_are_held_back(number: int, tmp_path: Path) -> None:
    a = PixelAttributes(sop_class=f"{STORAGE}104.{number}", modality="DOC")
    assert "--clean-pixels" not in held(a, reason=Reason.ENCAPSULATED_DOCUMENT).remedy
    held(PixelAttributes(sop_class=STORAGE + "88.11", encapsulated_document=True), reason=Reason.ENCAPSULATED_DOCUMENT)
    rules = written(tmp_path, f'[[rule]]\nname = "surfaces"\nkind = "document"\nsop-class = "{STORAGE}104.3"\naction = "pass"\n')
    assert number != 3 or assess(a, rules, False) == []
    if number != 3:
        held(a, rules, reason=Reason.ENCAPSULATED_DOCUMENT)


def test_a_rule_that_blanks_needs_leave() -> None:
    a = image(US, "US", manufacturer="Philips Medical Systems", model="iU22", rows=600, columns=800)
    assert assess(a, SHIPPED, True) == [Rectangle(0, 0, 800, 59)]
    caught = held(a, clean=False)
    assert "--clean-pixels" in caught.remedy and "iU22" in caught.remedy


def test_ultrasound_keeps_its_regions_only() -> None:
    a = image(US, "US", manufacturer="unknown", rows=480, columns=640, ultrasound_regions=[(84, 31, 595, 414), (84, 430, 300, 470)])
    blanked = covered(assess(a, SHIPPED, True), 640, 480)
    kept = covered([Rectangle(84, 31, 596, 415), Rectangle(84, 430, 301, 471)], 640, 480)
    np.testing.assert_array_equal(blanked, ~kept)


def test_a_known_banner_goes_even_where_a_region_begins_within_it() -> None:
    """As in this file: the upper edge of the region runs through the line of text with the examination's name."""
    with open_part10(get_testdata_file("JPGLosslessP14SV1_1s_1f_8b.dcm")) as source:
        a = described(source)
    assert a.ultrasound_regions == [(14, 38, 1010, 758)]
    blanked = covered(assess(a, SHIPPED, True), a.columns, a.rows)
    assert blanked[:59].all() and not blanked[59:759, 14:1011].any() and blanked[759:].all()


@pytest.mark.parametrize(
    "regions", [[(0, 0, 639, 479)], [(0, 5, 639, 479)], [(10, 50, 641, 400)], [(10, 50, 5, 400)], [(10, 50, 90, 90), (0, 0, 1 << 31, 9)]]
)
def test_regions_that_do_not_tell_image_from_banner_are_not_trusted(regions: list[tuple[int, int, int, int]]) -> None:
    held(image(US, "US", rows=480, columns=640, ultrasound_regions=regions))


def covered(rectangles: list[Rectangle], columns: int, rows: int) -> np.ndarray:
    found = np.zeros((rows, columns), bool)
    for left, top, right, bottom in rectangles:
        assert 0 <= left < right <= columns and 0 <= top < bottom <= rows
        found[top:bottom, left:right] = True
    return found


RECTANGLES = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 14), st.integers(1, 20), st.integers(1, 15)).map(
        lambda r: Rectangle(r[0], r[1], min(20, r[0] + r[2]), min(15, r[1] + r[3]))
    ),
    max_size=5,
)


@given(RECTANGLES)
def test_outside_is_the_complement_and_its_parts_do_not_overlap(kept: list[Rectangle]) -> None:
    parts = outside(kept, 20, 15)
    np.testing.assert_array_equal(covered(parts, 20, 15), ~covered(kept, 20, 15))
    assert sum((r.right - r.left) * (r.bottom - r.top) for r in parts) == covered(parts, 20, 15).sum()


@pytest.mark.parametrize("number", range(9))
def test_video_is_not_blanked(number: int) -> None:
    a = image(US, "US", model="LOGIQE9", columns=960, rows=720, transfer_syntax=f"1.2.840.10008.1.2.4.10{number}")
    assert "video" in held(a).detail
    held(replace(a, transfer_syntax=a.transfer_syntax + ".1"))


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (image(SC, "CT", series_description="Dose Report"), [Rectangle(0, 0, 512, 121)]),
        (image(CT, "CT", image_type="DERIVED\\SECONDARY\\SCREEN SAVE"), [Rectangle(0, 0, 512, 121)]),
        (image(CT, "CT", image_type="DERIVED\\SECONDARY", manufacturer="SIEMENS", rows=860, columns=1132), [Rectangle(0, 0, 1132, 60)]),
        (image(US, "US", model="Voluson S10", rows=852, columns=1136), [Rectangle(0, 0, 1136, 62)]),
        (image(STORAGE + "1", "CR", manufacturer="Canon Inc.", model="CXDI", rows=2592, columns=2208),
         [Rectangle(0, 0, 2208, 80), Rectangle(0, 2512, 2208, 2592)]),
    ],
)  # fmt: skip
def test_devices_that_others_described(a: PixelAttributes, expected: list[Rectangle]) -> None:
    assert assess(a, SHIPPED, True) == expected
    assert "--clean-pixels" in held(a, clean=False).remedy


def test_own_rules_come_first(tmp_path: Path) -> None:
    rules = written(
        tmp_path,
        '[[rule]]\nname = "ours"\nkind = "ultrasound"\nmanufacturer = "acme"\nmodel = ["us-1", "US 2"]\n'
        'rows = [480, { from = 600, to = 700 }]\n'
        'action = "blank"\nrectangles = [[0, 0, 1.0, 0.1], [-10, -20, 10, 20], [0.5, 0.95, 0.5, 9]]\n'
        '[[rule]]\nname = "old"\nmodality = "CT"\nsoftware = "v1."\naction = "quarantine"\n',
    )
    a = image(US, "US", manufacturer="Acme Inc.", model="US_2", rows=605, columns=801)
    assert assess(a, rules, True) == [Rectangle(0, 0, 801, 61), Rectangle(791, 585, 801, 605), Rectangle(400, 574, 801, 584)]
    held(replace(a, rows=599), rules)
    assert assess(replace(a, rows=480), rules, True)
    assert "old" in held(image(CT, "CT", software="V1.2"), rules).detail
    assert assess(image(CT, "CT", software="2.0"), rules, True) == []


def test_a_rule_passes_only_the_risk_that_it_names(tmp_path: Path) -> None:
    rules = written(tmp_path, '[[rule]]\nname = "clean"\nkind = "ultrasound"\nmodel = "Y"\naction = "pass"\n')
    a = image(US, "US", model="Y")
    assert assess(a, rules, False) == []
    held(replace(a, conversion_type="WSD"), rules)
    held(replace(a, burned_in_annotation="YES"), rules)
    told = '[[rule]]\nname = "clean"\nkind = "ultrasound"\nmodel = "Y"\nburned-in-annotation = ["YES", "NO"]\naction = "pass"\n'
    assert assess(replace(a, burned_in_annotation="YES"), written(tmp_path, told), False) == []
    held(replace(a, burned_in_annotation=""), written(tmp_path, told))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[rule]\n", "is not TOML"),
        ("rule = 1\n", "something else than"),
        ("colour = 1\n", "colour"),
        ('[[rule]]\naction = "pass"\n', "rule 1: has no name"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "drop"\n', "action is none of"),
        ('[[rule]]\nname = "a"\naction = "pass"\n', "no condition"),
        ('[[rule]]\nname = "a"\nkind = "us"\naction = "pass"\n', "'us' is none of"),
        ('[[rule]]\nname = "a"\nmaker = "GE"\naction = "pass"\n', "'maker' is no condition"),
        ('[[rule]]\nname = "a"\nrows = "512"\naction = "pass"\n', "rows is neither"),
        ('[[rule]]\nname = "a"\nrows = { least = 5 }\naction = "pass"\n', "rows is neither"),
        ('[[rule]]\nname = "a"\nmodel = 5\naction = "pass"\n', "model is neither"),
        ('[[rule]]\nname = "a"\nmodel = "-"\naction = "pass"\n', "without a letter"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "blank"\n', "rectangles belong"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "pass"\nrectangles = [[0, 0, 1, 1]]\n', "rectangles belong"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "blank"\nrectangles = [[0, 0, 1]]\n', "four numbers"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "blank"\nrectangles = [[0, 0, 60.0, 1]]\n', "above 1.0"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "blank"\nrectangles = [[0, 0, nan, 1]]\n', "above 1.0"),
        ('[[rule]]\nname = "a"\nmodality = "US"\naction = "blank"\nrectangles = [[0, 0, 0, 1]]\n', "no width"),
    ],
)
def test_wrong_rules_are_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem) as caught:
        written(tmp_path, text)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_rules_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="none.toml"):
        read_pixel_rules(str(tmp_path / "none.toml"))


def test_every_shipped_rule_can_hold() -> None:
    assert len({rule.name for rule in SHIPPED.rules}) == len(SHIPPED.rules)
    for rule in SHIPPED.rules:
        assert rule.action != "blank" or rule.place(1024, 1024), rule.name


def readable(path: str) -> bool:
    """Whether pydicom opens the file, and its elements can be followed; some are broken on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pydicom.dcmread(path)
            with open_part10(path) as source:
                described(source)
        except Exception:
            return False
    return True


READABLE = list(filter(readable, dicom_files(2_000_000)))


def test_nearly_all_files_are_readable() -> None:
    assert len(READABLE) > 0.9 * len(dicom_files(2_000_000))


@pytest.mark.parametrize("path", READABLE, ids=os.path.basename)
def test_attributes_are_those_that_pydicom_reads(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = pydicom.dcmread(path)
    with open_part10(path) as source:
        a = described(source)
        text = str(d.get("NumberOfFrames") or "1")
        frames = int(text) if text.isdigit() else -1
        expected = (
            d.get("Rows", 0), d.get("Columns", 0), frames, d.get("BitsStored", 0), d.get("PhotometricInterpretation", ""),
            (d.get("Modality") or "").strip(), d.get("SOPClassUID", ""), (d.get("ConversionType") or "").strip(),
        )  # fmt: skip
        assert (a.rows, a.columns, a.frames, a.bits_stored, a.photometric, a.modality, a.sop_class, a.conversion_type) == expected
        regions = d.get("SequenceOfUltrasoundRegions") or []
        assert a.ultrasound_regions == [
            (r.RegionLocationMinX0, r.RegionLocationMinY0, r.RegionLocationMaxX1, r.RegionLocationMaxY1) for r in regions
        ]
        assert (a.pixel_element >= 0) == any(name in d for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
        if a.pixel_element >= 0 and "PixelData" in d:
            assert source.data[a.pixel_element : a.pixel_element + 4] in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
            assert source.data[a.pixel_start : a.pixel_start + 64] == d.PixelData[:64]


def test_regions_in_items_of_any_length() -> None:
    with open_part10(get_testdata_file("OBXXXX1A.dcm")) as source:
        assert described(source).ultrasound_regions == [(120, 60, 800, 518), (176, 522, 743, 576)]
        assert attributes(source, {0x00186011: (source.start, source.end)}).ultrasound_regions == []


def test_judging_a_plain_image_takes_microseconds() -> None:
    a = image(CT, "CT")
    best = min(timeit.repeat(lambda: assess(a, SHIPPED, False), number=200, repeat=5)) / 200
    assert best < 100e-6
