"""What the hospital keeps of a document is what the data centre reads in it: as many diagnoses and results, the same values, no name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.visits import generate


@pytest.mark.parametrize("options", [{}, {"encoding": "ISO-8859-2"}, {"prefix": "cda"}, {"signed": False, "scan": 0}], ids=str)
def test_rows_are_those_of_the_visit(options: dict[str, object], tmp_path: Path) -> None:
    from toolkit.core.keys import create_keys
    from toolkit.core.xml import parse_safely
    from toolkit.datacentre.cda import rows
    from toolkit.hospital.visits.profile import read_profile
    from toolkit.hospital.visits.rebuild import rebuild

    key, profile = create_keys(str(tmp_path / "hospital.key")).current, read_profile(None)
    for number in range(20):
        made = generate.visit(number, **options)  # type: ignore[arg-type]
        rebuilt = rebuild(parse_safely(made.document, made.name), key, profile, made.name)
        found = rows(parse_safely(rebuilt.document, made.name), made.name)
        visit = found.visit
        born, came = made.born, datetime.strptime(made.start[:8], "%Y%m%d").date()
        age = came.year - born.year - ((came.month, came.day) < (born.month, born.day))
        assert (visit.sex, visit.city, visit.age, visit.start, visit.end) == (made.sex, made.city, age, made.start, made.end)
        assert (visit.mdc_visit, visit.patient) == (rebuilt.mdc_visit, rebuilt.mdc_patient)
        assert len(visit.accessions) == len(made.accession_numbers)
        assert tuple(row.code for row in found.diagnoses) == made.diagnoses
        assert tuple(row.code for row in found.procedures) == made.procedures
        read = [(row.code, row.value, row.unit, row.low, row.high) for row in found.results]
        assert read == [(one.code, float(one.value), one.unit, float(one.low), float(one.high)) for one in made.results]
        text = rebuilt.document.decode()
        assert [word for word in made.personal if word in text or word.upper() in text] == []


def test_the_data_centre_takes_what_was_rebuilt_and_refuses_what_was_not(tmp_path: Path) -> None:
    from toolkit.core.keys import create_keys
    from toolkit.core.xml import parse_safely
    from toolkit.datacentre.personal_data import find_personal_data
    from toolkit.hospital.visits.profile import read_profile
    from toolkit.hospital.visits.rebuild import rebuild

    key, profile = create_keys(str(tmp_path / "hospital.key")).current, read_profile(None)
    for number in range(20):
        made = generate.visit(number)
        tree = parse_safely(made.document, made.name)
        assert find_personal_data(tree) != []
        rebuilt = rebuild(tree, key, profile, made.name)
        assert find_personal_data(parse_safely(rebuilt.document, made.name)) == []
