"""Studies, series and instances are found by what C-FIND asks for; a study and its visit find each other, under old and new pseudonyms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.unit.datacentre.house import tables
from toolkit.core.database import open_database
from toolkit.core.errors import BadData
from toolkit.datacentre.aliases import Alias
from toolkit.datacentre.cda import VisitRow, VisitRows
from toolkit.datacentre.images import search
from toolkit.datacentre.images.instances import Instance
from toolkit.datacentre.images.rows import SPOOLED, Held, enter, stored
from toolkit.datacentre.images.search import find_instances, find_series, find_studies, places_of_study, studies_of_visit, visits_of_study
from toolkit.datacentre.index import Index, StoredObject, open_index

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    url = str(tmp_path / "index.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")
    with open_index(url) as opened:
        yield opened


def an_instance(study: int, series: int, number: int, **words: Any) -> Held:
    values: dict[str, Any] = {
        "study_uid": f"1.{study}", "series_uid": f"1.{study}.{series}", "instance_uid": f"1.{study}.{series}.{number}",
        "sop_class": CT, "transfer_syntax": "1.2.840.10008.1.2", "patient": f"k1.P{study}", "accession": f"TOKEN{study}", "modality": "CT",
        "study_date": f"2026010{study}", "digest": f"sha256:{study:032x}{number:032x}", "size": 100,
    }  # fmt: skip
    return Held(Instance(**values | words), "CN=a", f"2026-11-22T10:{study:02}:{number:02}.000000Z", SPOOLED)


def fill(index: Index) -> None:
    enter(index, [an_instance(1, 1, 1), an_instance(1, 1, 2), an_instance(1, 2, 1, modality="MR", sop_class=MR)])
    enter(index, [an_instance(2, 1, 1, patient="k1.p1"), an_instance(3, 1, 1, modality="", study_date="", accession="100%_[A]")])


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({}, "123"),
        ({"PatientID": ""}, "123"),
        ({"PatientID": "*"}, "123"),
        ({"PatientID": "k1.P*"}, "13"),
        ({"PatientID": "k1.p1"}, "2"),
        ({"PatientID": "k1.?3"}, "3"),
        ({"PatientID": "k1_P1"}, ""),
        ({"AccessionNumber": "100%_[A]"}, "3"),
        ({"AccessionNumber": "100%_[A*"}, "3"),
        ({"AccessionNumber": "%*"}, ""),
        ({"AccessionNumber": "TOKEN[12]*"}, ""),
        ({"AccessionNumber": "' OR 1=1 --"}, ""),
        ({"StudyDate": "20260101"}, "1"),
        ({"StudyDate": "20260101-20260102"}, "12"),
        ({"StudyDate": "20260102-"}, "2"),
        ({"StudyDate": "-20260101"}, "1"),
        ({"StudyInstanceUID": "1.1\\1.3\\9"}, "13"),
        ({"ModalitiesInStudy": "MR"}, "1"),
        ({"ModalitiesInStudy": "MR\\CT"}, "12"),
        ({"ModalitiesInStudy": "C?", "PatientID": "k1.p*"}, "2"),
    ],
)
def test_studies(index: Index, criteria: dict[str, str], found: str) -> None:
    fill(index)
    assert [study["StudyInstanceUID"] for study in find_studies(index, criteria)] == [f"1.{number}" for number in found]


def test_what_is_said_of_each(index: Index) -> None:
    fill(index)
    study = {"StudyInstanceUID": "1.1", "StudyDate": "20260101", "AccessionNumber": "TOKEN1", "PatientID": "k1.P1"}
    (found,) = find_studies(index, {"StudyInstanceUID": "1.1"})
    counts = {"NumberOfStudyRelatedSeries": "2", "NumberOfStudyRelatedInstances": "3"}
    assert found == {**study, **counts, "ModalitiesInStudy": "CT\\MR"}
    series = list(find_series(index, {"StudyInstanceUID": "1.1"}))
    first = {**study, "SeriesInstanceUID": "1.1.1", "Modality": "CT"}
    assert series[0] == {**first, "NumberOfSeriesRelatedInstances": "2"}
    assert [one["NumberOfSeriesRelatedInstances"] for one in series] == ["2", "1"]
    assert [one["SeriesInstanceUID"] for one in find_series(index, {"Modality": "MR", "PatientID": "k1.P1"})] == ["1.1.2"]
    instances = list(find_instances(index, {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.1"}))
    assert instances[1] == {**first, "SOPInstanceUID": "1.1.1.2", "SOPClassUID": CT}
    assert [one["SOPInstanceUID"] for one in find_instances(index, {"SOPClassUID": MR})] == ["1.1.2.1"]


def test_false_criteria(index: Index) -> None:
    for find, criteria in [
        (find_studies, {"SeriesInstanceUID": "1"}),
        (find_series, {"SOPInstanceUID": "1"}),
        (find_studies, {"PatientName": "Kowalski"}),
        (find_studies, {"StudyDate": "2026*"}),
        (find_studies, {"StudyDate": "-"}),
        (find_studies, {"StudyDate": "2026010120260102"}),
        (find_studies, {"PatientID": "k1\0"}),
        (find_instances, {"PatientID": "*" * 20_000}),
    ]:
        with pytest.raises(BadData) as raised:
            find(index, criteria)
        assert "Kowalski" not in str(raised.value)


def test_in_pages_that_hold_nothing_open(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_AT_ONCE", 3)
    some = [an_instance(1, number // 4, number) for number in range(10)]
    enter(index, some)
    found = find_instances(index, {})
    first = [one["SOPInstanceUID"] for one in islice(found, 4)]
    enter(index, [an_instance(2, 1, 1)])  # a writer waits for nobody
    rest = [one["SOPInstanceUID"] for one in found]
    assert first + rest == sorted([one.instance.instance_uid for one in some] + ["1.2.1.1"])
    assert len(list(find_series(index, {}))) == 4


def visit(number: int, *accessions: str) -> VisitRows:
    one = VisitRow(f"k1.V{number}", f"k1.P{number}", "F", 40.0, "Krosno", "20260101", "20260102", "discharge", accessions)
    return VisitRows(one, (), (), (), f"m{number}", "2026-11-22T10:00:00Z")


def test_a_study_and_its_visit_find_each_other(index: Index) -> None:
    """Whichever came first, and after the hospital replaced its ids, also where images come under the old ones afterwards."""
    enter(index, [an_instance(1, 1, 1)])
    index.enter_rows([visit(1, "TOKEN1", "TOKEN2"), visit(2, "TOKEN3"), visit(3)])
    enter(index, [an_instance(2, 1, 1), an_instance(4, 1, 1, accession="")])
    assert studies_of_visit(index, "k1.V1") == ["1.1", "1.2"]
    assert studies_of_visit(index, "k1.V2") == studies_of_visit(index, "k1.V3") == studies_of_visit(index, "k1.V9") == []
    assert visits_of_study(index, "1.1") == visits_of_study(index, "1.2") == ["k1.V1"]
    assert visits_of_study(index, "1.4") == visits_of_study(index, "9") == []
    new = [Alias("visit", "k1.V1", "k2.V1"), Alias("patient", "k1.P1", "k2.P1"), Alias("accession", "TOKEN1", "NEW1")]
    index.enter_aliases([*new, Alias("accession", "TOKEN3", "NEW3")], StoredObject("aliases/1.csv", "sha256:1", 1))
    enter(index, [an_instance(3, 1, 1), an_instance(1, 1, 2)])
    assert studies_of_visit(index, "k1.V1") == studies_of_visit(index, "k2.V1") == ["1.1", "1.2"]
    assert studies_of_visit(index, "k1.V2") == ["1.3"]
    assert visits_of_study(index, "1.1") == ["k2.V1"]
    for patient in ("k1.P1", "k2.P1"):
        assert [one["PatientID"] for one in find_studies(index, {"PatientID": patient})] == ["k2.P1"]
    for token in ("TOKEN1", "NEW1"):
        assert [one["StudyInstanceUID"] for one in find_studies(index, {"AccessionNumber": token})] == ["1.1"]


def test_places(index: Index) -> None:
    one, two = an_instance(1, 1, 1), an_instance(1, 2, 2)
    enter(index, [one, two])
    stored(index, [Held(one.instance, one.client, one.received, "object:a")], StoredObject("lists/a.json", "sha256:2", 2))
    assert places_of_study(index, "1.1") == {"1.1.1.1": "images/1.1/1.1.1/1.1.1.1.dcm", "1.1.2.2": SPOOLED}
    assert places_of_study(index, "1.9") == {}


def test_a_study_is_what_its_newest_instance_says(index: Index) -> None:
    """Whatever the order in which they are entered: an index made anew is the same."""
    old, new = an_instance(1, 1, 1, study_date="20250101"), an_instance(1, 1, 2)
    enter(index, [new])
    enter(index, [old])
    (found,) = find_studies(index, {})
    assert found["StudyDate"] == "20260101"


def test_an_index_of_version_1_is_brought_up(index: Index) -> None:
    """Its three empty tables had other columns; what it holds of visits stays."""
    index.enter_rows([visit(1, "TOKEN1")])
    url = index.place.replace("postgresql+psycopg:", "postgresql:")
    before = tables(url)
    index.close()
    engine = open_database(url)
    with engine.begin() as connection:
        for table in ("studies", "series", "instances"):
            connection.execute(text(f"DROP TABLE {table}"))
        kind = "TEXT" if engine.dialect.name == "sqlite" else 'TEXT COLLATE "C"'
        connection.execute(text(f"CREATE TABLE studies (study_uid {kind} PRIMARY KEY, patient {kind}, accession {kind}, date {kind})"))
        connection.execute(text("CREATE INDEX ix_studies_patient ON studies (patient)"))
        connection.execute(text("CREATE INDEX ix_studies_accession ON studies (accession)"))
        connection.execute(text(f"CREATE TABLE series (series_uid {kind} PRIMARY KEY, study_uid {kind}, modality {kind})"))
        connection.execute(text(f"CREATE TABLE instances (instance_uid {kind} PRIMARY KEY, series_uid {kind}, place {kind})"))
        connection.execute(text("UPDATE toolkit_schema SET version = 1 WHERE part = 'index'"))
    engine.dispose()
    with open_index(url, create=False) as opened:
        assert tables(url) == before
        fill(opened)
    with open_index(url) as opened:
        assert studies_of_visit(opened, "k1.V1") == ["1.1"]
