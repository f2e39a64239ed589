"""TLS for DICOM: real handshakes on loopback, good ones and each kind of bad one."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.visits.certificates import Certificates, Pair, make
from toolkit.core.dicom_network import client_context, no_delay, server_context, tls_failure
from toolkit.core.errors import BadData, NoInput, NotPermitted


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def handshake(server: ssl.SSLContext | None, client: ssl.SSLContext | None, host: str = "localhost") -> tuple[str, str]:
    """What server and client say of each other; empty where all is well. None: that side speaks without TLS."""
    said = {"server": "", "client": ""}
    near, far = socket.socketpair()

    def side(name: str, one: socket.socket, context: ssl.SSLContext | None) -> None:
        one.settimeout(5)
        try:
            if context is None:
                one.sendall(b"\x01\x00\x00\x00\x00\xcd" + bytes(205))  # the head of an A-ASSOCIATE-RQ
                one.recv(1)
            else:
                words = {"server_side": True} if name == "server" else {"server_hostname": host}
                one = context.wrap_socket(one, **words)
                one.sendall(b"x") if name == "server" else one.recv(1)
        except OSError as error:
            said[name] = f"{name}: {tls_failure(error)[0]}"
        finally:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while one.recv(100):
                    pass
            one.close()

    thread = threading.Thread(target=side, args=("server", near, server))
    thread.start()
    side("client", far, client)
    thread.join()
    return said["server"], said["client"]


def test_handshakes(certificates: Certificates) -> None:
    c = certificates

    def server(pair: Pair, ca: Path = c.ca) -> ssl.SSLContext:
        return server_context(str(pair.cert), str(pair.key), str(ca))

    def client(pair: Pair, ca: Path = c.ca) -> ssl.SSLContext:
        return client_context(str(pair.cert), str(pair.key), str(ca))

    good = server(c.server)
    assert handshake(good, client(c.client)) == ("", "")
    assert "does not speak TLS" in handshake(good, None)[0]
    assert "does not speak TLS" in handshake(None, client(c.client))[1]
    assert "another host name" in handshake(server(c.wrong_host), client(c.client))[1]
    assert "has expired" in handshake(server(c.expired_server), client(c.client))[1]
    assert "unknown here" in handshake(good, client(c.client, c.other_ca))[1]
    assert "unknown here" in handshake(good, client(c.stranger))[0]
    assert "has expired" in handshake(good, client(c.expired_client))[0]
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(c.ca)
    assert handshake(good, bare) == ("server: " + "a client certificate is wanted and none was shown",) + (
        "client: a client certificate is wanted and none was shown",
    )


def test_old_versions_are_refused(certificates: Certificates) -> None:
    c = certificates
    for made in (server_context, client_context):
        assert made(str(c.server.cert), str(c.server.key), str(c.ca)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_files(certificates: Certificates, tmp_path: Path) -> None:
    c = certificates
    cert, key, ca = str(c.server.cert), str(c.server.key), str(c.ca)
    with pytest.raises(NoInput):
        server_context(cert, str(tmp_path / "missing"), ca)
    with pytest.raises(BadData, match="is not the key of"):
        server_context(cert, str(c.client.key), ca)
    with pytest.raises(BadData, match="holds no certificate"):
        client_context(cert, key, key)
    open_key = tmp_path / "open.key"
    open_key.write_bytes(c.server.key.read_bytes())
    os.chmod(open_key, 0o644)
    with pytest.raises(NotPermitted, match="chmod 600"):
        server_context(cert, str(open_key), ca)


def test_no_delay() -> None:
    with socket.socket() as one:
        no_delay(one)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
