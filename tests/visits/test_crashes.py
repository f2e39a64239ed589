"""kill -9 of senders, gateway and packer at random moments, a hundred times: nothing is lost, doubled or half-visible."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

from tests.forking import Forge
from tests.visits import generate
from tests.visits.places import rows
from tests.visits.setting import Process, Setting, hours_later, kill

KILLS = 100
BATCH = 4  # documents that each round adds, the last of them a new version of an earlier visit
SOON, LATE = 0.6, 5.0  # seconds between two kills: at most when nothing is waited for, and when something is
GOOD = {"hl7-send": (0, 75, -9), "drain": (0, 75, -9), "mdc-store": (0, -9), "mdc-gateway": (-9,)}  # exit statuses


class Night:
    """The processes of one night, of which each that ends is started again."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.seed, self.chance = setting, seed, random.Random(seed)
        self.documents: list[bytes] = []
        self.running: dict[str, Process] = {}

    def keep_running(self) -> None:
        """Start what has ended, and look at how it ended."""
        for name in GOOD:
            process = self.running.get(name)
            if process is None or process.poll() is not None:
                assert process is None or process.returncode in GOOD[name], (name, process.returncode, self.words(name))
                self.running[name] = self.start(name)

    def start(self, name: str) -> Process:
        """The gateway is not waited for: it can be killed while it starts."""
        setting = self.setting
        if name == "mdc-gateway":
            return setting.start(name, *setting.serving)
        if name == "mdc-store":
            return setting.start(name, "pack", *setting.kept)
        return setting.start("hl7-send", "--drain" if name == "drain" else self.batch(), *setting.sending)

    def batch(self) -> Path:
        """A directory of new documents."""
        number, numbers = len(self.documents) // BATCH, range(len(self.documents), len(self.documents) + BATCH)
        folder = self.setting.home / "visits" / f"{number:04}"
        folder.mkdir(parents=True)
        for document in numbers:
            version = document % BATCH == BATCH - 1
            which = self.chance.randrange(document) if version else document
            size = 20_000 + document if version else 0  # other results than before
            made = generate.visit(which, self.seed, size, scan=0)
            self.documents.append(made.document)
            (folder / f"{document}.xml").write_bytes(made.document)
        return folder

    def wait_for(self, name: str) -> None:
        """Until a random moment: often whatever the process does, often just when it has done something, however slow the machine is."""
        if self.chance.random() < 0.4:
            time.sleep(self.chance.uniform(0.0, SOON))
            return
        before, deadline = self.done(name), time.monotonic() + LATE
        while self.done(name) == before and time.monotonic() < deadline:
            time.sleep(0.005 if name == "mdc-store" else 0.03)  # looking into databases takes long itself
            self.keep_running()
        time.sleep(self.chance.uniform(0.0, 0.03))

    def done(self, name: str) -> int:
        """What a process has done: documents acknowledged or received, objects put into store and archive."""
        if name == "mdc-gateway":
            return self.setting.received()
        if name == "mdc-store":
            return self.setting.packs()
        return sum(row == ("acknowledged",) for row in rows(self.setting.links, "link_message", "state"))

    def words(self, name: str) -> str:
        return self.setting.log("hl7-send" if name == "drain" else name)

    def end(self) -> None:
        kill(*self.running.values())


def test_a_hundred_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    print(f"CRASH_SEED={seed}")
    with Forge() as forge:
        a_night(Night(Setting(tmp_path, forge=forge), seed))


def a_night(night: Night) -> None:
    setting = night.setting
    hit = dict.fromkeys(GOOD, 0)
    kill(setting.start_gateway())  # from now on there is a spool
    try:
        while sum(hit.values()) < KILLS:
            night.keep_running()
            name = night.chance.choice(list(GOOD))
            night.wait_for(name)
            hit[name] += night.running[name].poll() is None  # of a process that was alive
            kill(night.running[name])
        half = setting.places()
        for name, process in night.running.items():
            if name != "mdc-gateway":
                process.wait(60)
        night.keep_running()
        setting.wait_for(night.running["mdc-gateway"])
        night.running["mdc-store"].wait(60)
        morning(setting, night)
    finally:
        night.end()
    print(hit, len(night.documents), "documents,", len(half.acknowledged), "acknowledged and", len(half.store), "packed between the kills")
    assert min(hit.values()) >= KILLS // 20, hit
    assert len(half.acknowledged) >= KILLS // 4 and half.store, "they did work between the kills"


def morning(setting: Setting, night: Night) -> None:
    """Hours later all documents are given again, as the next night would, and then everything agrees."""
    hours_later(setting.links)
    setting.run("hl7-send", setting.home / "visits", *setting.sending, expected=(0, 75))
    setting.drain(60)
    gateway = night.running["mdc-gateway"]
    gateway.terminate()
    assert gateway.wait(60) == 0, night.words("mdc-gateway")
    setting.pack()
    setting.check()
    places = setting.places()
    assert places.problems() == []
    assert (places.queued, places.spool) == ({}, {})
    assert places.acknowledged == places.index == places.store == places.archive
    assert sorted(places.index.values()) == sorted(sent(setting, night.documents))


def sent(setting: Setting, documents: list[bytes]) -> set[str]:
    """The digests of what has to be in the data centre, made here once more."""
    from toolkit.core.keys import read_keys
    from toolkit.core.xml import parse_safely
    from toolkit.hospital.visits.profile import read_profile
    from toolkit.hospital.visits.rebuild import rebuild

    key, profile = read_keys(str(setting.key)).current, read_profile(None)
    rebuilt = (rebuild(parse_safely(document, "document"), key, profile, "document").document for document in documents)
    return {"sha256:" + hashlib.sha256(document).hexdigest() for document in rebuilt}
