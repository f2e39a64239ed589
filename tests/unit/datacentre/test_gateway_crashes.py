"""kill -9 of the gateway under load, again and again: what it acknowledged is in spool and index, once, and is given back."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from tests.unit.datacentre.gateways import Running, ask, children, digest
from tests.unit.datacentre.test_personal_data import SEALED, document
from tests.visits.certificates import Certificates
from toolkit.datacentre.index import open_index
from toolkit.datacentre.spool import Spool

SECONDS = float(os.environ.get("CRASH_SECONDS", "20"))
CLIENTS = 4


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, certs: Certificates) -> None:
    audit = tmp_path / "audit"
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    acknowledged: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def client(lane: int) -> None:
        """Send one document after another, each until it is acknowledged, as hl7-send does."""
        number = 0
        while not over.is_set():
            with suppress(OSError, HTTPException, json.JSONDecodeError), gateway.connection() as connection:
                while not over.is_set():
                    visit = SEALED[:-4] + "".join("ABCDEFGH"[int(digit)] for digit in f"{number % 50:04o}")
                    body = document(text=f"{lane} {number} " + "ma kota. " * 2000, visit=visit).encode()
                    said = ask(
                        connection, "POST", "/visits", body, X_Message_Id=f"crash-{lane}-{number:05}", Content_Type="application/xml"
                    )
                    statuses[said.status] += 1
                    if said.status in (200, 201):
                        assert said.json["digest"] == digest(body) and said.json["id"] == visit
                        acknowledged[f"crash-{lane}-{number:05}"] = digest(body)
                        number += 1
            time.sleep(0.05)

    with Running(tmp_path, certs, "--workers", "2", "--audit", str(audit)) as gateway:
        threads = ThreadPoolExecutor(CLIENTS)
        clients = [threads.submit(client, lane) for lane in range(CLIENTS)]
        kills, end = 0, time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                time.sleep(dice.uniform(0.1, 1.5))
                workers = children(gateway.process.pid)
                gateway.process.send_signal(signal.SIGKILL)
                gateway.process.wait()
                kills += 1
                gone = time.monotonic() + 10
                while any(Path("/proc", str(pid)).exists() for pid in workers):
                    assert time.monotonic() < gone, "a worker outlives its gateway"
                    time.sleep(0.02)
                gateway.start()
            time.sleep(0.5)
        finally:
            over.set()
            for one in clients:
                one.result()
        assert gateway.end() == 0
        print(f"seed {seed}: {kills} kills, {len(acknowledged)} acknowledged, {dict(statuses)}")
        assert set(statuses) <= {200, 201}, statuses
        assert kills >= 2 and len(acknowledged) > 20, "too little happened to prove anything"
        assert "Traceback" not in gateway.log() and "fault" not in gateway.log()
    with Spool(str(gateway.spool)) as spool, open_index(str(gateway.index), create=False) as index:
        held = {one.message_id: one for one in index.messages(acknowledged)}
        assert {name: one.digest for name, one in held.items()} == acknowledged
        places = Counter(one.place for one in held.values())
        assert max(places.values()) == 1
        for one in held.values():
            entry = spool.read(one.place)
            assert (entry.message_id, entry.digest, entry.mdc_visit) == (one.message_id, one.digest, one.mdc_visit)
    recorded = {}
    for line in audit.read_bytes().splitlines():
        with suppress(json.JSONDecodeError):  # what was being written when it was killed
            event = json.loads(line)
            recorded[event["message_id"]] = event["digest"]
    assert acknowledged.items() <= recorded.items(), "acknowledged and not in the audit log"
