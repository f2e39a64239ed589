"""The audit log: whole lines on disk, whatever happened before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.core.errors import CannotCreate, InputOutput
from toolkit.datacentre import audit
from toolkit.datacentre.audit import Audit, Event

EVENT = Event("receive", "commonName=Śródmieście", "10.0.0.1", 201, "m-1", "k1.A", "sha256:0", 7)


def test_an_event_is_a_line_and_unknown_things_are_left_out(tmp_path: Path) -> None:
    log = Audit(str(tmp_path / "log"))
    log.write(EVENT)
    log.write(Event("search", "commonName=a", "", 200))
    assert (tmp_path / "log").read_bytes() == b""
    log.close()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert first.pop("time").endswith("Z") and first == {**vars(EVENT)}
    assert set(second) == {"time", "action", "client", "outcome"}
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"whole": 1}\n{"half": ')
    log = Audit(str(tmp_path / "log"))
    log.write(EVENT)
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == ['{"whole": 1}', '{"half": '] and json.loads(lines[2])["message_id"] == "m-1"


def test_what_cannot_be_written_is_said_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_MOST_WAITING", 2)
    log = Audit("/dev/full")
    log.write(EVENT)
    for _ in range(2):
        with pytest.raises(InputOutput, match="/dev/full: No space left"):
            log.synchronise()
    log.write(EVENT)
    with pytest.raises(InputOutput, match="could not be written for long"):
        log.write(EVENT)
    with pytest.raises(InputOutput):
        log.close()


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match="name a file"):
        Audit(str(tmp_path / "no" / "log"))


def test_without_a_file_nothing_is_kept() -> None:
    log = Audit(None)
    log.write(EVENT)
    log.synchronise()
    log.reopen()
    log.close()
