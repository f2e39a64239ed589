"""Running jobs: with the runner that the user chose, in a private directory that is gone afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core import errors
from toolkit.core.errors import ToolError, Unavailable, UsageError
from toolkit.core.mapreduce.tasks import Tasks

if TYPE_CHECKING:
    from toolkit.core.mapreduce.job import Job

RUNNERS = ("inline", "local", "spark", "hadoop")
SPLIT_BYTES = 32 << 20  # a task for less costs more than it saves
ONE_AFTER_ANOTHER = 256 << 20  # where no other task would run at the same time: what fits the memory
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runner:
    """Where jobs run. `master`: Spark's (``local[*]`` by default). `python`: the interpreter of the workers, by default this one's path.
    `temporary`: a directory that all workers of a cluster reach (``hdfs://...``). `settings`: ``NAME=VALUE`` for Spark or Hadoop.
    `streaming_jar`: Hadoop's, where it is not found by itself."""

    name: str = "inline"
    master: str = ""
    python: str = ""
    temporary: str = ""
    settings: tuple[str, ...] = ()
    streaming_jar: str = ""

    @property
    def threads(self) -> int:
        """How many threads one task may use: the others' tasks run side by side."""
        return processors() if self.name == "inline" else 1

    @property
    def split_bytes(self) -> int:
        """From how many bytes of input on another task is worth its start."""
        return ONE_AFTER_ANOTHER if self.name == "inline" else SPLIT_BYTES

    def check(self) -> None:
        """Raises UsageError for an option that says nothing to this runner, Unavailable when Spark or Hadoop is not installed."""
        cluster = self.name in ("spark", "hadoop")
        for option, value, good in (
            ("--spark-master", self.master, self.name == "spark"),
            ("--hadoop-streaming-jar", self.streaming_jar, self.name == "hadoop"),
            ("--cluster-tmp", self.temporary, cluster),
            ("--python-bin", self.python, self.name != "inline"),
            ("--setting", self.settings, cluster),
        ):
            if value and not good:
                raise UsageError(option, f"says nothing to the runner {self.name}", "leave it out or choose another by -r")
        if self.name == "local" and self.python and shutil.which(self.python) is None:
            raise UsageError("--python-bin", f"there is no program {self.python}", "name the workers' Python")
        if self.name == "spark":
            _spark_submit()
        if self.name == "hadoop" and shutil.which("hadoop") is None and not os.environ.get("HADOOP_HOME"):
            raise Unavailable("hadoop", "is not installed", "put Hadoop's bin directory into PATH, or choose another runner by -r")

    def arguments(self, place: str) -> list[str]:
        """The arguments of mrjob; `place` is a private directory for what it writes on this machine."""
        words = ["-r", self.name, "--no-conf", "--cleanup", "ALL", "--cleanup-on-failure", "ALL", "--local-tmp-dir", place]
        if self.name == "inline":
            return words
        words += ["--python-bin", shlex.quote(self.python or sys.executable), "--no-bootstrap-mrjob"]
        if self.name == "local":
            homes = [*_homes()[:2], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
            return [*words, "--num-cores", str(processors()), "--cmdenv", f"PYTHONPATH={os.pathsep.join(homes)}"]
        words += ["--py-files", _package(place)]
        for setting in (*self._settings(place), *self.settings):
            words += ["-D", setting]
        if self.name == "spark":
            words += ["--spark-submit-bin", _spark_submit(), "--spark-master", self.master or f"local[{processors()}]"]
            return [*words, "--spark-tmp-dir", self.temporary or place] if self.temporary or self.here else words
        words += ["--hadoop-streaming-jar", self.streaming_jar] if self.streaming_jar else []
        return words + (["--hadoop-tmp-dir", self.temporary] if self.temporary else [])

    @property
    def here(self) -> bool:
        """Whether all workers are on this machine."""
        return self.name != "hadoop" and (self.master.startswith("local") or not self.master)

    def _settings(self, place: str) -> tuple[str, ...]:
        if self.name == "hadoop":
            return ("mapreduce.input.lineinputformat.linespermap=1", "stream.map.input.ignoreKey=true")  # its key is a place in the file
        here = (f"spark.local.dir={place}", "spark.ui.enabled=false", "spark.driver.bindAddress=127.0.0.1", "spark.driver.host=127.0.0.1")
        return ("spark.ui.showConsoleProgress=false", *(here if self.here else ()))


def run(
    job: type[Job],
    groups: Sequence[str],
    parameters: dict[str, Any],
    runner: Runner,
    watcher: Callable[[int], None] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Run `job` over `groups`, lines of JSON, and give its pairs of key and value.

    `watcher` is told how much is done, where the runner says so. Raises the ToolError that a task raised, on whatever machine;
    Unavailable when the runner itself failed.
    """
    from toolkit.core.mapreduce.job import FAILED, Job, encode_parameters, import_mrjob

    module = import_mrjob(f"mrjob.{'spark.runner' if runner.name == 'spark' else runner.name}")
    if runner.name == "local":
        module.Pool, module.check_call = Tasks, Tasks.call
    with tempfile.TemporaryDirectory(prefix="toolkit-job-") as place:  # mode 0700, as everything that mrjob makes in it
        path = Path(place, "groups")
        path.write_text("".join(f"{group}\n" for group in groups))
        words = [*runner.arguments(place), "-D", f"mapreduce.job.maps={len(groups)}"]
        words += ["--parameters", encode_parameters(parameters), str(path)]
        Job.watcher = watcher
        logging.getLogger("mrjob.conf").addFilter(_says_something)
        try:
            with _quiet_spark(runner, place), job(words).make_runner() as running:
                try:
                    running.run()
                except ToolError:
                    raise
                except Exception as error:
                    if runner.name == "inline":
                        raise
                    raise _failure(runner, error, place) from error
                pairs = list(job(words).parse_output(running.cat_output()))  # to its end: a process of Hadoop's may stand behind it
        finally:
            Job.watcher = None
    for key, value in pairs:
        if key[0] == FAILED:
            raise getattr(errors, key[1])(*value)
    yield from pairs


def _says_something(record: logging.LogRecord) -> bool:
    """Whether mrjob says more than that its configuration was not read, as it was told."""
    return not record.getMessage().startswith("No configs specified")


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _failure(runner: Runner, error: Exception, place: str) -> ToolError:
    """The last words of a task that failed on this machine, else what mrjob says."""
    reason = str(error)
    for path in sorted(Path(place).rglob("stderr"), key=lambda path: path.stat().st_mtime):
        words = path.read_text(errors="replace").split("\n")
        reason = next((line for line in reversed(words) if line.strip() and not line.startswith("reporter:")), reason)
    return Unavailable(f"runner {runner.name}", " ".join(reason.split())[:300], "run it again with -v, which shows what the runner says")


@contextlib.contextmanager
def _quiet_spark(runner: Runner, place: str) -> Iterator[None]:
    """Spark's own temporary files go into `place` too, and workers on this machine talk over loopback."""
    if runner.name != "spark" or not runner.here:
        yield
        return
    earlier = {name: os.environ.get(name) for name in ("SPARK_LOCAL_IP", "TMPDIR")}
    os.environ.update(SPARK_LOCAL_IP=earlier["SPARK_LOCAL_IP"] or "127.0.0.1", TMPDIR=place)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _homes() -> list[str]:
    """Where Python finds this package, mrjob, and what mrjob needs."""
    import mrjob

    here = Path(__file__).resolve().parent
    return [str(here.parents[2]), str(here / "standins"), str(Path(mrjob.__file__).parents[1])]


def _package(place: str) -> str:
    """This package, mrjob, and what mrjob needs of older Pythons, as a zip file for the workers of a cluster."""
    from zipfile import ZIP_DEFLATED, ZipFile

    path = os.path.join(place, "toolkit.zip")
    root, standins, packages = (Path(home) for home in _homes())
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for source, below in ((root / "toolkit", root), (packages / "mrjob", packages), (standins, standins)):
            for file in sorted(source.rglob("*.py")):
                archive.write(file, file.relative_to(below))
    return path


def _spark_submit() -> str:
    """The program that starts Spark jobs: SPARK_HOME's, or that of the package pyspark."""
    home = os.environ.get("SPARK_HOME")
    if home and importlib.util.find_spec("pyspark") is None:
        sys.path += map(str, [Path(home, "python"), *Path(home, "python", "lib").glob("py4j-*.zip")])  # mrjob imports it here too
    package = importlib.util.find_spec("pyspark")
    if package is None or package.origin is None:
        raise Unavailable("Spark", "is not installed", "pip install 'scape-toolkit[spark]', or set SPARK_HOME")
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise Unavailable("Java", "is not installed, which Spark needs", "install it or set JAVA_HOME")
    return os.path.join(home or os.path.dirname(package.origin), "bin", "spark-submit")
