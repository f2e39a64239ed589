"""Map-reduce: the same answer from every runner, failures that reach the caller, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import hadoop, spark
from tests.unit.core.words import Words
from toolkit.core.errors import BadData, ToolError, Unavailable, UsageError
from toolkit.core.mapreduce.running import Runner, run

ROOT = Path(__file__).resolve().parents[3]
GROUPS = [["ą", "b", "b"], ["b", "c", "ą", "two words"], ["c" * 3000]]
ANSWER = [(["by number", 1], sorted(["c", "c" * 3000, "two words"])), (["by number", 2], ["ą"]), (["by number", 3], ["b"])]
IN_PROCESSES = ("inline", "local")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, which has to be empty in the end; and a configuration of mrjob that nobody may read."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".mrjob.conf").write_text("runners: {inline: {cleanup: NONE}, local: {cleanup: NONE, setup: [false]}}\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "tmp"


def ask(groups: list[list[str]], runner: Runner, watcher: Any = None) -> list[tuple[Any, Any]]:
    lines = [json.dumps({"words": words}) for words in groups]
    return sorted(run(Words, lines, {"language": "polski; 'źle' $HOME"}, runner, watcher))


@pytest.mark.parametrize("name", IN_PROCESSES)
def test_answers(name: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(GROUPS, Runner(name)) == ANSWER
    assert list(place.iterdir()) == []
    assert not [record for record in caplog.records if record.name.startswith("mrjob")]


def test_says_how_much_is_done(place: Path) -> None:
    done: list[int] = []
    ask(GROUPS, Runner(), done.append)
    assert done == [1, 1, 1]


@pytest.mark.parametrize("name", IN_PROCESSES)
@pytest.mark.parametrize(
    ("words", "error"),
    [(["b", "broken"], BadData("part 7", "is broken; really", "mend it")), (["rare"], Unavailable("the reducer", "met a rare word"))],
)
def test_failures_of_tasks_reach_the_caller(name: str, words: list[str], error: ToolError, place: Path) -> None:
    with pytest.raises(type(error)) as raised:
        ask([["b"], words], Runner(name))
    assert str(raised.value) == str(error)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", IN_PROCESSES)
def test_works_in_a_private_directory(name: str, place: Path) -> None:
    ((_, (said,)),) = ask([["where?"]], Runner(name))
    assert said == "0o700"


@pytest.mark.parametrize(
    ("runner", "option"),
    [
        (Runner("inline", master="local[2]"), "--spark-master"),
        (Runner("local", temporary="hdfs:///tmp"), "--cluster-tmp"),
        (Runner("inline", python="python3"), "--python-bin"),
        (Runner("local", settings=("a=b",)), "--setting"),
        (Runner("spark", streaming_jar="a.jar"), "--hadoop-streaming-jar"),
    ],
)
def test_options_that_say_nothing_to_a_runner(runner: Runner, option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}: says nothing to the runner {runner.name}"):
        runner.check()


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_HOME", "SPARK_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="^hadoop: is not installed"):
        Runner("hadoop").check()
    with pytest.raises(Unavailable, match="^(Java|Spark): is not installed"):
        Runner("spark").check()


@pytest.fixture
def streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in hadoop.install(tmp_path / "hadoop").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "hadoop"


def test_hadoop_is_asked_for_a_task_a_line(streaming: Path, place: Path) -> None:
    runner = Runner("hadoop", temporary="hdfs:///tmp/jobs", settings=("mapreduce.map.memory.mb=2048",))
    assert ask(GROUPS, runner) == ANSWER
    calls = hadoop.calls(streaming)
    jobs = [call for call in calls if call[0] == "jar"]
    assert len(jobs) == 2  # one a step
    assert [word for word, before in zip(jobs[0], ["", *jobs[0]], strict=False) if before == "-inputformat"] == [hadoop.LINES]
    settings = [word for word, before in zip(jobs[0], ["", *jobs[0]], strict=False) if before == "-D"]
    lines = ["mapreduce.input.lineinputformat.linespermap=1", "mapreduce.job.maps=3", "stream.map.input.ignoreKey=true"]
    assert sorted(settings) == sorted([*lines, "mapreduce.map.memory.mb=2048"])
    assert "-inputformat" not in jobs[1] and "-mapper cat" in " ".join(jobs[1])
    assert any("toolkit.zip" in word for word in jobs[0]) and all("-combiner" not in job for job in jobs)
    assert list(place.iterdir()) == []
    assert [path for path in (streaming / "hdfs").rglob("*") if path.is_file()] == []


def test_failures_of_tasks_on_hadoop_reach_the_caller(streaming: Path, place: Path) -> None:
    with pytest.raises(BadData, match="^part 7: is broken; really; mend it$"):
        ask([["broken"], ["b"]], Runner("hadoop"))
    assert [path for path in (streaming / "hdfs").rglob("*") if path.is_file()] == []


def test_a_cluster_without_streaming_jar(streaming: Path, place: Path) -> None:
    (streaming / "hadoop-streaming-3.3.6.jar").unlink()
    with pytest.raises(Unavailable, match="^runner hadoop: "):
        ask(GROUPS, Runner("hadoop"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spark.Spark]:
    if spark.missing():
        pytest.skip(spark.missing())
    made = spark.install(tmp_path_factory.mktemp("spark") / "spark")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        patch.setattr("tempfile.tempdir", None)
        yield made


def test_spark(installed: spark.Spark) -> None:
    assert ask(GROUPS, Runner("spark", spark.LOCAL)) == ANSWER
    with pytest.raises(BadData, match="^part 7: is broken; really; mend it$"):
        ask([["b"], ["broken"]], Runner("spark", spark.LOCAL))
    assert installed.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", IN_PROCESSES)
def test_ends_when_it_is_told_to(name: str, number: signal.Signals, place: Path) -> None:
    script = (
        "import sys; from toolkit.core.command import command; from toolkit.core.mapreduce.running import Runner, run\n"
        "from tests.unit.core.slow import Slow\n"
        "@command('x', examples='')\n"
        f"def x():\n    print(list(run(Slow, ['{{}}'] * 4, {{}}, Runner({name!r}))))\n"
        "x()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0)
    started = wait_for_marks(place)
    process.send_signal(number)
    words, complaints = process.communicate(timeout=30)
    assert (process.returncode, words, complaints) == (-number, b"", b"")
    assert [one for one in started if Path(f"/proc/{one}").exists()] == []
    assert [path for path in place.iterdir() if not path.name.startswith("mark")] == []


def wait_for_marks(place: Path) -> list[str]:
    """The processes whose tasks have begun."""
    deadline = time.monotonic() + 60
    while not (marks := list(place.glob("mark*"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [mark.name.removeprefix("mark") for mark in marks]


def pythons() -> list[str]:
    """Interpreters of the other versions that are supported, of this machine; where there is none, this one."""
    found = []
    for version in ("3.12", "3.13", "3.14") if sys.version_info[:2] == (3, 11) else ("3.11",):
        beside = Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python3")  # as pyenv installs them
        programs = [*map(str, sorted(beside, reverse=True)), shutil.which(f"python{version}")]
        found += [one for one in programs if one and not subprocess.run([one, "-c", ""], capture_output=True, check=False).returncode][:1]
    return found or [sys.executable]


@pytest.mark.parametrize("program", pythons())
@pytest.mark.parametrize("name", IN_PROCESSES)
def test_pythons(program: str, name: str, place: Path, tmp_path: Path) -> None:
    import mrjob
    import yaml

    packages = tmp_path / "packages"
    packages.mkdir()
    for package in (mrjob, yaml):  # of Python alone: what is compiled fits this version only
        assert package.__file__
        source = Path(package.__file__).parent
        shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    script = (
        "import json, sys; sys.path[:0] = sys.argv[1:3]\n"
        "from toolkit.core.mapreduce.running import Runner, run\nfrom tests.unit.core.words import Words\n"
        "print(json.dumps(sorted(run(Words, sys.argv[4:], {}, Runner(sys.argv[3])))))"
    )
    groups = [json.dumps({"words": words}) for words in GROUPS]
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [program, "-W", "ignore", "-c", script, str(ROOT), str(packages), name, *groups]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert [tuple(one) for one in json.loads(done.stdout)] == ANSWER
