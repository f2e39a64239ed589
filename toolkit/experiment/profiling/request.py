"""What to run and what to record of it, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from toolkit.core.errors import CannotCreate, UsageError

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

_LONGEST_INTERVAL_MS, _MOST_REPETITIONS = 3_600_000, 100_000


class Request:
    """A command and how it is recorded; `interval_ns` is None for the rhythm that adapts itself, `output` empty for a name of its own."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.output = ""
        self.interval_ns: int | None = None
        self.tags: dict[str, str] = {}
        self.repetitions = 1
        self.inputs: Sequence[str] = ()
        self.outputs: Sequence[str] = ()
        self.stage_regex: re.Pattern[str] | None = None
        self.plot = ""


def request(argv: Sequence[str], given: Mapping[str, Any]) -> Request:
    """A request from the words of a command line; an option that was not given is None, or an empty tuple.

    Raises UsageError where a value is impossible.
    """
    asked = Request(argv)
    asked.output = _file("-o", given["output"])
    asked.plot = _file("--plot", given["plot"])
    if asked.plot and not os.path.isdir(os.path.dirname(asked.plot) or "."):
        raise CannotCreate(asked.plot, "its directory does not exist", "create it first")
    if given["interval"] is not None:
        asked.interval_ns = round(_number("--interval", given["interval"], float, 0.1, _LONGEST_INTERVAL_MS, "milliseconds") * 1e6)
    if given["repetitions"] is not None:
        asked.repetitions = int(_number("-r", given["repetitions"], int, 1, _MOST_REPETITIONS, "repetitions"))
    asked.tags = dict(_tag(text) for text in given["tags"])
    asked.inputs, asked.outputs = given["inputs"], given["outputs"]
    if given["stage_regex"] is not None:
        try:
            asked.stage_regex = re.compile(given["stage_regex"])
        except re.error as error:
            raise UsageError(
                "--stage-regex", f"{given['stage_regex']!r} is no regular expression ({error})", "see profile-wrap(1)"
            ) from error
    return asked


def _file(option: str, path: str | None) -> str:
    if path in ("", "-"):
        raise UsageError(option, f"{path!r} names no file", "standard output is the command's own: name a file")
    return path or ""


def _number(option: str, text: str, kind: type[int] | type[float], least: float, most: float, unit: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not least <= value <= most:
        raise UsageError(option, f"{text!r} is no number of {unit} from {least} to {most}", "give such a number")
    return value


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError("--tag", f"{text!r} has no name and value", "write it like input=128")
    return name, value
