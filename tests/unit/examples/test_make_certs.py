"""make-certs: what it makes is what TLS accepts, and what it makes badly on purpose is what TLS refuses."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from tests.visits import certificates
from tests.visits.certificates import Certificates, Pair


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


def shaken(server: Pair, client_ca: Path, client: Pair, server_ca: Path) -> None:
    """A handshake as the two programs do it, over a socket pair: raises what the client is told."""
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    accepting.load_cert_chain(server.cert, server.key)
    accepting.verify_mode = ssl.CERT_REQUIRED
    asking = ssl.create_default_context(cafile=str(server_ca))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    asking.load_cert_chain(client.cert, client.key)
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)

    def serve() -> None:
        try:
            with accepting.wrap_socket(left, server_side=True) as stream:
                stream.sendall(b"welcome")
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(right, server_hostname="localhost") as stream:
            assert stream.recv(7) == b"welcome"
    finally:
        right.close()
        thread.join()


def test_both_sides_accept_each_other(certs: Certificates) -> None:
    shaken(certs.server, certs.ca, certs.client, certs.ca)


@pytest.mark.parametrize(
    "server, client, words",
    [
        ("expired_server", "client", "certificate has expired"),
        ("wrong_host", "client", "Hostname mismatch"),
        ("server", "expired_client", "expired"),
        ("server", "stranger", "unknown ca|alert"),
        ("client", "client", "unsuitable certificate purpose|Hostname mismatch|unsupported certificate purpose"),
        ("server", "server", "alert|unsupported"),
    ],
)
def test_bad_ones_are_refused(certs: Certificates, server: str, client: str, words: str) -> None:
    with pytest.raises(ssl.SSLError, match=f"(?i){words}"):
        shaken(getattr(certs, server), certs.ca, getattr(certs, client), certs.ca)


def test_an_unknown_authority_is_refused(certs: Certificates) -> None:
    with pytest.raises(ssl.SSLError, match="self-signed certificate in certificate chain|unable to get local issuer"):
        shaken(certs.server, certs.ca, certs.client, certs.other_ca)


def test_keys_are_their_owners_and_running_again_changes_nothing(certs: Certificates) -> None:
    home = certs.ca.parent
    before = {path: path.read_bytes() for path in home.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.glob("*.key")} == {0o600}
    again = certificates.run(home, "--server", "localhost", "--client", "st-anna")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_renewal_keeps_the_key(tmp_path: Path) -> None:
    certificates.run(tmp_path, "--client", "st-anna")
    key, old = (tmp_path / "st-anna.key").read_bytes(), (tmp_path / "st-anna.pem").read_bytes()
    assert certificates.run(tmp_path, "--client", "st-anna", "--renew").returncode == 0
    assert (tmp_path / "st-anna.key").read_bytes() == key
    assert (tmp_path / "st-anna.pem").read_bytes() != old


def test_what_cannot_be_done_is_said_in_one_line(certs: Certificates, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(certs.ca.read_bytes())
    done = certificates.run(tmp_path, "--client", "a")
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
    assert "ca.pem without ca.key" in done.stderr
    (tmp_path / "ca.key").write_bytes((certs.ca.parent / "ca.key").read_bytes())
    (tmp_path / "stranger.pem").write_bytes(certs.stranger.cert.read_bytes())
    done = certificates.run(tmp_path, "--client", "stranger")
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
    assert "another authority" in done.stderr
    assert certificates.run(tmp_path, "--client", "../escape").returncode == 2
    assert certificates.run("/proc/nowhere", "--client", "a").returncode == 73
