from __future__ import annotations

import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import BadData
from toolkit.core.keys import Key, Keyring
from toolkit.hospital.dicom.cleaning import pseudonyms as module
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms, patient_id

KEYS = tuple(Key(f"k{number}", datetime(2026, 1, 31, tzinfo=UTC), bytes([number] * 32)) for number in (1, 2, 10))
RING = Keyring("test.key", KEYS)
FIRST, SECOND, TENTH = (Pseudonyms(key) for key in KEYS)
UIDS = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,8}", fullmatch=True)


def test_results_do_not_change_between_releases() -> None:
    """A patient's new images must fit the old ones: these values, computed as hospital-key(5) tells, may never change."""
    assert FIRST.uid("1.2.840.113619.2.1") == "2.25.294681255251470555503350865769998014455"
    assert FIRST.patient("44051401359") == "k1.ILHLOC7GAZNIWAF7BTCK7VJVAQKEGNHSRBZANQPZHBWQ"
    assert FIRST.patient("x" * 40) == "k1.N7CD63H4QRNANMVBNA2DJHRZAQ"
    assert FIRST.token("accession", "A123") == "VVAAAQZJENY6WXIP"
    assert FIRST.token("study-id", "A123") == "BU2U6ZZA24YPHZTG"
    assert FIRST.shift_days("44051401359") == -331
    assert FIRST.hash("recipe", b"value").hex() == "df2d0bfedc991d869434b5d6d34f18076842a2c516f7cd6eb9f8f56d8fdca03f"


def test_another_process_has_the_same_results(root: Path) -> None:
    code = (
        "from datetime import datetime; from toolkit.core.keys import Key\n"
        "from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms\n"
        "p = Pseudonyms(Key('k1', datetime.now(), bytes([1] * 32)))\n"
        "print(p.uid('1.2.3'), p.patient('7'), p.token('accession', '7'), p.shift_days('7'), p.hash('a', b'7').hex())"
    )
    words = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    p = FIRST
    assert words == [p.uid("1.2.3"), p.patient("7"), p.token("accession", "7"), str(p.shift_days("7")), p.hash("a", b"7").hex()]


@given(UIDS)
def test_a_uid_is_valid_and_a_uuid(original: str) -> None:
    import uuid

    made = FIRST.uid(original)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{23,38}", made) and len(made) <= 44
    number = uuid.UUID(int=int(made[5:]))
    assert number.variant == uuid.RFC_4122 and number.version == 8
    assert made == FIRST.uid(original + "\0") != SECOND.uid(original)


@given(st.lists(UIDS, unique=True, max_size=50))
def test_different_uids_stay_different(originals: list[str]) -> None:
    assert len({FIRST.uid(original) for original in originals}) == len(originals)


def test_caches_are_bounded_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CACHED", 10)
    small = Pseudonyms(KEYS[0])
    for number in range(35):
        assert small.uid(f"1.2.{number}") == FIRST.uid(f"1.2.{number}")
        assert small.patient(str(number)) == FIRST.patient(str(number))
    assert len(small._uids) <= 10 and len(small._patients) <= 10


@given(st.text(max_size=80))
def test_a_patient_fits_and_comes_back_when_it_is_short(original: str) -> None:
    import unicodedata

    plain = unicodedata.normalize("NFC", original).strip("\0 ")
    for pseudonyms, longest in ((FIRST, 22), (TENTH, 21)):
        made = pseudonyms.patient(original)
        assert len(made) <= 64
        if not plain:
            assert made == ""
        elif len(plain.encode()) <= longest:
            assert patient_id(RING, made) == plain
        else:
            with pytest.raises(BadData, match="one-way"):
                patient_id(RING, made)
        assert not plain or made.startswith(f"{pseudonyms.key.id}.")


def test_padding_and_composition_do_not_make_another_patient() -> None:
    for one, other in (("4711", "4711 "), ("4711", " 4711\0"), ("Żak", "Z\u0307ak")):
        assert FIRST.patient(one) == FIRST.patient(other)
        assert FIRST.shift_days(one) == FIRST.shift_days(other)
        assert FIRST.token("accession", one) == FIRST.token("accession", other)


def test_a_pseudonym_of_a_pseudonym_is_another() -> None:
    assert FIRST.patient(FIRST.patient("4711")) != FIRST.patient("4711")


@given(st.text(min_size=1, max_size=40))
def test_tokens_fit_and_differ_by_domain_and_key(value: str) -> None:
    made = [pseudonyms.token(domain, value) for pseudonyms in (FIRST, SECOND) for domain in ("accession", "study-id")]
    if value.strip("\0 "):
        assert all(re.fullmatch(r"[A-Z2-7]{16}", token) for token in made)
        assert len(set(made)) == 4
    else:
        assert made == [""] * 4


def test_shifts_fill_their_range_and_are_never_zero() -> None:
    shifts = [FIRST.shift_days(str(number)) for number in range(20_000)]
    assert set(shifts) == set(range(-730, 0))
    assert abs(sum(shifts) / len(shifts) + 365.5) < 5 * 211 / 20_000**0.5  # five standard errors of a uniform mean


@given(st.text(max_size=5), st.binary(max_size=5), st.text(max_size=5), st.binary(max_size=5))
def test_hashes_mix_no_domain_with_a_value(a: str, x: bytes, b: str, y: bytes) -> None:
    assert (FIRST.hash(a, x) == FIRST.hash(b, y)) == ((a, x) == (b, y))
    assert len(FIRST.hash(a, x)) == 32


def test_older_keys_give_the_older_pseudonyms() -> None:
    assert Pseudonyms(RING.find("k1")).patient("4711") == FIRST.patient("4711") != SECOND.patient("4711")
    assert patient_id(RING, FIRST.patient("4711")) == patient_id(RING, SECOND.patient("4711")) == "4711"


def test_they_pass_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(FIRST)).uid("1.2.3") == FIRST.uid("1.2.3")


def test_importing_them_is_quick(root: Path) -> None:
    code = (
        "import sys; from toolkit.hospital.dicom.cleaning import pseudonyms; from toolkit.hospital.dicom.restoring import vault\n"
        "print({'sqlalchemy', 'psycopg'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
