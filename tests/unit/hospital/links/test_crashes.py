"""Senders that are killed at any point: every document is queued once, ends once, and links and queue stay sound."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import TextIO

import pytest

from tests.forking import Forge, Started
from tests.peers import postgresql as peer
from tests.unit.hospital.links.conftest import queue
from toolkit.core.keys import Keyring
from toolkit.hospital.links.check import check
from toolkit.hospital.links.database import open_links

DOCUMENTS, KILLS = 150, 12

# Queues all documents, as a night's run does, and drains: each that leaves is a line of the data centre's file. The forced failures
# bring retries and dead ones into it.
SENDER = """
import os, sys, time
from tests.unit.hospital.links.conftest import queue
from toolkit.core.keys import read_keys
from toolkit.hospital.links.database import open_links
url, key, centre, documents = sys.argv[1], sys.argv[2], os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND), int(sys.argv[4])
with open_links(url, read_keys(key)) as links:
    print("ready", flush=True)
    for number in range(documents):
        queue(links, number, b"<document/>" * (number + 1))
        if number % 5 == 4:
            for message in links.take(4, time.time(), 600):
                links.sent(message.message_id)
                if not message.attempts and int(message.message_id.split("/")[0]) % 3 == 0:
                    links.retry(message.message_id, "503", 0)
                    continue
                os.write(centre, f"{message.message_id} {message.digest.hex()}\\n".encode())
                links.acknowledged(message.message_id, message.digest, "201")
    while messages := links.take(50, time.time(), 600):
        for message in messages:
            os.write(centre, f"{message.message_id} {message.digest.hex()}\\n".encode())
            links.acknowledged(message.message_id, message.digest, "201")
"""


class Senders:
    """What starts senders, and where they write."""

    def __init__(self, forge: Forge, url: str, keyring: Keyring, home: Path) -> None:
        self.forge, self.home, self.centre, self.script = forge, home, home / "centre", home / "sender.py"
        self.words = [url, keyring.path, str(self.centre), str(DOCUMENTS)]
        self.centre.touch()
        self.script.write_text(SENDER)

    def start(self) -> tuple[Started, TextIO]:
        """One, and what it says."""
        reading, writing = os.pipe()
        with open(writing, "w", encoding="utf-8") as log:
            return self.forge.start(str(self.script), *self.words, home=self.home, log=log.fileno()), open(reading, encoding="utf-8")


def test_two_senders_that_are_killed_again_and_again_lose_and_double_nothing(url: str, keyring: Keyring, tmp_path: Path) -> None:
    chance = random.Random(4)
    with open_links(url, keyring):
        pass
    with Forge("tests.unit.hospital.links.conftest") as forge:
        senders = Senders(forge, url, keyring, tmp_path)
        for _ in range(KILLS):
            (first, first_words), (second, second_words) = senders.start(), senders.start()
            with first_words, second_words:
                assert (first_words.readline(), second_words.readline()) == ("ready\n", "ready\n")
                time.sleep(chance.uniform(0, 0.15))
                first.kill()
                time.sleep(chance.uniform(0, 0.05))
                second.kill()
                assert {first.wait(60), second.wait(60)} <= {-signal.SIGKILL, 0}
        last, words = senders.start()
        with words:
            assert (words.read(), last.wait(120)) == ("ready\n", 0)
    expected = {f"{number}/1": hashlib.sha256(b"<document/>" * (number + 1)).hexdigest() for number in range(DOCUMENTS)}
    arrived = [line.split() for line in senders.centre.read_text().splitlines()]
    assert dict(arrived) == expected
    # a document leaves twice only when its sender died between its leaving and the answer: one for each kill at most
    assert len(arrived) - len(expected) <= 2 * KILLS
    with open_links(url, keyring) as links:
        assert links.status().counts == {"queued": 0, "sent": 0, "acknowledged": DOCUMENTS, "dead": 0}
        assert list(check(links)) == []
        assert len(list(links)) == DOCUMENTS + 1


def test_a_server_that_is_restarted_gives_nothing_to_two(keyring: Keyring) -> None:
    """It forgets who holds what; from the next call on its leases hold again."""
    if peer.binaries() is None:
        pytest.skip(f"needs a PostgreSQL server: apt-get install {peer.PACKAGE}")
    with peer.server() as url, open_links(url, keyring) as links, open_links(url, keyring) as other:
        queue(links, 1)
        assert links.take(1, 0, 600) != []
        queue(links, 2)
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:  # as a restart does
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'tester'"
            )
        assert [message.message_id for message in links.take(9, 0, 600)] == ["1/1", "2/1"]
        assert other.take(9, 0, 600) == []
