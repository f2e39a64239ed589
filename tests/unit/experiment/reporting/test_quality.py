"""The false ratio's 50-quantiles by resolution."""

import hashlib
import json

import numpy as np
import pytest

from tests.unit.experiment.reporting.records import command, written
from toolkit.core.errors import BadData
from toolkit.experiment.reporting.quality import figures_of
from toolkit.experiment.reporting.report import Request, make_report
from toolkit.experiment.run_record import File


def figures(false, cells=1000, rank=1, **more):
    return {"false_candidates": false, "cells": cells, "false_ratio": false / cells, "rank_of_truth": rank, "tolerance": 2.5, **more}


def put(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_fifty_quantiles_by_resolution(tmp_path):
    # 0, 1, ..., 50 of 1000: the quantile k of 50 is k / 1000
    for number in range(51):
        put(tmp_path / f"a{number}.json", figures((number * 7) % 51, rank=1 + number % 12, bandwidth=64))
    put(tmp_path / "b.json", figures(3, 4, None, bandwidth=128))
    table = make_report(Request((str(tmp_path),))).tables["quality"]
    assert [row["output"] for row in table] == [64, 128]
    assert table[0]["quantiles"] == [number / 1000 for number in range(51)]
    assert (table[0]["n"], table[0]["median"], table[0]["mean"]) == (51, 0.025, 0.025)
    # ranks 1 to 12, four times each, and 1, 2, 3 once more
    assert table[0]["ranks"] == {"1": 5, "2-3": 10, "4-10": 28, "11-": 8, "none": 0}
    assert (table[1]["quantiles"], table[1]["sd"], table[1]["ranks"]["none"]) == ([0.75] * 51, None, 1)


def test_quantiles_as_numpy_says(tmp_path):
    false = np.random.default_rng(1).integers(0, 1000, 37)
    put(tmp_path / "all.json", *(figures(int(one), bandwidth=32) for one in false))
    (row,) = make_report(Request((str(tmp_path / "all.json"),))).tables["quality"]
    assert row["quantiles"] == pytest.approx(np.quantile(false / 1000, np.linspace(0, 1, 51)), rel=1e-12)


def test_tolerances_are_not_mixed(tmp_path):
    put(tmp_path / "q.json", figures(1, bandwidth=64), {**figures(2, bandwidth=64), "tolerance": 5.0})
    table = make_report(Request((str(tmp_path / "q.json"),))).tables["quality"]
    assert [(row["tolerance"], row["n"]) for row in table] == [(2.5, 1), (5.0, 1)]


@pytest.mark.parametrize("by_digest", [True, False])
def test_an_old_file_belongs_to_the_command_that_wrote_it(tmp_path, by_digest):
    path = put(tmp_path / "quality.json", figures(10))
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if by_digest else "0" * 64
    listed = "elsewhere.json" if by_digest else str(path)
    tags = {"input": "256", "output": "128"}
    run = command("rank-candidates", 10**9, 10**6, tags=tags, files=[File("output", listed, path.stat().st_size, digest)])
    (tmp_path / "run.jsonl").write_bytes(written([run]))
    report = make_report(Request((str(tmp_path / "run.jsonl"), str(path))))
    assert [(row["output"], row["n"]) for row in report.tables["quality"]] == [(128, 1)]
    assert report.collected.bad == []


def test_a_file_that_nobody_lists_is_named(tmp_path):
    path = put(tmp_path / "quality.json", figures(10))
    with pytest.raises(BadData, match="its resolution is not known"):
        make_report(Request((str(path),)))
    (tmp_path / "run.jsonl").write_bytes(written([command("scc", 10**9, 10**6, tags={"output": "128"})]))
    report = make_report(Request((str(tmp_path),)))
    assert report.tables["quality"] == []
    assert report.collected.bad == [(f"{path}:1", "its resolution is not known: no bandwidth in it, and no run record lists it as output")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"false_ratio": 0.1', "is torn or no JSON"),
        (b'"\xff"', "is torn or no JSON"),
        (b"[1]", "has no quality figures"),
        (b'{"false_ratio": 0.1}', "has no quality figures: false_candidates and cells are numbers of cells"),
        (
            b'{"false_candidates": 5, "cells": 4, "false_ratio": 1.2}',
            "has no quality figures: false_candidates and cells are numbers of cells",
        ),
        (b'{"false_candidates": true, "cells": 4}', "has no quality figures: false_candidates and cells are numbers of cells"),
        (b'{"false_candidates": 0, "cells": 0}', "has no quality figures: false_candidates and cells are numbers of cells"),
        (b'{"false_candidates": 1, "cells": 4, "rank_of_truth": 0}', "has a wrong rank_of_truth"),
        (b'{"false_candidates": 1, "cells": 4, "tolerance": "2"}', "has a wrong tolerance"),
        (b'{"false_candidates": 1, "cells": 4, "tolerance": NaN}', "has a wrong tolerance"),
        (b'{"false_candidates": 1, "cells": 4, "bandwidth": -1}', "has a wrong bandwidth"),
    ],
)
def test_a_wrong_line_is_named_and_others_count(line, problem):
    good = json.dumps(figures(1, bandwidth=64)).encode()
    found, bad = figures_of(good + b"\n\n" + line + b"\n" + good)
    assert [number for number, _ in found] == [1, 4]
    assert bad == [(3, problem)]


def test_nothing_but_a_wrong_file(tmp_path):
    path = tmp_path / "q.json"
    path.write_text('{"false_ratio": 3}\n')
    with pytest.raises(BadData, match=rf"no run record can be used \({path}:1: has no quality figures"):
        make_report(Request((str(path),)))
