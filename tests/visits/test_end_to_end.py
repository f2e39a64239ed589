"""From the hospital's directory to store and archive and back, by the commands themselves, with SQLite and with PostgreSQL."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.peers import postgresql as peer
from tests.visits import generate
from tests.visits.generate import Generated
from tests.visits.places import rows
from tests.visits.setting import Setting, hours_later, kill

XML = {"Content-Type": "application/xml"}


@pytest.fixture(scope="module")
def databases() -> Iterator[tuple[str, str]]:
    """URLs of two databases of one PostgreSQL server, for links and index."""
    if peer.binaries() is None:
        pytest.skip(f"needs a PostgreSQL server: apt-get install {peer.PACKAGE}")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg: pip install 'scape-toolkit[postgresql]'")
    import psycopg

    with peer.server("fsync = off") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE links")
            connection.execute("CREATE DATABASE visits")
        yield url.replace("/postgres?", "/links?"), url.replace("/postgres?", "/visits?")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    links, index = ("", "") if request.param == "sqlite" else request.getfixturevalue("databases")
    made = Setting(tmp_path_factory.mktemp("setting"), links, index)
    gateway = made.start_gateway()
    try:
        yield made
    finally:
        kill(gateway)


@pytest.fixture(scope="module")
def visits(setting: Setting) -> list[Generated]:
    """Thirty visits, sent: in both encodings, with and without prefix."""
    made = generate.write(setting.home / "visits/0", 10, seed=1)
    made += generate.write(setting.home / "visits/1", 10, seed=2, encoding="ISO-8859-2")
    made += generate.write(setting.home / "visits/2", 10, seed=3, prefix="cda")
    assert setting.run("hl7-send", setting.home / "visits", *setting.sending) == ""
    return made


def rebuilt(setting: Setting, document: bytes) -> bytes:
    """What hl7-send makes of a document."""
    from toolkit.core.keys import read_keys
    from toolkit.core.xml import parse_safely
    from toolkit.hospital.visits.profile import read_profile
    from toolkit.hospital.visits.rebuild import rebuild

    return rebuild(parse_safely(document, "document"), read_keys(str(setting.key)).current, read_profile(None), "document").document


def lookup(setting: Setting, word: str) -> list[dict[str, str]]:
    """What his-mdc knows of an id of either side."""
    return list(csv.DictReader(io.StringIO(setting.run("his-mdc", "lookup", word, *setting.linked))))


def pseudonym(setting: Setting, visit: Generated) -> str:
    (link,) = lookup(setting, visit.visit_id)
    assert (link["kind"], link["id"]) == ("visit", visit.visit_id)
    return link["mdc"]


def digest_of(document: bytes) -> str:
    return "sha256:" + hashlib.sha256(document).hexdigest()


def test_all_are_acknowledged_and_in_the_index(setting: Setting, visits: list[Generated]) -> None:
    places = setting.places()
    assert places.problems() == []
    assert sorted(places.acknowledged.values()) == sorted(digest_of(rebuilt(setting, one.document)) for one in visits)
    assert places.acknowledged == places.index == places.spool
    assert places.queued == {}


def test_sending_again_changes_nothing(setting: Setting, visits: list[Generated]) -> None:
    before = setting.places()
    assert setting.run("hl7-send", setting.home / "visits", *setting.sending) == ""
    assert setting.places() == before


def test_what_was_sent_comes_back(setting: Setting, visits: list[Generated]) -> None:
    for one in (visits[0], visits[10], visits[20]):
        sent = rebuilt(setting, one.document)
        status, headers, body = setting.ask("GET", f"/visits/{pseudonym(setting, one)}")
        assert (status, headers["ETag"], body == sent) == (200, f'"{digest_of(sent)}"', True)
        status, headers, body = setting.ask("HEAD", f"/visits/{pseudonym(setting, one)}")
        assert (status, headers["Content-Length"], body) == (200, str(len(sent)), b"")


def test_ids_are_found_both_ways(setting: Setting, visits: list[Generated]) -> None:
    """The way back: what the data centre knows of a visit leads the hospital to the visit and to the patient."""
    one = visits[0]
    visit = pseudonym(setting, one)
    assert visit.startswith("k1.") and lookup(setting, visit) == lookup(setting, one.visit_id)
    document = setting.ask("GET", f"/visits/{visit}")[2].decode()
    known = {name: lookup(setting, name) for name in set(re.findall(r"k1\.[A-Z2-7]+", document)) - {visit}}
    assert [link["id"] for links in known.values() for link in links if link["kind"] == "patient"] == [one.patient_id]


def test_the_same_content_under_another_message_id_gets_the_first_answer(setting: Setting, visits: list[Generated]) -> None:
    before = setting.places()
    sent = rebuilt(setting, visits[0].document)
    first = next(message for message, digest in before.index.items() if digest == digest_of(sent))
    answers = [setting.ask("POST", "/visits", sent, {**XML, "X-Message-Id": name}) for name in (first, "another-id-1")]
    assert [status for status, _, _ in answers] == [200, 200]
    said = [json.loads(body) for _, _, body in answers]
    assert said[0] == said[1] and said[0]["message_id"] == first and said[0]["digest"] == digest_of(sent)
    other = rebuilt(setting, visits[1].document)
    status, _, body = setting.ask("POST", "/visits", other, {**XML, "X-Message-Id": first})
    assert status == 409 and b"another document" in body
    after = setting.places()
    assert (after.index, after.problems()) == (before.index, [])


def test_a_new_version_is_kept_beside_the_old_one(setting: Setting, visits: list[Generated]) -> None:
    old = visits[3]
    new = generate.visit(3, seed=1, size=20_000)  # the same visit with further results
    assert new.visit_id == old.visit_id
    (setting.home / "visits/0" / old.name).write_bytes(new.document)
    before = setting.places()
    setting.run("hl7-send", setting.home / "visits", *setting.sending)
    after = setting.places()
    assert after.problems() == [] and len(after.index) == len(before.index) + 1
    name = pseudonym(setting, old)
    assert setting.ask("GET", f"/visits/{name}")[2] == rebuilt(setting, new.document)
    (first,) = [message for message, digest in after.index.items() if digest == digest_of(rebuilt(setting, old.document))]
    assert setting.ask("GET", f"/visits/{name}?message={first}")[2] == rebuilt(setting, old.document)


@pytest.mark.parametrize(
    "client, words",
    [
        ("expired_client", "our client certificate has expired"),
        ("stranger", "does not know the authority of our client certificate"),
        ("server", "our certificate is not made for a client"),
    ],
)
def test_wrong_certificates_send_nothing(setting: Setting, visits: list[Generated], client: str, words: str, tmp_path: Path) -> None:
    before = setting.places().index
    way = setting.way(getattr(setting.certificates, client))
    links = ["--links", str(tmp_path / "links.db"), "--key", str(setting.key)]
    done = setting.ended("hl7-send", setting.home / "visits/0" / visits[0].name, *way, *links)
    assert done.returncode == 75 and words in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 2, "why, and that it waits"
    assert setting.places().index == before
    hours_later(str(tmp_path / "links.db"))
    assert setting.run("hl7-send", "--drain", *setting.way(setting.certificates.client), *links) == "", "with the right one it goes"


def test_a_data_centre_that_is_none_of_ours_gets_nothing(setting: Setting, visits: list[Generated], tmp_path: Path) -> None:
    way = setting.way(setting.certificates.client, setting.certificates.other_ca)
    links = ["--links", str(tmp_path / "links.db"), "--key", str(setting.key)]
    done = setting.ended("hl7-send", setting.home / "visits/0" / visits[0].name, *way, *links)
    assert done.returncode == 75 and "authority that is unknown here" in done.stderr
    way[1] = f"https://127.0.0.2:{setting.port}"
    done = setting.ended("hl7-send", "--drain", *way, *links)
    assert done.returncode == 75


def test_originals_are_refused_and_not_kept(setting: Setting, visits: list[Generated]) -> None:
    """What a broken or foreign sender posts without rebuilding it."""
    before = setting.places()
    for number, one in enumerate(visits[:3]):
        status, _, body = setting.ask("POST", "/visits", one.document, {**XML, "X-Message-Id": f"original-{number}"})
        assert status in (400, 422), body
        assert not any(word.encode() in body for word in one.personal)
    assert setting.places() == before


def planted(one: Generated) -> bytes:
    """The visit with further results in which personal data stands where values, units and codes are expected."""
    text = one.document.decode()
    family, number, name = one.personal[1], one.patient_id, one.personal[-2]
    split = "".join(f"<content>{part}</content>" for part in (number[:3], number[3:7], number[7:]))
    wrong = (
        f'<value xsi:type="ST">Pacjent {name}, PESEL {number}</value>',
        f'<value xsi:type="PQ" value="1" unit="{number}"/>',
        f'<value xsi:type="PQ" value="{number}" unit="1"/>',
        f'<value xsi:type="CD" code="{number}" codeSystem="2.16.840.1.113883.6.96" displayName="{name}"/>',
        f'<value xsi:type="ED"><reference value="http://his.example/{family}?pesel={number}"/></value>',
        f'<value xsi:type="INT" value="1"/><interpretationCode code="{family}" codeSystem="2.16.840.1.113883.5.83"/>',
        f'<value xsi:type="TS" value="1"/><text>{split} {family[:3]}<!-- -->{family[3:]}</text>',
    )
    observation = (
        '<component><observation classCode="OBS" moodCode="EVN"><code code="718-7" codeSystem="2.16.840.1.113883.6.1" displayName="{}"/>'
        '<statusCode code="completed"/>{}</observation></component>'
    )
    return text.replace("</organizer>", "".join(observation.format(name, value) for value in wrong) + "</organizer>").encode()


def test_what_is_planted_among_the_results_does_not_get_out(setting: Setting, visits: list[Generated]) -> None:
    made = [generate.visit(number, seed=9) for number in range(5)]
    folder = setting.home / "planted"
    folder.mkdir()
    for one in made:
        (folder / one.name).write_bytes(planted(one))
    setting.run("hl7-send", folder, *setting.sending)
    places = setting.places()
    assert places.problems() == []
    assert setting.leaks(word for one in made for word in one.personal) == []


def test_nothing_personal_reaches_the_data_centre(setting: Setting, visits: list[Generated]) -> None:
    assert setting.leaks(word for one in visits for word in one.personal) == []
    assert setting.leaks([visits[0].diagnoses[0]]) != [], "what is kept is found, so the search works"


def test_packing_moves_everything_to_store_and_archive(setting: Setting, visits: list[Generated]) -> None:
    before = setting.places()
    setting.pack()
    places = setting.places()
    assert places.problems() == []
    assert places.store == places.archive == places.index == before.index
    assert set(places.acknowledged.items()) <= set(places.index.items())
    assert all(place.startswith("pack:") for place in places.index_places.values())
    assert setting.leaks(word for one in visits for word in one.personal) == []
    setting.check()
    assert setting.ask("GET", f"/visits/{pseudonym(setting, visits[0])}")[2] == rebuilt(setting, visits[0].document)


def test_a_damaged_copy_is_restored_from_the_other(setting: Setting, visits: list[Generated]) -> None:
    setting.pack()
    pack = next((setting.store / "packs").glob("*.parquet"))
    whole = pack.read_bytes()
    pack.write_bytes(whole[: len(whole) // 2] + b"damage" + whole[len(whole) // 2 + 6 :])
    assert setting.ask("GET", f"/visits/{pseudonym(setting, visits[0])}")[2] == rebuilt(setting, visits[0].document)
    done = setting.ended("mdc-store", "verify", *setting.kept)
    assert done.returncode == 0 and pack.name in done.stderr
    assert pack.read_bytes() == whole
    assert setting.ended("mdc-store", "verify", *setting.kept).stderr == ""


def test_the_index_is_rebuilt_from_the_store(setting: Setting, visits: list[Generated]) -> None:
    setting.pack()
    before = setting.places()
    index = str(setting.home / "rebuilt.db")
    setting.run("mdc-store", "reindex", "--spool", setting.spool, "--store", setting.store, "--archive", setting.archive, "--index", index)
    assert dict(rows(index, "documents", "message_id, digest")) == before.index
    assert dict(rows(index, "documents", "message_id, place")) == before.index_places
    for table in ("visits", "diagnoses", "procedures", "results"):
        assert len(rows(index, table, "*")) == len(rows(setting.index, table, "*")) > 0


def test_the_demonstration(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, ROOT / "examples/hospital/demo.py", tmp_path / "demo", "--count", "40", "--size", "15000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Each of 40 visits is in store, archive and index exactly once" in done.stdout
    assert re.search(r"packed again +0 +40 +40 +0 +40 +40", done.stdout)
