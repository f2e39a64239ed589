"""Encryption: who is believed, and each way in which that fails told in words of its own. Receivers are pynetdicom's and DCMTK's."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.hospital.images.receivers import free_port, listens, receiver, speaking
from tests.unit.hospital.images.samples import images
from tests.unit.hospital.images.test_send import run
from tests.visits.certificates import Certificates, Pair, make
from toolkit.core.dicom_network import client_context, server_context
from toolkit.core.errors import NotPermitted, Unavailable, UsageError
from toolkit.hospital.images.association import IMPLICIT_LITTLE, VERIFICATION, Association
from toolkit.hospital.images.peer import Peer, check_title, parse_place

ECHO = [(VERIFICATION, IMPLICIT_LITTLE)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def client(pair: Pair, ca: Path) -> ssl.SSLContext:
    return client_context(str(pair.cert), str(pair.key), str(ca))


def server(pair: Pair, ca: Path) -> ssl.SSLContext:
    return server_context(str(pair.cert), str(pair.key), str(ca))


def refused(there: Peer, expected: str) -> None:
    with pytest.raises(Unavailable) as caught:
        Association(there, ECHO)
    assert expected in str(caught.value) and "\n" not in str(caught.value) and "; " in str(caught.value)


def test_images_over_tls(certificates: Certificates, tmp_path: Path) -> None:
    c = certificates
    images(tmp_path, 3)
    with receiver(tls=server(c.server, c.ca)) as there:
        for host in ("127.0.0.1", "localhost"):
            assert run(there.peer(host=host, tls=client(c.client, c.ca)), tmp_path)[0] == 0
    assert len(there.got) == 6


def test_the_receivers_certificate(certificates: Certificates) -> None:
    c = certificates
    ours = client(c.client, c.ca)
    for pair, expected in (
        (c.expired_server, "its certificate has expired; have it renewed"),
        (c.wrong_host, "its certificate is made out to another host name"),
        (c.client, "its certificate is made for another purpose"),
    ):
        with receiver(tls=server(pair, c.ca)) as there:
            refused(there.peer(host="localhost", tls=ours), expected)
    with receiver(tls=server(c.server, c.ca)) as there:
        refused(there.peer(tls=client(c.stranger, c.other_ca)), "from an authority that is unknown here")


def test_our_certificate(certificates: Certificates) -> None:
    c = certificates
    with receiver(tls=server(c.server, c.ca)) as there:
        refused(there.peer(tls=client(c.stranger, c.ca)), "does not know the authority of our certificate")
        refused(there.peer(tls=client(c.expired_client, c.ca)), "says that our certificate has expired")
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.load_verify_locations(c.ca)
        refused(there.peer(tls=bare), "a client certificate is wanted and none was shown")


def test_one_speaks_tls_and_the_other_does_not(certificates: Certificates) -> None:
    c = certificates
    with receiver() as there, pytest.raises(Unavailable, match="TLS"):
        Association(there.peer(tls=client(c.client, c.ca)), ECHO)
    with receiver(tls=server(c.server, c.ca)) as there, pytest.raises(Unavailable, match="TLS"):
        Association(there.peer(), ECHO)
    with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        refused(Peer("127.0.0.1", port, "A", "B", client(c.client, c.ca), 2.0), "does not speak TLS")
    with speaking(b"") as port:
        refused(Peer("127.0.0.1", port, "A", "B", client(c.client, c.ca), 0.3), "TLS was not agreed on in time")


def test_dcmtk_plain_and_with_tls(certificates: Certificates, tmp_path: Path, program: Callable[[str, str], str]) -> None:
    """storescp hears us in one language only, and says nothing in the other."""
    c = certificates
    images(tmp_path / "out", 5)
    storescp = program("/usr/bin/storescp", "dcmtk")
    for words, tls in (
        ([], None),
        (["+tls", str(c.server.key), str(c.server.cert), "+cf", str(c.ca)], client(c.client, c.ca)),
    ):
        port = free_port()
        home = tmp_path / f"home{len(words)}"
        home.mkdir()
        with subprocess.Popen([storescp, *words, "-od", home, str(port)], stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 10
                while not listens(port):
                    assert time.monotonic() < end
                    time.sleep(0.05)
                good = Peer("localhost", port, "THERE", "HERE", tls, 10.0)
                assert run(good, tmp_path / "out")[0] == 0
                wrong = Peer("localhost", port, "THERE", "HERE", None if tls else client(c.client, c.ca), 2.0)
                with pytest.raises(Unavailable, match="TLS"):
                    Association(wrong, ECHO)
            finally:
                process.kill()
        assert len(list(home.iterdir())) == 5


def test_plain_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the name service says that localhost is elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        monkeypatch.setattr(socket.socket, "getpeername", lambda self: ("192.0.2.1", port))
        with pytest.raises(NotPermitted, match="unencrypted"):
            Peer("localhost", port, "A", "B", None, 1.0).connect()


def test_no_connection() -> None:
    port = free_port()
    refused(Peer("127.0.0.1", port, "A", "B", None, 1.0), "nothing listens there; start the receiver")
    refused(Peer("nowhere.invalid", port, "A", "B", None, 1.0), "its name cannot be resolved")


@pytest.mark.parametrize("text", ["", "here", "here:", ":1", "a:0", "a:65536", "a:x", "::1:104", "[::1:104", "a:१"])
def test_places(text: str) -> None:
    with pytest.raises(UsageError, match="no HOST:PORT"):
        parse_place(text, "--to")


def test_places_and_titles() -> None:
    assert parse_place("[::1]:104", "--to") == ("::1", 104) and parse_place("mdc.example:2762", "--to") == ("mdc.example", 2762)
    assert Peer("::1", 104, "A", "B", None, 1.0).place == "[::1]:104"
    assert check_title("MDC 1", "--called") == "MDC 1"
    for title in ("", "seventeen letters", " A", "A\\B", "Ł", "A\n"):
        with pytest.raises(UsageError, match="no application entity title"):
            check_title(title, "--called")
