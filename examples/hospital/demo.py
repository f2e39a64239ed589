"""Visits from a hospital to a data centre on this machine, with a kill -9 in between; see README.md beside it.

    python examples/hospital/demo.py DIRECTORY

DIRECTORY is made anew: keys, certificates, invented visits, and what both sides hold afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.visits import generate
from tests.visits.setting import Setting, kill


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=300, help="visits [300]")
    parser.add_argument("--size", type=int, default=30_000, help="bytes of each [30000]")
    choice = parser.parse_args()
    home = choice.directory.resolve()
    if home.exists() and any(home.iterdir()) and not (home / "hospital.key").exists():
        parser.error(f"{home}: holds something else; name a new directory")
    shutil.rmtree(home, ignore_errors=True)

    setting = Setting(home)
    visits = generate.write(home / "visits", choice.count, size=choice.size)
    print(f"keys, certificates and {len(visits)} visits: {home}")

    gateway = setting.start_gateway()
    sender = setting.start("hl7-send", home / "visits", *setting.sending)
    while sender.poll() is None and len(setting.places().index) < choice.count // 4:
        time.sleep(0.02)
    kill(gateway)
    kill(sender)
    show("After kill -9 of gateway and sender, somewhere in the middle", setting)

    gateway = setting.start_gateway()
    try:
        setting.run("hl7-send", home / "visits", *setting.sending, expected=(0, 75))
        setting.drain()
        show("Sent again", setting)
        packer = setting.start("mdc-store", "pack", *setting.kept)
        time.sleep(0.6)
        kill(packer)
        setting.pack()
        show("Packed, after a kill -9 of the packer", setting)
        setting.run("mdc-store", "verify", *setting.kept)
        setting.run("his-mdc", "check", "--links", setting.links, "--key", setting.key)
    finally:
        kill(gateway)

    places = setting.places()
    problems = places.problems()
    if len(places.acknowledged) != len(visits) or len(places.index) != len(visits):
        problems.append(f"{len(visits)} visits, {len(places.acknowledged)} acknowledged, {len(places.index)} in the index")
    problems += [f"personal data in the data centre: {word}" for word in setting.leaks([word for one in visits for word in one.personal])]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"\nEach of {len(visits)} visits is in the data centre exactly once, in store and archive, and nothing personal is with it.")
    return 1 if problems else 0


def show(title: str, setting: Setting) -> None:
    """What is where, a line each."""
    places = setting.places()
    print(f"\n{title}:")
    for name, held in (
        ("links: waiting", places.queued), ("links: acknowledged", places.acknowledged), ("index", places.index), ("spool", places.spool),
        ("store", places.store), ("archive", places.archive),
    ):  # fmt: skip
        print(f"  {name:20}{len(held):8}")


if __name__ == "__main__":
    sys.exit(main())
