"""mdc-store pack over 100,000 documents of 5 KB, and how soon one document is found in the spool, in a pack and in the archive."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.datacentre.visits import document  # noqa: E402
from toolkit.core.storage import open_store  # noqa: E402
from toolkit.datacentre.index import Document, Index, open_index  # noqa: E402
from toolkit.datacentre.packs import PackReader  # noqa: E402
from toolkit.datacentre.spool import Entry, Spool  # noqa: E402

DOCUMENTS = int(os.environ.get("DOCUMENTS", "100000"))
SIZE = 5000  # bytes
LOOKUPS = 200


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with open_index(str(place / "index.db")) as index:
            receive(index, str(place / "spool"))
            with Spool(str(place / "spool")) as spool:
                look_up("a document in the spool", index, lambda at: spool.read(at).body)
            command = [str(ROOT / "bin/mdc-store"), "pack", "--index", f"{place}/index.db", "--spool", f"{place}/spool"]
            began = time.perf_counter()
            process = subprocess.Popen([*command, "--store", f"{place}/store", "--archive", f"{place}/archive"])
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0 and index.counts().packed == DOCUMENTS
            report(f"mdc-store pack, {DOCUMENTS} documents of 5 KB", time.perf_counter() - began, 60.0, ours_mb=usage.ru_maxrss / 1024)
            store, archive = open_store(f"{place}/store"), open_store(f"{place}/archive")
            look_up("a document in a pack", index, PackReader(store).read)
            look_up("a document in the archive", index, PackReader(archive).read)


def receive(index: Index, directory: str) -> None:
    with Spool(directory, writing=True) as spool:
        for begin in range(0, DOCUMENTS, 1000):
            entries = [entry(number) for number in range(begin, min(begin + 1000, DOCUMENTS))]
            places = [receipt.place for receipt in spool.add_all(entries)]
            rows = zip(entries, places, strict=True)
            index.add([Document(one.message_id, one.mdc_visit, one.digest, len(one.body), one.client, one.received, at) for one, at in rows])


def entry(number: int) -> Entry:
    return Entry(f"m{number}", f"k1.V{number}", "CN=a", f"2026-11-22T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z", document(number, SIZE))


def look_up(what: str, index: Index, read: Callable[[str], bytes]) -> None:
    """The slowest but one in a hundred of `LOOKUPS`, each from the visit's pseudonym to its bytes."""
    dice, times = random.Random(1), []
    for _ in range(LOOKUPS):
        number = dice.randrange(DOCUMENTS)
        began = time.perf_counter()
        (found,) = index.find(f"k1.V{number}")
        body = read(found.place)
        times.append(time.perf_counter() - began)
        assert body == document(number, SIZE)
    report(f"{what}, 99 of 100", statistics.quantiles(times, n=100)[98], 0.02)


def report(name: str, seconds: float, bar: float, **more: float) -> None:
    print(json.dumps({"benchmark": name, "ours_s": round(seconds, 4), "bar_s": bar, "load_average": os.getloadavg()[0], **more}), flush=True)


if __name__ == "__main__":
    main()
