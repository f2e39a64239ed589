"""The hospital has a new key: what is kept under old pseudonyms is found under the new ones."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.datacentre.house import ROOT, House, received, tables
from toolkit.core.errors import BadData
from toolkit.core.storage import digest_of
from toolkit.datacentre.aliases import Alias, read_list, remap
from toolkit.datacentre.index import open_index
from toolkit.datacentre.reindex import reindex
from toolkit.datacentre.verify_store import Verified, verify

FIRST = [Alias("visit", "k1.V1", "k2.V1"), Alias("patient", "k1.P0", "k2.P0"), Alias("accession", "ACC1", "A 2")]
SECOND = [Alias("visit", "k2.V1", "k3.V1"), Alias("patient", "k2.P0", "k3.P0"), Alias("accession", "A 2", "A3")]


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = str(tmp_path / "index.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")
    with open_index(url) as index:
        house = House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))
        house.receive(range(1, 4))
        house.pack()
        yield house


def again(house: House) -> None:
    """The same visit and patient under their newest pseudonyms, corrected."""
    old = received(1, version=1)
    body = old.body.replace(b"k1.V1", b"k3.V1").replace(b"k1.P0", b"k3.P0")
    house.take([type(old)("later", "k3.V1", old.client, old.received, body)])


def test_found_under_every_name(house: House) -> None:
    remap(house.index, house.stores, FIRST)
    remap(house.index, house.stores, SECOND)
    (kept,) = house.index.find("k1.V1")
    assert kept.mdc_visit == "k1.V1" and house.body(kept) == received(1).body
    assert house.index.find("k2.V1") == house.index.find("k3.V1") == [kept]
    assert house.index.search(patient="k1.P0") == house.index.search(patient="k3.P0") == ["k1.V2", "k3.V1"]
    assert house.index.search(accession="ACC1") == house.index.search(accession="A3") == ["k3.V1"]
    assert house.index.find("k1.V2")[0].mdc_visit == "k1.V2"


def test_a_visit_that_comes_again_under_its_new_name_is_one(house: House) -> None:
    remap(house.index, house.stores, FIRST + SECOND)
    again(house)
    house.pack()
    assert [one.message_id for one in house.index.find("k1.V1")] == ["m1", "later"]
    assert house.index.search() == ["k1.V2", "k1.V3", "k3.V1"]
    assert house.index.counts().patients == 2


def test_the_list_may_come_after_the_visit(house: House) -> None:
    again(house)
    house.pack()
    assert house.index.search() == ["k1.V1", "k1.V2", "k1.V3", "k3.V1"]
    remap(house.index, house.stores, FIRST + SECOND)
    assert house.index.search() == ["k1.V2", "k1.V3", "k3.V1"]
    assert house.index.counts().patients == 2


@pytest.mark.parametrize("order", list(itertools.permutations([FIRST, SECOND, FIRST + SECOND, "again"])))
def test_any_order_makes_the_same_rows(order: tuple[list[Alias] | str, ...], tmp_path: Path) -> None:
    """Whichever is entered first, repeated or not; and an index made anew is equal, list by list."""
    url = str(tmp_path / "index.db")
    with open_index(url) as index:
        house = House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))
        house.receive(range(1, 4))
        for step in order:
            if isinstance(step, str):
                again(house)
                house.pack()
            else:
                remap(index, house.stores, step)
        assert index.search() == ["k1.V2", "k1.V3", "k3.V1"]
        assert [one.message_id for one in index.find("k2.V1")] == ["m1", "later"]
        found = verify(index, house.stores)
        assert found == Verified(found.objects, 0, 0, 0)
    anew = house.elsewhere(str(tmp_path / "new.db"))
    reindex(anew)
    assert tables(anew.index) == tables(url)


@pytest.mark.parametrize("false", [Alias("visit", "k1.V1", "k9.V9"), Alias("visit", "k3.V1", "k1.V1")])
def test_a_list_that_contradicts_an_earlier_one_is_refused(house: House, false: Alias) -> None:
    remap(house.index, house.stores, FIRST + SECOND)
    before = tables(house.url), [entry.name for entry in house.stores[0].list()]
    with pytest.raises(BadData, match="replaced by two others, or by itself"):
        remap(house.index, house.stores, [Alias("visit", "k1.V3", "k2.V3"), false])
    assert (tables(house.url), [entry.name for entry in house.stores[0].list()]) == before


def test_a_damaged_list_is_restored(house: House) -> None:
    remap(house.index, house.stores, FIRST)
    (path,) = (house.directory / "store/aliases").iterdir()
    path.write_bytes(b"kind,old,new\nvisit,a,b\n")
    found = verify(house.index, house.stores)
    assert (found.damaged, found.restored, found.unsolved) == (1, 1, 0)
    assert path.stem == digest_of(path.read_bytes()).removeprefix("sha256:")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("kind,old,new\n", "does not begin with"),
        ("number\tkind\told\tnew\n1\tvisit\ta\n", "line 2"),
        ("number\tkind\told\tnew\n1\tvisit\ta\tb\n2\tdoctor\tc\td\n", "line 3"),
        ("number\tkind\told\tnew\n1\tvisit\ta\ta\n", "line 2"),
        ("number\tkind\told\tnew\n1\tvisit\ta\t\x07\n", "line 2"),
    ],
)
def test_false_lists(text: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        read_list(text.encode(), "renamed.tsv")


def test_from_the_hospitals_command_to_this_one(tmp_path: Path) -> None:
    """hospital-key and his-mdc write the list, mdc-store takes it, twice."""

    def run(name: str, *words: str, text: str = "") -> str:
        command = [sys.executable, str(ROOT / "bin" / name), *words]
        done = subprocess.run(command, cwd=tmp_path, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    url = str(tmp_path / "index.db")
    with open_index(url) as index:
        house = House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))
        house.receive([1])
        house.pack()
        old_mask = os.umask(0o077)
        try:
            run("hospital-key", "new", "hospital.key")
            run("his-mdc", "import", "-", "--key", "hospital.key", text="kind,root,id,mdc\nvisit,1.2,4711,k1.V1\npatient,1.3,1,k1.P0\n")
            listed = run("his-mdc", "rotate", "--key", "hospital.key")
        finally:
            os.umask(old_mask)
        new = {line.split("\t")[2]: line.split("\t")[3] for line in listed.splitlines()[1:]}
        for _ in range(2):
            run("mdc-store", "remap", "-", "--index", url, "--store", house.urls[0], "--archive", house.urls[1], text=listed)
        assert [one.message_id for one in index.find(new["k1.V1"])] == ["m1"]
        assert index.search(patient=new["k1.P0"]) == [new["k1.V1"]]
