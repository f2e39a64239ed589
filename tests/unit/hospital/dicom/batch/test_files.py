"""Which files are taken, and in which order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from toolkit.core.errors import BadData
from toolkit.hospital.dicom.batch.files import Finder, OwnFiles


def found(*paths: Path, own: tuple[Path, ...] = ()) -> list[str]:
    return [item.relative for item in Finder(map(str, paths), OwnFiles(map(str, own)))]


def test_sorted_and_by_the_name_below_the_argument(tmp_path: Path) -> None:
    for name in ("b/2", "b/10", "a", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == ["a", "b/10", "b/2", "c/d/e"]
    assert found(tmp_path / "b" / "2", tmp_path / "c") == ["2", "d/e"]


def test_size_and_time_are_those_of_the_file_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    os.utime(tmp_path / "file", ns=(1, 7))
    (tmp_path / "link").symlink_to("file")
    assert [item[2:] for item in Finder([str(tmp_path / "link")], OwnFiles([]))] == [(5, 7)]


def test_own_files_are_none_through_any_path(tmp_path: Path) -> None:
    for name in ("in/image", "in/out/x", "in/vault.db", "in/vault.db-wal", "in/.report.0123456789ab", "in/report"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "elsewhere").symlink_to(tmp_path / "in" / "out")
    own = tuple(tmp_path / "in" / name for name in ("out", "vault.db", "report"))
    assert found(tmp_path / "in", own=own) == ["image"]
    assert found(*sorted((tmp_path / "in").glob("[!o]*")), own=own) == ["image"], "arguments of a shell's pattern"
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert found(tmp_path / "link", own=own) == ["image"]


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    try:
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        assert found(tmp_path) == ["d/" * 1200 + "file"]
    finally:  # pytest's own clean-up is recursive
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    finder = Finder([str(tmp_path)], OwnFiles([]))
    assert [item.relative for item in finder] == ["a/file"]
    assert finder.skipped == 1


def test_a_dicomdir_stands_for_the_files_that_it_lists() -> None:
    index = Path(str(get_testdata_file("DICOMDIR")))
    listed = found(index)
    assert len(listed) == 31
    assert listed == list(dict.fromkeys(listed))
    assert all((index.parent / name).is_file() for name in listed)
    finder = Finder([str(index.parent)], OwnFiles([]))
    assert set(listed) < {item.relative for item in finder}
    assert finder.directories >= 1


def test_a_dicomdir_of_lower_case_copies_and_missing_files(tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("DICOMDIR")))
    (tmp_path / "dicomdir").write_bytes(source.read_bytes())
    wanted = found(source)[0]
    (tmp_path / wanted.lower()).parent.mkdir(parents=True)
    (tmp_path / wanted.lower()).touch()
    items = list(Finder([str(tmp_path / "dicomdir")], OwnFiles([])))
    assert (items[0].relative, items[0].size) == (wanted.lower(), 0)
    assert {item.size for item in items[1:]} == {-1}


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("identifier", [["..", "PASSWD"], ["A", "", "B"], ["A/../../B"]])
def test_a_dicomdir_that_points_elsewhere_is_refused(tmp_path: Path, identifier: list[str]) -> None:
    index = pydicom.dcmread(get_testdata_file("DICOMDIR"))
    next(record for record in index.DirectoryRecordSequence if record.get("ReferencedFileID")).ReferencedFileID = identifier
    pydicom.dcmwrite(tmp_path / "DICOMDIR", index)
    with pytest.raises(BadData, match="outside its own directory"):
        found(tmp_path / "DICOMDIR")


def test_what_is_no_dicomdir_is_refused(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 200)
    with pytest.raises(BadData, match="is not a DICOMDIR"):
        found(tmp_path / "DICOMDIR")
