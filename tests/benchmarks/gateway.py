"""mdc-gateway over mutual TLS on loopback, with every fsync: documents of 90 KB as hl7-send rebuilds them, all new.

The clients are a process of their own, on the same processors; documents are made before the clock starts.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.datacentre.gateways import Running  # noqa: E402
from tests.visits import certificates  # noqa: E402
from tests.visits.generate import visit  # noqa: E402
from toolkit.core.keys import Key  # noqa: E402
from toolkit.core.xml import parse_safely  # noqa: E402
from toolkit.datacentre.index import open_index  # noqa: E402
from toolkit.hospital.visits.profile import read_profile  # noqa: E402
from toolkit.hospital.visits.rebuild import rebuild  # noqa: E402

DOCUMENTS = int(os.environ.get("DOCUMENTS", "3000"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "8"))
SIZE = 90_000  # bytes
SECOND = 200.0  # documents: the bar
_DIFFERENT = 20  # documents that are rebuilt; the others are theirs under another visit's pseudonym
_WARM = 200


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        home = Path(folder)
        rebuilt = documents()
        for number, (pseudonym, body) in enumerate(rebuilt):
            (home / f"{number}.xml").write_bytes(pseudonym.encode() + b"\n" + body)
        size = sum(len(body) for _, body in rebuilt) / len(rebuilt) / 1000
        made = certificates.make(home / "pki")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Running(home, made, *sys.argv[1:]) as gateway:
            clients = [sys.executable, __file__, "--client", str(home), str(gateway.port)]
            done = subprocess.run(clients, stdout=subprocess.PIPE, check=True, text=True)
            assert gateway.end() == 0
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open_index(str(home / "index.db"), create=False) as index:
            assert index.counts().spooled == DOCUMENTS + _WARM
        seconds = float(done.stdout)
    processors = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime  # clients, gateway and workers, and their start
    figures = {
        "processor_ms_per_document": round(1000 * processors / (DOCUMENTS + _WARM), 2),
        "documents_per_second": round(DOCUMENTS / seconds),
        "kilobytes": round(size),
        "connections": CONNECTIONS,
    }
    line = {"benchmark": f"mdc-gateway, {DOCUMENTS} documents of 90 KB", "ours_s": round(seconds, 2), "bar_s": DOCUMENTS / SECOND}
    print(json.dumps({**line, "load_average": os.getloadavg()[0], **figures}), flush=True)


def documents() -> list[tuple[str, bytes]]:
    """Pseudonym of the visit and rebuilt document, about `SIZE` bytes each."""
    key, profile = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32), read_profile(None)
    made, size = [], SIZE
    while len(made) < _DIFFERENT:
        one = visit(len(made), seed=1, size=size)
        found = rebuild(parse_safely(one.document, one.name), key, profile, one.name)
        if not made and abs(len(found.document) - SIZE) > SIZE // 20 and size < 20 * SIZE:
            size = int(size * SIZE / len(found.document))
            continue
        made.append((found.mdc_visit, found.document))
    return made


def client(home: Path, port: int) -> None:
    """Send them all; print the seconds from the first byte to the last answer."""
    context = ssl.create_default_context(cafile=str(home / "pki/certs/ca.pem"))
    context.load_cert_chain(home / "pki/certs/st-anna.pem", home / "pki/certs/st-anna.key")
    pieces = []
    for path in sorted(home.glob("[0-9]*.xml")):
        pseudonym, _, body = path.read_bytes().partition(b"\n")
        pieces.append((pseudonym, body))
    wrong: list[bytes] = []

    def lane(first: int, end: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(first, end, CONNECTIONS):
                pseudonym, body = pieces[number % len(pieces)]
                sent = body.replace(pseudonym, pseudonym[:-8] + b"".join(b"ABCDEFGH"[int(digit)].to_bytes() for digit in f"{number:08o}"))
                head = f"POST /visits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/xml\r\nX-Message-Id: bench-{number:08}\r\n"
                link.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
                answer = link.recv(4096)
                while b"\r\n\r\n" not in answer or b"}\n" not in answer:
                    answer += link.recv(4096)
                if not answer.startswith(b"HTTP/1.1 201 "):
                    wrong.append(answer)
                    return

    def all_lanes(first: int, end: int) -> None:
        lanes = [threading.Thread(target=lane, args=(first + one, end)) for one in range(CONNECTIONS)]
        for one in lanes:
            one.start()
        for one in lanes:
            one.join()
        if wrong:
            sys.exit(wrong[0].decode(errors="replace"))

    all_lanes(0, _WARM)
    began = time.perf_counter()
    all_lanes(_WARM, _WARM + DOCUMENTS)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
