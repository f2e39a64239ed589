"""kill -9 of dicom-send, mdc-pacs and mdc-store pack at random moments, a hundred times: no image is lost, doubled or half-visible."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

from tests.forking import Forge
from tests.transfer.setting import Transfer
from tests.unit.datacentre.images.collection import image, uid
from tests.visits.setting import Process, kill

KILLS = 100
BATCH = 6  # images that each round adds, the last of them sent before
SOON, LATE = 0.3, 3.0  # seconds between two kills: at most when nothing is waited for, and when something is
# Exit statuses: what waits is 75, a receiver that is away 69, a packer that is busy 75.
GOOD = {"dicom-send": (0, 75, 69, -9), "mdc-pacs": (-9,), "mdc-store": (0, 75, -9)}


class Night:
    """The processes of one night, of which each that ends is started again."""

    def __init__(self, transfer: Transfer, seed: int) -> None:
        self.transfer, self.seed, self.chance = transfer, seed, random.Random(seed)
        self.images = 0
        self.running: dict[str, Process] = {}

    def keep_running(self) -> None:
        """Start what has ended, and look at how it ended."""
        for name in GOOD:
            process = self.running.get(name)
            if process is None or process.poll() is not None:
                assert process is None or process.returncode in GOOD[name], (name, process.returncode, self.transfer.both.log(name))
                self.running[name] = self.start(name)

    def start(self, name: str) -> Process:
        """The receiver is not waited for: it can be killed while it starts."""
        transfer = self.transfer
        if name == "mdc-pacs":
            return transfer.both.start(name, *transfer.serving)
        if name == "mdc-store":
            return transfer.both.start(name, "pack", *transfer.both.kept)
        self.batch()
        return transfer.both.start(name, transfer.outbox, *transfer.sending, "--jobs", "2", "--timeout", "10")

    def batch(self) -> None:
        """A directory of new images, and one that is in another directory too."""
        folder = self.transfer.outbox / f"{self.images:05}"
        folder.mkdir(parents=True)
        numbers = [*range(self.images, self.images + BATCH - 1), self.chance.randrange(self.images + 1)]
        self.images += BATCH - 1
        for number in dict.fromkeys(numbers):
            (folder / f"{number}.dcm").write_bytes(content(number))

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
        """What a process has done: images acknowledged, received, put into store and archive."""
        return {"dicom-send": self.transfer.sent, "mdc-pacs": self.transfer.received, "mdc-store": self.transfer.stored}[name]()

    def end(self) -> None:
        kill(*self.running.values())


def content(number: int) -> bytes:
    """A small image or, now and then, one of several PDUs."""
    return image(number, "." * (300_000 if number % 7 == 0 else number))


def test_a_hundred_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    print(f"CRASH_SEED={seed}")
    with Forge() as forge:
        a_night(Night(Transfer(tmp_path, forge), seed))


def a_night(night: Night) -> None:
    transfer = night.transfer
    hit = dict.fromkeys(GOOD, 0)
    kill(transfer.start_pacs())  # from now on there is a spool
    try:
        while sum(hit.values()) < KILLS:
            night.keep_running()
            name = night.chance.choice(list(GOOD))
            night.wait_for(name)
            hit[name] += night.running[name].poll() is None  # of a process that was alive
            kill(night.running[name])
        half = transfer.places()
        night.end()
        morning(transfer, night)
    finally:
        night.end()
    print(hit, night.images, "images,", len(half.journal), "sent and", len(half.store), "packed between the kills")
    assert min(hit.values()) >= KILLS // 20, hit
    assert len(half.journal) >= KILLS // 4 and half.store, "they did work between the kills"


def morning(transfer: Transfer, night: Night) -> None:
    """Everything runs to its end, as the next night would, and then everything agrees."""
    both = transfer.both
    pacs = transfer.start_pacs()
    both.run("dicom-send", transfer.outbox, *transfer.sending, "--commit")
    pacs.terminate()
    assert pacs.wait(60) == 0, both.log("mdc-pacs")
    both.pack()
    assert both.ended("mdc-store", "verify", *both.kept).stderr == ""
    places = transfer.places()
    assert places.problems() == []
    assert not places.spool
    assert not [path for name in ("incoming", "kept", "conflicts") for path in (both.spool / "images" / name).iterdir()]
    assert set(places.journal) == set(places.index) == set(places.store) == {uid(number) for number in range(night.images)}
    for number in range(night.images):
        assert places.store[uid(number)].data == hashlib.sha256(content(number)[data_of(content(number)) :]).hexdigest()


def data_of(part_10: bytes) -> int:
    """Where the data set begins."""
    return 144 + int.from_bytes(part_10[140:144], "little")
