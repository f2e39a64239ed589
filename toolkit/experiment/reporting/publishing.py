"""How a report becomes a directory: beside its place, and then there at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit.core.errors import CannotCreate, InputOutput
from toolkit.core.streams import synchronise
from toolkit.experiment.reporting.figures import all_figures
from toolkit.experiment.reporting.page import page
from toolkit.experiment.reporting.report import Report, as_csv, as_json

PAGE, FIGURES, TABLES = "index.html", "figures", "tables"
WHOLE = "report.json"  # of all tables; says that the directory is a report
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def files_of(report: Report) -> dict[str, bytes]:
    """All files of a report by their names in its directory."""
    figures = all_figures(report)
    files = {PAGE: page(report, figures), f"{TABLES}/{WHOLE}": as_json(report)}
    for name, rows in report.tables.items():
        if rows:
            files[f"{TABLES}/{name}.csv"] = as_csv(rows)
    for one in figures:
        files[f"{FIGURES}/{one.name}.svg"] = one.svg
        files[f"{FIGURES}/{one.name}.png"] = one.png
    return files


def check_place(directory: str) -> None:
    """Raises CannotCreate where `directory` holds anything else than nothing or an earlier report, so that work need not begin."""
    path = Path(directory)
    if os.path.lexists(path) and not path.is_dir():
        raise CannotCreate(directory, "is a file", "name a directory, which need not exist")
    if not path.resolve().parent.is_dir():
        raise CannotCreate(directory, "the directory above it does not exist", "make it first")
    if path.is_dir() and any(path.iterdir()) and not _is_report(path):
        raise CannotCreate(directory, "holds other things than a report", "name a new directory")


def write_report(directory: str, files: Mapping[str, bytes]) -> None:
    """Put the files into `directory`; what is seen under its name is always one whole report, the earlier or this one.

    Raises CannotCreate as `check_place`, and InputOutput when the disk is full or breaks.
    """
    check_place(directory)
    target = Path(directory).resolve()
    with _beside(directory, target) as temporary:
        try:
            for name, content in files.items():
                place = temporary / name
                place.parent.mkdir(exist_ok=True)
                with open(place, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            for place in (temporary / FIGURES, temporary / TABLES, temporary):
                synchronise(str(place))
            if target.exists():
                _exchange(temporary, target)  # what is now at `temporary` is the earlier report
            else:
                os.rename(temporary, target)
            synchronise(str(target.parent))
        except OSError as error:
            raise InputOutput(directory, error.strerror or str(error), "the earlier state was left as it was") from error


@contextlib.contextmanager
def _beside(directory: str, target: Path) -> Iterator[Path]:
    """A new directory in that of `target`; what is in it at the end is removed."""
    temporary = target.parent / f".{target.name[:40]}.{os.urandom(6).hex()}"
    try:
        temporary.mkdir()
    except OSError as error:
        raise CannotCreate(directory, error.strerror or str(error), "choose a directory that can be written") from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_report(path: Path) -> bool:
    """Whether everything in a directory is what `write_report` puts there."""
    names = {PAGE, FIGURES, TABLES}
    try:
        if not {one.name for one in path.iterdir()} <= names:
            return False
        whole = json.loads((path / TABLES / WHOLE).read_bytes())
        inside = {one.name for place in (FIGURES, TABLES) for one in (path / place).iterdir()}
    except (OSError, ValueError):
        return False
    ours = all(name.endswith((".csv", ".json", ".svg", ".png")) for name in inside)
    return ours and isinstance(whole, dict) and whole.get("report") == "profile-report"


def _exchange(one: Path, other: Path) -> None:
    """Let two directories change places at once; on file systems that cannot do that, one after the other."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None and renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if renameat2 is not None and number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(number, os.strerror(number), str(other))
    aside = one.with_name(one.name + ".old")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)
