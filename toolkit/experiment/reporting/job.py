"""The map-reduce job behind a report: groups of files come in, keyed lists of exact values go out, so that any runner and any division
of the files give the same report to the last digit."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

from toolkit.core.errors import ToolError
from toolkit.core.mapreduce.job import Job, guarded
from toolkit.experiment.reporting.inputs import Input, members
from toolkit.experiment.reporting.observations import bands, curve, impossible, program, resolution, rows
from toolkit.experiment.reporting.quality import figures_of
from toolkit.experiment.run_record import Command, read_run_records

Pair = tuple[list[Any], list[Any]]
SMALL = 4096  # bytes: greater outputs are no quality figures


class ReportJob(Job):
    """Gives lists under these keys; `labels` are values of the tags to group by, `scales` those of the resolution tags:

    ``["rows", program, stage, labels, scales, machine, day]``: [command id, values of `observations.FIELDS`...];
    ``["curve", program, labels, scales]``: [[began, id, points, bands]] of the command that began first;
    ``["machine", host]``: [hardware and software]; ``["ended"]``: [command id, program, scales, host, began, status, signal];
    ``["output", "path" or "sha256", which]``: [scales]; ``["quality"]``: [place, path, sha256, quality figures];
    ``["tags"]``: [name]; ``["bad"]``: [place, problem]; ``["other"]``: [place] of files that are something else.
    """

    def steps(self) -> list[Any]:
        return [self.mr(mapper=self.map, reducer=self.reduce)]

    @guarded
    def map(self, _: None, text: str) -> Iterator[Pair]:
        """What the files of a group say."""
        merged: dict[str, Pair] = {}
        for one in members(text):
            for key, values in _said(one, self.parameters):
                word = json.dumps(key)
                merged[word] = key, _merged(key, [*merged[word][1], *values] if word in merged else values)
            self.done(1)
        yield from merged.values()

    @guarded
    def reduce(self, key: Any, values: Iterator[Any]) -> Iterator[Pair]:
        """The same of several groups; what came twice counts once."""
        yield key, _merged(key, [one for some in values for one in some])


def _merged(key: list[Any], values: list[Any]) -> list[Any]:
    unique = {json.dumps(one): one for one in values}
    ordered = [unique[word] for word in sorted(unique)]
    return ordered[:1] if key[0] == "curve" else ordered


def _said(one: Input, parameters: dict[str, Any]) -> Iterator[Pair]:
    """What a file says; a file that cannot be read is a bad one, not the end of the job."""
    try:
        with one.open() as stream:
            content = stream.read()
    except (ToolError, OSError) as error:
        yield ["bad"], [[one.place, error.problem if isinstance(error, ToolError) else error.strerror or str(error)]]
        return
    kind = _kind(content)
    if kind == "quality":
        quality, wrong = figures_of(content)
        if quality:
            digest = hashlib.sha256(content).hexdigest()
            yield ["quality"], [[f"{one.place}:{number}", one.name, digest, *values] for number, values in quality]
        yield from _bad([(f"{one.place}:{number}", problem) for number, problem in wrong])
    elif one.searched and (kind == "other" or not one.place.endswith(".jsonl")):
        yield ["other"], [[one.place]]
    else:
        bad: list[tuple[str, str]] = []
        stream = io.BytesIO(content)
        stream.name = one.place
        for command in read_run_records([stream], lambda place, problem: bad.append((place, problem))):
            if problem := impossible(command):
                bad.append((one.place, f"the command {_plain(command.command)} {problem}"))
            else:
                yield from _of_command(command, parameters)
        yield from _bad(bad)


def _bad(lines: list[tuple[str, str]]) -> Iterator[Pair]:
    if lines:
        yield ["bad"], [list(line) for line in lines]


def _kind(content: bytes) -> str:
    """``quality`` where the first line holds quality figures, ``other`` where it is another JSON than a run record's, else ``records``."""
    first = content.lstrip()[: 1 << 20].partition(b"\n")[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return "records"
    if not isinstance(value, dict):
        return "other"
    return "records" if "record" in value else "quality" if "false_ratio" in value else "other"


def _of_command(command: Command, parameters: dict[str, Any]) -> Iterator[Pair]:
    name, host = _plain(program(command.argv)), _plain(str(command.machine.get("host") or "unknown"))
    labels = [_plain(command.tags.get(tag, "")) for tag in parameters["by"]]
    scales = [resolution(command.tags.get(tag)) for tag in parameters["scales"]]
    yield ["machine", host], [{"machine": _hardware(command), "software": _software(command)}]
    if command.tags:
        yield ["tags"], [[_plain(tag)] for tag in command.tags]
    status, signal = (command.exit.status, command.exit.signal) if command.exit else (None, None)
    yield ["ended"], [[_plain(command.command), name, scales, host, _plain(command.began), status, signal, command.exit is not None]]
    if status != 0:
        return
    for stage, values in rows(command).items():
        yield ["rows", name, _plain(stage), labels, scales, host, _plain(command.began[:10])], [[_plain(command.command), *values]]
    points = curve(command)
    if points:
        yield ["curve", name, labels, scales], [[command.began, command.command, points, _plain_bands(command)]]
    for file in command.files:
        if file.role == "output" and file.bytes <= SMALL:
            yield ["output", "sha256", file.sha256], [scales]
            yield ["output", "path", _whole(command.directory, file.path)], [scales]


def _plain_bands(command: Command) -> list[list[Any]]:
    return [[_plain(name), begin, end] for name, begin, end in bands(command)]


def _plain(text: str) -> str:
    """A name that tables and figures can show: records may hold anything."""
    return "".join(letter if letter.isprintable() else "�" for letter in text[:200])


def _whole(directory: str, path: str) -> str:
    import os.path

    return os.path.normpath(os.path.join(directory, path))


def _hardware(command: Command) -> dict[str, Any]:
    """What stays the same from run to run; a number that is none, which JSON could not hold, is nothing."""
    known = {name: command.machine.get(name) for name in ("system", "kernel", "architecture", "cpu", "memory_bytes", "cgroup", "graphics")}
    if isinstance(known["cpu"], dict):
        known["cpu"] = {name: value for name, value in known["cpu"].items() if name != "flags"}
    return json.loads(json.dumps(known), parse_constant=lambda _: None)


def _software(command: Command) -> dict[str, Any]:
    """Versions; the path and digest of a program differ from checkout to checkout and belong to the record."""
    known = command.software
    program_version = known.get("program", {}).get("version") if isinstance(known.get("program"), dict) else None
    found = {key: known[key] for key in ("toolkit", "python", "packages") if key in known}
    return json.loads(json.dumps(found | ({"program": program_version} if program_version else {})), parse_constant=lambda _: None)


if __name__ == "__main__":
    ReportJob.run()
