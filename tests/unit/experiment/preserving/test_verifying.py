"""Crates that are looked at: what was damaged, or made in bad faith, is named; and bagit agrees."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bagit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rocrate.rocrate import ROCrate

from tests.unit.experiment.preserving.experiment import DESCRIPTION, Experiment
from toolkit.core.errors import BadData, NoInput, ToolError
from toolkit.experiment.preserving.asking import show_crate
from toolkit.experiment.preserving.creating import Request, create
from toolkit.experiment.preserving.gathering import References
from toolkit.experiment.preserving.verifying import verify


@pytest.fixture
def bag(three_commands: Experiment, tmp_path: Path) -> Path:
    create(Request([three_commands.records()], DESCRIPTION), str(tmp_path / "bag"))
    return tmp_path / "bag"


def lines(bag: Path) -> list[str]:
    return [f"{finding.place}: {finding.problem}" for finding in verify(str(bag)).findings]


def sealed(bag: Path) -> None:
    """Write the manifests anew, as one does who changes a crate in bad faith."""
    files = sorted(path for path in (bag / "data").rglob("*") if path.is_file() and not path.is_symlink())
    oxum = f"{sum(path.stat().st_size for path in files)}.{len(files)}"
    (bag / "bag-info.txt").write_text(f"Payload-Oxum: {oxum}\n")
    for algorithm in ("sha256", "sha512"):
        rows = [f"{hashlib.new(algorithm, path.read_bytes()).hexdigest()}  {path.relative_to(bag)}\n" for path in files]
        (bag / f"manifest-{algorithm}.txt").write_text("".join(rows))
    for algorithm in ("sha256", "sha512"):
        tags = [path for path in sorted(bag.glob("*.txt")) if not path.name.startswith("tagmanifest")]
        rows = [f"{hashlib.new(algorithm, path.read_bytes()).hexdigest()}  {path.name}\n" for path in tags]
        (bag / f"tagmanifest-{algorithm}.txt").write_text("".join(rows))


def metadata(bag: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bag / "data/ro-crate-metadata.json"
    content = json.loads(path.read_text())
    entities = {entity["@id"]: entity for entity in content["@graph"]}
    change(entities)
    path.write_text(json.dumps(content | {"@graph": list(entities.values())}))
    sealed(bag)


def test_a_sound_crate(bag: Path) -> None:
    assert lines(bag) == []
    sealed(bag)
    assert lines(bag) == []


@pytest.mark.parametrize(
    "name",
    ["data/files/words", "data/records/run.jsonl", "data/ro-crate-metadata.json", "bag-info.txt", "manifest-sha512.txt", "bagit.txt"],
)
def test_a_changed_byte_anywhere(bag: Path, name: str) -> None:
    content = bytearray((bag / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bag / name).write_bytes(content)
    assert [line for line in lines(bag) if line.startswith(f"{name}: has changed: its sha256 and sha512 differ")]
    assert not bagit.Bag(str(bag)).is_valid() if name != "bagit.txt" else True


def test_the_crates_of_others(tmp_path: Path) -> None:
    """One that rocrate wrote and bagit packed, an older version with other digests: it keeps all rules but those of runs."""
    (tmp_path / "table.csv").write_text("1,2\n")
    crate = ROCrate()
    crate.name, crate.description, crate.license = "A table", "Of numbers.", "CC0-1.0"
    crate.add_file(tmp_path / "table.csv", dest_path="a table %41.csv")
    crate.write(tmp_path / "bag")
    bagit.make_bag(str(tmp_path / "bag"), checksums=["md5", "sha256"])
    assert lines(tmp_path / "bag") == ["./: must conform to the profile Process Run Crate, and the profile be a CreativeWork"]


def test_a_missing_file_and_one_too_many(bag: Path) -> None:
    (bag / "data/files/words").rename(bag / "data/files/swords")
    found = lines(bag)
    assert "data/files/words: is missing, manifest-sha256.txt names it" in found
    assert "data/files/swords: is not in manifest-sha512.txt" in found
    assert "files/words: is not in the crate" in found
    assert "data/files/swords: is told of nowhere in the metadata" in found


def test_a_payload_shorter_than_promised(bag: Path) -> None:
    (bag / "data/files/words").write_bytes(b"")
    assert any(line.startswith("bag-info.txt: promises") for line in lines(bag))


def test_links_and_pipes_are_not_followed(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"b\na\n")
    (bag / "data/files/words").unlink()
    (bag / "data/files/words").symlink_to(tmp_path / "secret")
    (bag / "data/more").symlink_to(tmp_path)
    os.mkfifo(bag / "data/fifo")
    found = set(lines(bag))
    assert {"data/files/words: is a symbolic link", "data/more: is a symbolic link"} <= found
    assert "data/fifo: is neither a file nor a directory" in found


@pytest.mark.parametrize("name", ["bagit.txt", "manifest-sha256.txt", "data/ro-crate-metadata.json"])
def test_a_pipe_in_a_tag_files_place_does_not_hang(bag: Path, name: str) -> None:
    (bag / name).unlink()
    os.mkfifo(bag / name)
    assert f"{name}: is neither a file nor a directory" in lines(bag)


@pytest.mark.parametrize(
    "path",
    ["data/../../secret", "/etc/passwd", "data/a/../../b", "~/x", "data//words", "data/./words", "../x", "tags/x", "data/x%0A/../../y"],
)
@pytest.mark.parametrize("tag", ["manifest-sha256.txt", "fetch.txt"])
def test_paths_that_lead_out(bag: Path, path: str, tag: str) -> None:
    row = f"{'0' * 64}  {path}\n" if tag.startswith("manifest") else f"https://x.example/a 1 {path}\n"
    with open(bag / tag, "a") as stream:
        stream.write(row)
    assert any(line.startswith(f"{tag}: line ") and ("leads out" in line or "not below data/" in line) for line in lines(bag))


def test_encoded_line_ends_are_undone_once(bag: Path) -> None:
    (bag / "data/files/a\nb").write_bytes(b"1")
    (bag / "data/files/c%0Ad").write_bytes(b"2")
    for algorithm in ("sha256", "sha512"):
        with open(bag / f"manifest-{algorithm}.txt", "a") as stream:
            stream.write(f"{hashlib.new(algorithm, b'1').hexdigest()}  data/files/a%0ab\n")
            stream.write(f"{hashlib.new(algorithm, b'2').hexdigest()}  data/files/c%250Ad\n")
    found = [line for line in lines(bag) if "files/" in line]
    assert found == ["data/files/a\nb: is told of nowhere in the metadata", "data/files/c%0Ad: is told of nowhere in the metadata"]


def test_names_that_come_twice(bag: Path) -> None:
    rows = (bag / "manifest-sha256.txt").read_text()
    first = rows.splitlines()[0]
    (bag / "manifest-sha256.txt").write_text(rows + "0" * 64 + first[64:] + "\n")
    assert any("a second time" in line for line in lines(bag))


@pytest.mark.parametrize("line", ["nonsense", "12ab  data/files/words", "0" * 64])
def test_lines_that_are_none(bag: Path, line: str) -> None:
    with open(bag / "manifest-sha256.txt", "a") as stream:
        stream.write(line + "\n")
    assert any("is no sha256 digest and a path" in found for found in lines(bag))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x.example/a", "https:///a", "data:,x"])
def test_other_urls_are_not_fetched(bag: Path, url: str) -> None:
    (bag / "fetch.txt").write_text(f"{url} 4 data/files/words\n")
    assert any("neither https nor http" in line for line in lines(bag))


def test_no_bag(tmp_path: Path) -> None:
    with pytest.raises(NoInput):
        verify(str(tmp_path / "absent"))
    with pytest.raises(BadData, match=r"is no bag: bagit\.txt is missing"):
        verify(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [1]}'])
def test_metadata_that_is_none(bag: Path, text: str) -> None:
    (bag / "data/ro-crate-metadata.json").write_text(text)
    sealed(bag)
    assert len(lines(bag)) == 1 and lines(bag)[0].startswith("data/ro-crate-metadata.json: ")


def removing(identity: str, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda entities: entities[identity].pop(key)


def setting(identity: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entities: entities[identity].update({key: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (removing("./", "license"), "./: must have a license"),
        (removing("./", "name"), "./: must have a name"),
        (setting("./", "datePublished", "yesterday"), "./: must have a datePublished"),
        (removing("./", "conformsTo"), "./: must conform to the profile"),
        (removing("ro-crate-metadata.json", "about"), "ro-crate-metadata.json: tells of no root"),
        (removing("#command-c1", "instrument"), "#command-c1: must have an instrument"),
        (setting("#command-c1", "instrument", {"@id": "files/words"}), "#command-c1: must have an instrument"),
        (setting("#command-c1", "object", {"@id": "files/other"}), "#command-c1: refers to files/other as its object"),
        (setting("#command-c1", "actionStatus", {"@id": "http://schema.org/CompletedActionStatus"}), "#command-c1: has an actionStatus"),
        (setting("#command-c1", "error", "none"), "#command-c1: has an error although"),
        (setting("#command-c1", "endTime", "noon"), "#command-c1: has a endTime"),
        (setting("files/words", "contentSize", "5"), "files/words: has 4 bytes, its metadata says 5"),
        (setting("files/words", "sha256", "0" * 64), "files/words: has another SHA-256"),
        (setting("files/words", "sha256", "0" * 64), "#command-c1: does not tell of its input words"),
        (lambda entities: entities.pop("#command-c2"), "data/records/run.jsonl: has the command c2, of which"),
        (lambda entities: entities["./"]["hasPart"].remove({"@id": "files/words"}), "files/words: must be a part of the root"),
        (lambda entities: entities.update({"x": {"@id": "../../etc/passwd", "@type": "File"}}), "../../etc/passwd: is no path within"),
        (lambda entities: entities.update({"x": {"@id": "files/%2e%2e/%2e%2e/x", "@type": "File"}}), "files/%2e%2e/%2e%2e/x: is no path"),
        (lambda entities: entities.update({"x": dict(entities["#command-c1"])}), "data/ro-crate-metadata.json: tells of #command-c1 twice"),
    ],
)
def test_metadata_that_breaks_a_rule(bag: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    metadata(bag, change)
    assert [line for line in lines(bag) if line.startswith(said)], lines(bag)


class Serving(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    place = tmp_path / "site"
    place.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Serving(*a, directory=str(place))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", place
        server.shutdown()


def by_reference(experiment: Experiment, tmp_path: Path, url: str) -> Path:
    references = References({str(experiment.place / "words"): f"{url}/words"})
    create(Request([experiment.records()], DESCRIPTION, references=references), str(tmp_path / "bag"))
    return tmp_path / "bag"


def test_files_by_reference_are_fetched_when_asked(three_commands: Experiment, tmp_path: Path, site: tuple[str, Path]) -> None:
    url, place = site
    (place / "words").write_bytes(b"b\na\n")
    bag = by_reference(three_commands, tmp_path, url)
    verdict = verify(str(bag))
    assert (verdict.findings, verdict.elsewhere) == ([], ["data/files/words"])
    assert verify(str(bag), fetch=True).findings == []
    assert (bag / "data/files/words").read_bytes() == b"b\na\n"
    assert bagit.Bag(str(bag)).validate()


@pytest.mark.parametrize("content", [b"other content", b"B\na\n", b"b", None], ids=["longer", "other", "shorter", "absent"])
def test_what_is_fetched_is_checked(three_commands: Experiment, tmp_path: Path, site: tuple[str, Path], content: bytes | None) -> None:
    url, place = site
    if content is not None:
        (place / "words").write_bytes(content)
    bag = by_reference(three_commands, tmp_path, url)
    found = [f"{finding.place}: {finding.problem}" for finding in verify(str(bag), fetch=True).findings]
    assert found and found[0].startswith("data/files/words: could not be fetched: ")
    assert not (bag / "data/files/words").exists()


@given(st.sampled_from(["manifest-sha256.txt", "fetch.txt", "bag-info.txt", "bagit.txt", "tagmanifest-sha512.txt"]), st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_tag_file_makes_it_fail(bag: Path, name: str, data: st.DataObject) -> None:
    """Whatever stands in a tag file, verify ends with findings or with an error of ours."""
    older = (bag / name).read_bytes() if (bag / name).exists() else None
    pieces = st.sampled_from([b"data/", b"../", b"%0a", b"\n", b" ", b"\t", b"0" * 64, b"http://x/", b"\xff", b"\0", b"-", b"1", b":"])
    (bag / name).write_bytes(b"".join(data.draw(st.lists(pieces, max_size=12))))
    try:
        assert verify(str(bag)).findings or name == "fetch.txt"  # an empty one is none
    finally:
        if older is None:
            (bag / name).unlink()
        else:
            (bag / name).write_bytes(older)


JUNK = st.sampled_from([None, 0, -1, 1e400, "", "x", "../..", "\ud800", "\0", [], {}, [None], {"@id": 3}, {"@id": "#command-c1"}, [[{}]]])


@given(st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_metadata_and_no_record_make_it_fail(bag: Path, data: st.DataObject) -> None:
    """Whatever stands in place of a value, verify and show end with what they found or with an error of ours."""
    kept = [bag / "data/ro-crate-metadata.json", bag / "data/records/run.jsonl"]
    older = [path.read_bytes() for path in kept]
    content, lines = json.loads(older[0]), [json.loads(line) for line in older[1].splitlines()]
    for part in (data.draw(st.sampled_from(content["@graph"])), data.draw(st.sampled_from(lines))):
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JUNK)
    kept[0].write_text(json.dumps(content))
    kept[1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    sealed(bag)
    try:
        for look in (lambda: verify(str(bag)), lambda: list(show_crate(str(bag), False)), lambda: list(show_crate(str(bag), True))):
            with contextlib.suppress(ToolError):
                look()
    finally:
        for path, text in zip(kept, older, strict=True):
            path.write_bytes(text)
