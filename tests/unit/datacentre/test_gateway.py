"""The gateway as a real process over mutual TLS: what it acknowledges is kept, what it refuses is not, what it kept is read back."""

from __future__ import annotations

import base64
import json
import random
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.conftest import ROOT
from tests.unit.datacentre.gateways import Running, ask, digest
from tests.unit.datacentre.test_personal_data import SEALED, document
from tests.visits.certificates import Certificates
from toolkit.datacentre.index import Document, open_index
from toolkit.datacentre.spool import Spool

PESEL = "02070803628"
OTHER = SEALED.replace("ABC", "QRS")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, certs: Certificates) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("gateway")
    with Running(home, certs, "--workers", "2", "--audit", str(home / "audit"), "--largest", "3000000") as running:
        yield running


def kept(gateway: Running) -> dict[str, str]:
    """Message id -> digest of what spool and index hold alike."""
    with Spool(str(gateway.spool)) as spool, open_index(str(gateway.index), create=False) as index:
        spooled = {entry.message_id: entry.digest for _, entry in spool}
        entered = {one.message_id: one.digest for one in index.messages(list(spooled))}
    return {name: entered[name] for name in spooled if spooled[name] == entered.get(name)}


def events(gateway: Running, message_id: str) -> list[dict[str, object]]:
    lines = (gateway.home / "audit").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one.get("message_id") == message_id]


def test_a_new_document_is_kept_and_a_repeated_one_gets_the_first_answer(gateway: Running) -> None:
    body = document(text="pierwszy").encode()
    first, again = gateway.post(body, "new-1234"), gateway.post(body, "new-1234")
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert {name: first.json[name] for name in ("id", "message_id", "digest")} == {
        "id": SEALED,
        "message_id": "new-1234",
        "digest": digest(body),
    }
    assert kept(gateway)["new-1234"] == digest(body)
    assert [one["outcome"] for one in events(gateway, "new-1234")] == [201, 200]
    assert events(gateway, "new-1234")[0]["client"] == "commonName=st-anna"
    assert events(gateway, "new-1234")[0]["digest"] == digest(body)


def test_known_content_under_another_message_id_gets_the_first_answer(gateway: Running) -> None:
    body = document(text="inhalt").encode()
    first, again = gateway.post(body, "content-1"), gateway.post(body, "content-2")
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json and again.json["message_id"] == "content-1"


def test_another_document_under_a_known_message_id_is_refused(gateway: Running) -> None:
    body = document(text="a").encode()
    assert gateway.post(body, "false-12").status == 201
    assert gateway.post(document(text="b").encode(), "false-12").status == 409
    assert gateway.post(document(text="a", visit=OTHER).encode(), "false-12").status == 409
    assert kept(gateway)["false-12"] == digest(body)


def test_many_at_once(gateway: Running) -> None:
    def send(lane: int) -> list[int]:
        with gateway.connection() as connection:
            sent = [(f"many-{lane}-{n:03}", document(text=f"{lane} {n}").encode()) for n in range(20)]
            headers = {"Content_Type": "application/xml"}
            return [ask(connection, "POST", "/visits", body, X_Message_Id=name, **headers).status for name, body in sent]

    with ThreadPoolExecutor(8) as lanes:
        assert [status for lane in lanes.map(send, range(8)) for status in lane] == [201] * 160
    assert sum(name.startswith("many-") for name in kept(gateway)) == 160
    groups = [line for line in gateway.ask("GET", "/metrics").body.decode().splitlines() if "commit_documents" in line]
    count = float(next(line for line in groups if "commit_documents_count" in line).split()[1])
    total = float(next(line for line in groups if "commit_documents_sum" in line).split()[1])
    assert total > count, "no two documents ever shared an fsync"


@pytest.mark.parametrize("same_message", [True, False])
def test_the_same_document_many_times_at_once_is_new_once(gateway: Running, same_message: bool) -> None:
    visit = SEALED.replace("ABC", "TW" + "AB"[same_message])
    body = document(text="zugleich", visit=visit).encode()
    with ThreadPoolExecutor(12) as senders:
        names = ["at-once-0" if same_message else f"at-once-{n + 1}" for n in range(12)]
        said = list(senders.map(lambda name: gateway.post(body, name), names))
    assert sorted(one.status for one in said) == [200] * 11 + [201]
    assert len({one.body for one in said}) == 1
    with open_index(str(gateway.index), create=False) as index:
        assert len(index.find(visit)) == 1


NONSENSE = [
    b"\x00" * 100,
    b"GET\r\n\r\n",
    b"GET /vis\xc5\xbcits HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /visits/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /visits?limit=%ff&since=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /visits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_nonsense_instead_of_http(gateway: Running) -> None:
    dice = random.Random(1)
    whole = (
        b"POST /visits HTTP/1.1\r\nHost: x\r\nX-Message-Id: nonsense-1\r\nContent-Type: application/xml\r\nContent-Length: 4\r\n\r\n<a/>"
    )
    for sent in [*NONSENSE, *(b"".join(dice.sample([whole[n : n + 9] for n in range(0, len(whole), 9)], 12)) for _ in range(40))]:
        plain = socket.create_connection(("localhost", gateway.port), 10)
        with gateway.context().wrap_socket(plain, server_hostname="localhost") as link, suppress(OSError):
            link.sendall(sent)
            link.settimeout(0.05)
            said = link.recv(100)
            assert said == b"" or said[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (sent[:80], said)
    assert gateway.ask("GET", "/health").status == 200
    assert "fault" not in gateway.log() and "Traceback" not in gateway.log()


PNOPL = base64.b64encode(b"0\x82serialNumber PNOPL-" + PESEL.encode() + bytes(90)).decode()
SCAN = base64.b64encode(zlib.compress(bytes(range(256)) * 4)).decode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (document(text="badał Łukasz Gżegżółka"), "Gżegżółka"),
        (document(text="badał Łukasz Gżegżółka").encode("utf-8").decode(), "Łukasz"),
        (document(head="<patient><name><given>Świętosława</given></name></patient>"), "Świętosława"),
        (document(text=f"PESEL {PESEL}"), PESEL),
        (document(f'<act><id root="2.16.840.1.113883.3.4424.1.1.616" extension="{PESEL}"/></act>'), PESEL),
        (document(text=f"podpis PNOPL-{PESEL}"), PESEL),
        (document(text=PNOPL), PNOPL[:40]),
        (document(f'<observationMedia><value representation="B64">{SCAN}</value></observationMedia>'), SCAN[:40]),
        (document('<x:Signature xmlns:x="http://www.w3.org/2000/09/xmldsig#">Zażółć</x:Signature>'), "Zażółć"),
        (document(head="<telecom value='tel:+48123456789'/>"), "48123456789"),
    ],
)
def test_personal_data_is_refused_and_never_repeated(gateway: Running, body: str, value: str) -> None:
    said = gateway.post(body.encode(), "personal-1")
    assert said.status == 422 and "personal data" in said.json["error"]
    assert "personal-1" not in kept(gateway)
    for place in (
        said.body,
        gateway.log().encode(),
        (gateway.home / "audit").read_bytes(),
        *(p.read_bytes() for p in gateway.spool.iterdir()),
    ):
        assert value.encode() not in place and json.dumps(value).strip('"').encode() not in place


BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"{}", "not well-formed"),
        (b"<ClinicalDocument", "not well-formed"),
        (b"<other/>", "is no ClinicalDocument"),
        (document().replace(f'<id extension="{SEALED}"/><eff', "<eff").encode(), "with one visit id"),
        (document().replace("<effectiveTime>", f'<id extension="{OTHER}"/><effectiveTime>').encode(), "with one visit id"),
        (b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><d>&e;</d>', "DOCTYPE"),
        (BOMB.encode() + document(text="&c;").encode(), "DOCTYPE"),
        (b'<!DOCTYPE d SYSTEM "http://127.0.0.1:1/x.dtd"><d/>', "DOCTYPE"),
        (b'<d xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="/etc/passwd"/></d>', "XInclude"),
        (document(text="ż").encode("iso-8859-2"), "not utf-8"),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + document(text="żółć").encode(), "is in UTF-8"),
        (b'<?xml version="1.0" encoding="utf-7"?><d/>', "declares the encoding"),
        (document().encode("utf-16"), "UTF-16"),
        (b"<a>" * 220 + b"</a>" * 220, "inside each other"),
    ],
    ids=range(16),
)
def test_malformed_documents_are_refused_in_one_line(gateway: Running, body: bytes, problem: str) -> None:
    said = gateway.post(body, "malformed-1")
    assert said.status == 400
    assert problem in said.json["error"] and "\n" not in said.json["error"] and "root:" not in said.json["error"]
    assert "malformed-1" not in kept(gateway)


def test_questions_that_make_no_sense(gateway: Running) -> None:
    body = document(text="x").encode()
    assert gateway.post(body, "short").status == 400
    assert gateway.post(body, "with space").status == 400
    assert gateway.ask("POST", "/visits", body, Content_Type="application/xml").status == 400
    assert gateway.post(body, "type-1234", Content_Type="text/plain").status == 415
    assert gateway.post(body, "type-1234", Content_Encoding="gzip").status == 415
    assert gateway.ask("PUT", "/visits", body).status == 405
    assert gateway.ask("GET", "/elsewhere").status == 404
    assert gateway.ask("GET", "/visits?limit=0").status == 400
    assert gateway.ask("GET", "/visits?since=yesterday").status == 400
    assert gateway.ask("GET", "/visits?name=x").status == 400
    assert "type-1234" not in kept(gateway)


def test_reading_back(gateway: Running) -> None:
    visit = SEALED.replace("ABC", "RDB")
    assert gateway.ask("GET", f"/visits/{visit}").status == 404
    old, new = (document(text=text, visit=visit).encode() for text in ("dawny", "nowy"))
    assert [gateway.post(old, "read-old").status, gateway.post(new, "read-new").status] == [201, 201]
    said = gateway.ask("GET", f"/visits/{visit}")
    assert (said.status, said.body, said.headers["content-type"]) == (200, new, "application/xml")
    assert (said.headers["etag"], said.headers["x-message-id"]) == (f'"{digest(new)}"', "read-new")
    assert gateway.ask("GET", f"/visits/{visit}?message=read-old").body == old
    assert gateway.ask("GET", f"/visits/{visit}?message=new-1234").status == 404
    head = gateway.ask("HEAD", f"/visits/{visit}")
    assert (head.status, head.body, head.headers["content-length"], head.headers["etag"]) == (200, b"", str(len(new)), f'"{digest(new)}"')
    assert gateway.ask("GET", f"/visits/{visit}", If_None_Match=said.headers["etag"]).status == 304
    assert gateway.ask("GET", f"/visits/{visit}", If_None_Match='"sha256:0"').status == 200
    assert [(one["action"], one["id"]) for one in events(gateway, "read-old") if one["action"] == "read"] == [("read", visit)]


def test_a_document_is_read_while_it_moves_and_found_when_it_is_packed(gateway: Running) -> None:
    visits = [SEALED.replace("ABC", f"PK{letter}") for letter in "ABCDE"]
    bodies = {
        visit: document(f'<order><id extension="TOKENTOKENTOKEN{number + 2}"/></order>', visit=visit).encode()
        for number, visit in enumerate(visits)
    }
    for visit, body in bodies.items():
        assert gateway.post(body, f"pack-{visit[3:8]}").status == 201
    places = ["--index", gateway.index, "--spool", gateway.spool, "--store", gateway.store, "--archive", gateway.archive]
    with subprocess.Popen([sys.executable, ROOT / "bin/mdc-store", "pack", *places]) as packer, gateway.connection() as connection:
        while packer.poll() is None:
            for visit, body in bodies.items():
                assert ask(connection, "GET", f"/visits/{visit}").body == body
    assert packer.returncode == 0
    with open_index(str(gateway.index), create=False) as index:
        assert all(index.find(visit)[0].place.startswith("pack:") for visit in visits)
    assert [gateway.ask("GET", f"/visits/{visit}").body for visit in visits] == list(bodies.values())
    assert gateway.post(bodies[visits[0]], "pack-again").status == 200, "known though it has left the spool"
    found: list[str] = []
    path = "/visits?since=2026&until=20270101&limit=2"
    while path:
        page = gateway.ask("GET", path).json
        assert 0 < len(page["visits"]) <= 2
        found, path = found + page["visits"], page["next"]
    assert found == sorted(found) and set(visits) <= set(found)
    assert gateway.ask("GET", f"/visits?patient={SEALED}&limit=1000").json["visits"] == found
    assert gateway.ask("GET", "/visits?since=2027").json == {"visits": [], "next": None}
    for pack in (gateway.store / "packs").glob("*.parquet"):
        pack.unlink()
    assert gateway.ask("GET", f"/visits/{visits[0]}").body == bodies[visits[0]], "the archive has it still"
    for pack in (gateway.archive / "packs").glob("*.parquet"):
        pack.rename(pack.with_suffix(".away"))
    lost = gateway.ask("GET", f"/visits/{visits[0]}")
    assert lost.status == 500 and "mdc-store verify" in lost.json["error"] and str(gateway.home) not in lost.json["error"]
    gateway.wait_for_log("is not where the index says; run mdc-store verify")


SOAP = {
    "1.1": ("http://schemas.xmlsoap.org/soap/envelope/", {"Content_Type": "text/xml; charset=utf-8", "SOAPAction": '""'}),
    "1.2": ("http://www.w3.org/2003/05/soap-envelope", {"Content_Type": "application/soap+xml"}),
}


def envelope(namespace: str, content: str, header: str = "") -> bytes:
    parts = f'<s:Envelope xmlns:s="{namespace}"><s:Header>{header}</s:Header><s:Body>', content, "</s:Body></s:Envelope>"
    return "\n ".join(('<?xml version="1.0"?>', *parts)).encode()


@pytest.mark.parametrize("version", SOAP)
def test_soap(gateway: Running, version: str) -> None:
    namespace, headers = SOAP[version]
    visit = SEALED.replace("ABC", "SP" + "AB"[version == "1.2"])
    inner = document(text="żółć > &gt;", visit=visit)
    said = gateway.post(envelope(namespace, inner), f"soap-{version}", **headers)
    assert said.status == 201 and said.headers["content-type"].startswith(headers["Content_Type"].partition(";")[0])
    assert f'digest="{digest(inner.encode())}"'.encode() in said.body and namespace.encode() in said.body
    assert gateway.ask("GET", f"/visits/{visit}").body == inner.encode()
    bare = gateway.post(inner.encode(), f"soap-{version}")
    assert (bare.status, bare.json["digest"]) == (200, digest(inner.encode())), "the same document without its envelope is known"


@pytest.mark.parametrize("version", SOAP)
@pytest.mark.parametrize(
    ("content", "header", "status", "words"),
    [
        ("", "", 400, "is not one element"),
        ("<a/><b/>", "", 400, "is not one element"),
        ("text", "", 400, "is not one element"),
        ("<a/>", "", 400, "empty element"),
        ("<a>x</a>", "", 400, "ClinicalDocument"),
        (
            document().replace(' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"', "").replace("<text>", '<text xsi:y="">'),
            "",
            400,
            "well-formed",
        ),
        (document(), '<w:S xmlns:w="urn:w" s:mustUnderstand="1"/>', 400, "must be understood"),
        (document(text=f"nr {PESEL}"), "", 422, "personal data"),
        ("<a>", "", 400, "well-formed"),
    ],
)
def test_soap_faults(gateway: Running, version: str, content: str, header: str, status: int, words: str) -> None:
    namespace, headers = SOAP[version]
    said = gateway.post(envelope(namespace, content, header), "soap-fault", **headers)
    assert said.status == status and words.encode() in said.body and PESEL.encode() not in said.body
    assert (b"faultcode>e:Client<" if version == "1.1" else b"Value>e:Sender<") in said.body
    assert "soap-fault" not in kept(gateway)


def test_health_and_metrics(gateway: Running) -> None:
    said = gateway.ask("GET", "/health")
    assert (said.status, said.json) == (200, {"status": "ok", "problems": []})
    assert gateway.ask("HEAD", "/health").body == b""
    assert gateway.post(document(text="metrics").encode(), "metrics-1").status == 201
    said = gateway.ask("GET", "/metrics")
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in said.body.decode().splitlines() if line[:1] not in ("#", "")
    }
    assert values['mdc_gateway_requests_total{action="receive",status="201"}'] >= 1
    assert values["mdc_gateway_received_bytes_total"] > 1000
    assert values["mdc_gateway_spool_bytes"] == sum(path.stat().st_size for path in gateway.spool.glob("*.spool"))
    assert values["mdc_gateway_documents_waiting"] >= 0 and values["mdc_gateway_connections"] >= 1
    assert 1 < values["mdc_gateway_certificate_days"] < 10_000
    assert values['mdc_gateway_request_seconds_count{action="receive"}'] >= 1


def test_a_clock_that_was_set_back_hides_no_correction(gateway: Running) -> None:
    visit = SEALED.replace("ABC", "CLK")
    with open_index(str(gateway.index), create=False) as index:
        index.add([Document("clock-old", visit, "sha256:0", 1, "CN=h", "2099-12-31T23:59:59.999999Z", "spool:00000000000000000001:0")])
    bodies = [document(text=text, visit=visit).encode() for text in ("richtig", "noch richtiger")]
    said = [gateway.post(body, f"clock-new-{number}") for number, body in enumerate(bodies)]
    assert [one.json["received"] for one in said] == ["2100-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000001Z"]
    assert gateway.ask("GET", f"/visits/{visit}").body == bodies[1]
