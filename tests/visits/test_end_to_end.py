"""From the hospital's directory to store and archive, by the commands themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.visits import generate
from tests.visits.setting import Setting, kill


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    made = Setting(tmp_path_factory.mktemp("setting"))
    gateway = made.start_gateway()
    try:
        yield made
    finally:
        kill(gateway)


@pytest.fixture(scope="module")
def visits(setting: Setting) -> list[generate.Generated]:
    """Thirty visits, sent: in both encodings, with and without prefix."""
    variants: list[dict[str, str]] = [{}, {"encoding": "ISO-8859-2"}, {"prefix": "cda"}]
    made = []
    for number, options in enumerate(variants):
        folder = setting.home / "visits" / str(number)
        made += generate.write(folder, 10, seed=number + 1, **options)
    setting.run("hl7-send", setting.home / "visits", *setting.sending)
    return made


def test_all_are_acknowledged_and_in_the_index(setting: Setting, visits: list[generate.Generated]) -> None:
    places = setting.places()
    assert places.problems() == []
    assert (len(places.acknowledged), len(places.index), places.queued) == (len(visits), len(visits), {})


def test_sending_again_changes_nothing(setting: Setting, visits: list[generate.Generated]) -> None:
    before = setting.places()
    assert setting.run("hl7-send", setting.home / "visits", *setting.sending) == ""
    assert setting.places() == before


def test_nothing_personal_reaches_the_data_centre(setting: Setting, visits: list[generate.Generated]) -> None:
    words = [word for one in visits for word in one.personal]
    assert setting.leaks(words) == []
    assert setting.leaks([visits[0].diagnoses[0]]) != [], "what is kept is found, so the search works"


def test_a_visit_is_found_both_ways(setting: Setting, visits: list[generate.Generated]) -> None:
    one = visits[0]
    found = setting.run("his-mdc", "lookup", one.visit_id, "--links", setting.links, "--key", setting.key)
    pseudonym = re.search(r"k1\.[A-Z2-7]+", found)
    assert pseudonym is not None
    assert one.visit_id in setting.run("his-mdc", "lookup", pseudonym[0], "--links", setting.links, "--key", setting.key)


def test_packing_moves_everything_to_store_and_archive(setting: Setting, visits: list[generate.Generated]) -> None:
    setting.pack()
    places = setting.places()
    assert places.problems() == []
    assert places.store == places.archive == places.index == places.acknowledged
    assert all(place.startswith("pack:") for place in places.index_places.values())
    assert setting.leaks([word for one in visits for word in one.personal]) == []
    setting.run("mdc-store", "verify", *setting.kept)
    setting.run("his-mdc", "check", "--links", setting.links, "--key", setting.key)


def test_the_index_is_rebuilt_from_the_store(setting: Setting, visits: list[generate.Generated]) -> None:
    setting.pack()
    before = setting.places()
    rebuilt = setting.home / "rebuilt.db"
    kept = ["--spool", setting.spool, "--store", setting.store, "--archive", setting.archive, "--index", rebuilt]
    setting.run("mdc-store", "reindex", *kept)
    setting.index, old = rebuilt, setting.index
    try:
        after = setting.places()
    finally:
        setting.index = old
    assert (after.index, after.index_places) == (before.index, before.index_places)


def test_the_demonstration(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples/hospital/demo.py", tmp_path / "demo", "--count", "40", "--size", "20000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Each of 40 visits is in the data centre exactly once" in done.stdout
