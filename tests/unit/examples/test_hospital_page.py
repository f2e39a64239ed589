"""The first night's page and what it installs fit together: units that systemd accepts, variables that exist, files that are there."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.transfer import generate as pictures
from tests.visits import generate
from tests.visits.setting import kill

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
    for script in ("visits-nightly.sh", "visits-alert.sh", "images-nightly.sh"):
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


class Page:
    """The page followed in a directory instead of the machine's root, by one user instead of root, mdc and scape, at localhost."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.images_port = probe.getsockname()[1], other.getsockname()[1]
        self.python = str(Path(sys.executable).parent)
        for path in ("root", "etc/systemd/system", "etc/cron.d", "var/lib", "var/log", "srv/visits", "srv/images"):
            (home / path).mkdir(parents=True)
        (home / "etc/scape").mkdir()

    def moved(self, words: str) -> str:
        """The same words for this place."""
        words = re.sub(r"(?<![\w/])/(root|etc|var|srv|mnt)/", rf"{self.home}/\1/", words).replace("/opt/scape-toolkit", str(ROOT))
        words = words.replace("mdc.example:2762", f"localhost:{self.images_port}").replace("0.0.0.0:2762", f"127.0.0.1:{self.images_port}")
        words = words.replace("mdc.example:8443", f"localhost:{self.port}").replace("mdc.example", "localhost")
        words = words.replace("0.0.0.0:8443", f"127.0.0.1:{self.port}").replace("/usr/bin:/bin", f"{self.python}:/usr/bin:/bin")
        words = re.sub(r"runuser -u \w+ -- ", "", words)
        return re.sub(r"-o (mdc|scape)\b", f"-o {os.getuid()}", words).replace("chown scape ", f"chown {os.getuid()} ")

    def run(self, words: str, path: str = "") -> tuple[int, str, str]:
        """A shell's words with nothing in the environment but PATH."""
        clean = {"PATH": path or f"{self.python}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-euc", words], env=clean, cwd=self.home, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def follow(self, block: str) -> str:
        """Paste a block; what it prints. Users and systemd are the machine's own: their lines are left out."""
        lines = [line for line in block.splitlines() if not line.startswith(("useradd ", "systemctl ", "make "))]
        code, output, errors = self.run(self.moved("\n".join(lines)))
        assert (code, errors) == (0, ""), block
        for path in self.home.glob("etc/scape/*.env"):
            path.write_text(self.moved(re.sub(rf"{self.home}", "", path.read_text())))
        return output

    def unit(self, name: str, line: str = "ExecStart") -> list[str]:
        """A unit's command as systemd makes it of unit and environment file."""
        text = (self.home / f"etc/systemd/system/{name}.service").read_text()
        (file,) = re.findall(r"^EnvironmentFile=(.*)", text, re.MULTILINE)
        settings = dict(one.split("=", 1) for one in Path(self.moved(file)).read_text().splitlines() if not one.startswith("#"))
        (words,) = re.findall(rf"^{line}=(.*)", text, re.MULTILINE)
        given = [f"{name}={value}" for name, value in settings.items()]
        path = self.moved("PATH=/opt/scape-toolkit/bin:/usr/bin:/bin" if "\nEnvironment=PATH=" in text else "PATH=/usr/bin:/bin")
        return ["env", "-i", path, *given, *(settings.get(one[2:-1], one) if one[0] == "$" else one for one in self.moved(words).split())]

    def cron(self) -> list[tuple[int, str, str]]:
        """What the lines of the crontab do."""
        text = (self.home / "etc/cron.d/scape-hospital").read_text()
        (path,) = re.findall(r"^PATH=(.*)", text, re.MULTILINE)
        lines = re.findall(r"^(?:\S+\s+){5}scape\s+(.*)", text, re.MULTILINE)
        assert len(lines) == 4
        return [self.run(self.moved(line), self.moved(path)) for line in lines]


def test_the_page_leads_to_acknowledged_and_packed_visits_and_images(tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    program("curl", "curl")
    page = Page(tmp_path)
    made, certificates, data_centre, started, hospital, timers, cron, health, echo, trial, images = blocks()
    assert "make " in made and "systemctl enable" in started
    assert subprocess.run(["make", "--dry-run", *page.moved(made).split()[1:]], capture_output=True, timeout=60).returncode == 0
    for block in (certificates, data_centre, hospital, timers, cron):
        page.follow(block)
    assert {path.name for path in (tmp_path / "etc/systemd/system").iterdir()} == {unit.name for unit in UNITS}
    secrets = [path for path in tmp_path.rglob("*") if path.suffix == ".key"]
    assert len(secrets) == 6 and {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}

    generate.write(tmp_path / "srv/visits", 5)
    studies = pictures.write(tmp_path / "srv/images", 2)
    with (tmp_path / "gateway.log").open("w") as log:
        gateway, pacs = (subprocess.Popen(page.unit(name), stderr=log) for name in ("mdc-gateway", "mdc-pacs"))
    try:
        for _ in range(300):
            if page.run(page.moved(health))[0] == 0:
                break
            time.sleep(0.1)
        assert json.loads(page.follow(health)) == {"status": "ok", "problems": []}
        assert page.follow(trial).split() == ["queued", "0", "sent", "0", "acknowledged", "5", "dead", "0"]
        assert "MDC answers in" in page.follow(echo)
        assert page.follow(images) == ""
        for name in ("mdc-pack", "mdc-verify", "visits-nightly", "visits-drain", "visits-alert", "images-nightly"):
            done = subprocess.run(page.unit(name), capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name
        assert list((tmp_path / "srv/mdc/store/packs").glob("*.parquet")) and list((tmp_path / "mnt/archive/mdc/packs").glob("*.parquet"))
        expected = sum(len(study.pictures) for study in studies)
        assert len(list((tmp_path / "srv/mdc/store/images").rglob("*.dcm"))) == expected
        assert len(list((tmp_path / "mnt/archive/mdc/images").rglob("*.dcm"))) == expected
        assert page.cron() == [(0, "", "")] * 4
        assert len((tmp_path / "var/log/mdc/audit.jsonl").read_text().splitlines()) == 5
        reload = page.unit("mdc-gateway", "ExecReload")[-3:]
        assert reload == ["/bin/kill", "-HUP", "$MAINPID"]
        for receiver in (gateway, pacs):
            receiver.send_signal(signal.SIGHUP)
        assert "MDC answers in" in page.follow(echo)
        assert json.loads(page.follow(health))["status"] == "ok"
        for receiver in (gateway, pacs):
            receiver.terminate()
        assert (gateway.wait(30), pacs.wait(30), (tmp_path / "gateway.log").read_text()) == (0, 0, "")
    finally:
        kill(gateway, pacs)
