"""hl7-send --queue-only, the whole command with its start: documents of 90 KB read, rebuilt, checked, linked and queued on disk.

The bar of 150 documents/s is that of one core, so what counts is the processor time of the command; it has one process and one thread.
The wall clock stands beside it: on a machine that does other things too, and waits for its disk, it says more about that.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.visits.generate import visit  # noqa: E402
from toolkit.core.keys import create_keys, read_keys  # noqa: E402
from toolkit.hospital.links.database import open_links  # noqa: E402

DOCUMENTS = int(os.environ.get("DOCUMENTS", "500"))
SIZE = 90_000  # bytes
SECOND = 150.0  # documents: the bar


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        home = Path(folder)
        (home / "export").mkdir()
        size = 0
        for number in range(DOCUMENTS):
            one = visit(number, seed=1, size=SIZE)
            (home / "export" / f"{number:05}.xml").write_bytes(one.document)
            size += len(one.document)
        links, key = str(home / "links.db"), str(home / "hospital.key")
        create_keys(key)
        words = [str(home / "export"), "--queue-only", "--links", links, "--key", key]
        before, began = _spent(), time.perf_counter()
        subprocess.run([sys.executable, ROOT / "bin/hl7-send", *words], check=True)
        wall, spent = time.perf_counter() - began, _spent() - before
        with open_links(links, read_keys(key), create=False) as opened:
            assert opened.status().counts["queued"] == DOCUMENTS
    figures = {"documents_per_second": round(DOCUMENTS / spent), "wall_s": round(wall, 2), "kilobytes": round(size / DOCUMENTS / 1000)}
    line = {"benchmark": f"hl7-send --queue-only, {DOCUMENTS} documents of 90 KB", "ours_s": round(spent, 2), "bar_s": DOCUMENTS / SECOND}
    print(json.dumps({**line, "load_average": os.getloadavg()[0], **figures}), flush=True)


def _spent() -> float:
    """Seconds of processor time, its own and the system's, of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
