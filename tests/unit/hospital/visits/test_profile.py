"""The shipped profile and its manual say the same."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.unit.hospital.visits.documents import document, rebuilt
from toolkit.core.errors import BadData, NoInput
from toolkit.hospital.visits.profile import DATA_TYPES, SHIPPED, read_profile

MANUAL = Path(__file__).parents[4] / "man" / "man5" / "visit-profile.5"


def examples() -> list[str]:
    return re.findall(r"\.Bd -literal -offset indent\n(.*?)\.Ed", MANUAL.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_the_manual_s_examples_are_profiles(number: int, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(examples()[number], "utf-8")
    profile = read_profile(str(path))
    assert (profile.without_encounter, profile.birth) == (("document", "none"), ("refuse", "year"))[number]
    assert ("substanceAdministration" in profile.elements["entry"]) == (number == 0)


def test_the_manual_names_every_table_and_setting() -> None:
    manual = MANUAL.read_text("utf-8")
    for table, settings in tomllib.loads(SHIPPED.read_text("utf-8")).items():
        if table != "version":
            assert f".Ss [{table}]" in manual
            assert table == "elements" or all(f".It Li {name}\n" in manual for name in settings)
    assert all(f".Li {name}" in manual for name in DATA_TYPES)


def test_the_manual_is_clean() -> None:
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(MANUAL)], capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout) == (0, "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "does not say version = 1"),
        ("version = 2", "does not say version = 1"),
        ("version = ", "is not TOML"),
        ("version = 1\n[x]", r"unknown table \[x\]"),
        ("version = 1\nvisit = 1", r"unknown table \[visit\]"),
        ("version = 1\n[patient]\nbrith = 1", r"unknown setting \[patient\] brith"),
        ('version = 1\n[visit]\nwithout_encounter = "send"', "is not one of refuse, document"),
        ('version = 1\n[patient]\ncity = "yes"', "is not true or false"),
        ('version = 1\n[codes]\nsystems = "2.16.840.1"', "is not a list"),
        ('version = 1\n[codes]\nsystems = ["LOINC"]', "is not an OID"),
        ("version = 1\n[results]\nwords = [1]", "is not text"),
        ('version = 1\n[elements]\npatient = ["name"]', "cannot be kept"),
        ('version = 1\n[elements]\nobservation = ["text"]', "cannot be kept"),
        ('version = 1\n[elements]\nvalue = ["code"]', "cannot be kept"),
    ],
)
def test_a_wrong_profile_is_told_in_one_line(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(content)
    with pytest.raises(BadData, match=problem) as error:
        read_profile(str(path))
    assert str(error.value).startswith(f"{path}: ")


def test_a_missing_profile(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="none.toml"):
        read_profile(str(tmp_path / "none.toml"))


def test_elements_that_a_site_leaves_out_stay_even_when_printed(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('version = 1\n[elements]\nobservation = ["code", "statusCode"]\n')
    text = rebuilt(document(), read_profile(str(path))).document.decode()
    assert "7.8" not in text and "referenceRange" not in text and 'code="C53"' in text


def test_display_names_are_kept_on_request_but_for_people(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('version = 1\n[codes]\ndisplay_names = ["2.16.840.1.113883.*"]\n')
    content = document().replace(b'code="C53"', b'code="C53" displayName="Morfologia &lt;krwi&gt; &amp; &quot;OB&quot;"')
    text = rebuilt(content, read_profile(str(path))).document.decode()
    assert 'displayName="Morfologia &lt;krwi&gt; &amp; &quot;OB&quot;"' in text and "Grzegorz" not in text
