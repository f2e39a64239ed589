"""The tables of toolkit/data against the packages they come from, and the script that makes them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.data import make_dicom_tables as make
from toolkit.hospital.dicom.encoding.dictionary import DATA, dictionary_vr, keyword_of, mask_of, tag_of
from toolkit.hospital.dicom.rules import attribute_types, safe_private

ROOT = Path(__file__).parents[5]


def test_the_dictionary_is_pydicoms() -> None:
    from pydicom.datadict import DicomDictionary, RepeatersDictionary, dictionary_VR, keyword_dict

    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr != "NONE" and keyword:
            assert (dictionary_vr(tag), keyword_of(tag), tag_of(keyword)) == (vr.split(" ")[0], keyword, keyword_dict[keyword])
    for mask in RepeatersDictionary:
        for digit in "02468ac":
            tag = int(mask.replace("x", digit), 16)
            assert dictionary_vr(tag) == dictionary_VR(tag).split(" ")[0]
    assert dictionary_vr(0x00290010) is dictionary_vr(0x60013000) is dictionary_vr(0x00100099) is None
    assert dictionary_vr(0xFFFEE000) is None


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFF))
def test_a_mask_fits_what_it_spells(tag: int, which: int) -> None:
    pattern = "".join("x" if which >> place & 1 else digit for place, digit in enumerate(f"{tag:08x}"))
    mask, bits = mask_of(pattern)
    assert tag & mask == bits
    assert all((tag ^ 1 << bit) & mask != bits for bit in range(32) if not which >> (7 - bit // 4) & 1)


def test_the_tables_load_without_the_packages() -> None:
    code = """if True:
        import sys
        from toolkit.hospital.dicom.rules.profile import Options, compile_policy, dictionary_vr
        compile_policy(Options(safe_private=True)).context("1.2.840.10008.5.1.4.1.1.2").rule(0x00080020, dictionary_vr(0x00080020))
        print(*{"pydicom", "numpy", "click", "highdicom"} & set(sys.modules))"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "\n", "")
    assert sum(path.stat().st_size for path in DATA.glob("dicom_*")) < 700_000


def test_what_comes_from_the_packages_is_made_again_alike(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="needs highdicom, which has the IOD tables")
    make.make(tmp_path, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom_dictionary.txt", "dicom_types.txt"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (DATA / path.name).read_bytes(), "run toolkit/data/make_dicom_tables.py and look at what changes"


def test_types_are_those_of_the_modules() -> None:
    """A sample of attributes at all depths, straight from highdicom's lists."""
    pytest.importorskip("highdicom", reason="needs highdicom, which has the IOD tables")
    iods, modules, sop_classes = make.highdicom_maps()
    wanted = make.undecided(DATA / "dicom_profile.csv")
    chance = random.Random(1)
    checked = set()
    for sop_class in sop_classes:
        rows = [row for module in iods[sop_classes[sop_class]] for row in modules.get(module["key"], ())]
        for row in chance.sample(rows, min(len(rows), 120)):
            tag, path = tag_of(row["keyword"]), [tag_of(keyword) for keyword in row["path"]]
            if tag is None or None in path or f"{tag:08x}" not in wanted:
                continue
            place = attribute_types.root(sop_class)
            for sequence in path:
                place = attribute_types.items(place, sequence or 0)
            same = [make.STRICTNESS[other["type"]] for other in rows if (other["path"], other["keyword"]) == (row["path"], row["keyword"])]
            assert place.known
            assert attribute_types.attribute_type(place, tag) == min(same), (sop_class, row)
            checked.add((len(path), min(same)))
    assert {(depth, kind) for depth in (0, 1, 2, 3) for kind in (1, 3)} <= checked


def test_types_of_an_unknown_place_are_the_strictest_of_all() -> None:
    unknown = attribute_types.root("")
    assert not unknown.known and attribute_types.attribute_type(unknown, 0x00080023) == 1  # ContentDate: 1 in enhanced images
    request = attribute_types.items(attribute_types.root("1.2.840.10008.5.1.4.1.1.66.4"), 0x00400275)
    assert not request.known or request.sequence == 0x00400275
    nowhere = attribute_types.items(unknown, 0x00291010)
    assert attribute_types.attribute_type(nowhere, 0x00080023) == 3
    assert attribute_types.items(nowhere, 0x00082112).sequence == 0x00082112  # a known sequence in an unknown one is known again


@pytest.mark.parametrize(
    ("pattern", "signature"),
    [
        ('(0019,"SIEMENS MR HEADER",0C)', "0019[SIEMENS MR HEADER]0c"),
        ('(2001,Philips Imaging DD 001",c1)', "2001[Philips Imaging DD 001]c1"),
        ('(0008,1110)[<0>](2001,"Philips Imaging DD 001",C1)', "00081110\t2001[Philips Imaging DD 001]c1"),
        ('(4453,DR Systems, Inc.",0c)[<0>](0008,1115)[<1>](0020,000E)', "4453[DR Systems, Inc.]0c\t00081115\t0020000e"),
        ("(0019,,08)", "0019[]08"),
    ],
)
def test_tcias_signatures(pattern: str, signature: str) -> None:
    assert make.signature(pattern) == signature


def test_the_tables_of_the_standard_are_read_from_their_sources(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "confidentiality_profile_2024e.json").write_text(
        json.dumps(
            [
                {"name": "Study Date", "id": "00080020", "basicProfile": "Z", "rtnLongFullDatesOpt": "K", "rtnLongModifDatesOpt": "C"},
                {"name": "Curve Data", "id": "50xxxxxx", "basicProfile": "X", "cleanGraphOpt": "C"},
                {"name": "Private Attributes", "id": "ggggeeee-where-gggg-is-odd", "basicProfile": "X", "rtnSafePrivOpt": "C"},
            ]
        )
    )
    (sources / "basic_profile_2026c.csv").write_text('tag,basic_profile\n"0008,0020",Z\n"5000,0000 mask FF00,0000",X\n"0010,0012",X\n')
    (sources / "tcia_private_tags.csv").write_text(
        "\ufeffelement_sig_pattern,tag_name,vr,private_disposition\n"
        '"(0019,""A"",01)",one,IS,k\n"(0019,""A"",01)",one,UN, k\n"(0019,""A"",02)",two,IS,k\n"(0019,""A"",02)",two,LO,d\n'
        '"(0019,,03)",three,IS,k\n'
        '"(0019,""A"",04)",four,DT,o\n"(0019,""A"",05)",five,UI,h\n'
    )
    assert list(make.profile(sources)) == [
        ["00080020", "StudyDate", "Z", "Z", "", "K", "C", "", "", "", "", "", "", ""],
        ["00100012", "", "", "X", *[""] * 10],
        ["50xxxxxx", "Curve Data", "X", "X", *[""] * 9, "C"],
        ["ggggeeee", "Private Attributes", "X", "X", *[""] * 6, "C", "", "", ""],
    ]
    assert list(make.private(sources)) == [("k", "0019[A]01"), ("o", "0019[A]04")]


def test_private_signatures() -> None:
    top = safe_private.signatures()
    assert top.disposition(0x0019100C, "SIEMENS MR HEADER") == "k"
    assert top.disposition(0x0019100C, "SIEMENS") is top.disposition(0x00291010, "SIEMENS CSA HEADER") is None
    assert top.items(0x00081110, None).disposition(0x200110C1, "Philips Imaging DD 001") == "k"
    assert top.items(0x00081115, None).disposition(0x200110C1, "Philips Imaging DD 001") is None
    assert top.items(0x00291234, "nobody") is safe_private.NOTHING
    assert top.has_creator(0x0019, "SIEMENS MR HEADER") and not top.has_creator(0x0029, "SIEMENS MR HEADER")
