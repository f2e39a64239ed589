"""The vault, on SQLite and on a real PostgreSQL server alike."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from toolkit.core.database import open_database
from toolkit.core.errors import BadData, InputOutput, NoInput, NotPermitted, TryLater, Unavailable
from toolkit.core.keys import Keyring, create_keys, read_keys, rotate_keys
from toolkit.hospital.dicom.restoring.vault import AuditRow, Vault, VaultEntry, open_vault


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "vault.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return create_keys(str(tmp_path / "hospital.key"))


@pytest.fixture
def vault(url: str, keyring: Keyring) -> Iterator[Vault]:
    with open_vault(url, keyring) as opened:
        yield opened


def entry(number: int, patch: Iterable[bytes] = (b"patch",), patient: str = "4711") -> VaultEntry:
    digest = hashlib.sha256(b"%d" % number).digest()
    return VaultEntry("2.25.1", "2.25.2", f"2.25.3{number:06}", digest, patient, patch)


def stored(vault: Vault, uid: str) -> VaultEntry:
    found = vault.get(uid)
    assert found is not None
    return dataclasses.replace(found, patch=tuple(found.patch))


def execute(url: str, *statements: str) -> int:
    """Change the database behind the vault's back; how many rows were changed."""
    engine: Engine = open_database(url)
    try:
        with engine.begin() as connection:
            return sum(connection.execute(text(statement)).rowcount for statement in statements)
    finally:
        engine.dispose()


def scalar(url: str, statement: str) -> object:
    engine = open_database(url)
    try:
        with engine.begin() as connection:
            return connection.scalar(text(statement))
    finally:
        engine.dispose()


# What is put comes back


def test_entries_come_back(vault: Vault) -> None:
    entries = [
        entry(1, (b"one", b"two", b"", b"four")),
        entry(2, (), "Ząb\udcfc"),
        entry(3, (os.urandom(3 << 20), os.urandom(5)), ""),
    ]
    vault.put(entries)
    assert stored(vault, entries[0].instance_uid) == entries[0]
    assert stored(vault, entries[1].instance_uid) == dataclasses.replace(entries[1], patch=(b"",))
    assert stored(vault, entries[2].instance_uid) == entries[2]
    assert vault.get("2.25.9") is None


def test_an_entry_is_replaced_whole(vault: Vault, url: str) -> None:
    vault.put([entry(1, (b"a", b"b", b"c"), "old")])
    vault.put([entry(1, (b"d",), "new"), entry(2)])
    assert stored(vault, entry(1).instance_uid) == entry(1, (b"d",), "new")
    assert scalar(url, "SELECT count(*) FROM vault_chunk") == 2
    assert list(vault.instances_of("old")) == []


def test_the_last_of_two_in_one_batch_counts(vault: Vault) -> None:
    vault.put([entry(1, (b"a", b"b")), entry(1, (b"c",))])
    assert stored(vault, entry(1).instance_uid).patch == (b"c",)


def test_an_empty_batch_changes_nothing(vault: Vault) -> None:
    vault.put([])
    vault.audit([])
    assert list(vault.audit_rows()) == []


def test_a_large_patch_is_streamed(url: str, keyring: Keyring, tmp_path: Path, root: Path) -> None:
    """160 MB go in and out in 8 MiB chunks through a process that may hold far less."""
    code = """if True:
        import resource, sys
        from toolkit.core.keys import read_keys
        from toolkit.hospital.dicom.restoring.vault import VaultEntry, open_vault
        def chunks():
            for number in range(20):
                yield bytes([number]) * (8 << 20)
        with open_vault(sys.argv[1], read_keys(sys.argv[2])) as vault:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            vault.put([VaultEntry("1", "2", "3", b"d", "p", chunks())])
            for ours, theirs in zip(chunks(), vault.get("3").patch, strict=True):
                assert ours == theirs
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    words = [sys.executable, "-c", code, url, keyring.path]
    result = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 100_000  # kB


def test_nothing_readable_is_on_disk(tmp_path: Path, keyring: Keyring) -> None:
    with open_vault(str(tmp_path / "vault.db"), keyring) as vault:
        vault.put([entry(1, (b"KOWALSKI^JAN" * 50,), "PATIENT-4711")])
        files = [path for path in tmp_path.iterdir() if path.name.startswith("vault.db")]
        content = b"".join(path.read_bytes() for path in files)
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert entry(1).instance_uid.encode() in content
    assert b"KOWALSKI" not in content and b"4711" not in content.replace(entry(1).instance_uid.encode(), b"")


def test_the_same_entry_twice_has_different_ciphertexts(vault: Vault, url: str) -> None:
    vault.put([entry(1)])
    first = scalar(url, "SELECT data FROM vault_chunk")
    vault.put([entry(1)])
    assert scalar(url, "SELECT data FROM vault_chunk") != first


# Keys


def test_rotation_keeps_old_rows_readable(vault: Vault, url: str, keyring: Keyring) -> None:
    vault.put([entry(1)])
    vault.audit([AuditRow(datetime.now(UTC), "anna", "restored", "2.25.1")])
    newer = rotate_keys(keyring.path)
    with open_vault(url, newer) as rotated:
        rotated.put([entry(2)])
        assert stored(rotated, entry(1).instance_uid) == entry(1)
        assert stored(rotated, entry(2).instance_uid) == entry(2)
        assert list(rotated.instances_of("4711")) == [entry(1).instance_uid, entry(2).instance_uid]
        assert len(list(rotated.audit_rows())) == 1
    with pytest.raises(NotPermitted, match="k2, which .* lacks; copy the rotated"):
        open_vault(url, keyring)
    with pytest.raises(BadData, match="holds no key k2"):  # opened before the rotation
        vault.get(entry(2).instance_uid)
    alone = Keyring(newer.path, newer.keys[1:])
    with open_vault(url, alone) as latest:
        assert stored(latest, entry(2).instance_uid) == entry(2)
        with pytest.raises(BadData, match="holds no key k1"):
            latest.get(entry(1).instance_uid)


def test_another_key_of_the_same_id_is_refused(vault: Vault, url: str, tmp_path: Path) -> None:
    other = create_keys(str(tmp_path / "other.key"))
    with pytest.raises(NotPermitted, match=f"another k1.*{other.current.fingerprint}"):
        open_vault(url, other)


def test_another_key_opens_nothing_even_if_the_list_of_keys_is_forged(vault: Vault, url: str, tmp_path: Path) -> None:
    vault.put([entry(1)])
    other = create_keys(str(tmp_path / "other.key"))
    execute(url, f"UPDATE vault_key SET fingerprint = '{other.current.fingerprint}'")
    with open_vault(url, other) as forged, pytest.raises(BadData):
        forged.get(entry(1).instance_uid)


# Tampering


def flip(url: str, table: str, column: str, where: str) -> None:
    """Change one bit at the begin, in the middle and at the end of a column of bytes."""
    data = scalar(url, f"SELECT {column} FROM {table} WHERE {where}")
    assert isinstance(data, bytes)
    for place in {0, len(data) // 2, len(data) - 1}:
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        value = f"'\\x{changed.hex()}'" if url.startswith("postgresql") else f"x'{changed.hex()}'"
        assert execute(url, f"UPDATE {table} SET {column} = {value} WHERE {where}".replace(":", "\\:")) == 1


ONE, TWO = entry(1).instance_uid, entry(2).instance_uid
FORGERIES: dict[str, Callable[[str], object]] = {
    "a bit of a chunk": lambda url: flip(url, "vault_chunk", "data", f"instance_uid = '{ONE}' AND number = 0"),
    "a bit of the last chunk": lambda url: flip(url, "vault_chunk", "data", f"instance_uid = '{ONE}' AND number = 2"),
    "a bit of the patient": lambda url: flip(url, "vault_entry", "patient", f"instance_uid = '{ONE}'"),
    "a bit of the digest": lambda url: flip(url, "vault_entry", "digest", f"instance_uid = '{ONE}'"),
    "a bit of the serial": lambda url: flip(url, "vault_entry", "serial", f"instance_uid = '{ONE}'"),
    "the first chunk dropped": lambda url: execute(url, f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 0"),
    "a chunk dropped": lambda url: execute(url, f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 1"),
    "the last chunk dropped": lambda url: execute(url, f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 2"),
    "cut off, the new end marked": lambda url: execute(
        url,
        f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 2",
        f"UPDATE vault_chunk SET last = true WHERE instance_uid = '{ONE}' AND number = 1",
    ),
    "a chunk dropped, the others moved up": lambda url: execute(
        url,
        f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 1",
        f"UPDATE vault_chunk SET number = 1 WHERE instance_uid = '{ONE}' AND number = 2",
    ),
    "chunks exchanged": lambda url: execute(
        url,
        f"UPDATE vault_chunk SET number = 9 WHERE instance_uid = '{ONE}' AND number = 0",
        f"UPDATE vault_chunk SET number = 0 WHERE instance_uid = '{ONE}' AND number = 1",
        f"UPDATE vault_chunk SET number = 1 WHERE instance_uid = '{ONE}' AND number = 9",
    ),
    "no end": lambda url: execute(url, f"UPDATE vault_chunk SET last = false WHERE instance_uid = '{ONE}'"),
    "a chunk of another object": lambda url: execute(
        url,
        f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}' AND number = 0",
        f"UPDATE vault_chunk SET instance_uid = '{ONE}' WHERE instance_uid = '{TWO}' AND number = 0",
    ),
    "all of another object": lambda url: execute(
        url,
        f"DELETE FROM vault_chunk WHERE instance_uid = '{ONE}'",
        f"DELETE FROM vault_entry WHERE instance_uid = '{ONE}'",
        f"UPDATE vault_chunk SET instance_uid = '{ONE}' WHERE instance_uid = '{TWO}'",
        f"UPDATE vault_entry SET instance_uid = '{ONE}' WHERE instance_uid = '{TWO}'",
    ),
    "another patient's id": lambda url: execute(
        url, f"UPDATE vault_entry SET patient = (SELECT patient FROM vault_entry WHERE instance_uid = '{TWO}') WHERE instance_uid = '{ONE}'"
    ),
    "another patient's token": lambda url: execute(
        url,
        f"UPDATE vault_entry SET patient_token = (SELECT patient_token FROM vault_entry WHERE instance_uid = '{TWO}') "
        f"WHERE instance_uid = '{ONE}'",
    ),
    "another series": lambda url: execute(url, f"UPDATE vault_entry SET series_uid = '2.25.77' WHERE instance_uid = '{ONE}'"),
    "another study": lambda url: execute(url, f"UPDATE vault_entry SET study_uid = '2.25.77' WHERE instance_uid = '{ONE}'"),
    "another key's name": lambda url: execute(url, f"UPDATE vault_entry SET key_id = 'k7' WHERE instance_uid = '{ONE}'"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_tampering_is_noticed(vault: Vault, url: str, forgery: str) -> None:
    vault.put([entry(1, (b"a" * 20, b"b" * 20, b"c" * 20)), entry(2, (b"d" * 20, b"e" * 20, b"f" * 20), "another patient")])
    FORGERIES[forgery](url)
    with pytest.raises(BadData, match=f"{ONE}|holds no key k7") as caught:
        stored(vault, ONE)
    assert "\n" not in str(caught.value)


def test_a_changed_audit_row_is_noticed(vault: Vault, url: str) -> None:
    vault.audit([AuditRow(datetime.now(UTC), "anna", "restored", "2.25.1")])
    execute(url, "UPDATE vault_audit SET who = 'berta'")
    with pytest.raises(BadData, match="audit row 1: was changed"):
        list(vault.audit_rows())


# Audit


def test_audit_rows_come_back_in_order(vault: Vault) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    rows = [AuditRow(moment + timedelta(seconds=number), f"user {number}", "restored", f"2.25.{number % 2}") for number in range(5)]
    vault.audit(rows[:3])
    vault.audit(rows[3:])
    assert list(vault.audit_rows()) == rows
    assert list(vault.audit_rows("2.25.1")) == rows[1::2]


# Several processes, and crashes


def put_many(url: str, path: str, first: int, count: int, barrier: object) -> None:
    with open_vault(url, read_keys(path)) as vault:
        barrier.wait()  # type: ignore[attr-defined]
        for start in range(first, first + count, 16):
            vault.put([entry(number, (b"%d" % os.getpid(), b"end")) for number in range(start, min(start + 16, first + count))])


@pytest.mark.parametrize("second", [0, 80, 160], ids=["the same objects", "some", "none"])
def test_two_processes_write_at_once(url: str, keyring: Keyring, second: int) -> None:
    """Both open (and make) the vault at once, too."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=put_many, args=(url, keyring.path, first, 160, barrier)) for first in (0, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        worker.kill()
    assert [worker.exitcode for worker in workers] == [0, 0]
    with open_vault(url, keyring, create=False) as vault:
        for number in range(second + 160):
            first, last = stored(vault, entry(number).instance_uid).patch
            assert int(first) in {worker.pid for worker in workers} and last == b"end"
    assert scalar(url, "SELECT count(*) FROM vault_entry") == second + 160
    assert scalar(url, "SELECT count(*) FROM vault_chunk") == 2 * (second + 160)


def test_killed_in_the_middle_of_a_batch(url: str, keyring: Keyring, root: Path) -> None:
    """What `put` returned from is there; of the batch that was under way, nothing is."""
    code = """if True:
        import sys, time
        from toolkit.core.keys import read_keys
        from toolkit.hospital.dicom.restoring.vault import VaultEntry, open_vault
        def slow():
            for number in range(12):
                yield bytes(8 << 20)
            print("half", flush=True)
            time.sleep(60)
        with open_vault(sys.argv[1], read_keys(sys.argv[2])) as vault:
            vault.put([VaultEntry("1", "2", "done", b"d", "p", [b"whole"])])
            vault.put([VaultEntry("1", "2", "done", b"d", "p", [b"other"]), VaultEntry("1", "2", "half", b"d", "p", slow())])
    """
    with subprocess.Popen([sys.executable, "-c", code, url, keyring.path], cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "half\n"
        finally:
            process.send_signal(signal.SIGKILL)
    with open_vault(url, keyring, create=False, patience=20) as vault:
        assert stored(vault, "done").patch == (b"whole",)
        assert vault.get("half") is None
        vault.put([entry(1)])
    assert scalar(url, "SELECT count(*) FROM vault_chunk") == 2


def test_killed_at_any_moment(url: str, keyring: Keyring, root: Path) -> None:
    code = """if True:
        import itertools, sys
        from toolkit.core.keys import read_keys
        from toolkit.hospital.dicom.restoring.vault import VaultEntry, open_vault
        with open_vault(sys.argv[1], read_keys(sys.argv[2])) as vault:
            for batch in itertools.count():
                vault.put([VaultEntry("1", "2", f"{sys.argv[3]}.{batch}.{n}", b"d", "p", [b"x" * 5000, b"y"]) for n in range(8)])
                print(batch, flush=True)
    """
    done = {}
    for attempt, delay in enumerate((0.01, 0.05, 0.1)):
        words = [sys.executable, "-c", code, url, keyring.path, str(attempt)]
        with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            done[attempt] = int(["0", *process.stdout.read().split()][-1])
    with open_vault(url, keyring, create=False) as vault:
        for attempt, last in done.items():
            for batch in range(last + 2):
                found = [vault.get(f"{attempt}.{batch}.{n}") for n in range(8)]
                assert all(found) or (batch > last and not any(found))
                assert all(b"".join(one.patch) == b"x" * 5000 + b"y" for one in found if one)


def test_a_patch_that_fails_stores_nothing(vault: Vault) -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(40 << 20)  # more than is prepared: the transaction has begun
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        vault.put([entry(1), entry(2, failing())])
    assert vault.get(ONE) is None and vault.get(TWO) is None
    vault.put([entry(1)])
    assert stored(vault, ONE) == entry(1)


def test_an_entry_replaced_while_it_is_read(vault: Vault) -> None:
    vault.put([entry(1, (b"a", b"b"))])
    found = vault.get(ONE)
    assert found is not None
    vault.put([entry(1, (b"c", b"d"))])
    with pytest.raises(TryLater, match="replaced"):
        list(found.patch)


def test_waiting_ends(url: str, keyring: Keyring, vault: Vault) -> None:
    blocking = open_database(url)
    try:
        with blocking.begin() as connection, open_vault(url, keyring, patience=0.3) as patient:
            connection.execute(text("UPDATE vault_key SET fingerprint = fingerprint"))
            if url.startswith("postgresql"):
                connection.execute(text("LOCK TABLE vault_entry"))
            with pytest.raises(TryLater) as caught:
                patient.put([entry(1)])
            assert "\n" not in str(caught.value) and "lock" in str(caught.value)
        vault.put([entry(1)])
    finally:
        blocking.dispose()


def test_reading_does_not_wait_for_a_writer(url: str, keyring: Keyring, vault: Vault) -> None:
    vault.put([entry(1)])
    blocking = open_database(url)
    try:
        with blocking.begin() as connection:
            connection.execute(text("UPDATE vault_key SET fingerprint = fingerprint"))
            with open_vault(url, keyring, create=False, patience=0.3) as reader:
                assert stored(reader, ONE) == entry(1)
    finally:
        blocking.dispose()


# What cannot be opened or written


def test_a_vault_that_does_not_exist_is_not_made_for_a_reader(url: str, keyring: Keyring) -> None:
    with pytest.raises(NoInput):
        open_vault(url, keyring, create=False)
    assert url.startswith("postgresql") or not os.path.exists(url)


def test_a_newer_schema_is_refused(vault: Vault, url: str, keyring: Keyring) -> None:
    execute(url, "UPDATE toolkit_schema SET version = 2")
    with pytest.raises(BadData, match="newer release"):
        open_vault(url, keyring)


@pytest.mark.parametrize("kind", ["another database", "text", "damaged"])
def test_a_file_that_is_no_vault(tmp_path: Path, keyring: Keyring, kind: str) -> None:
    path = tmp_path / "vault.db"
    if kind == "another database":
        with open_vault(str(path), keyring):
            pass
        execute(str(path), "DROP TABLE vault_entry", "DELETE FROM toolkit_schema")
        with pytest.raises(NoInput, match="holds no vault"):
            open_vault(str(path), keyring, create=False)
        return
    if kind == "text":
        path.write_text("this is no database\n" * 500)
    else:
        with open_vault(str(path), keyring) as vault:
            vault.put([entry(number, (os.urandom(5000),)) for number in range(50)])
        data = bytearray(path.read_bytes())
        data[4096:40960] = os.urandom(40960 - 4096)
        path.write_bytes(data)
    with pytest.raises(BadData) as caught, open_vault(str(path), keyring) as vault:
        for number in range(50):
            stored(vault, entry(number).instance_uid)
    assert "\n" not in str(caught.value)


def test_a_full_disk(keyring: Keyring, tmp_path: Path, root: Path) -> None:
    """A limit on the size of files is a full disk for SQLite; what was committed before stays, and nothing else."""
    path = tmp_path / "vault.db"
    code = """if True:
        import os, resource, signal, sys
        from toolkit.core.errors import ToolError
        from toolkit.core.keys import read_keys
        from toolkit.hospital.dicom.restoring.vault import VaultEntry, open_vault
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with open_vault(sys.argv[1], read_keys(sys.argv[2])) as vault:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
            try:
                for number in range(1000):
                    vault.put([VaultEntry("1", "2", str(number), b"d", "p", [os.urandom(100_000)])])
            except ToolError as error:
                print(number, type(error).__name__, error.exit_status, str(error).count("\\n"))
    """
    result = subprocess.run([sys.executable, "-c", code, path, keyring.path], cwd=root, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    count, *words = result.stdout.split()
    assert int(count) > 5 and words == ["InputOutput", "74", "0"]
    with open_vault(str(path), keyring) as vault:
        assert all(len(stored(vault, str(number)).patch[0]) == 100_000 for number in range(int(count)))
        assert vault.get(count) is None


def test_a_disk_that_is_really_full(keyring: Keyring, tmp_path: Path) -> None:
    """A file system of 2 MB where we may mount one; elsewhere SQLite's own limit of pages, which fails with the same code."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        with open_vault(str(disk / "vault.db"), keyring) as vault:
            if not mounted:
                with vault._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA max_page_count = 400")
            vault.put([entry(1)])
            with pytest.raises(InputOutput, match="full") as caught:
                for number in range(2, 100):
                    vault.put([entry(number, (os.urandom(100_000),))])
            assert caught.value.exit_status == 74
            assert stored(vault, ONE) == entry(1)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", disk], check=True)


def test_a_connection_that_breaks(postgresql: str, keyring: Keyring) -> None:
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"
    with open_vault(postgresql, keyring) as vault:
        vault.put([entry(1)])
        execute(postgresql, f"SELECT pg_terminate_backend(pid) {others}")
        with pytest.raises(Unavailable) as caught:
            vault.put([entry(2)])
        assert "\n" not in str(caught.value)
        vault.put([entry(2)])  # the next one connects anew
        assert stored(vault, TWO) == entry(2)
