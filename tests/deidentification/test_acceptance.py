"""dicom-anon as a process over every file of the corpus: what leaves obeys the table, holds nothing that was planted, and stays valid."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.conftest import ROOT
from tests.deidentification import planter, table_checker, validity
from tests.deidentification.conftest import Batch, Inputs

Anonymise = Callable[..., Batch]

HOSPITAL = frozenset({"retain_patient", "modified_dates"})
# The corpus is full of secondary captures, which are held back for what may stand in their pixels: a rule lets them pass, to test the rest.
PASSING = "--pixel-rules=PASSING"
RETAINING = ("--retain-device", "--retain-institution", "--retain-dates", "--safe-private", PASSING)
CLEANING = ("--clean-descriptors", "--clean-structured", "--clean-graphics", "--clean-pixels")
# Options of the command, what they mean to the checker, and their CID 7050 codes.
VARIANTS: dict[str, tuple[tuple[str, ...], frozenset[str], set[str]]] = {
    "hospital": ((PASSING,), HOSPITAL, {"113100", "113107", "113108"}),
    "shipped pixel rules": ((), HOSPITAL, {"113100", "113107", "113108"}),
    "basic": (("--profile", "basic", PASSING), frozenset(), {"113100"}),
    "basic 2024e": (("--profile", "basic", "--edition", "2024e", PASSING), frozenset(), {"113100"}),
    "retaining": (
        RETAINING,
        frozenset({"retain_patient", "retain_device", "retain_institution", "retain_dates", "safe_private"}),
        {"113100", "113106", "113108", "113109", "113111", "113112"},
    ),
    "cleaning": (
        ("--profile", "basic", *CLEANING),
        frozenset({"clean_descriptors", "clean_structured", "clean_graphics"}),
        {"113100", "113103", "113104", "113105"},
    ),
    "same UIDs": (("--profile", "basic", "--retain-uids", PASSING), frozenset({"retain_uids"}), {"113100", "113110"}),
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def pairs(batch: Batch, inputs: Inputs) -> list[tuple[str, Dataset, Path]]:
    """(name, original, output) of what left and pydicom can read; read anew, because pydicom converts values when it is asked for them."""
    found = []
    for name, path in sorted(batch.outputs().items()):
        if name in inputs.planted or name in inputs.readable:
            folder = inputs.folder / ("planted" if name in inputs.planted else "plain")
            found.append((name, table_checker.read((folder / name).read_bytes()), path))
    return found


@every_variant
def test_every_input_leaves_or_is_held_with_a_reason(variant, anonymise: Anonymise, inputs: Inputs):
    batch = anonymise(*VARIANTS[variant][0])
    names = {path.name for path in inputs.plain} | set(inputs.planted)
    assert "Traceback" not in batch.stderr
    assert batch.status == 1  # README.txt and its like are no objects
    assert set(batch.reasons) | set(batch.outputs()) == names
    assert not set(batch.reasons) & set(batch.outputs())
    assert {name: record for name, record in batch.reasons.items() if record["reason"] == "internal-error"} == {}
    assert all(record["detail"] and record["remedy"] for record in batch.reasons.values())
    if PASSING in VARIANTS[variant][0]:
        assert len(batch.outputs()) > 0.9 * len(names)


@every_variant
def test_the_table_is_obeyed_at_every_depth(variant, anonymise: Anonymise, inputs: Inputs):
    options, judged, codes = VARIANTS[variant]
    uids = table_checker.UidMap()
    edition = "2024e" if "2024e" in options else "2026c"
    found, marks = [], []
    for name, original, path in pairs(anonymise(*options), inputs):
        output = table_checker.read(path.read_bytes())
        found += [(name, one) for one in table_checker.check(original, output, edition, judged, uids)]
        pixels = {"113101"} if output.get("BurnedInAnnotation") == "NO" and "--clean-pixels" in options else set()
        marks += [(name, fault) for fault in table_checker.marks_missing(output, codes | pixels)]
    assert found == [], table_checker.count([one for _, one in found])
    # (0028,0301) may have said NO before.
    assert [one for one in marks if "113101" not in one[1]] == []


@every_variant
def test_nothing_planted_is_left(variant, anonymise: Anonymise, inputs: Inputs):
    options, judged, _ = VARIANTS[variant]
    outputs = anonymise(*options).outputs()
    found = []
    for name, plants in inputs.planted.items():
        if name in outputs:
            left = planter.leaks(outputs[name].read_bytes(), plants, inputs.character_sets[name], judged)
            found += [(name, one.place, one.text) for one in left]
    assert found == []


_DIGITS = re.compile(rb"[\d.]{13,}")  # whatever may be a UID, and all of it


@pytest.mark.parametrize("variant", ["hospital", "basic", "cleaning", "retaining"])
def test_no_original_uid_is_left_in_the_bytes(variant, anonymise: Anonymise, inputs: Inputs):
    kept = []
    for name, original, path in pairs(anonymise(*VARIANTS[variant][0]), inputs):
        content = path.read_bytes()
        content += planter.inflated(content)
        uids = {uid for uid in uids_of(original) if len(uid) > 12 and not uid.startswith("1.2.840.10008.")}
        whole = set(_DIGITS.findall(content))  # all at once: there are hundreds of UIDs in megabytes
        kept += [(name, uid) for uid in uids if uid.encode() in whole or not _DIGITS.fullmatch(uid.encode()) and uid.encode() in content]
    assert kept == []


def uids_of(data: Dataset) -> set[str]:
    """The UIDs that the table has replaced, at every depth but in private sequences."""
    found: set[str] = set()
    for tag in tuple(data.keys()):
        try:
            element = data[tag]
        except Exception:
            continue
        if element.VR == "SQ" and not element.tag.is_private:
            for item in element.value:
                found |= uids_of(item)
        elif element.VR == "UI" and (row := table_checker.row_of(tag, "2026c")) and "U" in row.code:
            found |= {str(one) for one in ([element.value] if isinstance(element.value, str) else element.value or [])}
    return found


@pytest.mark.parametrize("variant", ["hospital", "basic", "basic 2024e"])
def test_outputs_stay_valid(variant, anonymise: Anonymise, inputs: Inputs, program):
    program("dciodvfy", "dicom3tools")
    broken = {}
    judged = 0
    outputs = anonymise(*VARIANTS[variant][0]).outputs()
    for path in inputs.plain:
        if path.name in outputs:
            judged += 1
            if new := validity.new_errors(path, outputs[path.name]):
                broken[path.name] = sorted(new)
    assert len(broken) <= 0.02 * judged, broken


@pytest.mark.parametrize("variant", ["hospital", "basic"])
def test_what_no_rule_asks_for_stays_as_it_is(variant, anonymise: Anonymise, inputs: Inputs):
    harmed = {}
    for name, original, path in pairs(anonymise(*VARIANTS[variant][0]), inputs):
        if found := table_checker.damage(original, table_checker.read(path.read_bytes())):
            harmed[name] = table_checker.count(found, lambda one: f"{one.path} {one.what}")
    assert harmed == {}


def test_a_second_machine_makes_the_same(anonymise: Anonymise, inputs: Inputs, tmp_path: Path):
    """Other process, other directory, two jobs, same key: the same bytes."""
    first, second = anonymise(PASSING), anonymise(PASSING, "--jobs", "2")
    assert set(first.outputs()) == set(second.outputs())
    assert [name for name, path in first.outputs().items() if path.read_bytes() != second.outputs()[name].read_bytes()] == []


def test_the_second_pass_agrees(anonymise: Anonymise):
    """--verify holds nothing back: neither pass finds what the other overlooked."""
    plain, verified = anonymise(PASSING), anonymise(PASSING, "--verify")
    held = {name: record["detail"] for name, record in verified.reasons.items() if name not in plain.reasons}
    assert held == {}


def test_intervals_of_dates_are_kept_for_each_patient(inputs: Inputs, hospital_key: Path, tmp_path: Path):
    from datetime import date

    from tests.deidentification import corpus

    source = tmp_path / "in"
    source.mkdir()
    days = [date(2001, 12, 31), date(2002, 1, 1), date(2004, 2, 29), date(2019, 7, 5)]
    for patient in range(3):
        for number, day in enumerate(days):
            data = table_checker.read((inputs.folder / "plain" / next(p.name for p in inputs.plain if "CT_small" in p.name)).read_bytes())
            data.PatientID, data.StudyDate = f"patient {patient}", f"{day:%Y%m%d}"
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{patient}.{number + 1}"
            (source / f"{patient}-{number}.dcm").write_bytes(corpus.as_file(data))
    command = [sys.executable, str(ROOT / "bin" / "dicom-anon"), str(source), "--key", str(hospital_key), "-o", str(tmp_path / "out")]
    subprocess.run([*command, "--no-vault", "--keep-names"], check=True, timeout=60)
    shifts = set()
    for patient in range(3):
        outputs = [next((tmp_path / "out").rglob(f"{patient}-{number}.dcm")) for number in range(4)]
        dates = [table_checker.read(path.read_bytes()).StudyDate for path in outputs]
        moved = {date(int(text[:4]), int(text[4:6]), int(text[6:])) - day for text, day in zip(dates, days, strict=True)}
        assert len(moved) == 1
        shifts |= moved
    assert len(shifts) == 3
    assert all(shift.days < 0 for shift in shifts)
