"""hl7-send --drain, the whole command with its start, against mdc-gateway on loopback: mutual TLS, every fsync on both sides.

Sender and gateway share the processors; the documents of 90 KB are queued before the clock starts. How fast one visit after another
goes bounds the night of a hospital: there is no bar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.gateway import documents  # noqa: E402
from tests.unit.datacentre.gateways import Running  # noqa: E402
from tests.visits import certificates  # noqa: E402
from toolkit.core.keys import create_keys  # noqa: E402
from toolkit.hospital.links.database import Outgoing, open_links  # noqa: E402
from toolkit.hospital.sending.run import message_id  # noqa: E402

DOCUMENTS = int(os.environ.get("DOCUMENTS", "1000"))


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        home = Path(folder)
        links, key = home / "links.db", home / "hospital.key"
        with open_links(str(links), create_keys(str(key))) as opened:
            made = documents()
            for first in range(0, DOCUMENTS, 32):
                opened.queue_all([_outgoing(number, *made[number % len(made)]) for number in range(first, min(first + 32, DOCUMENTS))])
        made_out = certificates.make(home / "pki")
        with Running(home, made_out, *sys.argv[1:]) as gateway:
            client = ["--cert", made_out.client.cert, "--client-key", made_out.client.key, "--ca", made_out.ca]
            words = ["--drain", "--to", f"https://localhost:{gateway.port}", *map(str, client), "--links", str(links), "--key", str(key)]
            began = time.perf_counter()
            subprocess.run([sys.executable, ROOT / "bin/hl7-send", *words], check=True)
            seconds = time.perf_counter() - began
            assert gateway.end() == 0
    line = {"benchmark": f"hl7-send --drain, {DOCUMENTS} documents of 90 KB to mdc-gateway", "ours_s": round(seconds, 2)}
    print(json.dumps({**line, "load_average": os.getloadavg()[0], "documents_per_second": round(DOCUMENTS / seconds)}), flush=True)


def _outgoing(number: int, pseudonym: str, document: bytes) -> Outgoing:
    """A visit of its own: the document under another pseudonym of the same length."""
    own = pseudonym[:-8] + "".join("ABCDEFGH"[int(digit)] for digit in f"{number:08o}")
    visit = SimpleNamespace(visit_id=f"V{number}", visit_root="1.2.3", patient_id="P", patient_root="1.2.4", accession_numbers=())
    content = document.replace(pseudonym.encode(), own.encode())
    return Outgoing(visit, own, "PATIENT", message_id(own, content), content, "")


if __name__ == "__main__":
    main()
