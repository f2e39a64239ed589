"""Decisions: every row of Table E.1-1 in both editions, at every place that the IODs have, and what no table lists."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import UsageError
from toolkit.hospital.dicom.encoding.dictionary import dictionary_vr, keyword_of, tag_of
from toolkit.hospital.dicom.rules import attribute_types, profile
from toolkit.hospital.dicom.rules.actions import Action, Rule
from toolkit.hospital.dicom.rules.confidentiality_table import EDITIONS, IDENTIFYING, OPTIONS
from toolkit.hospital.dicom.rules.profile import Options, Policy, compile_policy
from toolkit.hospital.dicom.rules.recipe import Recipe, read_recipe

CT, MR, ENHANCED_MR, SR = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.88.33",
)
with open(Path(profile.__file__).parents[3] / "data" / "dicom_profile.csv", newline="") as file:
    TABLE = list(csv.DictReader(file))
SOP_CLASSES = sorted(attribute_types._roots())
ALLOWED = {  # the actions that a letter of the table stands for; Z may be a dummy (PS3.15 E.3.1), D of a UID another UID
    "X": {Action.REMOVE},
    "Z": {Action.EMPTY, Action.DUMMY, Action.DESCEND_DUMMY},
    "D": {Action.DUMMY, Action.DESCEND_DUMMY, Action.UID},
    "U": {Action.UID},
    "U*": {Action.DESCEND},
    "K": {Action.KEEP, Action.DESCEND},
    "C": {Action.SCRUB, Action.DESCEND, Action.SHIFT, Action.KEEP},
}
# The hospital and the basic profile put a pseudonym where Z and D ask for a dummy.
OWN = {"00100020": Action.PATIENT, "00080050": Action.TOKEN, "00200010": Action.TOKEN}


def tag(name: str) -> int:
    found = tag_of(name)
    assert found is not None, name
    return found


def action(policy: Policy, name: str, *path: str, sop_class: str = CT, vr: str = "") -> Action:
    context = policy.context(sop_class)
    for sequence in path:
        context = context.child(tag(sequence))
    return context.rule(tag(name), vr or dictionary_vr(tag(name)) or "UN").action


def example(pattern: str) -> int:
    return int(pattern.replace("gggg", "0029").replace("eeee", "1010").replace("xx", "02").replace("xx", "01"), 16)


def test_the_table_is_whole() -> None:
    assert [sum(bool(row[f"basic_{edition}"]) for row in TABLE) for edition in EDITIONS] == [621, 656]
    assert {code for row in TABLE for code in (row["basic_2024e"], row["basic_2026c"]) if code} == {
        *("X", "Z", "D", "U", "X/D", "X/Z", "X/Z/D", "Z/D", "X/Z/U*")
    }
    assert {row["tag"] for row in TABLE if not row["tag"].isalnum() or "x" in row["tag"] or "g" in row["tag"]} == {
        *("50xxxxxx", "60xx3000", "60xx4000", "ggggeeee")
    }


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_row_has_an_action_that_its_code_allows_in_every_iod(edition: str) -> None:
    policy = compile_policy(Options(profile="basic", edition=edition))
    for sop_class in [*SOP_CLASSES, ""]:
        context = policy.context(sop_class)
        for row in TABLE:
            code = row[f"basic_{edition}"]
            if code:
                found = context.rule(example(row["tag"]), dictionary_vr(example(row["tag"])) or "UN")
                if row["tag"] == "00100020":
                    assert found == Rule(Action.PATIENT, True, "Z/D")
                else:
                    assert found.code in (code, "private")
                    assert found.action in set().union(*(ALLOWED[letter] for letter in code.split("/"))), (sop_class, row["name"])


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_attribute_type_decides_a_compound_code(edition: str) -> None:
    """At all places that are told apart: what is required keeps a value, what may be empty stays, what is optional goes."""
    policy = compile_policy(Options(profile="basic", edition=edition))
    seen = set()
    codes = {int(row["tag"], 16): row[f"basic_{edition}"] for row in TABLE if row["tag"].isalnum() and not set("xg") & set(row["tag"])}
    for number in range(len(attribute_types._lines()) - 3):
        context = policy.context_at(attribute_types.Place(number, True), None)
        for one, kind in attribute_types._node(number)[0].items():
            code = codes.get(one, "")
            if one == profile.PATIENT_ID or code in ("", "X", "D", "U"):
                continue
            found = context.rule(one, dictionary_vr(one) or "UN").action
            seen.add((code, kind))
            if kind == 1:
                assert found in (Action.DUMMY, Action.DESCEND_DUMMY, Action.DESCEND), keyword_of(one)
            elif "U*" in code and kind == 2:
                assert found is Action.DESCEND
            elif "Z" in code and (kind == 2 or "X" not in code):
                assert found is Action.EMPTY, keyword_of(one)
            elif kind == 2:
                assert found in (Action.DUMMY, Action.DESCEND_DUMMY), keyword_of(one)
            else:
                assert found is Action.REMOVE, keyword_of(one)
    assert {("X/Z/D", 1), ("X/Z/D", 2), ("X/Z/D", 3), ("Z", 1), ("Z", 2), ("X/Z", 3), ("X/D", 1), ("X/D", 3), ("Z/D", 1)} <= seen


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("edition", EDITIONS)
def test_an_option_does_what_its_column_says_and_nothing_else(option: str, edition: str) -> None:
    basic = compile_policy(Options(profile="basic", edition=edition)).context(CT)
    with_option = compile_policy(replace(Options(profile="basic", edition=edition), **{option: True})).context(CT)  # type: ignore[arg-type]
    for row in TABLE:
        one = example(row["tag"])
        vr = dictionary_vr(one) or "UN"
        before, after = basic.rule(one, vr), with_option.rule(one, vr)
        if not row[f"basic_{edition}"]:
            continue  # unlisted in this edition
        if not row[option] or row["tag"] in ("ggggeeee", "50xxxxxx", "60xx3000", "60xx4000"):
            assert before == after, row["name"]
        elif after != before:
            assert after.action in ALLOWED[row[option]], row["name"]
            assert after.code == row[option]
        else:
            assert vr == "OB" and row[option] == "C", row["name"]  # bulk data that nobody can clean


def test_dates_are_shifted_and_times_kept_or_both_kept_or_both_gone() -> None:
    shifted = compile_policy(Options())
    kept = compile_policy(Options(retain_dates=True))
    basic = compile_policy(Options(profile="basic"))
    for name, *path in [["StudyDate"], ["AcquisitionDateTime"], ["ScheduledProcedureStepStartDate", "RequestAttributesSequence"]]:
        assert action(shifted, name, *path) is Action.SHIFT
        assert action(kept, name, *path) is Action.KEEP
        assert action(basic, name, *path) in (Action.REMOVE, Action.EMPTY)
    for name in ("StudyTime", "TimezoneOffsetFromUTC"):
        assert (action(shifted, name), action(kept, name)) == (Action.KEEP, Action.KEEP)
    assert action(shifted, "PatientBirthDate") is action(kept, "PatientBirthDate") is Action.EMPTY
    assert action(shifted, "FrameOriginTimestamp") is Action.DUMMY  # 8 bytes that no shift understands
    assert [policy.temporal_modified() for policy in (shifted, kept, basic)] == ["MODIFIED", "UNMODIFIED", "REMOVED"]


def test_a_date_that_is_written_with_another_vr_is_no_time_and_no_text() -> None:
    policy = compile_policy(Options())
    assert action(policy, "StudyDate", vr="TM") is action(policy, "StudyDate", vr="SH") is Action.EMPTY
    assert action(policy, "SecondaryReviewDate", vr="TM") is action(policy, "SecondaryReviewDate", vr="LO") is Action.REMOVE
    assert action(policy, "EvaluatorName", vr="LO") is Action.REMOVE


def test_a_date_of_a_device_is_moved_with_the_others() -> None:
    """Else the difference to the device's own log would tell by how much all dates are shifted."""
    assert action(compile_policy(Options(retain_device=True)), "DateOfLastCalibration") is Action.SHIFT
    assert action(compile_policy(Options(profile="basic", retain_device=True)), "DateOfLastCalibration") is Action.KEEP


def test_both_options_for_dates_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="contradicts --modified-dates"):
        compile_policy(Options(retain_dates=True, modified_dates=True))


@pytest.mark.parametrize("wrong", [{"profile": "padi"}, {"edition": "2019a"}])
def test_unknown_profiles_and_editions_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong.values()))):
        compile_policy(Options(**wrong))  # type: ignore[arg-type]


def test_the_hospital_profile_links_objects_to_orders_and_keeps_what_the_search_needs() -> None:
    policy = compile_policy(Options())
    basic = compile_policy(Options(profile="basic"))
    assert action(policy, "PatientID") is action(basic, "PatientID") is Action.PATIENT
    assert action(policy, "AccessionNumber") is action(policy, "StudyID") is Action.TOKEN
    assert action(policy, "AccessionNumber", "ReferencedRequestSequence", sop_class=SR) is Action.TOKEN
    assert action(policy, "AccessionNumber", "ReferencedStudySequence", "ReferencedSeriesSequence") is Action.TOKEN
    assert action(basic, "AccessionNumber") is action(basic, "StudyID") is Action.EMPTY
    assert action(basic, "AccessionNumber", "ReferencedRequestSequence", sop_class=SR) is Action.EMPTY
    assert action(policy, "PatientAge") is action(policy, "PatientSex") is Action.KEEP
    assert action(policy, "Allergies") is Action.SCRUB
    assert action(policy, "PatientName") is Action.EMPTY


def test_types_are_those_of_the_object_at_its_depth() -> None:
    policy = compile_policy(Options(profile="basic"))
    assert action(policy, "ContentDate", sop_class=CT) is Action.EMPTY  # 2C
    assert action(policy, "ContentDate", sop_class=ENHANCED_MR) is Action.DUMMY  # 1
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        assert action(policy, "ReferencedImageSequence", groups, sop_class=ENHANCED_MR) is Action.DESCEND  # 2
    assert action(policy, "OperatorsName", sop_class=CT) is Action.REMOVE  # 3
    assert action(policy, "InstitutionName", "ContributingEquipmentSequence") is Action.REMOVE
    # In the structured report's tree a node's items are again nodes, to any depth.
    deep = ["ContentSequence"] * 9
    assert action(policy, "ReferencedSOPInstanceUID", *deep, "ReferencedSOPSequence", sop_class=SR) is Action.UID
    content = policy.context(SR).child(tag("ContentSequence"))
    assert content.child(tag("ContentSequence")) is content


def test_an_unknown_kind_of_object_has_the_strictest_types() -> None:
    policy = compile_policy(Options(profile="basic"))
    assert action(policy, "ContentDate", sop_class="1.2.3") is Action.DUMMY
    assert action(policy, "DeviceSerialNumber", sop_class="") is Action.DUMMY  # required in enhanced objects
    assert action(policy, "DeviceSerialNumber", sop_class=CT) is Action.REMOVE


def test_sequences_are_walked_and_dummies_fill_the_required_ones() -> None:
    policy = compile_policy(Options(profile="basic"))
    assert action(policy, "ContentSequence", sop_class=SR) is Action.DESCEND_DUMMY
    assert action(compile_policy(Options(clean_structured=True)), "ContentSequence", sop_class=SR) is Action.DESCEND
    assert action(policy, "GraphicAnnotationSequence") is Action.DESCEND_DUMMY
    assert action(compile_policy(Options(clean_graphics=True)), "GraphicAnnotationSequence") is Action.DESCEND
    assert action(policy, "ProcedureCodeSequence") is Action.DESCEND
    assert action(policy, "RequestAttributesSequence") is Action.REMOVE
    assert action(policy, "ReferencedImageSequence") is Action.REMOVE
    assert action(compile_policy(Options(retain_uids=True)), "ReferencedImageSequence") is Action.DESCEND


@pytest.mark.parametrize("clean_graphics", [False, True])
def test_overlays_and_curves_go_with_all_that_describes_them(clean_graphics: bool) -> None:
    context = compile_policy(Options(clean_graphics=clean_graphics)).context(CT)
    for one in (0x60003000, 0x60004000, 0x60000010, 0x601E3000, 0x50000005, 0x50003000):
        assert context.rule(one, dictionary_vr(one) or "UN").action is Action.REMOVE
    assert compile_policy(Options(keep=frozenset([0x60003000]))).context(CT).rule(0x60003000, "OW").action is Action.KEEP


def test_uids_of_kinds_are_kept_and_those_of_things_mapped_listed_or_not() -> None:
    policy = compile_policy(Options())
    for name in ("SOPClassUID", "ReferencedSOPClassUID", "CodingSchemeUID", "ContextUID", "RelatedGeneralSOPClassUID"):
        assert action(policy, name) is Action.KEEP
    for name in ("SOPInstanceUID", "FrameOfReferenceUID", "SOPInstanceUIDOfConcatenationSource", "VolumeFrameOfReferenceUID"):
        assert action(policy, name) is Action.UID
        assert action(compile_policy(Options(retain_uids=True)), name) is Action.KEEP


def test_what_no_table_lists() -> None:
    policy = compile_policy(Options(profile="basic"))
    assert action(policy, "ImageType") is action(policy, "Rows") is action(policy, "PixelData") is Action.KEEP
    assert action(policy, "ManufacturerModelName") is action(policy, "CodeMeaning", "ProcedureCodeSequence") is Action.SCRUB
    assert action(policy, "EvaluatorName") is action(policy, "SecondaryReviewDate") is Action.REMOVE
    assert action(compile_policy(Options()), "SecondaryReviewDate") is Action.SHIFT
    assert action(policy, "PatientBirthDateInAlternativeCalendar") is action(policy, "RetrieveURL") is Action.REMOVE
    assert action(policy, "LocalNamespaceEntityID", "IssuerOfAccessionNumberSequence") is Action.DUMMY  # 1C
    context = policy.context(CT)
    assert context.rule(0x00100099, "LO").action is context.rule(0x00290010, "LO", "X").action is Action.REMOVE
    assert context.rule(0x00080000, "UL").action is context.rule(0x00291010, "LO", "X").action is Action.REMOVE
    assert context.rule(0x00081090, "UN").action is Action.SCRUB  # what the dictionary says it is


def test_what_identifies_is_searched_for_unless_it_is_kept_openly() -> None:
    context = compile_policy(Options()).context(CT)
    names = "PatientName PatientID OtherPatientIDs AccessionNumber InstitutionName StudyDate PatientBirthDate PersonAddress EvaluatorName"
    for name in names.split():
        assert context.rule(tag(name), dictionary_vr(tag(name)) or "").identifying, name
    assert not context.rule(tag("StudyDescription"), "LO").identifying
    assert not compile_policy(Options(retain_institution=True)).context(CT).rule(tag("InstitutionName"), "LO").identifying
    assert not compile_policy(Options(retain_dates=True)).context(CT).rule(tag("StudyDate"), "DA").identifying
    assert all(tag_of(word) for word in IDENTIFYING.split())


def test_private_attributes_known_to_be_safe() -> None:
    policy = compile_policy(Options(safe_private=True))
    assert not policy.removes_all_private and compile_policy(Options()).removes_all_private
    context = policy.context(MR)
    siemens = "SIEMENS MR HEADER"
    assert context.rule(0x0019100C, "IS", siemens) == Rule(Action.KEEP, code="private")  # b value
    assert context.rule(0x0019330C, "IS", siemens).action is Action.KEEP  # in another block
    assert context.rule(0x0019100C, "IS", "ACME").action is context.rule(0x0019100C, "IS").action is Action.REMOVE
    assert context.rule(0x00190010, "LO", siemens).action is Action.KEEP
    assert context.rule(0x00190010, "LO", "Max Mustermann").action is context.rule(0x00190010, "LO").action is Action.REMOVE
    assert context.rule(0x00291010, "OB", "SIEMENS CSA HEADER").action is Action.REMOVE
    assert context.rule(0x00091027, "SL", "GEMS_IDEN_01").action is Action.REMOVE  # a date in seconds
    for options, found in (
        (Options(safe_private=True), Action.SHIFT),
        (Options(safe_private=True, retain_dates=True), Action.KEEP),
        (Options(safe_private=True, profile="basic"), Action.REMOVE),
    ):
        assert compile_policy(options).context(MR).rule(0x00091005, "DT", "GEMS_PETD_01").action is found


def test_private_attributes_within_sequences_have_dispositions_of_their_own() -> None:
    context = compile_policy(Options(safe_private=True)).context(MR)
    philips = "Philips Imaging DD 001"
    assert context.child(tag("ReferencedStudySequence")).rule(0x200110C1, "LO", philips).action is Action.SCRUB
    assert context.child(tag("ReferencedSeriesSequence")).rule(0x200110C1, "LO", philips).action is Action.REMOVE
    group = context.child(0x2005100F, "Philips MR Imaging DD 005")
    assert context.rule(0x2005100F, "SQ", "Philips MR Imaging DD 005").action in (Action.DESCEND, Action.REMOVE)
    assert group.rule(tag("PatientName"), "PN").action in (Action.EMPTY, Action.REMOVE, Action.DUMMY)


def test_method_texts_and_codes_say_what_was_done() -> None:
    policy = compile_policy(Options(retain_device=True, edition="2024e"))
    text = policy.method_text()
    assert any("2024e" in value and "profile hospital" in value for value in text)
    assert "Retain Device Identity Option" in text
    assert all(len(value) <= 64 and "\\" not in value for value in text)
    assert [code for code, _ in policy.method_codes(True)] == ["113100", "113101", "113107", "113108", "113109"]
    assert [code for code, _ in compile_policy(Options(profile="basic")).method_codes(False)] == ["113100"]


def test_codes_are_those_of_cid_7050() -> None:
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr.codedict import codes

    known = {(code.value, code.meaning) for code in (getattr(codes.DCM, name) for name in cid_concepts[7050]["DCM"])}
    ours = {profile.BASIC, profile.CLEAN_PIXELS, *OPTIONS.values()}
    assert ours <= known and known - ours == {("113102", "Clean Recognizable Visual Features Option")}


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_a_recipe_comes_before_keep_before_options_before_the_profile(tmp_path: Path) -> None:
    instructions = recipe(tmp_path, 'remove = ["PatientSex"]\nkeep = ["StudyDescription"]\nempty = ["StationName"]')
    kept = frozenset([tag("StationName"), tag("SeriesDescription")])
    policy = compile_policy(Options(recipe=instructions, keep=kept, retain_device=True))
    assert action(policy, "PatientSex") is Action.REMOVE
    assert action(policy, "StudyDescription") is action(policy, "SeriesDescription") is Action.KEEP
    assert action(policy, "StationName") is Action.EMPTY
    assert policy.context(CT).rule(tag("StationName"), "SH").code == "recipe"
    assert policy.context(CT).rule(tag("SeriesDescription"), "LO").code == "kept"


@pytest.mark.parametrize(
    ("text", "weaker"),
    [
        ('keep = ["PatientName"]', ["PatientName"]),
        ('keep = ["StudyDate"]', ["StudyDate"]),
        ('shift = ["StudyDate"]', []),
        ('shift = ["PatientBirthDate"]', ["PatientBirthDate"]),
        ('keep = ["Modality", "(0018,0050)", "ManufacturerModelName"]', []),
        ('keep = ["(0008,10xx)"]', ["(0008,10xx)"]),
        ('keep = ["(0019,SIEMENS MR HEADER,0c)"]', ["(0019,SIEMENS MR HEADER,0c)"]),
        ('keep = ["(60xx,3000)"]', ["(60xx,3000)"]),
        ('hash = ["PatientName", "DeviceSerialNumber"]', []),
        ('hash = ["StationAETitle"]', ["StationAETitle"]),
        ('remove = ["(0008,xxxx)"]\nempty = ["StudyID"]\n[replace]\nInstitutionName = "a hospital"', []),
    ],
)
def test_a_weaker_profile_is_not_claimed_to_be_the_profile(text: str, weaker: list[str], tmp_path: Path) -> None:
    policy = compile_policy(Options(recipe=recipe(tmp_path, text)))
    assert policy.weakened() == weaker
    assert (profile.BASIC in policy.method_codes(False)) is (not weaker)
    assert any("Weaker" in value for value in policy.method_text()) is bool(weaker)
    assert any(value.startswith("Recipe SHA-256 ") for value in policy.method_text())
    assert all(len(value) <= 64 for value in policy.method_text())


def test_keeping_by_the_command_line_weakens_too() -> None:
    policy = compile_policy(Options(keep=frozenset([tag("PatientName"), tag("Modality"), 0x00191010])))
    assert policy.weakened() == ["PatientName", "(0019,1010)"]
    assert "Kept on demand (0010,0010) PatientName" in policy.method_text()
    context = policy.context(CT)
    assert context.rule(0x00191010, "LO", "ACME").action is context.rule(0x00190010, "LO", "ACME").action is Action.KEEP
    assert context.rule(0x00191110, "LO", "ACME").action is context.rule(0x00190011, "LO", "ACME").action is Action.REMOVE


LISTED = [int(row["tag"], 16) for row in TABLE if not set("xg") & set(row["tag"])]
TAGS = st.integers(0, 0xFFFFFFFF) | st.sampled_from(LISTED)
VRS = st.sampled_from([*profile.TEXT, *("AE", "AS", "AT", "CS", "DA", "DT", "FD", "IS", "OB", "PN", "SQ", "TM", "UI", "UN", "UR", "US")])
POLICIES = [
    compile_policy(Options(profile=name, edition=edition, safe_private=safe))
    for name in profile.PROFILES
    for edition in EDITIONS
    for safe in (False, True)
]


@given(st.sampled_from(POLICIES), st.sampled_from([*SOP_CLASSES, "", "junk"]), st.lists(TAGS, max_size=12), TAGS, VRS, st.text(max_size=8))
def test_any_attribute_anywhere_is_decided(policy: Policy, sop_class: str, path: list[int], one: int, vr: str, creator: str) -> None:
    context = policy.context(sop_class)
    for sequence in path:
        context = context.child(sequence)
    rule = context.rule(one, vr, creator)
    assert rule is context.rule(one, vr, creator)
    if one & 0x10000 or (dictionary_vr(one) is None and policy.row(one) is None) or not one & 0xFFFF:
        assert rule.action is Action.REMOVE
    if vr in ("PN", *profile.TEXT) and dictionary_vr(one) != "SQ":
        assert rule.action is not Action.KEEP or rule.code == "K" or one == 0x00080201


def test_places_do_not_pile_up() -> None:
    policy = compile_policy(Options(safe_private=True))
    context = policy.context(CT)
    for sequence in range(0x00080000, 0x00080000 + 5000):
        context = context.child(sequence).child(0x0040A730)
    assert len(policy._contexts) < 400
