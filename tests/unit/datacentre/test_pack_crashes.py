"""kill -9 of the packer, thirty times at random points, while documents come in: nothing is lost, doubled or half moved."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import Forge, Started
from tests.unit.datacentre.house import House, agree, received, tables
from toolkit.datacentre.index import open_index
from toolkit.datacentre.reindex import reindex

KILLS = 30


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = str(tmp_path / "index.db")
    with open_index(url) as index:
        yield House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))


def test_killed_packers_lose_and_double_nothing(house: House) -> None:
    with Forge() as forge:
        kill_packers(house, forge)


def kill_packers(house: House, forge: Forge) -> None:
    dice, words = random.Random(4), house.directory / "words"

    def start() -> Started:
        with words.open("wb") as log:
            _, program, *more = house.command("pack", "--jobs", "2")
            return forge.start(Path(program).name, *more, home=house.directory, log=log.fileno())

    house.receive(range(100))
    began = time.monotonic()
    assert start().wait(240) == 0, words.read_text()
    whole = time.monotonic() - began  # so long a run takes on this machine now
    total, killed, expected = 100, 0, [f"m{number}" for number in range(100)]
    while killed < KILLS:
        house.receive(range(total, total + 60), entered=dice.random() < 0.7)
        house.take([received(total - 50, version=1)])
        expected += [f"m{number}" for number in range(total, total + 60)] + [f"m{total - 50}.1"]
        total += 60
        # a plan of several packs, as a run makes it that was killed before it stored the first
        waiting = [one.message_id for one in house.index.waiting(1 << 30, 40)]
        if waiting and dice.random() < 0.5:
            house.index.plan(f"20261122T{killed:06}Z-{total:016x}", "2026-11-22T00:00:00+00:00", waiting)
        process = start()
        time.sleep(dice.uniform(0.0, 1.0) * whole)
        process.kill()
        assert process.wait(60) in (0, -signal.SIGKILL), words.read_text()
        killed += process.returncode == -signal.SIGKILL
    result = house.run("pack")
    assert (result.returncode, result.stderr) == (0, "")
    agree(house, expected)
    house.check(number for number in range(total) if f"m{number}.1" not in expected)
    copies = [{one.name: store.digest(one.name) for one in store.list()} for store in house.stores]
    assert copies[0] == copies[1]
    again = house.elsewhere(str(house.directory / "new.db"))
    reindex(again)
    assert tables(again.index) == tables(house.url)
