"""mdc-store pack over 100,000 documents of 5 KB, and how soon one document is found in the spool, in a pack and in the archive.

The documents are spooled and entered before the clock starts; spool, store and archive are directories on the same disk. ``ours_mb``
is the largest process, ``ours_cpu_s`` what all of them took of the processors.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.datacentre.visits import document  # noqa: E402
from toolkit.core.storage import open_store  # noqa: E402
from toolkit.datacentre.index import Document, open_index  # noqa: E402
from toolkit.datacentre.packs import PackReader  # noqa: E402
from toolkit.datacentre.spool import Entry, Spool  # noqa: E402

DOCUMENTS = int(os.environ.get("DOCUMENTS", "100000"))
SIZE = 5000  # bytes
LOOKUPS = 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        index, spool, store, archive = (str(Path(folder, name)) for name in ("index.db", "spool", "store", "archive"))
        receive(index, spool)
        with Spool(spool) as waiting:
            look_up("the spool", index, lambda at: waiting.read(at).body)
        os.sync()  # what was spooled long ago is on disk
        seconds, memory, busy = run("pack", "--index", index, "--spool", spool, "--store", store, "--archive", archive)
        with open_index(index) as opened:
            assert opened.counts().packed == DOCUMENTS
        report(f"mdc-store pack, {DOCUMENTS} documents of 5 KB", seconds, 60.0 * DOCUMENTS / 100_000, ours_mb=memory, ours_cpu_s=busy)
        look_up("a pack", index, PackReader(open_store(store), open_store(archive)).read)
        os.rename(f"{store}/packs", f"{store}/lost")
        look_up("the archive, the store's copy is lost", index, PackReader(open_store(store), open_store(archive)).read)


def run(*words: str) -> tuple[float, float, float]:
    """Seconds, MB and seconds of processors of a run of mdc-store."""
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, str(ROOT / "bin/mdc-store"), *words], os.environ)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def receive(url: str, directory: str) -> None:
    with open_index(url) as index, Spool(directory, writing=True) as spool:
        for begin in range(0, DOCUMENTS, 1000):
            entries = [entry(number) for number in range(begin, min(begin + 1000, DOCUMENTS))]
            rows = zip(entries, spool.add_all(entries), strict=True)
            index.add([Document(one.message_id, one.mdc_visit, at.digest, SIZE, one.client, one.received, at.place) for one, at in rows])


def entry(number: int) -> Entry:
    second = f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
    return Entry(f"m{number}", f"k1.V{number}", "CN=a", f"2026-11-22T{second}Z", document(number, SIZE))


def look_up(where: str, url: str, read: Callable[[str], bytes]) -> None:
    """Median and 95th percentile of `LOOKUPS` random documents, each from the visit's pseudonym to its bytes."""
    dice, times = random.Random(1), []
    with open_index(url) as index:
        for _ in range(LOOKUPS):
            number = dice.randrange(DOCUMENTS)
            began = time.perf_counter()
            (found,) = index.find(f"k1.V{number}")
            body = read(found.place)
            times.append(time.perf_counter() - began)
            assert body == document(number, SIZE)
    report(f"a document in {where}, median", statistics.median(times), 0.02)
    report(f"a document in {where}, 95th percentile", statistics.quantiles(times, n=20)[18], 0.02)


def report(name: str, seconds: float, bar: float, **more: float) -> None:
    figures = {"ours_s": round(seconds, 4), "bar_s": bar, "load_average": os.getloadavg()[0], **more}
    print(json.dumps({"benchmark": name, **figures}), flush=True)


if __name__ == "__main__":
    main()
