"""hl7-send as its users run it: real processes, a real key file and queue, real TLS."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .authority import Authority
from .conftest import DataCentre, acknowledge

VISIT = Path(__file__).resolve().parents[3] / "cli" / "hl7-send" / "visit.xml"
TEXT = VISIT.read_text()
PERSONAL = ("44051401359", "Kowalska", "Żaneta")


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str], centre: DataCentre, authority: Authority):  # type: ignore[no-untyped-def]
    """A function that runs hl7-send with `words`; its process, started."""
    subprocess.run(["hospital-key", "new", "hospital.key"], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    own = authority.directory / "hospital.pem"
    network = ["--to", centre.url, "--cert", str(own), "--ca", str(authority.path)]

    def start(*words: str, sends: bool = True) -> subprocess.Popen[str]:
        given = ["hl7-send", *words, "--links", "links.db", "--key", "hospital.key", *(network if sends else [])]
        return subprocess.Popen(given, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def status(run) -> dict[str, object]:  # type: ignore[no-untyped-def]
    return json.loads(ended(run("--status", "--format", "json", sends=False))[1])


def visits(directory: Path, number: int) -> None:
    directory.mkdir()
    for n in range(number):
        (directory / f"{n:03}.xml").write_text(TEXT.replace('extension="V1"', f'extension="V{n}"'))


def test_a_night_is_silent_and_what_arrives_names_nobody(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    visits(tmp_path / "export", 5)
    assert ended(run("export")) == (0, "", "")
    assert len({name for name, _ in centre.received}) == len(centre.received) == 5
    for _, document in centre.received:
        assert b"I50.9" in document and not any(word.encode() in document for word in PERSONAL)
    assert ended(run("export")) == (0, "", "") and len(centre.received) == 5, "a second run sends nothing again"


def test_killed_at_any_moment_every_visit_arrives(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    visits(tmp_path / "export", 40)
    for delay in (0.35, 0.45, 0.55, 0.7):
        process = run("export")
        time.sleep(delay)
        process.kill()
        ended(process)
    assert ended(run("export")) == (0, "", "")
    assert status(run)["acknowledged"] == len(dict(centre.received)) == 40
    assert len({(name, document) for name, document in centre.received}) == 40, "what is sent again is the same"


def test_whoever_ends_it_does_not_wait_for_a_silent_data_centre(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    visits(tmp_path / "export", 3)
    centre.answer = "say nothing"
    process = run("export")
    wait_until(lambda: len(centre.received) == 3)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert ended(process) == (-signal.SIGTERM, "", "")
    assert time.monotonic() - began < 20, "of the 60 seconds of --timeout"
    centre.released.set()
    centre.answer = acknowledge
    assert ended(run("export")) == (0, "", "")
    assert status(run)["acknowledged"] == len(dict(centre.received)) == 3


def test_two_senders_on_one_queue(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    visits(tmp_path / "export", 60)
    assert ended(run("export", "--queue-only", sends=False)) == (0, "", "")
    first, second = run("--drain"), run("--drain")
    assert {ended(first)[0], ended(second)[0]} <= {0, 75}, "who ends first may see that the other still sends"
    assert len(centre.received) == len(dict(centre.received)) == 60
    assert status(run)["acknowledged"] == 60


@pytest.mark.parametrize("answer", [503, 507])
def test_a_full_or_overloaded_data_centre_gets_the_time_it_asks_for(run, tmp_path: Path, centre: DataCentre, answer: int) -> None:  # type: ignore[no-untyped-def]
    visits(tmp_path / "export", 6)
    centre.answer = lambda *_: (answer, {"Retry-After": "2000"}, b'{"error": "the spool is full"}')
    code, out, err = ended(run("export"))
    assert (code, out) == (75, "")
    assert re.fullmatch(
        f"hl7-send: {centre.url}: takes nothing at present: {answer} [^:]+: the spool is full; .*\n.* 6 documents wait;.*\n", err
    )
    tried = {name for name, _ in centre.received}
    centre.answer = acknowledge
    assert ended(run("--drain"))[0] == 75
    assert len(centre.received) == 6, "what was never tried goes at once, the others when it is due"
    with sqlite3.connect(tmp_path / "links.db") as connection:
        rows = connection.execute("SELECT message_id, due - taken FROM link_message WHERE state = 'sent'").fetchall()
    connection.close()
    assert {name for name, _ in rows} == tried and all(1990 < seconds <= 3600 for _, seconds in rows)


def test_queued_today_and_drained_tonight(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    assert ended(run(str(VISIT), "--queue-only", sends=False)) == (0, "", "")
    centre.answer = lambda *_: (503, {}, b"")
    code, _, err = ended(run("--drain"))
    assert (code, len(err.splitlines())) == (75, 1) and "1 document waits" in err
    assert status(run)["sent"] == 1
    centre.answer = acknowledge


def test_a_queue_that_is_not_there_is_not_made_to_be_shown(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = ended(run("--status", sends=False))
    assert (code, len(err.splitlines())) == (66, 1) and "links.db" in err
    assert not (tmp_path / "links.db").exists()


def test_the_messages_lead_through_a_rotation(run, tmp_path: Path, environment: dict[str, str], centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    def tool(*words: str) -> tuple[int, str]:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    rotate = ("his-mdc", "rotate", "--key", "hospital.key", "-o", "renamed.tsv")
    visits(tmp_path / "export", 2)
    assert ended(run("export")) == (0, "", "")
    visits(tmp_path / "later", 1)
    (tmp_path / "later" / "000.xml").write_text(TEXT.replace('extension="V1"', 'extension="V0"').replace("I50.9", "I10"))
    assert ended(run("later", "--queue-only", sends=False)) == (0, "", "")
    assert tool("hospital-key", "rotate", "hospital.key")[0] == 0

    code, _, err = ended(run("export"))
    assert (code, err.count("\n")) == (75, 1) and "run hl7-send --drain and his-mdc rotate" in err
    code, err = tool(*rotate)
    assert (code, err.count("\n")) == (75, 1) and "run hl7-send --drain until none waits, then rotate" in err
    assert ended(run("--drain")) == (0, "", "") and len(centre.received) == 3
    assert tool(*rotate) == (0, "")
    lines = [line.split("\t") for line in (tmp_path / "renamed.tsv").read_text().splitlines()]
    assert sorted(line[1] for line in lines[1:]) == ["patient", "visit", "visit"]
    assert {(line[2][:3], line[3][:3]) for line in lines[1:]} == {("k1.", "k2.")}
    assert ended(run("export")) == (0, "", "") and len(centre.received) == 5
    assert tool("his-mdc", "check", "--key", "hospital.key") == (0, "")


def test_a_hospital_without_export(run, tmp_path: Path, centre: DataCentre) -> None:  # type: ignore[no-untyped-def]
    with sqlite3.connect(tmp_path / "his.db") as connection:
        connection.execute("CREATE TABLE visit (number text, pesel text)")
        connection.executemany("INSERT INTO visit VALUES (?, ?)", [("V7", "44051401359"), ("V8", "92032100157")])
    connection.close()
    (tmp_path / "visits.sql").write_text("SELECT number, pesel FROM visit")
    (tmp_path / "visit.xml").write_text(TEXT.replace('"V1"', '"{number}"').replace('"44051401359"', '"{pesel}"'))
    assert ended(run("--from-sql", "his.db", "--query", "visits.sql", "--template", "visit.xml")) == (0, "", "")
    assert len(centre.received) == 2 and not any(b"92032100157" in document for _, document in centre.received)
