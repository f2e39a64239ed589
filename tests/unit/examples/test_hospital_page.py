"""The first night's page and what it installs fit together: units that systemd accepts, variables that exist, files that are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "examples/hospital"
UNITS = sorted((PAGE / "systemd").iterdir())


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (PAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def variables(name: str) -> dict[str, str]:
    lines = (PAGE / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_systemd_accepts_the_units(program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    analyze = program("systemd-analyze", "systemd")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/scape-toolkit", str(ROOT))
        text = re.sub(r"^User=.*", "User=root", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    words = [analyze, "verify", "--recursive-errors=no", *sorted(tmp_path.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".timer"], ids=lambda unit: unit.name)
def test_every_timer_has_its_service(unit: Path) -> None:
    assert unit.with_suffix(".service") in UNITS


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_units_use_variables_that_the_environment_file_gives(unit: Path) -> None:
    side = "hospital.env" if "/etc/scape/hospital.env" in unit.read_text() else "datacentre.env"
    assert set(re.findall(r"\$\{(\w+)\}", unit.read_text())) <= set(variables(side))


def test_scripts_need_what_the_environment_file_gives() -> None:
    for script in ("visits-nightly.sh", "visits-alert.sh"):
        needed = re.findall(r"\$\{(\w+):\?", (PAGE / script).read_text())
        assert needed and set(needed) <= set(variables("hospital.env"))
    used = re.findall(r"\$\{?([A-Z_]+)", (PAGE / "hospital.cron").read_text())
    assert set(used) <= set(variables("hospital.env"))


def test_what_the_page_names_exists() -> None:
    named = re.findall(r"/opt/scape-toolkit/(examples/[\w./-]+\*?|bin/[\w-]+)", "\n".join(blocks()))
    assert named
    missing = [name for name in named if not (list(ROOT.glob(name)) if name.endswith("*") else (ROOT / name).exists())]
    assert missing == []
    for words in blocks():
        assert subprocess.run(["sh", "-n"], input=words, text=True, timeout=10).returncode == 0
    enabled = re.findall(r"[\w-]+\.(?:timer|service)", "\n".join(line for line in "\n".join(blocks()).splitlines() if "enable" in line))
    assert set(enabled) == {unit.name for unit in UNITS if "[Install]" in unit.read_text()}
