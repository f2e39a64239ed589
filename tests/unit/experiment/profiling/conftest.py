"""The command as a user runs it, in an empty directory."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.experiment.run_record import Command, read_run_records

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Wrap = Callable[..., tuple["subprocess.CompletedProcess[bytes]", list[Command]]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run words in the test's directory."""

    def start(*words: str | bytes | Path, **settings: Any) -> subprocess.CompletedProcess[bytes]:
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        if "input" in settings:
            del settings["stdin"]
        return subprocess.run(words, cwd=tmp_path, timeout=60, **{"env": environment, **settings})

    return start


@pytest.fixture
def wrap(run: Run, tmp_path: Path) -> Wrap:
    """Run words under profile-wrap; what became of it, and what was recorded."""

    def start(*words: str | bytes | Path, **settings: Any) -> tuple[subprocess.CompletedProcess[bytes], list[Command]]:
        result = run("profile-wrap", "-o", "run.jsonl", *words, **settings)
        record = tmp_path / "run.jsonl"
        return result, read_run_records([record]) if record.exists() else []

    return start
