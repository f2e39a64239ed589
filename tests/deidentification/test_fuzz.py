"""A few thousand spoilt files in every run of the tests, and those that once found a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from tests.deidentification import fuzz, mutation
from tests.deidentification.fuzz import POLICIES, Fuzzer

SEEDS = sorted((Path(__file__).parent / "seeds").glob("*.dcm"))


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(tmp_path_factory.mktemp("fuzz"))


def test_spoilt_files_are_held_or_leave_clean_and_restorable(fuzzer: Fuzzer):
    contents = fuzz.bases()
    fates, faults = set(), []
    for seed in range(3000):
        spoilt = mutation.mutated(contents[seed % len(contents)], contents, seed)
        fate, fault = fuzzer.trial(spoilt, seed % len(POLICIES), seed % 10 == 0)
        fates.add(fate)
        faults += [(seed, fault)] if fault else []
    assert faults == []
    assert fates >= {"out", "truncated", "not-dicom", "broken-nesting", "broken-element"}


@pytest.mark.parametrize("policy", range(len(POLICIES)))
@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_once_found_a_fault_finds_none(path: Path, policy: int, fuzzer: Fuzzer):
    assert fuzzer.trial(path.read_bytes(), policy, True)[1] == ""


@settings(max_examples=60)
@given(cut=st.integers(0, 40_000), policy=st.integers(0, len(POLICIES) - 1))
def test_a_file_cut_anywhere_is_held_or_clean(fuzzer: Fuzzer, cut: int, policy: int):
    content = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    assert fuzzer.trial(content[:cut], policy, True)[1] == ""
