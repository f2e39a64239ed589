"""The client against real TLS on loopback: every failure has words of its own, and only a true acknowledgement counts."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path

import pytest

from toolkit.core.errors import BadData, NoInput, NotPermitted, Unavailable, UsageError
from toolkit.hospital.sending.client import Answer, Fate, Gateway, tls_context

from .authority import Authority
from .conftest import DataCentre, acknowledge, server_context, serving

DOCUMENT = "<ClinicalDocument>ąę</ClinicalDocument>".encode() * 2000


def send(
    centre: DataCentre, authority: Authority, host: str = "localhost", cert: str | None = "hospital.pem", timeout: float = 5
) -> Answer:
    own = str(authority.directory / cert) if cert else None
    context = tls_context(own, None, str(authority.path))
    with Gateway(f"https://{host}:{centre.port}", context, timeout, has_certificate=own is not None) as gateway:
        return gateway.post("id-1", DOCUMENT)


def failure(centre: DataCentre, authority: Authority, **how) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(Unavailable) as caught:
        send(centre, authority, **how)
    assert not centre.received, "nothing may leave over a connection that is not what it should be"
    assert caught.value.place.endswith(f":{centre.port}") and caught.value.remedy
    return caught.value.problem


def test_a_document_arrives_and_its_digest_is_acknowledged(centre: DataCentre, authority: Authority) -> None:
    answer = send(centre, authority)
    assert centre.received == [("id-1", DOCUMENT)]
    assert (answer.fate, answer.digest) == (Fate.ACKNOWLEDGED, sha256(DOCUMENT).digest())
    assert json.loads(answer.text)["message_id"] == "id-1"


def test_one_connection_carries_many_documents(centre: DataCentre, authority: Authority) -> None:
    context = tls_context(str(authority.directory / "hospital.pem"), None, str(authority.path))
    with Gateway(centre.url, context) as gateway:
        for number in range(20):
            assert gateway.post(f"id-{number}", DOCUMENT).fate is Fate.ACKNOWLEDGED
    assert (len(centre.received), centre.connections) == (20, 1)


def test_a_connection_that_was_closed_in_between_is_opened_anew(centre: DataCentre, authority: Authority) -> None:
    def and_close(message_id: str, document: bytes) -> tuple[int, dict[str, str], bytes]:
        status, _, body = acknowledge(message_id, document)
        centre.answer = acknowledge
        return status, {"Keep-Alive": "timeout=0"}, body

    context = tls_context(str(authority.directory / "hospital.pem"), None, str(authority.path))
    with Gateway(centre.url, context) as gateway:
        centre.answer = and_close
        gateway.post("id-1", DOCUMENT)
        gateway._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr] # as when the gateway was started anew
        assert gateway.post("id-2", DOCUMENT).fate is Fate.ACKNOWLEDGED
    assert [name for name, _ in centre.received] == ["id-1", "id-2"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_missing(authority: Authority, version: ssl.TLSVersion) -> None:
    with serving(server_context(authority.directory / "localhost.pem", authority.path, version)) as centre:
        for _ in range(10):  # the alert must not be lost to a reset
            assert failure(centre, authority, cert=None) == "it wants a client certificate and got none"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_an_authority_that_the_data_centre_does_not_know(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    stranger = Authority(tmp_path, "stranger").certificate("stranger-hospital", client=True)
    with serving(server_context(authority.directory / "localhost.pem", authority.path, version)) as centre:
        assert failure(centre, authority, cert=str(stranger)) == "it does not know the authority of our client certificate"


def test_a_client_certificate_that_has_expired(centre: DataCentre, authority: Authority) -> None:
    authority.certificate("late-hospital", begins=-20, ends=-1, client=True)
    assert failure(centre, authority, cert="late-hospital.pem") == "our client certificate has expired"


def test_a_certificate_made_out_to_another_host(authority: Authority) -> None:
    other = authority.certificate("elsewhere", ("mdc.example",))
    with serving(server_context(other, authority.path)) as centre:
        assert failure(centre, authority) == "its certificate is made out to another host name"
        assert failure(centre, authority, host="127.0.0.1") == "its certificate is not made out to this address"


def test_a_certificate_that_has_expired_or_is_not_valid_yet(authority: Authority) -> None:
    with serving(server_context(authority.certificate("old", ("localhost",), begins=-20, ends=-1), authority.path)) as centre:
        assert failure(centre, authority) == "its certificate has expired"
    with serving(server_context(authority.certificate("young", ("localhost",), begins=2), authority.path)) as centre:
        assert failure(centre, authority) == "its certificate is not valid yet"


def test_a_certificate_of_an_unknown_authority(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").certificate("stranger-centre", ("localhost",))
    with serving(server_context(stranger, authority.path)) as centre:
        assert failure(centre, authority) == "its certificate comes from an authority that is unknown here"


def test_a_certificate_that_is_made_for_a_client_only(authority: Authority) -> None:
    wrong = authority.certificate("wrong-use", ("localhost",), client=True)
    with serving(server_context(wrong, authority.path)) as centre:
        assert failure(centre, authority) == "its certificate is not made for a server"


def test_tls_against_plain_http(authority: Authority) -> None:
    with serving(None) as centre:
        assert failure(centre, authority) == "answers without TLS"


def test_plain_http_is_never_spoken() -> None:
    with pytest.raises(UsageError, match="http:// would send visits unencrypted; give https://HOST:PORT"):
        Gateway("http://localhost:8443", tls_context(None, None, None))


@pytest.mark.parametrize(
    "url", ["localhost:8443", "https://", "https://a:b@h", "https://h:99999", "https://h?x=1", "ftp://h", "https://[::1"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="--to"):
        Gateway(url, tls_context(None, None, None))


def test_nobody_listens(authority: Authority) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        centre = DataCentre()
        centre.port = taken.getsockname()[1]
        assert failure(centre, authority) == "nothing listens there"


def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    centre = DataCentre()
    centre.port = 443
    assert failure(centre, authority, host="no-such-host.invalid").startswith("its name cannot be resolved")


def test_a_data_centre_that_hangs_up_or_says_nothing(centre: DataCentre, authority: Authority) -> None:
    centre.answer = "hang up"
    with pytest.raises(Unavailable, match="hung up before it answered"):
        send(centre, authority)
    centre.answer = "say nothing"
    with pytest.raises(Unavailable, match="said nothing for 1 seconds"):
        send(centre, authority, timeout=1)


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_what_is_refused_for_ever(centre: DataCentre, authority: Authority, status: int) -> None:
    centre.answer = lambda *_: (status, {}, b'{"error": "a name\\nwas found"}')
    answer = send(centre, authority)
    assert answer.fate is Fate.REFUSED
    assert answer.reason.startswith(str(status)) and answer.reason.endswith(": a name was found")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_be_taken_later(centre: DataCentre, authority: Authority, status: int) -> None:
    centre.answer = lambda *_: (status, {"Retry-After": "17"}, b"")
    assert (send(centre, authority).fate, send(centre, authority).after) == (Fate.LATER, 17.0)


def test_retry_after_as_a_date(centre: DataCentre, authority: Authority) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    centre.answer = lambda *_: (503, {"Retry-After": when}, b"")
    assert 90 < (send(centre, authority).after or 0) <= 100
    centre.answer = lambda *_: (503, {"Retry-After": "soon"}, b"")
    assert send(centre, authority).after is None


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405])
def test_answers_that_say_nothing_about_the_document(centre: DataCentre, authority: Authority, status: int) -> None:
    centre.answer = lambda *_: (status, {"Location": "https://elsewhere"}, b"")
    with pytest.raises(Unavailable, match=f"does not take visits from us: {status}"):
        send(centre, authority)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>ok</html>", b"[]", b"{}", acknowledge("id-1", DOCUMENT + b" ")[2], b"9" * 100_000],
    ids=["empty", "html", "list", "nothing", "other content", "endless"],
)
def test_only_a_true_acknowledgement_counts(centre: DataCentre, authority: Authority, body: bytes) -> None:
    centre.answer = lambda *_: (201, {}, body)
    assert send(centre, authority).fate is Fate.LATER


def test_content_that_came_first_under_another_message_id_is_acknowledged(centre: DataCentre, authority: Authority) -> None:
    centre.answer = lambda _, document: (200, *acknowledge("id-0", document)[1:])
    assert send(centre, authority).fate is Fate.ACKNOWLEDGED


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    hospital = authority.directory / "hospital.pem"
    other = authority.certificate("other-hospital", client=True)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(NoInput, match="No such file"):
        tls_context(str(tmp_path / "none.pem"), None, None)
    with pytest.raises(BadData, match="holds no certificate"):
        tls_context(None, None, str(tmp_path / "text"))
    with pytest.raises(BadData, match="hold no certificate and private key"):
        tls_context(str(tmp_path / "text"), None, None)
    with pytest.raises(BadData, match="is not the key of"):
        tls_context(str(hospital), str(other), None)
    with pytest.raises(UsageError, match="--client-key"):
        tls_context(None, str(other), None)
    readable = tmp_path / "readable.pem"
    readable.write_bytes(hospital.read_bytes())
    readable.chmod(0o644)
    with pytest.raises(NotPermitted, match="chmod 600"):
        tls_context(str(readable), None, None)


def test_a_key_with_a_passphrase_is_named_and_not_asked_for(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

    hospital = authority.directory / "hospital.pem"
    key = load_pem_private_key(hospital.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.touch(0o600)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(BadData, match="is encrypted with a passphrase"):
        tls_context(str(hospital), str(locked), None)
