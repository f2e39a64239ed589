"""A night of a hospital and a data centre on this machine, with kill -9 of sender, gateway and packer; see README.md beside it.

    python examples/hospital/demo.py DIRECTORY

DIRECTORY is made anew: keys, certificates, invented visits, and what both sides hold afterwards. Exit status 0: every document is in the
data centre exactly once, and nothing personal is.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.visits import generate
from tests.visits.places import rows
from tests.visits.setting import ROOT, Setting, kill

COLUMNS = ("waiting", "acknowledged", "index", "spool", "store", "archive")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=300, help="visits [300]")
    parser.add_argument("--size", type=int, default=30_000, help="bytes of each [30000]")
    choice = parser.parse_args()
    if choice.count < 8:
        parser.error("--count: too few to kill something in the middle; give 8 or more")
    home = choice.directory.resolve()
    if home.exists() and any(home.iterdir()) and not (home / "hospital.key").exists():
        parser.error(f"{home}: holds something else; name a new directory")
    shutil.rmtree(home, ignore_errors=True)
    began = time.monotonic()
    started: list[subprocess.Popen[bytes]] = []
    try:
        problems = night(Setting(home), choice.count, choice.size, started)
    finally:
        kill(*started)
    for problem in problems:
        print(f"demo.py: {problem}", file=sys.stderr)
    if not problems:
        print(f"\n{time.monotonic() - began:.0f} seconds. Each of {choice.count} visits is in store, archive and index exactly once.")
    return 1 if problems else 0


def night(setting: Setting, count: int, size: int, started: list[subprocess.Popen[bytes]]) -> list[str]:
    """Everything, told step by step; what went wrong. `started`: the processes, for the caller to end."""
    visits = generate.write(setting.home / "visits", count, size=size)
    print(f"A hospital and a data centre, both in {shown(str(setting.home))}:")
    print("  hospital.key, certs/  the hospital's key for all pseudonyms, and certificates for both ends of TLS")
    print(f"  visits/               {count} invented visits, {sum(len(one.document) for one in visits) / 1e6:.1f} MB,")
    print("                        with names, PESELs, addresses, scans and signatures")
    print(f"\n{'documents':36}{'-- hospital: links --':>22}   {'------ data centre: ------':>32}")
    print(f"{'':36}{COLUMNS[0]:>8}{COLUMNS[1]:>14}   {COLUMNS[2]:>8}{COLUMNS[3]:>8}{COLUMNS[4]:>8}{COLUMNS[5]:>8}")

    def start(name: str, *words: str | Path) -> subprocess.Popen[bytes]:
        started.append(setting.start(name, *words))
        return started[-1]

    def gateway() -> subprocess.Popen[bytes]:
        process = start("mdc-gateway", *setting.serving)
        setting.wait_for(process)
        return process

    show("the night begins", setting)
    receiver, sender = gateway(), start("hl7-send", setting.home / "visits", *setting.sending)
    problems = wait(lambda: setting.received() >= count // 3, sender, "hl7-send")
    kill(receiver, sender)
    show("kill -9 of gateway and hl7-send", setting)
    receiver = gateway()
    setting.run("hl7-send", setting.home / "visits", *setting.sending, expected=(0, 75))
    setting.drain()
    show("both run again", setting)
    packer = start("mdc-store", "pack", *setting.kept)
    problems += wait(lambda: setting.packs() > 0, packer, "mdc-store pack")
    kill(packer)
    show("kill -9 of mdc-store pack", setting)
    receiver.send_signal(signal.SIGTERM)  # which ends its segment of the spool
    if receiver.wait(60):
        problems.append(f"mdc-gateway: exit status {receiver.returncode} after SIGTERM")
    setting.pack()
    show("packed again", setting)
    setting.check()
    print("mdc-store verify and his-mdc check find no fault")
    receiver = gateway()
    pseudonym, problem = one_visit(setting, visits[count // 2])
    receiver.terminate()
    problems += problem + judge(setting, visits)
    look_around(setting, visits[count // 2], pseudonym)
    return problems


def wait(done: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> list[str]:
    """Until something is done, while the process lives; that it was too quick to be killed is a problem."""
    while not done():
        if process.poll() is not None:
            return [f"{name} ended before it could be killed, with exit status {process.returncode}"]
        time.sleep(0.005)
    return []


def show(step: str, setting: Setting) -> None:
    """How many documents are where, as a line of the table."""
    places = setting.places()
    counts = [len(held) for held in (places.queued, places.acknowledged, places.index, places.spool, places.store, places.archive)]
    print(f"{step:36}{counts[0]:8}{counts[1]:14}   {counts[2]:8}{counts[3]:8}{counts[4]:8}{counts[5]:8}", flush=True)


def one_visit(setting: Setting, visit: generate.Generated) -> tuple[str, list[str]]:
    """The same visit in all places; its pseudonym, and what is wrong."""
    link = setting.run("his-mdc", "lookup", visit.visit_id, *setting.linked).splitlines()[1]
    pseudonym = next(word for word in link.split(",") if word.startswith("k1."))
    status, headers, body = setting.ask("GET", f"/visits/{pseudonym}")
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    place = next(row[1] for row in rows(setting.index, "documents", "mdc_visit, place") if row[0] == pseudonym)
    sent = setting.places().acknowledged.get(str(headers["X-Message-Id"]))
    print("\nOne of them")
    print(f"  hospital     {visit.visit_id}, PESEL {visit.patient_id}, born {visit.born}, {visit.sex}, {visit.city}, {visit.start[:8]}")
    print(f"  links        {visit.visit_id} is {pseudonym[:22]}...")
    print(f"  data centre  {pseudonym[:22]}... at {place}, {digest[:18]}...")
    print(f"  over HTTPS   {len(body)} bytes come back: {'what was sent' if digest == sent else 'something else'}")
    good = status == 200 and digest == sent
    return pseudonym, [] if good else [f"{visit.visit_id}: answered with status {status} and {digest}, sent was {sent}"]


def judge(setting: Setting, visits: list[generate.Generated]) -> list[str]:
    """What is not as it must be."""
    places = setting.places()
    problems = places.problems()
    held = {"acknowledged": places.acknowledged, "index": places.index, "store": places.store, "archive": places.archive}
    problems += [f"{len(visits)} visits, and {len(there)} in {name}" for name, there in held.items() if len(there) != len(visits)]
    words = {word for one in visits for word in one.personal}
    problems += [f"personal data in the data centre: {word}" for word in setting.leaks(words)]
    found = "none" if not problems else "see below"
    print(f"\nLooked for {len(words)} names, PESELs, addresses and ids in all that the data centre holds: {found}")
    return problems


def look_around(setting: Setting, visit: generate.Generated, pseudonym: str) -> None:
    """Commands to type next."""
    certs = setting.certificates
    names = ["--cacert", certs.ca, "--cert", certs.client.cert, "--key", certs.client.key]
    print("\nLook around:")
    for words in (
        ("bin/his-mdc", "lookup", visit.visit_id, *setting.linked),
        ("bin/hl7-send", "--status", *setting.linked),
        ("bin/mdc-store", "status", "--index", setting.index),
        ("less", setting.audit),
        ("bin/mdc-gateway", *setting.serving, "&"),
        ("curl", *names, f"https://localhost:{setting.port}/visits/{pseudonym}"),
    ):
        print("  " + " ".join(one if one == "&" else shlex.quote(shown(one)) for one in map(str, words)))


def shown(word: str) -> str:
    """A path as short as it can be typed here; other words as they are."""
    path = ROOT / word if word.startswith("bin/") else Path(word)
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path) if path.is_absolute() else word


if __name__ == "__main__":
    sys.exit(main())
