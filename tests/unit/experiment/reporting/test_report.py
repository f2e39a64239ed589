"""The same records give the same report, however they lie in files and wherever the job runs."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import hadoop, spark
from tests.unit.experiment.reporting.records import command, study, written
from toolkit.core.errors import BadData, NoInput
from toolkit.core.mapreduce.running import Runner
from toolkit.experiment.reporting.page import page
from toolkit.experiment.reporting.report import Report, Request, as_csv, as_json, make_report
from toolkit.experiment.run_record import Command

PAIRS = [(64, 32), (64, 64), (128, 64), (128, 128)]
RUNS = study(repetitions=1, hosts=(("anvil", 1.0), ("bellows", 1.3)), pairs=PAIRS)
EVERYWHERE = os.environ.get("EVERY_RUNNER") == "true"  # also where a start takes half a minute


def put(directory: Path, parts: list[list[Command]]) -> list[str]:
    paths = [directory / f"run.{number}.jsonl" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(written(part))
    return list(map(str, paths))


def reported(*sources: str, runner: Runner | None = None, split_bytes: int | None = None, by: tuple[str, ...] = ()) -> Report:
    return make_report(Request(tuple(sources), runner or Runner(), by, compare=("anvil", "bellows"), split_bytes=split_bytes))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return as_json(reported(*put(tmp_path_factory.mktemp("one"), [RUNS])))


@settings(max_examples=5, deadline=None)
@given(chance=st.randoms(use_true_random=False), files=st.integers(1, 6), split_bytes=st.sampled_from([1, 20_000, 10**9]))
def test_any_order_and_division_gives_the_same(expected: bytes, chance: random.Random, files: int, split_bytes: int) -> None:
    runs = [*RUNS, *chance.sample(RUNS, 3)]  # some are there twice, in other files
    chance.shuffle(runs)
    parts: list[dict[str, Command]] = [{} for _ in range(files)]
    for run in runs:
        chance.choice(parts)[run.command] = run
    with tempfile.TemporaryDirectory() as directory:
        paths = put(Path(directory), [list(part.values()) for part in parts])
        chance.shuffle(paths)
        assert as_json(reported(*paths, split_bytes=split_bytes)) == expected


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return put(tmp_path_factory.mktemp("divided"), [RUNS[:7], RUNS[7:20], RUNS[20:]])


def test_local(divided: list[str], expected: bytes) -> None:
    assert as_json(reported(*divided, runner=Runner("local"), split_bytes=1)) == expected


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[spark.Spark]:
    made = spark.install(tmp_path / "spark")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield made


if EVERYWHERE:

    def test_hadoop(divided: list[str], expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As far as it goes without Hadoop: see `tests.peers.hadoop`."""
        for variable, value in hadoop.install(tmp_path).items():
            monkeypatch.setenv(variable, value)
        assert as_json(reported(*divided, runner=Runner("hadoop"), split_bytes=1)) == expected

    def test_spark(divided: list[str], expected: bytes, installed: spark.Spark) -> None:
        assert as_json(reported(*divided, runner=Runner("spark", spark.LOCAL), split_bytes=1)) == expected
        assert installed.left() == []


def test_bad_lines_are_named_and_the_rest_is_used(tmp_path: Path, expected: bytes) -> None:
    whole = written(RUNS).splitlines(keepends=True)
    lines = [
        b'{"record":"sample","comm\n',
        *whole,
        b"\n",
        b"[]\n",
        b'{"record":"wrong"}\n',
        b'{"record":"run","schema":9}\n',
        b"\xff\xfe\n",
    ]
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(lines))
    report = reported(str(path))
    count = len(whole)
    assert sorted(int(place.rpartition(":")[2]) for place, _ in report.collected.bad) == [1, *range(count + 3, count + 7)]
    assert all(place.startswith(f"{path}:") for place, _ in report.collected.bad)
    got, wanted = json.loads(as_json(report)), json.loads(expected)
    assert {**got, "bad": []} == wanted


def test_a_lost_run_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(written(RUNS[:1]) + b"".join(written([RUNS[1]]).splitlines(keepends=True)[1:]))
    ((place, problem),) = make_report(Request((str(path),))).collected.bad
    assert place == f"{path}:{1 + len(written(RUNS[:1]).splitlines())}"
    assert problem.endswith("whose run line is missing")


def test_runs_that_failed_or_have_no_end_count_nowhere(tmp_path: Path) -> None:
    lost = command("scc", 5 * 10**9, 10**6, tags={"output": "64"}, identifier="lost", began="2026-11-24T01:02:03Z")
    lost.exit = None
    runs = [
        command("scc", 10**9, 10**6, tags={"output": "64"}, identifier="good"),
        command("scc", 9 * 10**9, 10**6, tags={"output": "64"}, identifier="bad", status=1),
        lost,
    ]
    report = make_report(Request((put(tmp_path, [runs])[0],)))
    assert (report.collected.runs, report.collected.bad) == (1, [])
    assert [(one.command, one.status) for one in report.collected.failed] == [("bad", 1), ("lost", None)]
    assert [(row["n"], row["mean"]) for row in report.tables["statistics"] if row["quantity"] == "time"] == [(1, 1.0)]


def test_of_two_copies_the_whole_one_counts(tmp_path: Path) -> None:
    torn = written(RUNS[:1]).splitlines(keepends=True)[:-1]
    (tmp_path / "torn.jsonl").write_bytes(b"".join(torn))
    (tmp_path / "whole.jsonl").write_bytes(written(RUNS[:1]))
    report = make_report(Request((str(tmp_path),)))
    assert (report.collected.runs, report.collected.failed) == (1, [])


def test_directories_and_patterns(tmp_path: Path, expected: bytes) -> None:
    below = tmp_path / "runs" / "deeper"
    below.mkdir(parents=True)
    put(tmp_path / "runs", [RUNS[:9]])
    shutil.move(put(below, [RUNS[9:]])[0], below / "other.jsonl")
    (below / "candidates.jsonl").write_text('{"rank": 1, "yaw": 3.0}\n')
    (below / "settings.json").write_text('{\n "a": 1\n}\n')
    (below / ".hidden.jsonl").write_text("{")
    bag = tmp_path / "runs" / "bag"
    bag.mkdir()
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    (bag / "copy.jsonl").write_text("{")
    assert as_json(reported(str(tmp_path / "runs"))) == expected
    assert as_json(reported(str(tmp_path / "runs" / "run.0.jsonl"), str(tmp_path / "*" / "**" / "other.jsonl"))) == expected
    assert as_json(reported(str(tmp_path / "runs"), str(tmp_path / "runs" / "run.0.jsonl"))) == expected


def test_a_foreign_file_that_was_named_is_bad(tmp_path: Path) -> None:
    (path,) = put(tmp_path, [RUNS[:2]])
    other = tmp_path / "candidates.jsonl"
    other.write_text('{"rank": 1}\n')
    assert make_report(Request((path, str(other)))).collected.bad == [(f"{other}:1", "is not of a run record")]


def test_a_store_and_a_file_in_it(tmp_path: Path, expected: bytes) -> None:
    put(tmp_path, [RUNS[:9], RUNS[9:]])
    assert as_json(reported(f"file://{tmp_path}")) == expected
    assert as_json(reported(f"file://{tmp_path}/run.0.jsonl", f"file://{tmp_path}/run.1.jsonl")) == expected


def test_standard_input(monkeypatch: pytest.MonkeyPatch, expected: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written(RUNS))))
    assert as_json(reported("-", runner=Runner("local"))) == expected


def test_a_missing_file_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    (path,) = put(tmp_path, [RUNS[:2]])
    report = make_report(Request((path, str(tmp_path / "none.jsonl"), str(tmp_path / "no*.jsonl"))))
    assert report.collected.runs == 2
    assert report.collected.bad == [
        (str(tmp_path / "no*.jsonl"), "no file is called like this"),
        (str(tmp_path / "none.jsonl"), "No such file or directory"),
    ]


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="none.jsonl: No such file or directory"):
        make_report(Request((str(tmp_path / "none.jsonl"),)))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{", b'{"record":"exit"}\n', b"\x00" * 100, b"[" * 100_000])
def test_nothing_that_can_be_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadData, match="no run record can be used"):
        make_report(Request((str(path),)))


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=f"^{tmp_path}: no run record can be used; give files"):
        make_report(Request((str(tmp_path),)))


@pytest.mark.parametrize(
    "machine",
    [{}, {"host": None}, {"host": "x", "cpu": 3, "cgroup": None, "memory_bytes": "much"}, {"cgroup": {"cpu_limit": float("nan")}}],
)
def test_a_record_that_says_little_of_its_machine(tmp_path: Path, machine: dict[str, object]) -> None:
    run = command("scc", 10**9, 10**6)
    run.machine, run.software = machine, {"program": None, "packages": 3}
    report = make_report(Request((put(tmp_path, [[run]])[0],)))
    assert b"<table" in page(report, [])


def test_shares_of_stages(tmp_path: Path) -> None:
    runs = [command("scc", wall, 10**6, stages=[("a", 0, wall // 4), ("b", wall // 4, wall // 2)]) for wall in (100, 300)]
    (row,) = make_report(Request((put(tmp_path, [runs])[0],))).tables["shares"]
    assert (row["shares"], row["outside"]) == ({"a": 0.25, "b": 0.25}, 0.5)


def test_csv_has_what_json_has(tmp_path: Path) -> None:
    report = reported(*put(tmp_path, [RUNS]), by=("input",))

    for name, rows in report.tables.items():
        read = list(csv.DictReader(io.StringIO(as_csv(rows).decode())))
        assert len(read) == len(rows)
        for got, row in zip(read, rows, strict=True):
            for key in ("mean", "value", "ratio", "a"):
                if key in row:
                    assert (float(got[key]) if got[key] else None) == row[key], name


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just(10**400))


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_record_with_a_wrong_value_is_used_or_named(data: st.DataObject) -> None:
    """Whatever stands in place of one value: the report is made of the rest, or there is nothing to report."""
    lines = [json.loads(line) for line in written(RUNS[:1]).splitlines()]
    line = data.draw(st.sampled_from([line for number, line in enumerate(lines) if line["record"] != "sample" or number == 1]))
    key = data.draw(st.sampled_from(sorted(line)))
    line[key] = data.draw(VALUES)
    good = written(RUNS[1:2])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "run.jsonl")
        path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode() + good)
        report = make_report(Request((str(path),)))
    assert RUNS[1].command in {row.command for rows in report.collected.rows.values() for row in rows}
    json.loads(as_json(report))


@settings(max_examples=8, deadline=None)
@given(chance=st.randoms(use_true_random=False), torn=st.integers(0, 3000))
def test_damaged_bytes(chance: random.Random, torn: int) -> None:
    content = bytearray(written(RUNS[:2]))
    for _ in range(chance.randint(1, 5)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "run.jsonl")
        path.write_bytes(content[: len(content) - torn])
        try:
            json.loads(as_json(make_report(Request((str(path),)))))
        except BadData as error:
            assert "no run record can be used" in str(error)
