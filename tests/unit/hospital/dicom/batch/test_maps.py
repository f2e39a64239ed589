"""Maps of identifiers: rows are added, none is lost or doubled."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import BadData
from toolkit.hospital.dicom.batch.maps import PairMap

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def rows(path: Path) -> list[tuple[str, ...]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return [tuple(row) for row in csv.reader(stream)]


def collect(path: Path, *pairs: tuple[str, str]) -> None:
    collected = PairMap(str(path))
    collected.check()
    collected.add(pairs)
    collected.merge()


def test_old_rows_stay_in_their_order_and_new_ones_follow(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text('id_old,id_new\nz,26\n"a,b",1\n')
    collect(path, ("m", "13"), ("z", "26"), ("m", "13"))
    assert path.read_text() == 'id_old,id_new\nz,26\n"a,b",1\nm,13\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.csv"]


def test_what_a_killed_run_collected_is_merged_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    killed = PairMap(str(path))
    killed.check()
    killed.add([("a", "1")])
    killed.close()
    assert not path.exists()
    assert (tmp_path / "map.csv.pending").stat().st_mode & 0o777 == 0o600
    collect(path, ("b", "2"))
    assert rows(path) == [("id_old", "id_new"), ("a", "1"), ("b", "2")]


@pytest.mark.parametrize("text", ["uid;new\n1;2\n", "id_old,id_new\n1,2,3\n"])
def test_another_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=r"map\.csv"):
        collect(path, ("a", "1"))
    assert path.read_text() == text


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("map") / "map.csv"
    collect(path, *pairs)
    collect(path, *pairs)
    assert rows(path)[1:] == list(dict.fromkeys(pairs))
