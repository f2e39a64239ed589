"""How fast documents become the row tables that analyses read: as hl7-send made them, one process, files of 5 and of 90 KB.

    python tests/benchmarks/ingest.py [DIRECTORY]

All is counted: reading the files, parsing safely, digests, rows, writing the tables. ``ours_s`` is processor time, since others use the
machine too; ``wall_s`` is what passed. They also use its memory: ``lxml_s`` is what lxml alone took to parse the same documents before and
after, the less of both. DIRECTORY holds documents to be read besides, without a bar.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lxml import etree

from tests.visits.generate import visit
from toolkit.core.errors import ToolError
from toolkit.core.keys import Key
from toolkit.core.xml import parse_safely
from toolkit.datacentre.analyses.ingest import ingest
from toolkit.hospital.visits.profile import read_profile
from toolkit.hospital.visits.rebuild import rebuild

KEY = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32)
SETS = ((5, 0, 10_000, 2500.0), (90, 112_000, 1500, 400.0))  # KB as sent, bytes as the hospital wrote it, documents, bar a second
DIFFERENT = 100  # documents of a set that are really rebuilt; the others are these with other ids


def write(directory: Path, size: int, number: int) -> int:
    """Fill a directory; the bytes of a document on the average."""
    directory.mkdir()
    profile, total = read_profile(None), 0
    made = [
        rebuild(parse_safely(one.document, one.name), KEY, profile, one.name) for one in (visit(n, size=size) for n in range(DIFFERENT))
    ]
    for at in range(number):
        one = made[at % DIFFERENT]
        text = one.document.replace(one.mdc_visit.encode(), KEY.seal("visit", f"{at:020}").encode())
        (directory / f"{at:06}.xml").write_bytes(text)
        total += len(text)
    return total // number


def measure(name: str, directory: Path, bar: float | None = None) -> None:
    """Read a directory into row tables, and print how long it took."""
    bad: list[ToolError] = []
    lxml_s = _parsed(directory)
    with tempfile.TemporaryDirectory() as rows:
        began, busy = time.perf_counter(), time.process_time()
        done = ingest([str(directory)], rows, 1, bad.append)
        busy, seconds = time.process_time() - busy, time.perf_counter() - began
    lxml_s = min(lxml_s, _parsed(directory))
    if bad:
        raise SystemExit(str(bad[0]))
    figures = {"ours_s": busy, "bar_s": bar and done.documents / bar, "wall_s": seconds, "lxml_s": lxml_s}
    rounded = {word: figure if figure is None else round(figure, 3) for word, figure in figures.items()}
    more = {"documents_per_second": round(done.documents / busy), "ours_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    print(json.dumps({"benchmark": name, **rounded, **more, "load_average": os.getloadavg()[0]}), flush=True)


def _parsed(directory: Path) -> float:
    """Seconds of the processor."""
    seconds = 0.0
    for path in directory.glob("*.xml"):
        text = path.read_bytes()
        began = time.process_time()
        etree.fromstring(text)
        seconds += time.process_time() - began
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "first"), 0, 10)
        with tempfile.TemporaryDirectory() as rows:
            ingest([f"{folder}/first"], rows, 1, lambda _: None)  # so that no import is measured
        for kilobytes, size, number, bar in SETS:
            mean = write(directory := Path(folder, str(kilobytes)), size, number)
            if not 0.9 < mean / kilobytes / 1000 < 1.1:
                raise SystemExit(f"documents of {mean} bytes instead of {kilobytes} KB")
            measure(f"ingest, {number} documents of {kilobytes} KB, one process", directory, bar)
    for directory in sys.argv[1:]:
        measure(f"ingest, {directory}", Path(directory))


if __name__ == "__main__":
    main()
