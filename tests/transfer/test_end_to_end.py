"""The demonstration of images and visits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_the_demonstration(tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        ROOT / "examples/hospital/transfer.py",
        tmp_path / "demo",
        "--count",
        "12",
        "--visits",
        "40",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "Each visit and each image is in store, archive and index exactly once" in done.stdout
    assert re.search(r"packed again +40 +40 +0 +40 +40 +(\d+) +\1 +0 +\1 +\1\n", done.stdout)
    assert (tmp_path / "demo/study.png").stat().st_size > 1000
