"""Every directory NAME/CASE here is one run of a command line, and what it must print.

``cmd`` is run by bash in an empty directory, the commands and python3 in PATH, the case's own directory in $CASE. ``expout``
and ``experr`` hold its standard output and error, ``status`` its exit status; a missing file means empty, and 0.
``pytest tests/cli --accept`` writes them anew: read the difference before it is committed. A case leaves no files but those
that ``files`` lists, one name a line.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CASES = sorted(path.parent for path in HERE.glob("*/*/cmd"))


def write_or_remove(path: Path, text: str) -> None:
    if text:
        path.write_text(text)
    else:
        path.unlink(missing_ok=True)


def read_or_empty(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_case(case: Path, tmp_path: Path, environment: dict[str, str], request: pytest.FixtureRequest) -> None:
    result = subprocess.run(
        ["bash", "-euo", "pipefail", case / "cmd"],
        cwd=tmp_path,
        env={**environment, "CASE": str(case)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    files = "".join(name + "\n" for name in sorted(os.listdir(tmp_path)))
    status = f"{result.returncode}\n" if result.returncode else ""
    got = {"expout": result.stdout, "experr": result.stderr, "status": status, "files": files}
    if request.config.getoption("--accept"):
        for name, text in got.items():
            write_or_remove(case / name, text)
    assert got == {name: read_or_empty(case / name) for name in got}
