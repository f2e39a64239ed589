"""Visits and images on their way from a hospital to a data centre, on this machine, with kill -9 of senders, receivers and the packer.

    python examples/hospital/transfer.py DIRECTORY

DIRECTORY is made anew: keys, certificates, invented visits and images, and what both sides hold afterwards. Exit status 0: every document
and every image is in the data centre exactly once, each study is joined to its visit, and nothing personal is there.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.transfer import generate
from tests.transfer.generate import Study
from tests.transfer.setting import Transfer
from tests.visits import generate as visits
from tests.visits.places import held_by_the_data_centre, leaks, rows
from tests.visits.setting import kill

COLUMNS = ("sent", "index", "spool", "store", "archive")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=60, help="studies, each of a visit [60]")
    parser.add_argument("--visits", type=int, default=200, help="visits, at least as many [200]")
    choice = parser.parse_args()
    if not 8 <= choice.count <= choice.visits:
        parser.error("--count: give 8 or more, and not more than --visits")
    home = choice.directory.resolve()
    if home.exists() and any(home.iterdir()) and not (home / "hospital.key").exists():
        parser.error(f"{home}: holds something else; name a new directory")
    shutil.rmtree(home, ignore_errors=True)
    began = time.monotonic()
    started: list[subprocess.Popen[bytes]] = []
    try:
        problems = night(Transfer(home), choice.count, choice.visits, started)
    finally:
        kill(*started)
    for problem in problems:
        print(f"transfer.py: {problem}", file=sys.stderr)
    if not problems:
        print(f"\n{time.monotonic() - began:.0f} seconds. Each visit and each image is in store, archive and index exactly once.")
    return 1 if problems else 0


def night(transfer: Transfer, count: int, number: int, started: list[subprocess.Popen[bytes]]) -> list[str]:
    """Everything, told step by step; what went wrong. `started`: the processes, for the caller to end."""
    both = transfer.both
    made = visits.write(both.home / "visits", number, size=20_000)
    studies = generate.write(both.home / "images", count, size=20_000)
    pictures = sum(len(study.pictures) for study in studies)
    print(f"{number} invented visits, and {pictures} images of {count} examinations (CT, MR, ultrasound, radiography)")
    print("as devices write them: names, PESELs and addresses in attributes, in private ones, in accession numbers and in the pixels.\n")
    print(f"{'':38}{'visits':>8}{'':30}{'images':>10}")
    heading = "".join(f"{name:>8}" for name in COLUMNS)
    print(f"{'':30}{heading}  {heading}")

    def start(name: str, *words: str | Path) -> subprocess.Popen[bytes]:
        started.append(both.start(name, *words))
        return started[-1]

    def receivers() -> list[subprocess.Popen[bytes]]:
        running = [start("mdc-gateway", *both.serving), start("mdc-pacs", *transfer.serving)]
        both.wait_for(running[0])
        transfer.wait_for(running[1])
        return running

    transfer.anonymise(both.home / "images")
    show("images are anonymised", transfer)
    receiving = receivers()
    sending = [start("hl7-send", both.home / "visits", *both.sending), start("dicom-send", transfer.outbox, *transfer.sending)]
    problems = wait(lambda: both.received() >= number // 4 and transfer.received() >= pictures // 4, sending)
    kill(*receiving, *sending)
    show("kill -9 of all four", transfer)
    receiving = receivers()
    both.run("hl7-send", both.home / "visits", *both.sending, expected=(0, 75))
    both.run("dicom-send", transfer.outbox, *transfer.sending, "--jobs", "2")
    both.drain()
    show("all run again", transfer)
    packer = start("mdc-store", "pack", *both.kept)
    problems += wait(lambda: transfer.stored() > pictures // 2, [packer])
    kill(packer)
    show("kill -9 of mdc-store pack", transfer)
    both.run("dicom-send", transfer.outbox, *transfer.sending, "--commit")
    receiving[0].send_signal(signal.SIGTERM)  # which ends its segment of the spool
    receiving[0].wait(60)
    both.pack()
    show("packed again", transfer)
    both.check()
    print("mdc-store verify and his-mdc check find no fault; mdc-pacs has committed itself to every image")
    return problems + judge(transfer, made, studies)


def wait(done: Callable[[], bool], processes: list[subprocess.Popen[bytes]]) -> list[str]:
    """Until something is done, while one of the processes lives; that they were too quick to be killed is a problem."""
    while not done():
        if all(process.poll() is not None for process in processes):
            return [f"{processes[-1].args!r} ended before it could be killed, with exit status {processes[-1].returncode}"]
        time.sleep(0.005)
    return []


def show(step: str, transfer: Transfer) -> None:
    """How many documents and images are where, as a line of the table."""
    places, images = transfer.both.places(), transfer.places()
    counts = [len(held) for held in (places.acknowledged, places.index, places.spool, places.store, places.archive)]
    more = [len(held) for held in (images.journal, images.index, images.spool, images.store, images.archive)]
    print(f"{step:30}{''.join(f'{one:8}' for one in counts)}  {''.join(f'{one:8}' for one in more)}", flush=True)


def judge(transfer: Transfer, made: list[visits.Generated], studies: list[Study]) -> list[str]:
    """What is not as it must be."""
    places, images = transfer.both.places(), transfer.places()
    problems = places.problems() + images.problems()
    held = {"acknowledged": places.acknowledged, "index": places.index, "store": places.store, "archive": places.archive}
    problems += [f"{len(made)} visits, and {len(there)} in {name}" for name, there in held.items() if len(there) != len(made)]
    number = sum(len(study.pictures) for study in studies)
    shown = {"journal": images.journal, "index": images.index, "store": images.store, "archive": images.archive}
    problems += [f"{number} images, and {len(there)} in {name}" for name, there in shown.items() if len(there) != number]
    problems += [f"{uid}: still in the spool" for uid in images.spool]
    states = {row[0] for row in rows(str(transfer.journal), "instances", "state")}
    if states != {"committed"}:
        problems.append(f"the journal's images are {', '.join(sorted(states))}, not all committed")
    problems += joined(transfer, studies) + burned_in(transfer, studies)
    words = {word for one in made for word in one.personal} | {word for study in studies for word in study.personal}
    problems += [f"personal data in the data centre: {word}" for word in leaks(words, held_there(transfer))]
    print(f"Looked for {len(words)} names, PESELs, addresses and ids in all that it holds: {'none' if not problems else 'see below'}")
    return problems


def joined(transfer: Transfer, studies: list[Study]) -> list[str]:
    """Whether the index leads from each study to its visit and back, by the token of the accession number; shows one of them."""
    from toolkit.datacentre.images.search import studies_of_visit, visits_of_study
    from toolkit.datacentre.index import open_index

    both, problems = transfer.both, []
    tokens = {row[1]: row[0] for row in rows(both.index, "studies", "study_uid, accession")}
    with open_index(both.index, create=False) as index:
        for number, study in enumerate(studies):
            link = both.run("his-mdc", "lookup", study.visit.visit_id, *both.linked) if number % 10 == 0 else ""
            pseudonym = next((word for line in link.splitlines()[1:] for word in line.split(",") if word.startswith("k1.")), "")
            uid = tokens.get(token_of(transfer, study), "")
            found = visits_of_study(index, uid)
            if len(found) != 1 or uid not in studies_of_visit(index, found[0]) or (pseudonym and found != [pseudonym]):
                problems.append(f"study {number} is not joined to its visit: {found}")
            if number == 1 and not problems:
                print(f"\nThe examination {study.accession} of visit {study.visit.visit_id} is, in the data centre, study")
                print(f"  {uid} of visit {found[0][:30]}...")
                print(f"  one of its images: {picture(transfer, uid)}")
    print(f"Each of {len(studies)} studies leads to its visit and back")
    return problems


def burned_in(transfer: Transfer, studies: list[Study]) -> list[str]:
    """Which ultrasound images of the store still show the banner that names the patient in the hospital's."""
    import numpy as np
    from pydicom import dcmread

    looked, problems = 0, []
    for path in transfer.both.store.glob("images/*/*/*.dcm"):
        stored = dcmread(path)
        if stored.Modality == "US":
            looked += 1
            if np.any(stored.pixel_array[: generate.BANNER]):
                problems.append(f"{path.stem}: shows its banner")
    expected = sum(len(study.pictures) for study in studies if study.modality == "US")
    if looked != expected:
        problems.append(f"{expected} ultrasound images, and {looked} in the store")
    if not problems:
        print(f"None of the {looked} ultrasound images shows the banner with name and PESEL that it had")
    return problems


def token_of(transfer: Transfer, study: Study) -> str:
    """What the hospital's key makes of an accession number."""
    from toolkit.core.keys import read_keys
    from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms

    return Pseudonyms(read_keys(str(transfer.both.key)).current).token("accession", study.accession)


def picture(transfer: Transfer, study_uid: str) -> Path:
    """An image of the store as a PNG."""
    import numpy as np
    from PIL import Image
    from pydicom import dcmread

    path = next(iter(sorted((transfer.both.store / "images" / study_uid).rglob("*.dcm"))))
    pixels = dcmread(path).pixel_array.astype(float)
    scaled = (pixels - pixels.min()) * (255 / max(float(np.ptp(pixels)), 1.0))
    target = transfer.home / "study.png"
    Image.fromarray(scaled.astype(np.uint8)).save(target)
    return target


def held_there(transfer: Transfer) -> Iterator[bytes]:
    """All that the data centre has, its logs too."""
    both = transfer.both
    logs = [both.home / f"{name}.log" for name in ("mdc-gateway", "mdc-pacs", "mdc-store")]
    return held_by_the_data_centre(both.index, both.spool, (both.store, both.archive), [*logs, both.audit, transfer.audit])


if __name__ == "__main__":
    sys.exit(main())
