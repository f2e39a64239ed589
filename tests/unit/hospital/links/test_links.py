"""Links: one to one, unreadable without the key, found either way, moved in and out, put under a new key, and checked."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from tests.unit.hospital.links.conftest import HIS, PESEL, Ids, execute, mdc_ids, queue
from toolkit.core.errors import BadData, NoInput, NotPermitted, TryLater
from toolkit.core.keys import Keyring, create_keys, read_keys, rotate_keys
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.links.check import Problem, check
from toolkit.hospital.links.database import Link, Links, open_links
from toolkit.hospital.links.import_export import import_links, read_csv, read_padi, write_csv
from toolkit.hospital.links.rotate import Renamed, renamed_after, rotate

DIGEST = hashlib.sha256(b"<document/>").digest()


def test_a_link_is_found_either_way(links: Links) -> None:
    queue(links, 1)
    visit, patient = mdc_ids(Ids("V1"), links.keyring.current)
    expected = [Link("visit", HIS, "V1", visit)]
    assert links.lookup(his="V1") == links.lookup(his=f"{HIS}|V1") == links.lookup(mdc=visit) == expected
    assert links.lookup(mdc=patient) == [Link("patient", PESEL, "80010112345", patient)]
    assert links.lookup(his="V2") == links.lookup(mdc="V1") == links.lookup(his=f"{HIS}|V") == links.lookup() == []


def test_patients_are_linked_once(links: Links) -> None:
    queue(links, 1)
    queue(links, 2)
    assert [link.kind for link in links] == ["visit", "patient", "visit"]


def test_accession_numbers_are_linked_to_the_tokens_of_their_images(links: Links) -> None:
    queue(links, 1, accession_numbers=("A-2", "A-1 ", ""))
    queue(links, 2, accession_numbers=("A-1",))
    tokens = {number: Pseudonyms(links.keyring.current).token("accession", number) for number in ("A-2", "A-1")}
    expected = [Link("accession", "", number, token) for number, token in tokens.items()]
    assert [link for link in links if link.kind == "accession"] == expected
    for link in expected:
        assert links.lookup(his=link.id) == links.lookup(mdc=link.mdc) == [link]
    assert list(check(links)) == []


def test_a_refused_document_links_no_accession_number(links: Links) -> None:
    queue(links, 1, accession_numbers=("A-1",))
    with pytest.raises(BadData, match="is known with another content"):
        queue(links, 1, b"<other/>", accession_numbers=("A-2",))
    assert links.lookup(his="A-2") == []


@pytest.mark.parametrize(("number", "mdc_of"), [(1, 2), (2, 1)])
def test_a_second_partner_is_refused_and_nothing_is_queued(links: Links, number: int, mdc_of: int) -> None:
    queue(links, 1)
    key = links.keyring.current
    with pytest.raises(BadData, match="is linked to another id"):
        links.queue(Ids(f"V{number}"), mdc_ids(Ids(f"V{mdc_of}"), key)[0], mdc_ids(Ids("V1"), key)[1], "new", b"<x/>", "")
    assert links.status().counts["queued"] == 1
    assert len(list(links)) == 2


def test_a_wrong_patient_takes_the_visits_link_back(links: Links) -> None:
    queue(links, 1)
    visit = Ids("V2", "another")
    with pytest.raises(BadData):
        links.queue(visit, mdc_ids(visit, links.keyring.current)[0], mdc_ids(Ids("V1"), links.keyring.current)[1], "new", b"<x/>", "")
    assert links.lookup(his="V2") == []


def test_the_file_shows_no_id_and_no_place(tmp_path: Path, keyring: Keyring) -> None:
    path = tmp_path / "links.db"
    with open_links(str(path), keyring) as links:
        queue(links, 1)
        links.dead("1/1", "422")
        content = b"".join(file.read_bytes() for file in tmp_path.glob("links.db*"))
    assert b"1/1" in content
    assert not any(secret in content for secret in (b"V1", b"80010112345", b"/export/1.xml"))
    assert {os.stat(file).st_mode & 0o777 for file in tmp_path.glob("links.db*")} == {0o600}


def test_other_keys_are_refused(links: Links, url: str, tmp_path: Path) -> None:
    with pytest.raises(NotPermitted, match="another k1"):
        open_links(url, create_keys(str(tmp_path / "other.key")))


def test_links_that_are_not_there_are_not_made(tmp_path: Path, keyring: Keyring) -> None:
    with pytest.raises(NoInput):
        open_links(str(tmp_path / "none.db"), keyring, create=False)
    assert not (tmp_path / "none.db").exists()


# Rotation


def test_rotation_renames_all_and_lists_it_as_often_as_asked(links: Links, url: str) -> None:
    queue(links, 1, accession_numbers=("A-1",))
    links.acknowledged("1/1", DIGEST, "201")
    old = list(links)
    rotate_keys(links.keyring.path)
    keyring = read_keys(links.keyring.path)
    with open_links(url, keyring) as newer:
        assert rotate(newer) == 3
        assert rotate(newer) == 0
        new = list(newer)
        assert [link.mdc for link in new] == [*mdc_ids(Ids("V1"), keyring.current), Pseudonyms(keyring.current).token("accession", "A-1")]
        assert [(link.root, link.id) for link in new] == [(link.root, link.id) for link in old]
        renamed = [Renamed(number, a.kind, a.mdc, b.mdc) for number, (a, b) in enumerate(zip(old, new, strict=True), 1)]
        assert list(renamed_after(newer, 0)) == list(renamed_after(newer, 0)) == renamed
        assert list(renamed_after(newer, 1)) == renamed[1:]
        assert newer.lookup(mdc=old[0].mdc) == newer.lookup(his="V1") == new[:1]
        assert list(check(newer)) == []
        assert queue(newer, 1, version="2", accession_numbers=("A-1",))


def test_rotation_waits_for_what_waits(links: Links, url: str) -> None:
    queue(links, 1)
    rotate_keys(links.keyring.path)
    with open_links(url, read_keys(links.keyring.path)) as newer:
        with pytest.raises(TryLater, match="1 documents wait"):
            rotate(newer)
        assert list(renamed_after(newer, 0)) == []
        assert newer.take(9, 0, 60) != []


def test_between_the_rotations_of_key_and_links_nothing_is_linked_twice(links: Links, url: str) -> None:
    queue(links, 1)
    rotate_keys(links.keyring.path)
    with open_links(url, read_keys(links.keyring.path)) as newer:
        with pytest.raises(TryLater, match="linked under an older key; run hl7-send --drain and his-mdc rotate"):
            queue(newer, 1, version="2")
        assert newer.lookup(his="V1") == links.lookup(his="V1")
        with pytest.raises(NotPermitted, match="ends with k1"):
            queue(links, 2)  # a process that still has the old key


def test_between_the_rotations_an_accession_number_waits_too(links: Links, url: str) -> None:
    queue(links, 1, accession_numbers=("A-1",))
    rotate_keys(links.keyring.path)
    other = Ids("V2", "another patient", accession_numbers=("A-1",))
    with open_links(url, read_keys(links.keyring.path)) as newer:
        with pytest.raises(TryLater, match="this accession is linked under an older key"):
            newer.queue(other, *mdc_ids(other, newer.keyring.current), "2/1", b"<document/>", "")
        assert newer.lookup(his="V2") == []


def test_what_died_before_a_rotation_is_made_anew_from_its_source(links: Links, url: str) -> None:
    """It holds ids that the data centre has renamed."""
    queue(links, 1)
    links.dead("1/1", "422")
    rotate_keys(links.keyring.path)
    with open_links(url, read_keys(links.keyring.path)) as newer:
        rotate(newer)
        with pytest.raises(BadData, match="made under a former key; send its source again"):
            newer.again("1/1")
        assert newer.take(9, 0, 60) == [] and list(check(newer)) == []
        newer.forget("1/1")
        assert newer.status().dead == []


def test_a_rotation_that_fails_changes_nothing(links: Links, url: str) -> None:
    for number in range(3):
        queue(links, number)
        links.acknowledged(f"{number}/1", DIGEST, "201")
    before = list(links)
    damaged = "UPDATE link SET his = his || 'A' WHERE number = (SELECT max(number) FROM link)"
    assert execute(url, damaged) == 1
    rotate_keys(links.keyring.path)
    with open_links(url, read_keys(links.keyring.path)) as newer:
        with pytest.raises(BadData):
            rotate(newer)
        assert list(renamed_after(newer, 0)) == []
        assert [link.mdc for link in newer.lookup(his="V0")] == [before[0].mdc]


# In and out


def test_csv_goes_out_and_in(links: Links, tmp_path: Path) -> None:
    queue(links, 1)
    odd = Link("visit", "", 'Ząb,"2"\n|', "FOREIGN-1")
    assert import_links(links, [odd]) == 1
    assert import_links(links, read_csv(b"kind,root,id,mdc\naccession,,A-1 ,FOREIGN-2\n", "x.csv")) == 1
    stream = io.BytesIO()
    write_csv(stream, links)
    with open_links(str(tmp_path / "other.db"), links.keyring) as other:
        assert import_links(other, read_csv(stream.getvalue(), "x.csv")) == 4
        assert import_links(other, read_csv(stream.getvalue(), "x.csv")) == 4
        assert sorted(other, key=str) == sorted(links, key=str)
        assert list(check(other)) == []
        assert other.lookup(mdc="FOREIGN-1") == [odd]
        assert other.lookup(his="A-1") == [Link("accession", "", "A-1", "FOREIGN-2")]


def test_imported_ids_become_pseudonyms_at_the_next_rotation(links: Links) -> None:
    import_links(links, read_padi(b"# PADI\n4711 = AB\\:12\n", "padi.properties", "visit", HIS))
    assert links.lookup(his="4711") == [Link("visit", HIS, "4711", "AB:12")]
    with pytest.raises(BadData, match="his-mdc rotate replaces ids that were imported"):
        links.queue(Ids("4711"), *mdc_ids(Ids("4711"), links.keyring.current), "m", b"<x/>", "")
    assert rotate(links) == 1
    visit = mdc_ids(Ids("4711"), links.keyring.current)[0]
    assert links.lookup(his="4711") == links.lookup(mdc="AB:12") == [Link("visit", HIS, "4711", visit)]


def test_an_import_is_whole_or_not_at_all(links: Links) -> None:
    with pytest.raises(BadData, match="linked to another id"):
        import_links(links, [Link("visit", "", "1", "A"), Link("visit", "", "2", "B"), Link("visit", "", "3", "A")])
    assert list(links) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "heading"),
        (b"kind,root,id\n", "heading"),
        (b"kind,root,id,mdc\nvisit,,,A\n", "line 2: is no link"),
        (b"kind,root,id,mdc\nvisit,,1,A\nward,,1,A\n", "line 3: is no link"),
        (b"kind,root,id,mdc\nvisit,1.2,3,4,5\n", "line 2: is no link"),
        (b"kind,root,id,mdc\nvisit,1|2,3,4\n", "holds a bar"),
        (b"kind,root,id,mdc\nvisit,,\xff,4\n", "UTF-8"),
        (b"kind,root,id,mdc\naccession,1.2,A1,4\n", "line 2: an accession number has no root"),
        (b'kind,root,id,mdc\nvisit,,"3,4\n', "is not CSV"),
    ],
)
def test_bad_csv_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadData, match=message):
        read_csv(data, "x.csv")


# What check finds


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE link SET his = 'k1.' || substr(his, 4, 5) || 'AAAA' || substr(his, 13) WHERE kind = 'visit'", "was not made by k1"),
        ("UPDATE link SET mdc = 'k1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' WHERE number = 1", "was not made by k1"),
        ("UPDATE link SET kind = 'ward' WHERE kind = 'patient'", "is of no known kind"),
        ("UPDATE link SET mdc = 'AAAAAAAAAAAAAAAA' WHERE kind = 'accession'", "is not the token of its accession number"),
        ("UPDATE link_message SET acknowledged = NULL WHERE state = 'acknowledged'", "was acknowledged without a digest"),
        ("UPDATE link_message SET state = 'acknowledged' WHERE state = 'queued'", "was acknowledged without a digest"),
        ("UPDATE link_message SET document = NULL WHERE state = 'queued'", "its document is missing"),
        ("UPDATE link_message SET document = digest WHERE state = 'queued'", "its document was changed"),
        ("UPDATE link_message SET state = 'gone' WHERE state = 'queued'", "is in no known state: gone"),
        ("UPDATE link_message SET patient = visit", "belongs to no visit or patient that is linked"),
    ],
)
def test_check_finds_what_was_changed(links: Links, url: str, statement: str, problem: str) -> None:
    queue(links, 1)
    queue(links, 2, accession_numbers=("A-1",))
    links.acknowledged("1/1", DIGEST, "201")
    assert list(check(links)) == []
    assert execute(url, statement) > 0
    found = list(check(links))
    assert all(isinstance(one, Problem) for one in found)
    assert any(problem in one.problem for one in found)


def test_check_finds_a_visit_with_two_links(links: Links, url: str) -> None:
    """Under two keys the same id is sealed differently, and no constraint of the database sees it."""
    queue(links, 1)
    rotate_keys(links.keyring.path)
    with open_links(url, read_keys(links.keyring.path)) as newer:
        key = newer.keyring.current
        his, extension = key.seal("link visit", f"{HIS}|V1"), key.seal("link extension", "V1")
        execute(url, f"INSERT INTO link (kind, his, extension, mdc) VALUES ('visit', '{his}', '{extension}', 'OTHER')")
        assert [one.problem for one in check(newer)] == ["its id in the hospital has another link too"]
