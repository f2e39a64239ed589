"""The judges are judged: they find what is planted, and nothing in an object that was cleaned by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from tests.deidentification import corpus, mutation, planter, table_checker
from tests.deidentification.table_checker import UidMap, check


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def small(**attributes: object) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.preamble = b"\0" * 128
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    return data


def kinds(before: Dataset, after: Dataset, **arguments: object) -> list[tuple[str, str]]:
    return [(one.path, one.what) for one in check(before, after, **arguments)]  # type: ignore[arg-type]


def test_both_editions_are_there_with_their_rows():
    sizes = {edition: sum(map(len, table_checker.table(edition))) for edition in ("2024e", "2026c")}
    assert sizes == {"2024e": 620, "2026c": 655}
    assert table_checker.row_of(0x60203000, "2026c") == table_checker.Row("X", {"clean_graphics": "C"})
    assert table_checker.row_of(0x50121234, "2024e") is not None
    assert table_checker.row_of(0x00280010, "2026c") is None


@pytest.mark.parametrize(
    ("keyword", "before", "after", "options", "what"),
    [
        ("PatientName", "A^B", "C", (), None),
        ("PatientName", "A^B", "", (), None),
        ("PatientName", "A^B", "A^B", (), "kept"),
        ("PatientName", "A^B", None, (), "removed"),
        ("PatientComments", "ill", None, (), None),
        ("PatientComments", "ill", "", (), "not removed"),
        ("PatientComments", "ill", "ill", ("clean_descriptors",), None),
        ("StudyInstanceUID", "1.2.3", "2.25.4", (), None),
        ("StudyInstanceUID", "1.2.3", "1.2.3", (), "kept UID"),
        ("StudyInstanceUID", "1.2.3", "", (), "emptied"),
        ("StudyInstanceUID", "1.2.3", "1.2.3", ("retain_uids",), None),
        ("StudyDate", "20200101", "20200101", (), "kept"),
        ("StudyDate", "20200101", "20200101", ("modified_dates",), "date kept"),
        ("StudyDate", "20200101", "20190101", ("modified_dates",), None),
        ("StudyTime", "101500", "101500", ("modified_dates",), None),
        ("StudyDate", "20200101", "20200101", ("retain_dates",), None),
        ("PatientSex", "F", "F", (), "kept"),
        ("PatientSex", "F", "F", ("retain_patient",), None),
        ("VerifyingOrganization", "org", "", (), "emptied"),
        ("VerifyingOrganization", "org", "none", (), None),
        ("Rows", 4, 4, (), None),
    ],
)
def test_each_code_is_read_as_the_standard_says(keyword, before, after, options, what):
    old = small(**{keyword: before})
    new = small() if after is None else small(**{keyword: after})
    found = [one.what for one in check(old, new, options=options)]
    assert found == ([] if what is None else [what])


def test_every_depth_is_looked_at():
    def nested(name: str) -> Dataset:
        inner = small(PatientName=name)
        return small(ReferencedImageSequence=Sequence([small(ContentSequence=Sequence([inner]))]))

    expected = [("(0008,1140)[0].(0040,a730)[0].(0010,0010)", "kept")]
    assert kinds(nested("A"), nested("A")) == expected
    assert kinds(nested("A"), nested("B")) == []


def test_uids_are_followed_from_file_to_file():
    uids = UidMap()
    assert kinds(small(StudyInstanceUID="1.2.3"), small(StudyInstanceUID="2.25.1"), uids=uids) == []
    assert kinds(small(StudyInstanceUID="1.2.3"), small(StudyInstanceUID="2.25.2"), uids=uids) == [("(0020,000d)", "inconsistent UID")]
    assert kinds(small(StudyInstanceUID="1.2.4"), small(StudyInstanceUID="2.25.1"), uids=uids) == [("(0020,000d)", "two UIDs became one")]


def test_private_attributes_are_told_apart_by_their_creator():
    data = small()
    data.add(DataElement(0x00091010, "LO", "x"))
    assert kinds(data, data) == [("(0009,1010)", "kept")]
    group, creator, element = min(table_checker.safe_private())
    safe = small()
    safe.add(DataElement(group << 16 | 0x10, "LO", creator))
    safe.add(DataElement(group << 16 | 0x1000 | element, "LO", "x"))
    assert kinds(safe, safe, options=["safe_private"]) == []
    assert len(kinds(safe, safe)) == 2


def test_an_original_breaks_most_rules_and_is_not_damaged():
    data = table_checker.read(corpus.as_file(table_checker.read(sample("CT_small.dcm"))))
    violations = check(data, copy.deepcopy(data))
    assert table_checker.count(violations)["kept"] > 200
    assert {one.tag for one in violations} >= {0x00100010, 0x00100020, 0x00080018, 0x00091001}
    assert table_checker.damage(data, data) == []
    other = copy.deepcopy(data)
    other.Rows = 3
    del other.PixelData
    assert {one.what for one in table_checker.damage(data, other)} == {"changed", "lost"}


@pytest.mark.parametrize("character_set", planter.SCRIPTS)
def test_plants_are_found_in_what_they_were_planted_in(character_set):
    data = table_checker.read(sample("CT_small.dcm"))
    who = planter.person(7, character_set)
    plants = planter.plant(data, who)
    found = planter.leaks(corpus.as_file(data), plants, character_set)
    assert len(plants) >= 60
    if character_set in ("ISO_IR 13", "ISO_IR 148"):  # pydicom writes no mixture of kana and letters; i with a dot has no small letter
        assert len(found) >= 45
    else:
        assert found == plants
    assert planter.leaks(sample("MR_small.dcm"), plants, character_set) == []


def test_plants_are_found_in_a_deflated_data_set():
    data = table_checker.read(sample("image_dfl.dcm"))
    plants = planter.plant(data, planter.person(8))
    output = corpus.as_file(data)
    assert planter.leaks(output, plants) == plants
    assert planter.person(8).patient_id.encode() not in output


def test_the_corpus_holds_every_kind_of_file():
    paths = corpus.paths()
    assert len(paths) > 250
    kinds = {"DICOMDIR", "README.txt", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "rtplan_truncated.dcm", "nested_priv_SQ.dcm", "chrH32.dcm"}
    assert {path.name for path in paths} >= kinds
    assert len(table_checker.read(corpus.generated())) > 50


def test_mutation_is_the_same_for_the_same_seed():
    data = sample("rtplan.dcm")
    spoilt = [mutation.mutated(data, [data], seed) for seed in range(50)]
    assert spoilt == [mutation.mutated(data, [data], seed) for seed in range(50)]
    assert sum(one != data for one in spoilt) > 45
