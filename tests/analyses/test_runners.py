"""The five analyses on inline, local, Hadoop's command lines and a real Spark, of a store on a real HDFS: the same to the last digit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.analyses.generate import generate
from tests.peers import hadoop, hdfs, spark
from toolkit.core.errors import BadData, ToolError, Unavailable
from toolkit.core.mapreduce.running import Runner
from toolkit.core.storage import open_store
from toolkit.datacentre.analyses.run import Found, Request, analyse

ROOT = Path(__file__).resolve().parents[2]
PERIOD = {"from": 20240215, "to": 20241010}
QUESTIONS: dict[str, dict[str, Any]] = {
    "ages": {"edges": [0, 18, 65]},
    "sexes": {},
    "cases": {"icd10": [["I50"], ["E11", "I10"]], "periods": "quarter", "count": "patients"},
    "abnormal": {"icd10": [["I50"], ["E11"]], "trust": "either"},
    "stay": {"icd10": [["I50"], ["E11"]]},
}
SPLIT = 200_000  # bytes, which makes three or four groups
EVERYWHERE = os.environ.get("EVERY_RUNNER") == "true"  # all five also where a start takes half a minute
ON_SPARK = tuple(QUESTIONS) if EVERYWHERE else ("abnormal", "cases")
ON_A_CLUSTER = tuple(QUESTIONS) if EVERYWHERE else ("ages",)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("visits")
    generate(directory, 2000, 1, 2, first=2024, years=1, renamed=0.1)
    return str(directory)


@pytest.fixture(scope="module")
def distant(local: str) -> Iterator[str]:
    """The same store on HDFS."""
    if hdfs.missing():
        pytest.skip(hdfs.missing())
    with hdfs.cluster(nodes=1, replication=1) as cluster:
        url = cluster.url("hdfs", "/visits")
        there = open_store(url)
        with ThreadPoolExecutor(16) as workers:
            names = [entry.name for entry in open_store(local).list()]
            list(workers.map(lambda name: there.put(name, Path(local, name)), names))
        yield url


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spark.Spark]:
    if spark.missing():
        pytest.skip(spark.missing())
    made = spark.install(tmp_path_factory.mktemp("spark") / "spark")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", None)
        yield made


def ask(name: str, store: str, runner: Runner, kept: str = "") -> Found:
    """An answer, from several groups of parts."""
    refused: list[ToolError] = []
    request = Request(name, {**PERIOD, **QUESTIONS[name]}, (store,), runner, kept, split_bytes=SPLIT)
    found = analyse(request, refused.append)
    assert not refused and not found.known
    return found


@pytest.fixture(scope="module")
def expected(local: str) -> dict[str, Found]:
    return {name: ask(name, local, Runner()) for name in QUESTIONS}


@pytest.mark.parametrize("name", QUESTIONS)
def test_local(name: str, local: str, kept: str, expected: dict[str, Found]) -> None:
    assert ask(name, local, Runner("local"), f"{kept}/local") == expected[name]


@pytest.mark.parametrize("name", QUESTIONS)
def test_hadoop(name: str, local: str, kept: str, tmp_path: Path, expected: dict[str, Found], monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it goes without Hadoop: see `tests.peers.hadoop`."""
    for variable, value in hadoop.install(tmp_path).items():
        monkeypatch.setenv(variable, value)
    assert ask(name, local, Runner("hadoop"), f"{kept}/hadoop") == expected[name]


@pytest.mark.parametrize("name", QUESTIONS)
def test_inline_on_hdfs(name: str, distant: str, expected: dict[str, Found]) -> None:
    assert ask(name, distant, Runner()) == expected[name]


@pytest.mark.parametrize("name", ON_SPARK)
def test_spark_on_hdfs(name: str, distant: str, kept: str, installed: spark.Spark, expected: dict[str, Found]) -> None:
    assert ask(name, distant, Runner("spark", spark.LOCAL), f"{kept}/spark") == expected[name]
    assert installed.left() == []


@pytest.mark.parametrize("name", ON_A_CLUSTER)
def test_cluster_on_hdfs(name: str, distant: str, kept: str, installed: spark.Spark, expected: dict[str, Found]) -> None:
    assert ask(name, distant, Runner("spark", spark.CLUSTER), f"{kept}/cluster") == expected[name]
    assert installed.left() == []


def test_a_damaged_part_on_hdfs(distant: str) -> None:
    store = open_store(distant)
    name = next(entry.name for entry in store.list("rows/visits/year=2024/month=5"))
    whole = store.get(name)
    store.put(name, whole[: len(whole) // 2])
    try:
        with pytest.raises(BadData, match=f"^{distant}/{name}: is damaged; run mdc-store verify"):
            ask("sexes", distant, Runner("local"))
    finally:
        store.put(name, whole)


def test_a_worker_without_duckdb(local: str, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    script = "import runpy, sys; sys.modules['duckdb'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}" "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(Unavailable, match="^Python package duckdb: is not installed on a worker"):
        ask("sexes", local, Runner("local", python=str(bare)))


def test_ends_with_spark_when_it_is_told_to(local: str, installed: spark.Spark) -> None:
    words = ["sexes", local, "--from", "2023-01-01", "--to", "2025-12-31", "-r", "spark", "--no-cache"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "bin" / "mdc-analyse", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    deadline = time.monotonic() + 60
    while not (begun := [one for one in processes() if "SparkSubmit" in one[1] and str(installed.home) in one[1]]):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == -15
    while [one for one in processes() if one in begun]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes() -> list[tuple[str, str]]:
    """Numbers and command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry.name, (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")))
            except OSError:
                continue
    return found


def test_knows_it_from_before(local: str, tmp_path: Path, expected: dict[str, Found]) -> None:
    first = ask("stay", local, Runner(), str(tmp_path))
    request = Request("stay", {**PERIOD, **QUESTIONS["stay"]}, (local,), Runner(), str(tmp_path))
    assert analyse(request, pytest.fail) == replace(first, known=True)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
