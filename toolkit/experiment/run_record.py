"""Run records: what profile-wrap writes about a command, and how it is read back; see run-record(5).

A record is JSON lines: one `run` line when the command starts, `sample`, `stage`, `file` and `exit` lines when it has ended. Lines of
several commands may alternate in one file; each names its command.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from toolkit.core.streams import open_input, stream_name

SCHEMA = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """The memory of a command's processes at one moment: ns since its begin, bytes; PSS only where it was read."""

    time_ns: int
    rss_bytes: int
    processes: int
    pss_bytes: int | None = None


@dataclass(frozen=True)
class Stage:
    """A named phase of one process of the command: ns since the command's begin, bytes.

    Where the process did not report the end (it was killed), `end_ns` is the command's end. `peak_source` is ``VmHWM`` where the
    kernel's high-water mark was reset at the stage's begin, and ``sampled`` otherwise. `peak_tree_rss_bytes`, of all processes of the
    command, is always sampled.
    """

    stage: str
    pid: int
    begin_ns: int
    end_ns: int
    user_ns: int | None = None
    system_ns: int | None = None
    peak_rss_bytes: int | None = None
    peak_source: str | None = None
    peak_tree_rss_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


@dataclass(frozen=True)
class File:
    """A file that the command read (role ``input``) or wrote (``output``)."""

    role: str
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Exit:
    """How a command ended and what it took, in ns and bytes.

    `status` is None where a signal killed it. `peak_rss_bytes` is the greatest of any single process, `peak_tree_*` of all together.
    `read_call_bytes` and `written_call_bytes` count what passed through system calls, `read_bytes` and `written_bytes` what devices
    moved. `left_running` is the number of processes that went on when the command had ended.
    """

    status: int | None
    wall_ns: int
    user_ns: int
    system_ns: int
    signal: str | None = None
    peak_rss_bytes: int | None = None
    peak_source: str | None = None
    peak_tree_rss_bytes: int | None = None
    peak_tree_pss_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    read_call_bytes: int | None = None
    written_call_bytes: int | None = None
    major_faults: int | None = None
    minor_faults: int | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    pressure: Mapping[str, Any] | None = None
    nvml_bytes: int | None = None
    left_running: int | None = None


@dataclass
class Command:
    """One wrapped command: its `run` line, and what the other lines say of it. `exit` is None where it has not ended or was lost.

    `argv_hidden` numbers the words of `argv` in which a secret was replaced by ``***``.
    """

    run: str
    command: str
    argv: Sequence[str]
    began: str
    argv_hidden: Sequence[int] = ()
    schema: int = SCHEMA
    repetition: int = 1
    repetitions: int = 1
    directory: str = ""
    streams: Mapping[str, Any] = field(default_factory=dict)  # stdin, stdout, stderr: a path, pipe:[INODE], or null where it was closed
    monotonic_ns: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    git: Mapping[str, Any] | None = None
    interval_ns: int | None = None
    samples: list[Sample] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    exit: Exit | None = None
    source: str = ""  # the file it was read from


_Part = TypeVar("_Part", Sample, Stage, File, Exit, Command)
_NOT_WRITTEN = {"samples", "stages", "files", "exit", "source"}


def _warn(place: str, problem: str) -> None:
    _log.warning("%s: %s; it is left out", place, problem)


def read_run_records(
    sources: Iterable[str | os.PathLike[str] | Iterable[bytes]], refuse: Callable[[str, str], None] = _warn
) -> list[Command]:
    """The commands in `sources`, paths (``-`` is standard input) or streams of lines, in the order in which they begin there.

    A line that is torn, of another program or of a later schema is left out, and `refuse` is told its place and what is wrong with it
    (without one, a warning names it); the rest is used.

    Raises NoInput when a path cannot be opened.
    """
    reading = _Reading(refuse)
    for source in sources:
        if isinstance(source, str | os.PathLike):
            with open_input(os.fspath(source)) as stream:
                reading.read(stream, stream_name(os.fspath(source)))
        else:
            reading.read(source, str(getattr(source, "name", "stream")))
    return reading.finish()


def line(record: str, content: Mapping[str, Any]) -> bytes:
    """One line of a run record."""
    return json.dumps({"record": record, **content}, separators=(",", ":")).encode() + b"\n"


def lines(command: Command) -> bytes:
    """All lines of a command, the `run` line first."""
    values = {one.name: getattr(command, one.name) for one in fields(command) if one.name not in _NOT_WRITTEN}
    return line("run", values) + b"".join(_part_lines(command))


def _part_lines(command: Command) -> Iterable[bytes]:
    parts: list[tuple[str, Any]] = [("sample", sample) for sample in command.samples]
    parts += [("stage", stage) for stage in command.stages]
    parts += [("file", file) for file in command.files]
    parts += [("exit", command.exit)] if command.exit else []
    for record, part in parts:
        values = {one.name: getattr(part, one.name) for one in fields(part)}
        if record == "sample" and values["pss_bytes"] is None:
            del values["pss_bytes"]
        yield line(record, {"command": command.command, **values})


class _Reading:
    """Lines by their command; a line may come before the `run` line that it belongs to."""

    def __init__(self, refuse: Callable[[str, str], None]) -> None:
        self._refuse = refuse
        self._commands: dict[str, Command] = {}
        self._parts: list[tuple[str, Any, str]] = []

    def read(self, stream: Iterable[bytes], name: str) -> None:
        for number, text in enumerate(stream, 1):
            place = f"{name}:{number}"
            if not text.strip():
                continue
            try:
                self._take(json.loads(text), name, place)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                problem = "is torn or no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
                self._refuse(place, problem)

    def _take(self, value: Any, name: str, place: str) -> None:
        if not isinstance(value, dict) or "record" not in value:
            raise ValueError("is not of a run record")
        kind = value["record"]
        if kind == "run":
            if value.get("schema") != SCHEMA:
                raise ValueError(f"has schema {value.get('schema')!r}, which is not {SCHEMA}")
            command = _made(Command, {**value, "source": name})
            if command.command in self._commands:
                raise ValueError(f"repeats the command {command.command}")
            self._commands[command.command] = command
        elif kind in _PARTS:
            self._parts.append((_text(value, "command"), _made(_PARTS[kind], value), place))
        else:
            raise ValueError(f"is an unknown record, {kind!r}")

    def finish(self) -> list[Command]:
        lost: dict[str, str] = {}
        for identifier, part, place in self._parts:
            command = self._commands.get(identifier)
            if command is None:
                lost.setdefault(identifier, place)
            elif isinstance(part, Sample):
                command.samples.append(part)
            elif isinstance(part, Stage):
                command.stages.append(part)
            elif isinstance(part, File):
                command.files.append(part)
            else:
                command.exit = part
        for identifier, place in lost.items():
            self._refuse(place, f"belongs to the command {identifier}, whose run line is missing")
        return list(self._commands.values())


_PARTS: dict[str, type[Any]] = {"sample": Sample, "stage": Stage, "file": File, "exit": Exit}
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "int | None": (int, type(None)), "str | None": (str, type(None))}


def _made(kind: type[_Part], value: Mapping[str, Any]) -> _Part:
    """A dataclass of the keys that it knows; others are of later versions and pass."""
    found = {}
    for one in fields(kind):
        if one.name in value and one.name not in _NOT_WRITTEN - {"source"}:
            found[one.name] = _checked(one.name, str(one.type), value[one.name])
        elif one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"lacks {one.name}")
    return kind(**found)


def _checked(name: str, annotation: str, value: Any) -> Any:
    kinds = _KINDS.get(annotation)
    if kinds is None:
        kinds = list if annotation.startswith("Sequence") else (dict, type(None)) if annotation.endswith("None") else dict
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"has a wrong {name}")
    if annotation in ("Sequence[str]", "Mapping[str, str]") and not all(isinstance(one, str) for one in _values(value)):
        raise ValueError(f"has a wrong {name}")
    return value


def _values(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _text(value: Mapping[str, Any], name: str) -> str:
    if not isinstance(value.get(name), str):
        raise ValueError(f"lacks {name}")
    return str(value[name])
