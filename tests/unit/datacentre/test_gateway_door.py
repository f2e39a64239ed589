"""Who is let in and who is not, in words on both sides; certificates that change; what is wrong at the start."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.unit.datacentre.gateways import Running
from tests.unit.datacentre.test_personal_data import document
from tests.visits.certificates import Certificates, Pair


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, certs: Certificates) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("gateway"), certs, "--workers", "1", constants={"serving._QUIET_SECONDS": 0.5}) as running:
        yield running


def refusal(gateway: Running, context: ssl.SSLContext) -> str:
    """What OpenSSL tells a client that asks for /health."""
    context.check_hostname = True
    try:
        with (
            socket.create_connection(("localhost", gateway.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert link.recv(100) == b"", "it was let in"
    except ssl.SSLError as error:
        return error.reason or str(error)
    return "hung up"


def client_context(gateway: Running, pair: Pair | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(gateway.certificates.ca))
    context.maximum_version = newest
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
@pytest.mark.parametrize(
    ("name", "alerts", "line"),
    [
        ("", ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"), "shows no certificate"),
        ("expired_client", ("SSLV3_ALERT_CERTIFICATE_EXPIRED",), "certificate has expired"),
        ("stranger", ("TLSV1_ALERT_UNKNOWN_CA",), "unable to get local issuer"),
        ("server", ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_BAD_CERTIFICATE"), "purpose"),
    ],
)
def test_wrong_certificates_are_told_why(
    gateway: Running, certs: Certificates, name: str, alerts: tuple[str, ...], line: str, newest: ssl.TLSVersion
) -> None:
    pair = getattr(certs, name) if name else None
    assert refusal(gateway, client_context(gateway, pair, newest)) in alerts
    assert gateway.wait_for_log(line).startswith("mdc-gateway: 127.0.0.1: ")


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
def test_old_tls(gateway: Running, certs: Certificates) -> None:
    context = client_context(gateway, certs.client, ssl.TLSVersion.TLSv1_1)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert refusal(gateway, context) in ("TLSV1_ALERT_PROTOCOL_VERSION", "hung up")
    gateway.wait_for_log("speaks a TLS older than 1.2")


def test_plain_http(gateway: Running) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = plain.recv(1000)
    assert said.startswith(b"HTTP/1.1 400 ") and said.endswith(b"HTTPS only.\n")
    gateway.wait_for_log("speaks HTTP without TLS")


def test_a_client_that_does_not_trust_us(gateway: Running, certs: Certificates) -> None:
    context = ssl.create_default_context(cafile=str(certs.other_ca))
    assert refusal(gateway, context) == "CERTIFICATE_VERIFY_FAILED"
    gateway.wait_for_log("does not know the authority of our certificate")


def test_failures_do_not_fill_the_log_and_are_counted(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1") as gateway:
        for _ in range(20):
            assert refusal(gateway, client_context(gateway, certs.stranger)) == "TLSV1_ALERT_UNKNOWN_CA"
        assert gateway.log().count("unable to get local issuer") == 1
        metrics = gateway.ask("GET", "/metrics").body.decode()
    assert 'mdc_gateway_failed_handshakes_total{reason="certificate"} 20.0' in metrics


def test_certificates_and_audit_log_are_renewed_by_a_signal(tmp_path: Path, certs: Certificates) -> None:
    cert, key, audit = tmp_path / "cert", tmp_path / "key", tmp_path / "audit"
    shutil.copy(certs.server.cert, cert)
    shutil.copy(certs.server.key, key)

    def shown(gateway: Running) -> str:
        context = gateway.context()
        context.check_hostname = False
        with socket.create_connection(("localhost", gateway.port)) as plain, context.wrap_socket(plain) as link:
            return dict(part[0] for part in link.getpeercert()["subject"])["commonName"]  # type: ignore[index,misc]

    def until(gateway: Running, name: str) -> None:
        deadline = time.monotonic() + 20
        while shown(gateway) != name:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with Running(tmp_path, certs, "--audit", str(audit), cert=cert, key=key) as gateway, gateway.connection() as lasting:
        assert gateway.post(document(text="1").encode(), "renew-01").status == 201
        lasting.request("GET", "/health")
        assert lasting.getresponse().read()
        before = shown(gateway)
        audit.rename(tmp_path / "audit.1")
        shutil.copy(certs.wrong_host.cert, cert)
        shutil.copy(certs.wrong_host.key, key)
        gateway.process.send_signal(signal.SIGHUP)
        until(gateway, "elsewhere.example")
        lasting.request("GET", "/health")
        assert lasting.getresponse().status == 200, "connections that stand are kept"
        cert.write_text("nonsense")
        gateway.process.send_signal(signal.SIGHUP)
        assert "the old one is used on" in gateway.wait_for_log("hold no certificate and private key")
        assert shown(gateway) == "elsewhere.example"
        shutil.copy(certs.server.cert, cert)
        shutil.copy(certs.server.key, key)
        gateway.process.send_signal(signal.SIGHUP)
        until(gateway, before)
        assert gateway.post(document(text="2").encode(), "renew-02").status == 201
    assert [json.loads(line)["message_id"] for line in (tmp_path / "audit.1").read_text().splitlines()] == ["renew-01"]
    assert [json.loads(line)["message_id"] for line in audit.read_text().splitlines()] == ["renew-02"]


def run(gateway: Running) -> tuple[int, str]:
    done = subprocess.run(gateway.command, cwd=gateway.home, capture_output=True, text=True, timeout=60)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def test_what_is_wrong_with_the_files_is_said_at_the_start(tmp_path: Path, certs: Certificates) -> None:
    absent, nonsense, encrypted, readable = (tmp_path / name for name in ("absent", "nonsense", "encrypted", "readable"))
    nonsense.write_text("nonsense")
    nonsense.chmod(0o600)
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", certs.server.key, "-passout", "pass:x", "-out", encrypted], check=True)
    encrypted.chmod(0o600)
    shutil.copy(certs.server.key, readable)
    readable.chmod(0o644)
    cases = [
        ({"cert": absent}, 66, f"{absent}: No such file"),
        ({"key": absent}, 66, f"{absent}: No such file"),
        ({"cert": nonsense}, 65, "hold no certificate and private key"),
        ({"key": nonsense}, 65, "hold no certificate and private key"),
        ({"key": certs.client.key}, 65, f"{certs.client.key}: is not the key of"),
        ({"key": encrypted}, 65, f"{encrypted}: is encrypted with a passphrase"),
        ({"key": readable}, 77, f"{readable}: other users have access"),
    ]
    for paths, status, words in cases:
        said = run(Running(tmp_path, certs, **paths))
        assert said[0] == status and words in said[1]
    nowhere = Certificates(**{**vars(certs), "ca": nonsense})
    assert run(Running(tmp_path, nowhere))[0] == 65
    assert run(Running(tmp_path, certs, "--listen", "nowhere"))[0] == 2
    assert run(Running(tmp_path, certs, "--audit", str(tmp_path / "no/audit")))[0] == 73


def test_a_port_or_a_spool_in_use(tmp_path: Path, certs: Certificates) -> None:
    with Running(tmp_path, certs, "--workers", "1") as gateway:
        status, words = run(gateway)
        assert status == 69 and f"127.0.0.1:{gateway.port}: Address already in use" in words
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            gateway.words = ("--listen", f"127.0.0.1:{probe.getsockname()[1]}")
        status, words = run(gateway)
        assert status == 75 and "another process writes to this spool" in words


def test_signals_end_it_well(tmp_path: Path, certs: Certificates) -> None:
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)):
        with Running(tmp_path, certs, "--workers", "1") as gateway, gateway.connection() as connection:
            connection.putrequest("POST", "/visits")
            body = document(text=str(number)).encode()
            sent = {"Content-Length": str(len(body)), "Content-Type": "application/xml", "X-Message-Id": f"signal-{number}"}
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body[:100])
            with gateway.connection() as other:
                other.request("GET", "/health")
                assert other.getresponse().status == 200
                gateway.process.send_signal(number)
                time.sleep(0.3)
                connection.send(body[100:])
                assert connection.getresponse().status == 201, "what had begun is finished"
                assert gateway.process.wait(30) == status
        assert gateway.log() == ""


def test_our_own_certificate_that_has_ended(tmp_path: Path, certs: Certificates) -> None:
    gateway = Running(tmp_path, certs, "--workers", "1", cert=certs.expired_server.cert, key=certs.expired_server.key)
    with (tmp_path / "log").open("ab") as log, subprocess.Popen(gateway.command, cwd=tmp_path, stderr=log) as gateway.process:
        gateway.wait_for_log("has expired, and clients refuse it; renew it, then send SIGHUP")
        assert gateway.end() in (0, -signal.SIGTERM)


def test_a_revoked_certificate(tmp_path: Path, certs: Certificates) -> None:
    now = datetime.now(UTC)
    authority = x509.load_pem_x509_certificate(certs.ca.read_bytes())
    key = serialization.load_pem_private_key(certs.ca.with_suffix(".key").read_bytes(), None)
    client = x509.load_pem_x509_certificate(certs.client.cert.read_bytes())
    revoked = x509.RevokedCertificateBuilder().serial_number(client.serial_number).revocation_date(now).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(now).next_update(now + timedelta(days=1))
    listed = builder.add_revoked_certificate(revoked).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    both = tmp_path / "ca.pem"
    both.write_bytes(certs.ca.read_bytes() + listed.public_bytes(serialization.Encoding.PEM))
    gateway = Running(tmp_path, Certificates(**{**vars(certs), "ca": both}), "--workers", "1")
    with (tmp_path / "log").open("ab") as log, subprocess.Popen(gateway.command, cwd=tmp_path, stderr=log) as gateway.process:
        deadline = time.monotonic() + 30
        while True:
            try:
                assert refusal(gateway, client_context(Running(tmp_path, certs), certs.client)) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        gateway.wait_for_log("certificate revoked")
        assert gateway.end() == 0
