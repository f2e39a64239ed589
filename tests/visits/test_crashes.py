"""kill -9 of sender, gateway and packer at random moments, a hundred times: nothing is lost, doubled or half-visible."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from tests.visits import generate
from tests.visits.setting import Setting, kill

KILLS = 100
BATCH = 4  # documents that each round adds


def test_a_hundred_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    print(f"CRASH_SEED={seed}")
    chance = random.Random(seed)
    setting = Setting(tmp_path)
    gateway = setting.start_gateway()
    sender: subprocess.Popen[bytes] | None = None
    packer: subprocess.Popen[bytes] | None = None
    visits: list[generate.Generated] = []
    hit = {"sender": 0, "gateway": 0, "packer": 0}  # kills of a process that was alive
    try:
        while sum(hit.values()) < KILLS:
            if sender is None or sender.poll() is not None:
                assert sender is None or sender.returncode in (0, 75, -9), log(setting, "hl7-send")
                folder = tmp_path / "visits" / str(len(visits))
                folder.mkdir(parents=True)
                for number in range(len(visits), len(visits) + BATCH):
                    visits.append(generate.visit(number, seed, scan=0))
                    (folder / visits[-1].name).write_bytes(visits[-1].document)
                sender = setting.start("hl7-send", folder, *setting.sending)
            if packer is None or packer.poll() is not None:
                assert packer is None or packer.returncode in (0, -9), log(setting, "mdc-store")
                packer = setting.start("mdc-store", "pack", *setting.kept)
            assert gateway.poll() is None, log(setting, "mdc-gateway")
            time.sleep(chance.uniform(0.0, 1.5))
            name = chance.choice(list(hit))
            process = {"sender": sender, "gateway": gateway, "packer": packer}[name]
            hit[name] += process.poll() is None
            kill(process)
            if name == "gateway":
                gateway = setting.start_gateway()
        for process in (sender, packer):
            if process is not None:
                process.wait(120)
        # Documents of a sender that was killed before it queued them are given again, as the next night would.
        setting.run("hl7-send", tmp_path / "visits", *setting.sending, expected=(0, 75))
        setting.drain()
        setting.pack()
        setting.run("mdc-store", "verify", *setting.kept)
        setting.run("his-mdc", "check", "--links", setting.links, "--key", setting.key)
    finally:
        for process in (sender, packer, gateway):
            if process is not None:
                kill(process)
    places = setting.places()
    assert places.problems() == []
    assert len(places.acknowledged) == len(places.index) == len(visits)
    assert not places.queued
    assert min(hit.values()) > 0, hit


def log(setting: Setting, name: str) -> str:
    return (setting.home / f"{name}.log").read_text()[-3000:]
