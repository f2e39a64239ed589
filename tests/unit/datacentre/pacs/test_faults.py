"""Peers that break the rules, and what happens to everybody else."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelMove, Verification  # type: ignore[attr-defined]

from tests.unit.datacentre.pacs.rooms import STORESCU, kept, receiving, sample, storescu
from tests.visits.certificates import Certificates, make
from toolkit.core.dicom_network import server_context
from toolkit.datacentre.pacs.receiver import Receiver

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def connected(receiver: Receiver) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", receiver.port))
    made.settimeout(15)
    return made


def request(title: bytes = b"SENDER") -> bytes:
    """A-ASSOCIATE-RQ, PS3.8 9.3.2: one context, CT in explicit little endian."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    context = item(0x20, b"\1\0\0\0" + item(0x30, CTImageStorage.encode()) + item(0x40, ExplicitVRLittleEndian.encode()))
    user = item(0x50, item(0x51, struct.pack(">L", 16384)))
    body = struct.pack(">HH", 1, 0) + b"MDC".ljust(16) + title.ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BxL", 1, len(body)) + body


def fragment(header: int, content: bytes, context: int = 1) -> bytes:
    """P-DATA-TF with one PDV; `header`: 1 command, 2 last."""
    value = struct.pack(">LBB", len(content) + 2, context, header) + content
    return struct.pack(">BxL", 4, len(value)) + value


def command(uid: bytes = b"1.2.3\0") -> bytes:
    """C-STORE-RQ, PS3.7 9.3.1, in implicit little endian."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHL", 0, number, len(value)) + value

    short = struct.Struct("<H").pack
    made = element(2, (CTImageStorage + "\0").encode()[: len(CTImageStorage) + len(CTImageStorage) % 2])
    made += element(0x100, short(1)) + element(0x110, short(7)) + element(0x700, short(0)) + element(0x800, short(1)) + element(0x1000, uid)
    return element(0, struct.pack("<L", len(made))) + made


def answer(peer: socket.socket) -> int:
    """The kind of the next PDU; 0 when the connection is closed."""
    head = b""
    with contextlib.suppress(ConnectionError):
        while len(head) < 6 and (more := peer.recv(6 - len(head))):
            head += more
    if len(head) < 6:
        return 0
    left = struct.unpack(">L", head[2:])[0]
    while left:
        left -= len(peer.recv(left))
    return head[0]


def agreed(receiver: Receiver) -> socket.socket:
    peer = connected(receiver)
    peer.sendall(request())
    assert answer(peer) == 2
    return peer


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


BROKEN = {
    "no PDU": b"GET / HTTP/1.1\r\n\r\n",
    "unknown kind": b"\x99\0\0\0\0\1x",
    "zero length": b"\4\0\0\0\0\0",
    "another context": fragment(1 | 2, command(), context=77),
    "a data set without a command": fragment(2, b"x" * 100),
    "a command that is none": fragment(1 | 2, b"\xff" * 100),
    "an answer nobody asked for": b"\2\0\0\0\0\4abcd",
    "a request inside": request(),
    "a PDV longer than its PDU": struct.pack(">BxLLBB", 4, 20, 4000, 1, 3) + bytes(14),
    "too large a PDU": b"\4\0\x7f\xff\xff\xff" + b"x" * 1000,
    "a UID that leads elsewhere": fragment(3, command(b"../../../../x\0")) + fragment(2, b"x" * 10),
}


@pytest.mark.parametrize("words", BROKEN.values(), ids=BROKEN)
def test_a_peer_that_breaks_the_protocol(tmp_path: Path, words: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with receiving(tmp_path / "home") as receiver:
        with agreed(receiver) as peer:
            peer.sendall(words)
            assert answer(peer) in (0, 4, 7)
        with connected(receiver) as peer:  # the same before it asked for an association
            peer.sendall(words)
            peer.shutdown(socket.SHUT_WR)
            assert answer(peer) in (0, 2, 7)
        assert storescu(receiver, sample(tmp_path / "one.dcm")).returncode == 0
    assert len(kept(tmp_path / "home")) == 1 and not kept(tmp_path / "home", "incoming")
    assert "Traceback" not in capfd.readouterr().err


def test_peers_that_abort_half_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    with receiving(home) as receiver:
        for end in (b"\7\0\0\0\0\4\0\0\0\0", b""):
            for words in (b"", fragment(1, command()[:20]), fragment(3, command()), fragment(3, command()) + fragment(0, b"x" * 9000)):
                with agreed(receiver) as peer:
                    peer.sendall(words + end)
            with agreed(receiver) as peer:  # all of it, and no wait for the answer
                peer.sendall(fragment(3, command()) + fragment(2, b"x" * 9000) + end)
        until(lambda: not kept(home, "incoming"))
        assert storescu(receiver, sample(tmp_path / "one.dcm")).returncode == 0
    assert len(kept(home)) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_peers_that_stall_are_cut_off(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with receiving(home, idle=1.5, asking=1.5) as receiver:
        silent, half, idle, within = connected(receiver), connected(receiver), agreed(receiver), agreed(receiver)
        half.sendall(request()[:50])
        within.sendall(fragment(3, command()) + fragment(0, b"x" * 9000) + b"\4\0\0")
        begun = time.monotonic()
        for peer in (silent, half, idle, within):
            with peer:
                assert answer(peer) in (0, 7)
        assert time.monotonic() - begun < 12
        until(lambda: not kept(home, "incoming"))
        until(lambda: not receiver.connections)


def test_nothing_that_is_proposed_is_supported(tmp_path: Path) -> None:
    with receiving(tmp_path / "home") as receiver:
        entity = AE("SENDER")
        entity.add_requested_context(PatientRootQueryRetrieveInformationModelMove)
        association = entity.associate("127.0.0.1", receiver.port)
        assert not association.is_established or not association.accepted_contexts


@pytest.mark.parametrize(("sop_class", "syntax"), [("1.2.3.4.5.6", str(ExplicitVRLittleEndian)), (str(CTImageStorage), "1.2.3.4.5.7")])
def test_classes_and_syntaxes_that_nobody_knows_are_kept(tmp_path: Path, sop_class: str, syntax: str) -> None:
    dataset = pydicom.dcmread(sample(tmp_path / "one.dcm"))
    dataset.SOPClassUID = sop_class
    with receiving(tmp_path / "home") as receiver:
        entity = AE("SENDER")
        entity.add_requested_context(sop_class, syntax)
        association = entity.associate("127.0.0.1", receiver.port)
        dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.TransferSyntaxUID = sop_class, pydicom.uid.UID(syntax)
        path = tmp_path / "odd.dcm"
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
        from pynetdicom import _config

        _config.STORE_SEND_CHUNKED_DATASET = True  # as it stands in the file
        try:
            assert association.send_c_store(path).Status == 0
        finally:
            _config.STORE_SEND_CHUNKED_DATASET = False
        association.release()
    (found,) = kept(tmp_path / "home")
    meta = pydicom.dcmread(found, force=True).file_meta
    assert (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) == (sop_class, syntax)


def test_a_lie_about_the_syntax_is_no_fault_of_ours(tmp_path: Path) -> None:
    """Bytes that are no data set: refused, and no trace of them left."""
    with receiving(tmp_path / "home") as receiver:
        with agreed(receiver) as peer:
            peer.sendall(fragment(3, command()) + fragment(2, b"\x08\0\x16\0UI\xff\xff" + b"x" * 3000))
            assert answer(peer) == 4
        until(lambda: sum(receiver.counts.values()) == 1)
        assert "new" not in receiver.counts
    assert not kept(tmp_path / "home") and not kept(tmp_path / "home", "incoming")


def test_a_full_disk_is_told_and_over_when_there_is_room(tmp_path: Path) -> None:
    """A file system of 1 MB, where we may mount one; else files of at most 64 KB."""
    home, full = tmp_path / "home", tmp_path / "home/spool"
    full.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], capture_output=True).returncode == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with receiving(home) as receiver:
            one, big = sample(tmp_path / "one.dcm"), sample(tmp_path / "big.dcm", SOPInstanceUID="1.2.3", PixelData=bytes(2 << 20))
            if not mounted:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
            before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            done = storescu(receiver, big)
            assert done.returncode and "OutOfResources" in done.stderr
            assert storescu(receiver, one).returncode == 0
            signal.signal(signal.SIGXFSZ, before)
            assert len(kept(home)) == 1 and not kept(home, "incoming")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        if mounted:
            subprocess.run(["umount", "-l", str(full)], check=True)


@pytest.mark.parametrize(
    ("who", "words"),
    [("stranger", "unknown here"), ("expired_client", "has expired"), ("", "a client certificate is wanted and none was shown")],
)
def test_whose_certificate_is_not_good(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture, who: str, words: str
) -> None:
    c = certificates
    context = server_context(str(c.server.cert), str(c.server.key), str(c.ca))
    path = sample(tmp_path / "one.dcm")
    with receiving(tmp_path / "home", context) as receiver, caplog.at_level(logging.WARNING):
        if who:
            pair = getattr(c, who)
            assert storescu(receiver, path, "+tls", str(pair.key), str(pair.cert), "+cf", str(c.ca)).returncode
        else:
            assert storescu(receiver, path, "+tla", "+cf", str(c.ca)).returncode
        assert not receiver.counts
        until(lambda: words in caplog.text)
        until(lambda: not receiver.connections)


def test_a_tls_client_of_a_plain_receiver(certificates: Certificates, tmp_path: Path) -> None:
    c = certificates
    with receiving(tmp_path / "home") as receiver:
        path = sample(tmp_path / "one.dcm")
        assert storescu(receiver, path, "+tls", str(c.client.key), str(c.client.cert), "+cf", str(c.ca)).returncode
        assert storescu(receiver, path).returncode == 0


def test_a_thousand_associations_opened_and_left(tmp_path: Path) -> None:
    """Those within the limit are taken, the next are told so, the rest turned away; the silence costs nothing, and it ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(6000, hard) if hard > 0 else 6000, hard))
    peers: list[socket.socket] = []
    try:
        with receiving(tmp_path / "home", associations=60, idle=6.0) as receiver:
            kinds, early, start = [], 0, time.monotonic()
            for _ in range(1000):
                with contextlib.suppress(ConnectionError):
                    peers.append(connected(receiver))
                    peers[-1].sendall(request())
                    kinds.append(answer(peers[-1]))
                    early += kinds[-1] == 2 and time.monotonic() - start < 6.0  # later, the first have been idle for too long
            assert early == 60 and kinds.count(3) > 0 and set(kinds) <= {0, 2, 3}
            assert receiver.connections <= 2 * 60 + 50
            for peer, kind in zip(peers, kinds, strict=False):
                if kind == 3:
                    peer.close()
            time.sleep(0.5)
            before, begun = time.process_time(), time.monotonic()
            time.sleep(2.0)
            assert time.process_time() - before < 0.15 * (time.monotonic() - begun)  # 60 associations, 120 threads
            until(lambda: not receiver.connections, 20)
            assert storescu(receiver, sample(tmp_path / "one.dcm")).returncode == 0
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def program(home: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """mdc-pacs as a process, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home.mkdir(exist_ok=True)
    listen = ["--listen", f"127.0.0.1:{port}", "--spool", str(home / "spool"), "--index", str(home / "index.db")]
    line = [sys.executable, str(ROOT / "bin/mdc-pacs"), "serve", *listen, *words]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: process.poll() is not None or listens(port), 20)
            yield process, port
        finally:
            process.kill()


def test_killed_and_started_again(tmp_path: Path) -> None:
    """What it acknowledged is there, what was half-way is not, and the same comes in as known."""
    home, source = tmp_path / "home", tmp_path / "source"
    source.mkdir()
    for number in range(200):
        sample(source / f"{number}.dcm", SOPInstanceUID=f"1.2.3.{number}")
    with program(home) as (process, port):
        line = [STORESCU, "-v", "+sd", "127.0.0.1", str(port), str(source)]
        sender = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        until(lambda: len(kept(home)) > 20)
        process.kill()
        said = sender.communicate(timeout=30)[1]
    acknowledged = said.count("Received Store Response (Success)")
    assert 0 < acknowledged <= len(kept(home)) <= acknowledged + 1 < 200
    with program(home) as (process, port):
        subprocess.run([STORESCU, "+sd", "127.0.0.1", str(port), str(source)], check=True, timeout=60)
        assert len(kept(home)) == 200 and not kept(home, "incoming") and not kept(home, "conflicts")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0 and process.stderr is not None and process.stderr.read() == ""


def test_signals(certificates: Certificates, tmp_path: Path) -> None:
    """SIGHUP shows a new certificate, SIGTERM is a good end with associations open, SIGINT is no good one."""
    import ssl

    c, home = certificates, tmp_path / "home"
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, source in ((cert, c.server.cert), (key, c.server.key)):
        path.write_bytes(Path(source).read_bytes())
        path.chmod(0o600)
    words = ["--cert", str(cert), "--key", str(key), "--client-ca", str(c.ca)]

    def shown(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    with program(home, *words) as (process, port):
        assert shown(port).split() == Path(c.server.cert).read_text().split()[: len(shown(port).split())]
        cert.write_bytes(Path(c.client.cert).read_bytes())
        key.write_bytes(Path(c.client.key).read_bytes())
        process.send_signal(signal.SIGHUP)
        until(lambda: shown(port).split() == Path(c.client.cert).read_text().split()[: len(shown(port).split())])
        cert.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert shown(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT or process.returncode == 130
    with program(home) as (process, port):
        entity = AE("SENDER")
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", port)
        assert association.is_established
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        until(lambda: not association.is_established)


def test_large_objects_take_little_memory(tmp_path: Path) -> None:
    big = sample(tmp_path / "big.dcm", PixelData=bytes(500 << 20))
    with program(tmp_path / "home") as (process, port):
        subprocess.run([STORESCU, "127.0.0.1", str(port), str(big)], check=True, timeout=120)
        peak = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 200 << 10
    assert kept(tmp_path / "home")[0].stat().st_size > 500 << 20
