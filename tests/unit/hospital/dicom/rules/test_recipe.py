"""Recipes: what a site may write, which instruction counts, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config
from pydicom.valuerep import validate_value

from toolkit.core.errors import BadData, UsageError
from toolkit.hospital.dicom.encoding.dictionary import tag_of
from toolkit.hospital.dicom.rules.actions import Action, Rule
from toolkit.hospital.dicom.rules.profile import Options, compile_policy
from toolkit.hospital.dicom.rules.recipe import Recipe, encoded, read_recipe, tag_from

EXAMPLE = """
# A nuclear medicine department's own wishes.
keep = ["StudyDescription", "(0018,1030)", "00081090", "(0019,SIEMENS MR HEADER,0C)", "(0029,xx10)"]
remove = ["(0008,10xx)", "(xxxx,ACME,xx)"]
empty = ["StationName"]
hash = ["DeviceSerialNumber", "(0019,SIEMENS MR HEADER,0D)"]
shift = ["PatientBirthDate"]

[replace]
InstitutionName = "A hospital"
PatientWeight = 70
ImageType = ["DERIVED", "SECONDARY"]
"(0019,SIEMENS MR HEADER,0E)" = "none"
"""


def write(folder: Path, text: str) -> Recipe:
    path = folder / "site.toml"
    path.write_text(text)
    return read_recipe(path)


def rule(recipe: Recipe, tag: int, vr: str, creator: str | None = None, **options: bool) -> Rule:
    return compile_policy(Options(recipe=recipe, **options)).context("1.2.840.10008.5.1.4.1.1.2").rule(tag, vr, creator)  # type: ignore[arg-type]


def test_each_action(tmp_path: Path) -> None:
    recipe = write(tmp_path, EXAMPLE)
    assert recipe.digest == hashlib.sha256(EXAMPLE.encode()).hexdigest()
    assert rule(recipe, 0x00081030, "LO") == Rule(Action.KEEP, code="recipe")
    assert rule(recipe, 0x00081048, "PN") == Rule(Action.REMOVE, True, "recipe")
    assert rule(recipe, 0x00081010, "SH").action is Action.EMPTY
    assert rule(recipe, 0x00181000, "LO").action is Action.HASH
    assert rule(recipe, 0x00100030, "DA") == Rule(Action.SHIFT, True, "recipe")
    assert rule(recipe, 0x00080080, "LO") == Rule(Action.REPLACE, True, "recipe", b"A hospital")
    assert rule(recipe, 0x00101030, "DS").value == b"70"
    assert rule(recipe, 0x00080008, "CS").value == b"DERIVED\\SECONDARY "


def test_the_whole_tag_counts_more_than_a_pattern(tmp_path: Path) -> None:
    recipe = write(tmp_path, EXAMPLE)
    assert rule(recipe, 0x00081090, "LO").action is Action.KEEP  # named, although (0008,10xx) goes
    assert rule(recipe, 0x00081091, "LO").action is Action.REMOVE
    recipe = write(tmp_path, 'keep = ["(0008,1xx0)"]\nremove = ["(0008,10xx)"]\nempty = ["(0008,xxxx)"]')
    assert rule(recipe, 0x00081030, "LO").action is Action.REMOVE  # as many digits told: the stricter holds
    assert rule(recipe, 0x00081140, "SQ").action is Action.DESCEND
    assert rule(recipe, 0x00082111, "ST").action is Action.EMPTY


def test_private_attributes_by_creator_in_any_block(tmp_path: Path) -> None:
    recipe = write(tmp_path, EXAMPLE)
    siemens = "SIEMENS MR HEADER"
    assert not compile_policy(Options(recipe=recipe)).removes_all_private
    for block in (0x10, 0x77):
        assert rule(recipe, 0x0019000C | block << 8, "IS", siemens).action is Action.KEEP
        assert rule(recipe, 0x0019000D | block << 8, "CS", siemens).action is Action.HASH
        assert rule(recipe, 0x0019000D | block << 8, "US", siemens).action is Action.REMOVE  # no hash fits
        assert rule(recipe, 0x0019000E | block << 8, "LO", siemens).value == b"none"
        assert rule(recipe, 0x0019000E | block << 8, "FD", siemens).action is Action.REMOVE  # no text fits
        assert rule(recipe, 0x0019000F | block << 8, "IS", siemens).action is Action.REMOVE
        assert rule(recipe, 0x0019000C | block << 8, "IS", "OTHER").action is Action.REMOVE
        assert rule(recipe, 0x00190000 | block, "LO", siemens).action is Action.KEEP  # the creator stays with what it heads
        assert rule(recipe, 0x00190000 | block, "LO", "OTHER").action is Action.REMOVE
        assert rule(recipe, 0x00210000 | block, "LO", siemens).action is Action.REMOVE
        assert rule(recipe, 0x00210001 | block << 8, "IS", "ACME").action is Action.REMOVE
    assert rule(recipe, 0x00291210, "OB", "ANY").action is rule(recipe, 0x00290012, "LO", "ANY").action is Action.KEEP


def test_a_pattern_for_even_groups_is_not_for_private_ones(tmp_path: Path) -> None:
    recipe = write(tmp_path, 'keep = ["(60xx,3000)"]')
    assert rule(recipe, 0x60003000, "OW").action is Action.KEEP
    assert rule(recipe, 0x60013000, "OW", "ACME").action is Action.REMOVE
    assert compile_policy(Options(recipe=recipe)).removes_all_private
    assert compile_policy(Options(recipe=write(tmp_path, 'remove = ["(0019,xxxx)"]'))).removes_all_private


def test_a_recipe_takes_back_what_an_option_keeps(tmp_path: Path) -> None:
    recipe = write(tmp_path, 'remove = ["(0019,SIEMENS MR HEADER,xx)", "PatientSex"]')
    assert rule(recipe, 0x0019100C, "IS", "SIEMENS MR HEADER", safe_private=True).action is Action.REMOVE
    assert rule(recipe, 0x0051100B, "LO", "SIEMENS MR HEADER", safe_private=True).action is not Action.REMOVE
    assert rule(recipe, 0x00100040, "CS").action is Action.REMOVE


def test_a_kept_sequence_is_still_looked_into(tmp_path: Path) -> None:
    recipe = write(tmp_path, 'keep = ["RequestAttributesSequence"]')
    context = compile_policy(Options(recipe=recipe)).context("1.2.840.10008.5.1.4.1.1.2")
    assert context.rule(0x00400275, "SQ").action is Action.DESCEND
    assert context.child(0x00400275).rule(0x00321033, "LO").action is Action.REMOVE


def test_what_names_and_marks_the_object_is_left_alone_by_patterns(tmp_path: Path) -> None:
    recipe = write(tmp_path, 'remove = ["(xxxx,xxxx)"]')
    assert rule(recipe, 0x00080018, "UI").action is Action.UID
    assert rule(recipe, 0x00080016, "UI").action is rule(recipe, 0x00080005, "CS").action is Action.KEEP
    assert rule(recipe, 0x00280010, "US").action is Action.REMOVE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('keep = ["PatinetName"]', "keep: PatinetName: is no attribute; give a keyword"),
        ('keep = ["(0010,0010"', "is no TOML file"),
        ('drop = ["PatientName"]', "has the key 'drop'; known are remove, empty"),
        ('keep = "PatientName"', "keep: is no list of attributes"),
        ("keep = [1]", "keep: is no list of attributes"),
        ('replace = ["PatientName"]', "replace: is no table"),
        ('shift = ["PatientName"]', "shift: PatientName: is no date: its VR is PN"),
        ('shift = ["StudyTime"]', "times of day are not shifted"),
        ('shift = ["(0008,002x)"]', "is a pattern"),
        ('hash = ["Rows"]', "cannot hold a hash: its VR is US"),
        ('hash = ["(0008,xxxx)"]', "is a pattern"),
        ('remove = ["SOPInstanceUID"]', "cannot be changed by a recipe; use the option that retains UIDs"),
        ('keep = ["SOPClassUID"]', "cannot be changed by a recipe"),
        ('keep = ["(0008,ACME,10)"]', "names a private creator in an even group"),
        ('keep = ["StudyDate"]\nremove = ["(0008,0020)"]', "says two things about (0008,0020): keep and remove"),
        ('[replace]\nStudyDate = "1. 1. 2000"', "'1. 1. 2000' is no DA"),
        ('[replace]\nStationName = "longer than sixteen"', "is no SH"),
        ('[replace]\nInstitutionName = "Spital Zürich"', "only ASCII is possible"),
        ("[replace]\nRows = 512", "its VR is US, which is no text"),
        ("[replace]\nStudyDate = 2000-01-01", "is not replaced by a text or a number"),
        ("[replace]\nImageType = []", "is not replaced by a text or a number"),
        ("[replace]\nStationName = true", "is not replaced by a text or a number"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadData) as refused:
        write(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "site.toml"))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadData, match="is no TOML file"):
        read_recipe(tmp_path / "site.toml")


def test_tags_on_the_command_line() -> None:
    assert tag_from("PatientID") == tag_from("(0010,0020)") == tag_from("0010,0020") == tag_from("00100020") == 0x00100020
    with pytest.raises(UsageError, match="PatinetID: is no attribute"):
        tag_from("PatinetID")
    with pytest.raises(UsageError, match="cannot be kept by itself"):
        tag_from("StudyInstanceUID")


VRS = [*("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT", "US", "SQ", "OB")]
TEXTS = st.text(max_size=70) | st.text("0123456789.+-eE", max_size=20) | st.text("ADMWY 015^=\\\t", max_size=70)


@given(st.sampled_from(VRS), TEXTS)
def test_a_replacement_is_a_value_of_its_vr_or_none(vr: str, value: str) -> None:
    raw = encoded(value, vr)
    if raw is not None:
        assert len(raw) % 2 == 0
        text = raw.decode("ascii").rstrip("\0" if vr == "UI" else " ")
        for part in [text] if vr in ("LT", "ST", "UT", "UR") else text.split("\\"):
            validate_value(vr, part, config.RAISE)


@pytest.mark.parametrize(
    ("vr", "value", "raw"),
    [
        ("UI", "1.2.3", b"1.2.3\0"),
        ("DS", "-1.5e3", b"-1.5e3"),
        ("DS", "1234567890.1234567", None),
        ("DS", "1\\2", b"1\\2 "),
        ("PN", "Doe^Jane", b"Doe^Jane"),
        ("LT", "a\\b", b"a\\b "),
        ("CS", "lower", None),
        ("IS", "12", b"12"),
        ("SQ", "x", None),
        ("DA", "20001301", None),
        ("TM", "235960", None),
        ("DT", "20000102030405.6+0100", b"20000102030405.6+0100 "),
    ],
)
def test_replacements(vr: str, value: str, raw: bytes | None) -> None:
    assert encoded(value, vr) == raw


def test_the_manual_shows_a_recipe_that_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[5] / "man" / "man5" / "dicom-recipe.5").read_text()
    example = page.split(".Sh EXAMPLES")[1].split(".Bd -literal")[1].split("\n", 1)[1].split(".Ed")[0]
    recipe = write(tmp_path, example)
    assert {one.action for one in recipe.instructions} == {Action[name] for name in ("KEEP", "REMOVE", "EMPTY", "REPLACE", "HASH", "SHIFT")}
    assert tag_of("StudyDescription") in {one.selector.bits for one in recipe.instructions}
