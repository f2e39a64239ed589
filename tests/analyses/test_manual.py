"""What mdc-analyse(1) shows works: every example, and the analysis that it adds."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.analyses.generate import generate

STORES = ("hdfs://nn:8020/visits", "/srv/visits")  # as the page names them


def blocks(root: Path, section: str) -> list[str]:
    """The literal text of a section of the page, as it is shown."""
    page = (root / "man" / "man1" / "mdc-analyse.1").read_text()
    (text,) = re.findall(rf"^\.Sh {section}\n(.*?)(?=^\.Sh )", page, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$|^\.Dl (.*)$", text, re.MULTILINE | re.DOTALL)
    return [(block or line).replace(r"\(aq", "'").replace(r"\e", "\\") for block, line in found]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store, and the same visits as documents in ``visits`` and ``export``."""
    place = tmp_path_factory.mktemp("analyses")
    generate(place / "store", visits=800, packs=1, first=2026, years=1, documents=place / "visits")
    (place / "export").symlink_to("visits")
    return place


def bash(line: str, place: Path, environment: dict[str, str]) -> str:
    """What a line of shell prints; it must succeed and complain of nothing."""
    environment = {**environment, "XDG_CACHE_HOME": str(place / "cache")}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, ""), line
    return result.stdout


def test_every_example_works(root: Path, place: Path, environment: dict[str, str]) -> None:
    analyses = set()
    for block in blocks(root, "EXAMPLES"):
        if "-r spark" in block or "jq" in block:
            continue  # the runners' tests start Spark
        for store in STORES:
            block = block.replace(store, "store")
        printed = bash(block, place, environment)
        for line in filter(None, block.replace("\\\n", "").splitlines()):
            (analysis,) = re.findall(r"mdc-analyse (\w+)", line)
            analyses.add(analysis)
            output = re.search(r"-o (\S+)", line)
            if output is None:
                assert printed.count("\n") > 1
                continue
            about = json.loads((place / f"{output[1]}.json").read_text())
            assert about["analysis"] == analysis
            assert about["counts"]["in_period"] > 300
            assert {*about, *about["input"], *about["counts"], *about["columns"][0]} <= named_fields(root)
            assert (place / f"{output[1]}.png").read_bytes().startswith(b"\x89PNG")
    assert analyses == {"ages", "sexes", "cases", "abnormal", "stay"}


def named_fields(root: Path) -> set[str]:
    """The words that the page's section on the outputs holds."""
    page = (root / "man" / "man1" / "mdc-analyse.1").read_text()
    return set(re.findall(r"\w+", page.partition(".Sh OUTPUT")[2].partition(".Sh SMALL COUNTS")[0]))


def test_the_analysis_that_the_page_adds_works(root: Path, place: Path, environment: dict[str, str], tmp_path: Path) -> None:
    (block,) = blocks(root, "ADDING AN ANALYSIS")
    shutil.copytree(root / "toolkit", tmp_path / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "toolkit" / "datacentre" / "analyses" / "questions" / "weekdays.py").write_text(block)
    start = f"{sys.executable} -c 'from toolkit.commands.mdc_analyse import mdc_analyse; mdc_analyse()'"
    environment = {**environment, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    period = "--from 2026-01-01 --to 2026-12-31"
    printed = bash(f"{start} weekdays {place}/store {period} --no-cache", tmp_path, environment)
    bash(f"{start} weekdays {place}/store {period} --no-cache -r local -o weekdays", tmp_path, environment)
    assert (tmp_path / "weekdays.csv").read_text() == printed
    table = list(csv.DictReader(printed.splitlines()))
    days = Counter(date.fromisoformat(day).isoweekday() for day in _starts(place))
    assert [int(row["visits"]) for row in table] == [*(days[number] for number in range(1, 8)), days.total()]
    assert "Day of the week" in (tmp_path / "weekdays.svg").read_text()


def _starts(place: Path) -> list[str]:
    """The days on which the visits of the store started, from the newest row of each."""
    from pyarrow import parquet

    newest: dict[str, tuple[str, str, str]] = {}
    for row in parquet.read_table(place / "store" / "rows" / "visits").to_pylist():
        version = (row["received"], row["message_id"], row["start"])
        newest[row["mdc_visit"]] = max(version, newest.get(row["mdc_visit"], version))
    return [f"{start[:4]}-{start[4:6]}-{start[6:8]}" for *_, start in newest.values() if len(start) >= 8]
