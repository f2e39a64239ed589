"""Crates that are made: what is in them, as other programs read it, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import bagit
import pytest
from rocrate.rocrate import ROCrate

from tests.unit.experiment.preserving.experiment import DESCRIPTION, Experiment
from toolkit.core.errors import BadData, CannotCreate, NoInput, ToolError, UsageError
from toolkit.experiment.preserving.creating import Request, create
from toolkit.experiment.preserving.gathering import References


def graph(bag: Path) -> dict[str, Any]:
    content = json.loads((bag / "data" / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in content["@graph"]}


def ids(value: Any) -> list[str]:
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


@pytest.fixture
def bag(three_commands: Experiment, tmp_path: Path) -> Path:
    create(Request([three_commands.records()], DESCRIPTION), str(tmp_path / "bag"))
    return tmp_path / "bag"


def test_the_library_of_congress_finds_it_valid(bag: Path) -> None:
    found = bagit.Bag(str(bag))
    assert found.validate()
    assert (found.version, sorted(found.algorithms)) == ("1.0", ["sha256", "sha512"])
    assert found.info["Contact-Name"] == "Jan Kowalski"
    assert {"data/files/words", "data/files/out/sorted", "data/files/out/count", "data/records/run.jsonl"} < set(found.payload_entries())
    assert (bag / "data/files/out/sorted").read_bytes() == b"a\nb\n"


def test_ro_crates_own_reader_reads_it(bag: Path) -> None:
    crate = ROCrate(bag / "data")
    actions = crate.get_by_type("CreateAction")
    assert (crate.name, len(actions)) == ("Correlation at 32", 3)
    sort = crate.dereference("#command-c1")
    assert sort["object"].id == "files/words" and sort["result"]["sha256"] == crate.dereference("#command-c2")["object"]["sha256"]
    assert sort["agent"]["name"] == "Jan Kowalski"


def test_each_command_is_an_action(bag: Path) -> None:
    entities = graph(bag)
    action = entities["#command-c1"]
    assert (action["name"], action["description"]) == ("sort", "sort words -o out/sorted")
    assert (action["startTime"], action["endTime"]) == ("2026-11-23T07:00:01.123+00:00", "2026-11-23T07:00:01.623+00:00")
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert entities[action["environment"]["@id"]] == {
        "@id": "#environment-OMP_NUM_THREADS-2",
        "@type": "PropertyValue",
        "name": "OMP_NUM_THREADS",
        "value": "2",
    }
    usage = {entities[one]["name"]: entities[one] for one in ids(action["resourceUsage"])}
    assert usage["peak_rss_bytes"]["value"] == "30000000"
    assert usage["peak_rss_bytes"]["unitCode"] == "https://qudt.org/vocab/unit/BYTE"
    assert usage["wall_ns"]["unitCode"] == "https://qudt.org/vocab/unit/NanoSEC"
    assert set(ids(entities["./"]["mentions"])) == {"#command-c1", "#command-c2", "#command-c3"}


def test_a_pipe_ties_two_actions(bag: Path) -> None:
    entities = graph(bag)
    assert entities["#command-c2"]["result"] == {"@id": "#pipe-c2"} == entities["#command-c3"]["object"]
    assert entities["#pipe-c2"]["name"] == "stream from cat to wc"


def test_what_failed_says_how(experiment: Experiment, tmp_path: Path) -> None:
    experiment.ran(["false"], status=3)
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    action = graph(tmp_path / "bag")["#command-c1"]
    assert (action["actionStatus"], action["error"]) == ("http://schema.org/FailedActionStatus", "It ended with status 3.")


def test_files_outside_the_root_keep_their_absolute_place(experiment: Experiment, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "dem.tif"
    other.parent.mkdir()
    other.write_bytes(b"heights")
    experiment.ran(["cat", str(other)], [str(other)])
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    assert (tmp_path / "bag/data/external" / str(other).lstrip("/")).read_bytes() == b"heights"
    assert str(experiment.place) in [entity.get("value") for entity in graph(tmp_path / "bag").values()]


@pytest.mark.parametrize(
    "name",
    [b"two words ", b"100%", b"line\nend", b"tab\tand ~tilde", b"\xff\xfe.npy", "zażółć.csv".encode(), b"~root", b"-", b"*", b"\xc2\xa0x"],
)
def test_any_name_passes(experiment: Experiment, tmp_path: Path, name: bytes) -> None:
    text = os.fsdecode(name)
    experiment.file(text, b"content")
    experiment.ran(["cat", text], [text])
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    assert bagit.Bag(str(tmp_path / "bag")).validate()
    crate = ROCrate(tmp_path / "bag" / "data")
    files = [entity for entity in crate.get_by_type("File") if entity.id.startswith("files/")]
    assert len(files) == 1 and (Path(files[0].source)).read_bytes() == b"content"


def test_a_file_that_was_overwritten_is_kept_by_its_digest(experiment: Experiment, tmp_path: Path) -> None:
    experiment.file("out", b"first")
    experiment.ran(["make-it"], outputs=["out"])
    experiment.ran(["use-it"], inputs=["out"])
    experiment.file("out", b"again")
    experiment.ran(["make-it"], outputs=["out"])
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    entities = graph(tmp_path / "bag")
    lost = entities["#command-c1"]["result"]["@id"]
    assert entities["#command-c2"]["object"]["@id"] == lost and entities[lost]["@type"] == "CreativeWork"
    assert entities["#command-c3"]["result"]["@id"] == "files/out"


def refusal(experiment: Experiment, tmp_path: Path, kind: type[ToolError], **more: Any) -> str:
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(kind) as caught:
        create(Request([str(experiment.place / "run.jsonl")], DESCRIPTION, **more), str(tmp_path / "bag"))
    assert sorted(os.listdir(tmp_path)) == before, "something was left behind"
    return str(caught.value)


@pytest.mark.parametrize("content", [b"A\nb\n", b"a\nb\nc\n"], ids=["as long", "longer"])
def test_a_file_that_changed_is_refused(three_commands: Experiment, tmp_path: Path, content: bytes) -> None:
    three_commands.records()
    three_commands.file("out/sorted", content)
    said = refusal(three_commands, tmp_path, BadData)
    assert said.startswith(str(three_commands.place / "out/sorted") + ": has changed since it was recorded")


def test_a_file_that_is_gone_is_refused(three_commands: Experiment, tmp_path: Path) -> None:
    three_commands.records()
    (three_commands.place / "words").unlink()
    assert "words: No such file or directory; sort read it" in refusal(three_commands, tmp_path, NoInput)


def test_an_input_that_was_changed_afterwards_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    experiment.file("data", b"before")
    experiment.ran(["improve"], inputs=["data"])
    experiment.file("data", b"behind")
    experiment.ran(["improve"], outputs=["data"])
    experiment.records()
    assert "has changed since improve read it" in refusal(experiment, tmp_path, BadData)


def test_files_that_were_moved(three_commands: Experiment, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    Path(three_commands.records()).rename(record)
    os.rename(three_commands.place, tmp_path / "back")
    moved = {str(three_commands.place): str(tmp_path / "back")}
    urls = {str(tmp_path / "back/words"): "https://x.example/1", str(three_commands.place / "out/count"): "https://x.example/2"}
    create(Request([str(record)], DESCRIPTION, moved=moved), str(tmp_path / "bag"))
    create(Request([str(record)], DESCRIPTION, moved=moved, references=References(urls)), str(tmp_path / "elsewhere"))
    assert len((tmp_path / "elsewhere/fetch.txt").read_text().splitlines()) == 2
    assert bagit.Bag(str(tmp_path / "bag")).validate()
    assert (tmp_path / "bag/data/files/words").exists()


def test_files_by_reference(three_commands: Experiment, tmp_path: Path) -> None:
    path = str(three_commands.place / "words")
    references = References({path: "https://data.example/words"}, 3, "https://data.example/all/")
    create(Request([three_commands.records()], DESCRIPTION, references=references), str(tmp_path / "bag"))
    rows = (tmp_path / "bag/fetch.txt").read_text().splitlines()
    assert rows == ["https://data.example/all/out/sorted 4 data/files/out/sorted", "https://data.example/words 4 data/files/words"]
    assert not (tmp_path / "bag/data/files/words").exists() and (tmp_path / "bag/data/files/out/count").exists()
    assert graph(tmp_path / "bag")["files/words"]["contentUrl"] == "https://data.example/words"
    (tmp_path / "bag/data/files/words").write_bytes(b"b\na\n")
    (tmp_path / "bag/data/files/out/sorted").write_bytes(b"a\nb\n")
    assert bagit.Bag(str(tmp_path / "bag")).validate()


def test_a_reference_to_no_file_of_theirs(three_commands: Experiment, tmp_path: Path) -> None:
    three_commands.records()
    assert "is no file that the commands" in refusal(
        three_commands, tmp_path, UsageError, references=References({"/x": "https://x.example/"})
    )


def test_an_older_crate_stays(bag: Path, three_commands: Experiment) -> None:
    with pytest.raises(CannotCreate, match="is there already"):
        create(Request([three_commands.records()], DESCRIPTION), str(bag))


def test_no_records(experiment: Experiment, tmp_path: Path) -> None:
    (experiment.place / "run.jsonl").write_text("not a record\n")
    assert "tells of no command" in refusal(experiment, tmp_path, BadData)


def test_records_of_the_same_name(experiment: Experiment, tmp_path: Path) -> None:
    experiment.ran(["true"])
    first = experiment.records()
    second = tmp_path / "run.jsonl"
    second.write_text(Path(first).read_text().replace("c1", "d1"))
    create(Request([first, str(second)], DESCRIPTION), str(tmp_path / "bag"))
    assert sorted(os.listdir(tmp_path / "bag/data/records")) == ["2-run.jsonl", "run.jsonl"]


def test_a_root_by_a_symbolic_link(three_commands: Experiment, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(three_commands.place)
    create(Request([three_commands.records()], DESCRIPTION, root=str(tmp_path / "link")), str(tmp_path / "bag"))
    assert (tmp_path / "bag/data/files/words").exists()


def test_a_directory_that_had_been_removed(experiment: Experiment, tmp_path: Path) -> None:
    experiment.ran(["true"], directory="")
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    assert bagit.Bag(str(tmp_path / "bag")).validate()


def test_what_cannot_be_repeated_is_said(experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = experiment.place
    experiment.ran(["wc"], streams={"stdin": "pipe:[5]", "stdout": f"{place}/count"})
    experiment.ran(["cat"], streams={"stdin": f"{place}/text", "stdout": "/dev/null"})
    create(Request([experiment.records()], DESCRIPTION), str(tmp_path / "bag"))
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "wc: if it read what a program piped to it, put profile-wrap before that too, or it cannot be repeated",
        f"wc: wrote to {place}/count, which was not recorded and is not kept",
        f"cat: read {place}/text, which was not recorded, so it cannot be repeated",
    ]


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, str]:
    """A work tree of git with two commits, and the first one's id."""
    place = tmp_path / "tree"
    place.mkdir()
    for text in ("first", "second"):
        (place / "code").write_text(text)
        git(place, "init", "-q")
        git(place, "add", "code")
        git(place, "commit", "-q", "-m", text)
    return place, git(place, "rev-parse", "HEAD~1")


def git(place: Path, *words: str, data: bytes = b"") -> str:
    settings = ["-c", "user.name=Jan", "-c", "user.email=jan@example.org", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"]
    result = subprocess.run(["git", *settings, *words], cwd=place, input=data, stdout=subprocess.PIPE, check=True)
    return result.stdout.decode().strip()


def test_the_commit_that_ran(experiment: Experiment, tmp_path: Path, tree: tuple[Path, str], caplog: pytest.LogCaptureFixture) -> None:
    place, first = tree
    experiment.ran(["true"], git={"commit": first, "modified": True, "root": str(place)})
    create(Request([experiment.records()], DESCRIPTION, code=str(place)), str(tmp_path / "bag"))
    archive = tmp_path / "bag/data/code" / f"tree-{first[:12]}.tar"
    assert git(place, "get-tar-commit-id", data=archive.read_bytes()) == first
    assert subprocess.run(["tar", "-xOf", archive, "code"], capture_output=True, text=True).stdout == "first"
    assert "was modified when the commands ran" in caplog.text
    entity = graph(tmp_path / "bag")[f"code/tree-{first[:12]}.tar"]
    assert (entity["@type"], entity["version"]) == (["File", "SoftwareSourceCode"], first)
    assert bagit.Bag(str(tmp_path / "bag")).validate()


def test_the_code_with_its_history(experiment: Experiment, tmp_path: Path, tree: tuple[Path, str]) -> None:
    place, first = tree
    experiment.ran(["true"], git={"commit": first, "modified": False, "root": str(place)})
    create(Request([experiment.records()], DESCRIPTION, code=str(place), history=True), str(tmp_path / "bag"))
    git(tmp_path, "clone", "-q", "bag/data/code/tree.bundle", "clone")
    assert git(tmp_path / "clone", "log", "--format=%s") == "second\nfirst"


@pytest.mark.parametrize("history", [False, True])
def test_a_commit_that_is_not_there(experiment: Experiment, tmp_path: Path, tree: tuple[Path, str], history: bool) -> None:
    experiment.ran(["true"], git={"commit": "ab" * 20, "modified": False, "root": "/"})
    experiment.records()
    said = refusal(experiment, tmp_path, BadData, code=str(tree[0]), history=history)
    assert "has no recorded commit" in said


def test_a_commit_of_another_branch_has_no_history_here(experiment: Experiment, tmp_path: Path, tree: tuple[Path, str]) -> None:
    place, first = tree
    second = git(place, "rev-parse", "HEAD")
    git(place, "checkout", "-q", first)
    experiment.ran(["true"], git={"commit": second, "modified": False, "root": str(place)})
    experiment.records()
    assert "its present branch lacks the recorded commit" in refusal(experiment, tmp_path, BadData, code=str(place), history=True)


def test_code_without_git(experiment: Experiment, tmp_path: Path) -> None:
    experiment.ran(["true"])
    experiment.records()
    assert "is no work tree of git" in refusal(experiment, tmp_path, NoInput, code=str(experiment.place))
