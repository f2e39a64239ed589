from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import BadData, CannotCreate, NoInput, NotPermitted, ToolError
from toolkit.core.keys import Key, Keyring, create_keys, read_keys, rotate_keys

SECRET = bytes(range(32))
KEY = Key("k1", datetime(2026, 1, 31, 12, tzinfo=UTC), SECRET)
RING = Keyring("test.key", (KEY, Key("k2", KEY.created, bytes(32))))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "hospital.key")


def edited(path: str, old: str, new: str, count: int = 1) -> str:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, count))
    return text


def test_a_new_file_is_private_and_reads_back(path: str) -> None:
    made = create_keys(path)
    assert read_keys(path) == made
    assert [key.id for key in made.keys] == ["k1"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert datetime.now(UTC) - made.current.created < timedelta(minutes=1)
    assert os.listdir(os.path.dirname(path)) == ["hospital.key"]


def test_two_files_have_two_secrets(tmp_path: Path) -> None:
    first, second = (create_keys(str(tmp_path / name)).current for name in ("a", "b"))
    assert first.secret != second.secret
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("what", ["file", "dangling link", "directory"])
def test_nothing_is_overwritten(path: str, what: str) -> None:
    if what == "file":
        Path(path).write_text("older")
    elif what == "directory":
        os.mkdir(path)
    else:
        os.symlink("nowhere", path)
    with pytest.raises(CannotCreate):
        create_keys(path)
    assert os.listdir(os.path.dirname(path)) == ["hospital.key"]
    assert what != "file" or Path(path).read_text() == "older"


def test_rotation_adds_a_key_and_keeps_the_rest(path: str) -> None:
    first = create_keys(path).current
    edited(path, "version = 1", "version = 1\n# our own words")
    text = Path(path).read_text()
    ring = rotate_keys(path)
    assert [key.id for key in ring.keys] == ["k1", "k2"]
    assert ring.keys[0] == first
    assert ring.find("k1") == first and ring.current.id == "k2" and ring.current.secret != first.secret
    assert read_keys(path) == ring
    assert Path(path).read_text().startswith(text.rstrip("\n"))
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_rotations_at_once_lose_no_key(path: str, root: Path) -> None:
    create_keys(path)
    code = "import sys; from toolkit.core.keys import rotate_keys; rotate_keys(sys.argv[1])"
    running = [subprocess.Popen([sys.executable, "-c", code, path], cwd=root, stderr=subprocess.PIPE) for _ in range(4)]
    done = sum(process.communicate(timeout=60) is not None and process.returncode == 0 for process in running)
    assert done >= 1
    assert [key.id for key in read_keys(path).keys] == [f"k{number}" for number in range(1, done + 2)]


def test_killed_at_any_moment_the_file_is_whole(path: str, root: Path) -> None:
    create_keys(path)
    code = "import sys\nfrom toolkit.core.keys import rotate_keys\nprint(flush=True)\nwhile True: rotate_keys(sys.argv[1])"
    for delay in (0.0, 0.003, 0.011, 0.02):
        before = len(read_keys(path).keys)
        with subprocess.Popen([sys.executable, "-c", code, path], cwd=root, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        assert len(read_keys(path).keys) >= before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_can_use_is_refused(path: str, mode: int) -> None:
    create_keys(path)
    os.chmod(path, mode)
    for work in (read_keys, rotate_keys):
        with pytest.raises(NotPermitted, match=f"{mode:04o}.*chmod 600"):
            work(path)


def test_what_cannot_be_read(path: str) -> None:
    for name in (path, os.path.dirname(path), path + "/below"):
        with pytest.raises((NoInput, NotPermitted)):
            read_keys(name)
    with pytest.raises(NoInput):
        rotate_keys(path)


BROKEN = {
    "a newer version": ("version = 1", "version = 2", "newer"),
    "no version": ("version = 1", "", "version = 1"),
    "a version that is a flag": ("version = 1", "version = true", "version = 1"),
    "not TOML": ("[[key]]", "[[key", "line 4"),
    "no key": ("[[key]]", "[[other]]", "`other`"),
    "not a list of keys": ("[[key]]", "[key]", "holds no"),
    "an unknown entry": ("created", "note = 'x'\ncreated", "`note` is unknown"),
    "a missing entry": ("created", "# created", "`created` is missing"),
    "an id of another form": ('"k1"', '"key1"', "`id`"),
    "an id with a leading zero": ('"k1"', '"k01"', "`id`"),
    "a time in quotes": ("created = ", 'created = "today" # ', "`created`"),
    "a time without offset": ("Z\n", "\n", "`created`"),
    "a secret that is short": ('secret = "', 'secret = "" # ', "64 hexadecimal"),
    "a fingerprint of another key": ('fingerprint = "', 'fingerprint = "0', "changed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_and_its_secret_is_not(path: str, case: str) -> None:
    old, new, words = BROKEN[case]
    secret = create_keys(path).current.secret.hex()
    edited(path, old, new)
    with pytest.raises(BadData, match=words) as caught:
        read_keys(path)
    assert secret not in str(caught.value) and secret[:12] not in str(caught.value)
    assert "\n" not in str(caught.value)
    before = Path(path).read_text()
    with pytest.raises(BadData):
        rotate_keys(path)
    assert Path(path).read_text() == before


@pytest.mark.parametrize("swap", [("k1", "k3"), ("k2", "k1")])
def test_keys_out_of_order(path: str, swap: tuple[str, str]) -> None:
    create_keys(path)
    rotate_keys(path)
    edited(path, f'"{swap[0]}"', f'"{swap[1]}"')
    with pytest.raises(BadData, match="out of order"):
        read_keys(path)


def test_every_changed_digit_of_the_secret_is_noticed(path: str) -> None:
    secret = create_keys(path).current.secret.hex()
    for place in range(0, 64, 7):
        digit = "0" if secret[place] != "0" else "1"
        text = edited(path, secret, secret[:place] + digit + secret[place + 1 :])
        with pytest.raises(BadData, match="fingerprint"):
            read_keys(path)
        Path(path).write_text(text)
    assert read_keys(path).current.secret.hex() == secret


def test_a_secret_pasted_in_the_wrong_place_is_not_repeated(path: str) -> None:
    secret = create_keys(path).current.secret.hex()
    edited(path, "version = 1", f"version = 1\nx{secret} = 1\n")
    with pytest.raises(BadData) as caught:
        read_keys(path)
    assert secret[:8] not in str(caught.value)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_stumble(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.key"
    file.touch(0o600)
    file.write_bytes(data)
    with pytest.raises(ToolError):
        read_keys(str(file))


def test_printing_a_key_shows_no_secret() -> None:
    assert SECRET.hex() not in repr(RING) and repr(SECRET) not in repr(RING) and "secret" not in repr(RING)


def test_derived_keys_are_those_of_rfc_5869() -> None:
    """Against HKDF written out with HMAC, as section 2 of the RFC has it."""
    import hmac

    extracted = hmac.digest(b"scape-toolkit", SECRET, "sha256")
    first = hmac.digest(extracted, b"dicom uid" + b"\1", "sha256")
    second = hmac.digest(extracted, first + b"dicom uid" + b"\2", "sha256")
    assert KEY.derive("dicom uid", 48) == (first + second)[:48]


def test_purposes_and_keys_are_apart() -> None:
    derived = {key.derive(purpose) for key in RING.keys for purpose in ("a", "b", "ab", "")}
    assert len(derived) == 8


def test_results_do_not_change_between_releases() -> None:
    """What was written years ago must stay readable: these values, computed apart from this code, may never change."""
    assert KEY.fingerprint == "dd15-74f6-2adf-9a4c"
    assert KEY.derive("dicom uid").hex() == "c0fe839bb19edf911a219f5892e8aa21a32c8c808f750ec231b33b48558918f8"
    assert KEY.seal("patient", "PESEL 44051401359") == "k1.SRZVT5X3BBTRMX6ZBZMPNCPH5MS4JXPR3EJWJCQZD73GQKDIEW2LO"


@given(st.text(min_size=1, max_size=40), st.text(max_size=10))
def test_sealing_is_undone_for_its_domain_only(text: str, domain: str) -> None:
    import unicodedata

    sealed = KEY.seal("patient", text)
    assert sealed == KEY.seal("patient", text)
    assert RING.unseal("patient", sealed) == unicodedata.normalize("NFC", text)
    assert RING.unseal("patient", sealed.lower()) == unicodedata.normalize("NFC", text)
    if domain != "patient":
        with pytest.raises(BadData):
            RING.unseal(domain, sealed)


def test_bytes_that_no_character_set_explained_come_back() -> None:
    text = b"M\xfcller".decode("ascii", "surrogateescape")
    assert RING.unseal("patient", KEY.seal("patient", text)) == text


def test_every_key_of_the_ring_unseals_its_own() -> None:
    for key in RING.keys:
        assert RING.unseal("visit", key.seal("visit", "123")) == "123"
    with pytest.raises(BadData, match="holds no key k3"):
        RING.unseal("visit", "k3" + KEY.seal("visit", "123")[2:])
    with pytest.raises(BadData, match="not made by k2"):
        RING.unseal("visit", "k2" + KEY.seal("visit", "123")[2:])


FOREIGN = ["", "k1", "k1.", "1234567", "k0.MFRGG", "k1.MFRGG!", "k1.MFRGGZDF", "k1.MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3HO", "k1.a\nb"]


@pytest.mark.parametrize("text", FOREIGN)
def test_what_is_no_pseudonym(text: str) -> None:
    with pytest.raises(BadData):
        RING.unseal("patient", text)


def test_an_empty_text_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="empty"):
        KEY.seal("patient", "")


def test_a_key_passes_to_other_processes() -> None:
    KEY.seal("patient", "x")
    again = pickle.loads(pickle.dumps(RING))
    assert again == RING and again.keys[0].seal("patient", "x") == KEY.seal("patient", "x")
