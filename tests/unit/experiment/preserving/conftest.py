"""Experiments for these tests, in directories of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.experiment.preserving.experiment import Experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    place = tmp_path / "work"
    place.mkdir()
    return Experiment(place)


@pytest.fixture
def three_commands(experiment: Experiment) -> Experiment:
    """sort reads words and writes sorted; cat and wc count them in a pipe."""
    experiment.file("words", b"b\na\n")
    experiment.file("out/sorted", b"a\nb\n")
    experiment.file("out/count", b"2\n")
    experiment.ran(["sort", "words", "-o", "out/sorted"], ["words"], ["out/sorted"])
    to, out = {"stdin": "/dev/null", "stdout": "pipe:[77]"}, str(experiment.place / "out/count")
    experiment.ran(["cat", "out/sorted"], ["out/sorted"], run="pipe", streams=to)
    experiment.ran(["wc", "-l"], [], ["out/count"], run="pipe", streams={"stdin": "pipe:[77]", "stdout": out})
    return experiment
