"""A rotation that is killed at any point: every link is under the one key or every one under the other, and the next run completes it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.unit.hospital.links.conftest import HIS, PESEL
from toolkit.core.keys import Key, Keyring, read_keys, rotate_keys
from toolkit.hospital.links.check import check
from toolkit.hospital.links.database import Link, open_links, pseudonym
from toolkit.hospital.links.import_export import import_links
from toolkit.hospital.links.rotate import renamed_after

ROOT = Path(__file__).resolve().parents[4]
LINKS, KILLS = 3000, 5

# As his-mdc rotate does, but it says when the work begins, so that the kills fall into it.
ROTATION = """
import sys
from toolkit.core.keys import read_keys
from toolkit.hospital.links import tables, queue
from toolkit.hospital.links.database import open_links
from toolkit.hospital.links.rotate import rotate
with open_links(sys.argv[1], read_keys(sys.argv[2]), create=False) as links:
    print("ready", flush=True)
    rotate(links)
"""


def start(url: str, keyring: Keyring) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", ROTATION, url, keyring.path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_links_change_all_at_once_or_not_at_all(url: str, keyring: Keyring) -> None:
    chance = random.Random(7)
    kinds = [("visit", HIS, "V"), ("patient", PESEL, "P"), ("accession", "", "A")]
    bare = [Link(kind, root, f"{letter}{number}", "") for number in range(LINKS // 3) for kind, root, letter in kinds]

    def under(key: Key) -> list[Link]:
        return [replace(link, mdc=pseudonym(link, key)) for link in bare]

    before = under(keyring.current)
    with open_links(url, keyring) as links:
        import_links(links, before)
    after, renamed = before, 0
    duration, unchanged = 0.0, 0
    for kill in range(-1, KILLS):
        if after == before:
            keyring = rotated(keyring)
            after = under(keyring.current)
        with start(url, keyring) as process:
            began = time.monotonic()
            if kill < 0:  # the first one is left alone: how long does it take?
                assert process.wait(120) == 0
                duration = time.monotonic() - began
            time.sleep(chance.uniform(0, duration) if kill >= 0 else 0)
            process.kill()
        with open_links(url, keyring) as links:
            found = list(links)
            assert found in (before, after)
            unchanged += found == before
            if found == after:
                before, renamed = after, renamed + LINKS
            assert len(list(renamed_after(links, 0))) == renamed, "the list for the data centre is of one piece with the links"
    assert unchanged > 0, "some were killed before they were done"
    with start(url, keyring) as process:
        assert process.wait(120) == 0
    with open_links(url, keyring) as links:
        assert list(links) == after
        assert list(check(links)) == []


def rotated(keyring: Keyring) -> Keyring:
    rotate_keys(keyring.path)
    return read_keys(keyring.path)
