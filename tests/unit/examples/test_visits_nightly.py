"""The hospital's nights as cron runs them: silent while all is well, even when the data centre cannot be reached."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.visits import certificates, generate
from toolkit.core.keys import create_keys

Night = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def night(tmp_path: Path, environment: dict[str, str]) -> Night:
    create_keys(str(tmp_path / "hospital.key"))
    certs = certificates.make(tmp_path)
    places = {
        "VISITS": tmp_path / "visits", "STATE": tmp_path / "state", "KEY": tmp_path / "hospital.key", "CERT": certs.client.cert,
        "CERT_KEY": certs.client.key, "CA": certs.ca, "GATEWAY": "https://127.0.0.1:9", "SETTLED": 0,
    }  # fmt: skip
    cron = {**environment, **{name: str(value) for name, value in places.items()}}
    (tmp_path / "visits").mkdir()

    def run(script: str) -> tuple[int, str, str]:
        done = subprocess.run([ROOT / "examples/hospital" / script], env=cron, cwd="/", capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    return run


def status(home: Path) -> dict[str, int]:
    command = [ROOT / "bin/hl7-send", "--status", "--format", "json", "--links", home / "state/links.db", "--key", home / "hospital.key"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)  # type: ignore[no-any-return]


def test_nights(night: Night, tmp_path: Path) -> None:
    assert night("visits-alert.sh") == (0, "", ""), "nothing was ever queued"
    generate.write(tmp_path / "visits", 3)
    assert night("visits-nightly.sh") == (0, "", "")
    waiting = status(tmp_path)
    assert waiting["queued"] + waiting["sent"] == 3
    code, words, _ = night("visits-alert.sh")
    assert code == 75 and "oldest waiting" in words
    generate.write(tmp_path / "visits", 5)  # two of them new
    assert night("visits-nightly.sh") == (0, "", "")
    waiting = status(tmp_path)
    assert waiting["queued"] + waiting["sent"] == 5


def test_the_same_trouble_is_told_once_and_again_after_a_week(night: Night, tmp_path: Path) -> None:
    generate.write(tmp_path / "visits", 1)
    night("visits-nightly.sh")
    told = tmp_path / "state/visits.told"
    assert "oldest waiting" in night("visits-alert.sh")[1]
    for _ in range(3):
        assert night("visits-alert.sh") == (75, "", ""), "the status stays, so that systemd shows it"
    eight_days_ago = time.time() - 8 * 86400
    os.utime(told, (eight_days_ago, eight_days_ago))
    assert "oldest waiting" in night("visits-alert.sh")[1]
    assert night("visits-alert.sh")[1] == ""
    change(tmp_path, "UPDATE link_message SET state = 'dead', reason = '422 PESEL'")
    code, words, _ = night("visits-alert.sh")
    assert code == 1 and "422 PESEL" in words
    assert night("visits-alert.sh") == (1, "", "")
    generate.write(tmp_path / "visits", 2)
    night("visits-nightly.sh")
    assert "oldest waiting" in night("visits-alert.sh")[1], "waiting had ended, and begins again"
    assert night("visits-alert.sh") == (75, "", ""), "what was dead was given again"
    change(tmp_path, "DELETE FROM link_message")
    assert night("visits-alert.sh") == (0, "", "")
    assert not told.exists()


def test_a_state_that_cannot_be_asked_is_told_once(night: Night, tmp_path: Path) -> None:
    generate.write(tmp_path / "visits", 1)
    night("visits-nightly.sh")
    (tmp_path / "hospital.key").rename(tmp_path / "away.key")
    code, words, _ = night("visits-alert.sh")
    assert code == 66 and "hospital.key" in words
    assert night("visits-alert.sh") == (66, "", "")
    (tmp_path / "away.key").rename(tmp_path / "hospital.key")
    assert "oldest waiting" in night("visits-alert.sh")[1]


def change(home: Path, statement: str) -> None:
    with sqlite3.connect(home / "state/links.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_document_that_is_refused_is_said_and_the_others_go_on(night: Night, tmp_path: Path) -> None:
    generate.write(tmp_path / "visits", 2)
    (tmp_path / "visits/broken.xml").write_text("<ClinicalDocument>")
    code, words, errors = night("visits-nightly.sh")
    assert (code, words) == (1, "")
    assert "broken.xml" in errors and errors.count("\n") == 1
    waiting = status(tmp_path)
    assert waiting["queued"] + waiting["sent"] == 2
    assert night("visits-nightly.sh")[0] == 1, "it is read again while it is as new as this"


def test_two_nights_never_run_at_once(night: Night, tmp_path: Path) -> None:
    import fcntl

    generate.write(tmp_path / "visits", 1)
    (tmp_path / "state").mkdir()
    with open(tmp_path / "state/visits.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert night("visits-nightly.sh") == (0, "", "")
    assert not (tmp_path / "state/links.db").exists()
