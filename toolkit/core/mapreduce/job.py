"""The class that jobs derive from. A worker on a cluster imports this out of a zip file: nothing but mrjob is needed at its start."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from toolkit.core.errors import ToolError


def import_mrjob(module: str) -> Any:
    """Import a module of mrjob with what it needs of modules that newer Pythons have removed. Elsewhere the real ones, which are on their
    way out, would only cost time, so they are hidden from mrjob, and from nobody else."""
    names = ("distutils", "distutils.spawn", "distutils.version", "pipes")
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update({name: importlib.import_module(f"{__package__}.standins.{name}") for name in names})
    try:
        return importlib.import_module(module)
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)


import_mrjob("mrjob.job")
from mrjob.job import MRJob  # noqa: E402
from mrjob.protocol import JSONProtocol, RawValueProtocol  # noqa: E402
from mrjob.step import MRStep  # noqa: E402


class Job(MRJob):
    """A job over groups of parts: one line of JSON a group comes in, pairs of key and value (both fit JSON) go out.

    A job says in `steps` what its mapper and reducers are; wrapped in `guarded` they may raise ToolErrors, which then reach the process
    that started the job, from whatever machine. `parameters` are what `toolkit.core.mapreduce.running.run` was given. A
    module that holds a job ends with ``if __name__ == "__main__": ITS_CLASS.run()``, and must not define a combiner: Spark would take
    three times as long.
    """

    INPUT_PROTOCOL = RawValueProtocol
    INTERNAL_PROTOCOL = JSONProtocol
    OUTPUT_PROTOCOL = JSONProtocol
    watcher: ClassVar[Callable[[int], None] | None] = None  # told how much is done; only when run in this process

    def configure_args(self) -> None:
        super().configure_args()
        self.add_passthru_arg("--parameters", default="")

    def hadoop_input_format(self) -> str | None:
        """A task for each line of input, which Hadoop would otherwise cut by size."""
        return "org.apache.hadoop.mapred.lib.NLineInputFormat" if self.options.runner == "hadoop" else None

    @property
    def parameters(self) -> dict[str, Any]:
        """What the job was started with."""
        return decode_parameters(self.options.parameters)

    @staticmethod
    def mr(**functions: Callable[..., Any]) -> MRStep:
        """A step of `mapper` and `reducer`, for `steps`."""
        return MRStep(**functions)

    def done(self, count: int) -> None:
        """Say that so much of the input has been worked up."""
        if Job.watcher is not None:
            Job.watcher(count)


def encode_parameters(parameters: dict[str, Any]) -> str:
    """As one word: Hadoop and Spark pass it through several shells."""
    return base64.urlsafe_b64encode(json.dumps(parameters, sort_keys=True).encode()).decode()


def decode_parameters(word: str) -> dict[str, Any]:
    """What `encode_parameters` was given."""
    return json.loads(base64.urlsafe_b64decode(word)) if word else {}


FAILED = "failed"  # the key of a failure: it passes through the reducers like any other


def guarded(step: Callable[..., Iterator[tuple[Any, Any]]]) -> Callable[..., Iterator[tuple[Any, Any]]]:
    """A mapper or reducer whose ToolErrors become pairs, so that they reach whoever started the job."""

    def run(self: Job, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        if key is not None and key[0] == FAILED:
            yield from ((key, one) for one in value)
            return
        try:
            yield from step(self, key, value)
        except ToolError as error:
            yield [FAILED, type(error).__name__], [error.place, error.problem, error.remedy]

    return run
