"""What the gateway does not take, and when: too large, too fast, too many, too slow, no room; and workers that die."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.datacentre.gateways import Running, ask, children, digest
from tests.unit.datacentre.test_personal_data import SEALED, document
from tests.visits.certificates import Certificates
from toolkit.core.errors import Unavailable
from toolkit.datacentre import looking
from toolkit.datacentre.index import open_index
from toolkit.datacentre.limits import Rate, Room
from toolkit.datacentre.spool import Spool

XML = {"Content-Type": "application/xml"}


def raw(gateway: Running, head: str = "") -> ssl.SSLSocket:
    """A connection over TLS on which this much was sent."""
    plain = socket.create_connection(("localhost", gateway.port), 30)
    link = gateway.context().wrap_socket(plain, server_hostname="localhost")
    link.sendall(head.encode())
    return link


def until_closed(link: ssl.SSLSocket) -> bytes:
    said = b""
    with link, suppress(ConnectionError, ssl.SSLEOFError):
        while part := link.recv(4096):
            said += part
    return said


def memory(pid: int) -> int:
    """The most bytes that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def test_500_megabytes(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1") as gateway:
        head = "POST /visits HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nX-Message-Id: large-01\r\n"
        before = memory(gateway.process.pid)
        with raw(gateway, f"{head}Content-Length: 500000000\r\n\r\n") as link:
            assert link.recv(100).startswith(b"HTTP/1.1 413 "), "refused by its head alone"

        def pieces() -> Iterator[bytes]:
            for _ in range(500):
                yield bytes(1_000_000)

        told = gateway.ask("POST", "/visits", pieces(), **XML, X_Message_Id="large-02", Content_Length="500000000")
        assert (told.status, told.json["error"]) == (413, f"the document is larger than {64 << 20} bytes")
        chunked = gateway.ask("POST", "/visits", pieces(), **XML, X_Message_Id="large-03")
        assert chunked.status == 413
        assert gateway.post(document(text="klein").encode(), "small-01").status == 201
        assert memory(gateway.process.pid) - before < 200_000_000


def test_largest(tmp_path: Path, certs: Certificates) -> None:
    body = document(text="x").encode()
    with Running(tmp_path, certs, "--workers", "1", "--largest", str(len(body))) as gateway:
        assert gateway.post(body, "fits-0001").status == 201
        assert gateway.post(body + b"\n", "fits-0002").status == 413


def test_rate(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1", "--rate", "2") as gateway, gateway.connection() as connection:
        said = [ask(connection, "POST", "/visits", document(text=str(n)).encode(), X_Message_Id=f"rate-{n:04}", **XML) for n in range(10)]
        late = [one for one in said if one.status == 429]
        assert said[0].status == said[1].status == 201 and len(late) >= 6
        assert {one.status for one in said} == {201, 429} and late[0].headers["retry-after"] == "1"
        time.sleep(1.1)
        assert gateway.post(document(text="9").encode(), "rate-0009").status == 201
        assert gateway.ask("GET", "/health").status == 200, "only documents count"


def test_a_token_bucket_gives_its_rate_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("toolkit.datacentre.limits.time.monotonic", lambda: now[0])
    rate, taken = Rate(5), 0
    for tick in range(1001):
        now[0] = tick / 100
        taken += rate.wait("a") == 0
    assert 54 <= taken <= 5 + 50
    assert rate.wait("b") == 0, "clients do not share"
    assert [Rate(0).wait("a") for _ in range(100)] == [0] * 100


def test_room_is_given_back() -> None:
    room = Room(10)
    with room.taken(6) as first, room.taken(5) as second, room.taken(4) as third:
        assert (first, second, third) == (True, False, True)
    with room.taken(10) as all_of_it:
        assert all_of_it


def test_connections(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1", "--connections", "3") as gateway:
        time.sleep(0.1)
        links = [raw(gateway) for _ in range(3)]
        with pytest.raises(OSError):
            gateway.ask("GET", "/health")
        gateway.wait_for_log("is turned away: there are 3 connections already")
        links.pop().close()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert gateway.ask("GET", "/health").status == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for link in links:
            link.close()


def test_slow_clients(tmp_path: Path, certs: Certificates) -> None:
    fast = {"serving.HANDSHAKE_SECONDS": 1, "serving.HEAD_SECONDS": 1, "serving.IDLE_SECONDS": 1, "serving._CARE_SECONDS": 0.2}
    with Running(
        tmp_path, certs, "--workers", "1", constants={**fast, "application.PART_SECONDS": 1, "application.BODY_SECONDS": 2}
    ) as gateway:
        head = "POST /visits HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nContent-Length: 1000\r\nX-Message-Id: slow-"

        def silent() -> bytes:
            with socket.create_connection(("localhost", gateway.port), 30) as plain:
                return plain.recv(100)

        def dripping() -> bytes:
            with raw(gateway, f"{head}0002\r\n\r\n") as link:
                link.settimeout(0.1)
                for _ in range(100):
                    link.send(b"<")
                    with suppress(TimeoutError):
                        return link.recv(100)
            raise AssertionError("nobody minded")

        def large_head() -> bytes:
            link = raw(gateway, head)
            with suppress(OSError):
                for _ in range(100):
                    link.sendall(b"x" * 10_000)
            return until_closed(link)

        with ThreadPoolExecutor() as clients:
            began = time.monotonic()
            said = [
                clients.submit(one)
                for one in (
                    silent,
                    lambda: until_closed(raw(gateway)),
                    lambda: until_closed(raw(gateway, head)),
                    lambda: until_closed(raw(gateway, f"{head}0001\r\n\r\n<half"))[:13],
                    dripping,
                    large_head,
                )
            ]
            answers = [one.result() for one in said]
        assert answers[:3] == [b"", b"", b""], "said nothing, no request, no whole head"
        assert answers[3] == b"HTTP/1.1 408 " and answers[4].startswith(b"HTTP/1.1 408 ")
        assert answers[5] == b"" and time.monotonic() - began < 15
        assert gateway.post(document(text="quick").encode(), "quick-001").status == 201


def test_a_slow_reader_gets_all_and_a_deaf_one_is_cut_off(tmp_path: Path, certs: Certificates) -> None:
    body = document(text="ma kota. " * 1_500_000).encode()
    impatient = {"serving.IDLE_SECONDS": 2, "serving._CARE_SECONDS": 0.1, "application.PART_SECONDS": 2}
    with Running(tmp_path, certs, "--workers", "1", constants=impatient) as gateway:
        assert gateway.post(body, "slow-read").status == 201
        with raw(gateway, f"GET /visits/{SEALED} HTTP/1.1\r\nHost: x\r\n\r\n") as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # what it has not read waits with the gateway
            got, began = 0, time.monotonic()
            while got < len(body) and (part := slow.recv(1 << 16)):
                got += len(part)
                time.sleep(0.005)
            assert got >= len(body) and time.monotonic() - began > 3.5
            slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")  # all that time it was not idle
            said = b""
            while b"HTTP/1.1 200" not in said:
                assert (part := slow.recv(1 << 16)), "the connection was closed"
                said += part
        with raw(gateway, f"GET /visits/{SEALED} HTTP/1.1\r\nHost: x\r\n\r\n") as deaf:
            time.sleep(3)
            assert len(until_closed(deaf)) < len(body)


def kept(gateway: Running) -> dict[str, str]:
    with Spool(str(gateway.spool)) as spool, open_index(str(gateway.index), create=False) as index:
        entries = dict(spool)
        found = index.messages([entry.message_id for entry in entries.values()])
        assert all(entries[one.place].digest == one.digest for one in found)
    return {one.message_id: one.digest for one in found}


def test_a_full_disk_acknowledges_nothing(tmp_path: Path, certs: Certificates) -> None:
    """No file can grow above 300 KB: the spool's segment, here, since the index stays small."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with Running(tmp_path, certs, "--workers", "1", before=small_files) as gateway:
        bodies = {f"full-{n:04}": document(text=f"{n} " + "ma kota. " * 10_000).encode() for n in range(7)}
        said = {name: gateway.post(body, name) for name, body in bodies.items()}
        statuses = [one.status for one in said.values()]
        assert set(statuses) == {201, 507} and statuses[:3] == [201] * 3
        refused = next(one for one in said.values() if one.status == 507)
        assert refused.headers["retry-after"] == "60" and str(tmp_path) not in refused.json["error"]
        assert "File too large; make room" in gateway.wait_for_log("clients are told to wait")
        acknowledged = {name: digest(bodies[name]) for name, one in said.items() if one.status == 201}
        assert acknowledged.items() <= kept(gateway).items()
        again = {name: gateway.post(body, name).status for name, body in bodies.items()}
        assert {name for name, status in again.items() if status == 200} >= acknowledged.keys()


def test_a_disk_that_is_nearly_full_takes_nothing_more(tmp_path: Path, certs: Certificates) -> None:
    import shutil

    everything = shutil.disk_usage(tmp_path)
    with Running(tmp_path, certs, "--workers", "1", constants={"gateway.RESERVE": 1}) as gateway:
        assert gateway.ask("GET", "/health").status == 200 and everything.free > 1
    with Running(tmp_path, certs, "--workers", "1", constants={"gateway._PART_FREE": 1.0, "gateway.RESERVE": everything.total}) as gateway:
        said = gateway.ask("GET", "/health")
        assert (said.status, said.json["problems"]) == (503, ["the spool's disk is nearly full"])
        assert gateway.post(document(text="x").encode(), "nearly-1").status == 507


def test_an_index_that_cannot_be_written(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1", constants={"running.PATIENCE": 1, "serving._CARE_SECONDS": 0.2}) as gateway:
        body = document(text="x").encode()
        other = sqlite3.connect(gateway.index, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        said = gateway.post(body, "index-001")
        assert said.status == 503 and said.headers["retry-after"] == "10" and str(tmp_path) not in said.json["error"]
        deadline = time.monotonic() + 20
        while "the index cannot be written" not in " ".join((health := gateway.ask("GET", "/health")).json["problems"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert health.status == 503
        gateway.wait_for_log("another program keeps the database locked")
        other.execute("ROLLBACK")
        other.close()
        assert gateway.post(body, "index-001").status == 201
        while gateway.ask("GET", "/health").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert kept(gateway) == {"index-001": digest(body)}


def test_an_audit_log_that_cannot_be_written_acknowledges_nothing(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1", "--audit", "/dev/full") as gateway:
        body = document(text="x").encode()
        assert gateway.post(body, "audit-001").status == 507
        assert gateway.ask("GET", f"/visits/{SEALED}").status == 503, "nobody reads unseen"
        assert "/dev/full" in gateway.wait_for_log("clients are told to wait")


def test_workers_that_are_killed_lose_nothing(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "2") as gateway:
        first = children(gateway.process.pid)
        assert len(first) == 2
        assert [Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in first] == ["1000\n"] * 2
        statuses: list[int] = []

        def send(lane: int) -> None:
            with gateway.connection() as connection:
                for n in range(60):
                    body = document(text=f"{lane} {n} " + "ma kota. " * 3000).encode()
                    statuses.append(ask(connection, "POST", "/visits", body, X_Message_Id=f"work-{lane}-{n:03}", **XML).status)

        threads = ThreadPoolExecutor(4)
        lanes = [threads.submit(send, lane) for lane in range(4)]
        for pid in first:
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
        for one in lanes:
            one.result()
        assert statuses == [201] * 240 and len(kept(gateway)) == 240
        assert "a worker died" in gateway.log() and "Traceback" not in gateway.log()
        assert b"mdc_gateway_workers_replaced 2.0" in gateway.ask("GET", "/metrics").body
        assert len(children(gateway.process.pid)) == 2 and not set(first) & set(children(gateway.process.pid))


@pytest.mark.parametrize(("does", "words"), [("os._exit(9)", "ended the process"), ("time.sleep(60)", "took longer than")])
def test_a_document_that_kills_or_holds_its_worker_is_not_taken(monkeypatch: pytest.MonkeyPatch, does: str, words: str) -> None:
    poison = "; import os, time, toolkit.datacentre.looking as own; real = own.look; "
    poison += f"own.look = lambda data, largest: {does} if b'poison' in data else real(data, largest); work(int(sys.argv[2]))"
    monkeypatch.setattr(looking, "_PROGRAM", looking._PROGRAM.replace("; work(int(sys.argv[2]))", poison))
    monkeypatch.setattr(looking, "SECONDS", 5.0 if does.startswith("os") else 2.0)

    async def try_it() -> int:
        workers = looking.Workers(1, 1 << 20)
        await workers.start()
        with pytest.raises(Unavailable, match=words):
            await workers.look(b"<poison/>")
        found = await workers.look(document(text="fine").encode())
        await workers.close()
        return found.status

    assert asyncio.run(try_it()) == 0


def test_a_fault_of_the_look_refuses_without_words_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    poison = "; import toolkit.datacentre.looking as own; real = own.look; "
    poison += "own.look = lambda data, largest: real(data, 1 // (b'poison' not in data) and largest); work(int(sys.argv[2]))"
    monkeypatch.setattr(looking, "_PROGRAM", looking._PROGRAM.replace("; work(int(sys.argv[2]))", poison))

    async def try_it() -> tuple[looking.Looked, looking.Looked, int]:
        workers = looking.Workers(1, 1 << 20)
        await workers.start()
        found = await workers.look(b"<poison/>"), await workers.look(document(text="fine").encode())
        await workers.close()
        return *found, workers.replaced

    bad, good, replaced = asyncio.run(try_it())
    assert (bad.status, good.status, replaced) == (500, 0, 0)
    assert "ZeroDivisionError" in bad.problem and "poison" not in json.dumps(bad.problem)
