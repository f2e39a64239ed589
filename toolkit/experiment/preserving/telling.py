"""What is in a crate, and what came of repeating it: for people, line by line, and for programs."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.experiment.preserving.crate import readable
from toolkit.experiment.preserving.gathering import began
from toolkit.experiment.preserving.places import absolute
from toolkit.experiment.preserving.replaying import Crate, Output, Repeated, Replay
from toolkit.experiment.preserving.shapes import Entity, ids, path_of, text_of, types
from toolkit.experiment.run_record import Command, Exit

Content = dict[str, Any]
_USES = (("written_by", "of"), ("read_by", "for"))


def content(crate: Crate, entities: Mapping[str, Entity]) -> Content:
    """What is in a crate: sizes and memory in bytes, times in ns."""
    root, uses = entities["./"], _uses(crate)
    people = [text_of(entities.get(one, {}), "name") for one in ids(root.get("author"))]
    files = [entity for identity, entity in entities.items() if "File" in types(entity) and path_of(identity)]
    return {
        "title": text_of(root, "name"),
        "description": text_of(root, "description"),
        "authors": people,
        "licence": next((text_of(entities.get(one, {}), "name") for one in ids(root.get("license"))), ""),
        "made": text_of(root, "datePublished"),
        "root": crate.root.path,
        "tolerances": [f"{one.pattern}={one.rtol:g}:{one.atol:g}" for one in crate.tolerances],
        "commands": [_command(command) for command in sorted(crate.commands, key=began)],
        "files": [_file(crate, entity, uses) for entity in sorted(files, key=lambda entity: str(entity["@id"]))],
    }


def _command(command: Command) -> Content:
    figures = {name: getattr(command.exit, name, None) for name in ("status", "signal", "wall_ns", "user_ns", "system_ns")}
    told = {"command": command.command, "run": command.run, "began": command.began, "directory": command.directory}
    return told | {"argv": list(command.argv), **figures, "peak_bytes": peak(command.exit), "host": command.machine.get("host")}


def _uses(crate: Crate) -> dict[tuple[str, str], list[str]]:
    """The commands that read or wrote each file, by role and the path that they knew it by."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for command in crate.commands:
        for file in command.files:
            path = readable(absolute(command.directory, file.path))
            found.setdefault((file.role, path), {})[command.command] = None
    return {key: list(commands) for key, commands in found.items()}


def _file(crate: Crate, entity: Entity, uses: Mapping[tuple[str, str], list[str]]) -> Content:
    path = path_of(str(entity["@id"]))
    size, known = text_of(entity, "contentSize"), text_of(entity, "alternateName")
    told = {"path": path, "bytes": int(size) if size.isdecimal() else None, "sha256": text_of(entity, "sha256"), "known_as": known or None}
    told |= {"url": text_of(entity, "contentUrl") or None, "here": os.path.exists(os.path.join(crate.bag, "data", path))}
    return told | {"read_by": uses.get(("input", known), []), "written_by": uses.get(("output", known), [])}


def content_lines(told: Content) -> Iterator[str]:
    """The same as a table for people."""
    yield plain(f"{told['title']}: {told['description']}" if told["description"] else told["title"])
    yield plain(f"{', '.join(told['authors']) or 'by nobody named'}; {told['licence'] or 'no licence'}; made {told['made'][:10]}")
    yield f"commands below {plain(told['root'])}:"
    names: dict[str, str] = {}
    for number, command in enumerate(told["commands"], 1):
        names[command["command"]] = str(number)
        end = command["signal"] or ("no end" if command["status"] is None else f"status {command['status']}")
        taken = f"{seconds(command['wall_ns']):>10}  {memory(command['peak_bytes']):>9}  {end:<9}"
        yield plain(f"{number:>4}  {command['began'][:19]:<19} {taken}  {shlex.join(command['argv'])}")
    yield "files:"
    for file in told["files"]:
        uses = [f"{word} {', '.join(names[one] for one in file[key])}" for key, word in _USES if file[key]]
        where = f"  at {file['url']}" if file["url"] and not file["here"] else ""
        yield plain(f"{memory(file['bytes']):>10}  {file['path']}{'  ' * bool(uses)}{', '.join(uses)}{where}")
    for tolerance in told["tolerances"]:
        yield plain(f"tolerated: {tolerance}")


def replay_json(replay: Replay) -> Content:
    """A repetition: pairs are what was and what is, times in ns, memory in bytes."""
    return {
        "equal": replay.is_equal,
        "commands": [_repeated(one) for one in replay.commands],
        "outputs": [_output(one) for one in replay.outputs],
        "environment": [{"what": one.what, "was": one.was, "now": one.now} for one in replay.environment],
    }


def _repeated(one: Repeated) -> Content:
    ends = [one.was.exit, one.now.exit if one.now else None]
    figures = {name: [getattr(end, name, None) for end in ends] for name in ("wall_ns", "user_ns", "system_ns")}
    told = {"command": one.was.command, "argv": list(one.was.argv), "problem": one.problem or None, "note": one.note or None}
    return told | figures | {"peak_bytes": [peak(end) for end in ends]}


def _output(one: Output) -> Content:
    found = one.difference
    told: Content = {"path": one.path, "equal": one.equal, "identical": one.equal and found is None, "problem": one.problem or None}
    if found is None:
        return told
    apart = {name: value if math.isfinite(value) else None for name, value in (("absolute", found.absolute), ("relative", found.relative))}
    counts = {"differing": found.differing, "numbers": found.numbers, "beyond": found.beyond, "where": found.where or None}
    return told | {"problem": found.other or None} | counts | apart


def replay_lines(replay: Replay) -> Iterator[str]:
    """A repetition for people: commands, outputs, what surrounded them."""
    for one in replay.commands:
        name = os.path.basename(one.was.argv[0])
        if one.now is None or one.now.exit is None or one.was.exit is None:
            yield plain(f"{name}: {one.problem}")
            continue
        times = f"{seconds(one.now.exit.wall_ns)}, was {seconds(one.was.exit.wall_ns)}"
        memories = f"{memory(peak(one.now.exit))}, was {memory(peak(one.was.exit))}"
        yield plain(f"{name}: {one.problem or 'ended as before'}; {times}; {memories}{'; ' * bool(one.note)}{one.note}")
    for output in replay.outputs:
        yield plain(f"{output.path}: {_how(output)}")
    for change in replay.environment:
        yield plain(f"{change.what}: was {change.was}, is {change.now}")


def _how(output: Output) -> str:
    if output.difference is None:
        return output.problem or "identical"
    allowed = f"; tolerated: {output.tolerance.rtol:g} relative, {output.tolerance.atol:g} absolute" if output.tolerance else ""
    return f"{'equal within tolerance' if output.equal else 'DIFFERS'}: {output.difference}{allowed}"


def command_lines(commands: Sequence[Command]) -> Iterator[str]:
    """What would be executed."""
    for command in commands:
        yield plain(f"  {shlex.join(command.argv)}")


def peak(end: Exit | None) -> int | None:
    """The greatest memory of a command's processes together, in bytes; of any single one where that was not measured."""
    return None if end is None else end.peak_tree_rss_bytes or end.peak_rss_bytes


def seconds(ns: int | None) -> str:
    """A time for people."""
    return "-" if ns is None else f"{ns / 1e9:.3g} s" if ns < 100e9 else f"{ns / 1e9:.0f} s"


def memory(size: int | None) -> str:
    """A number of bytes for people."""
    if size is None:
        return "-"
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def plain(text: str) -> str:
    """Text that moves no terminal's cursor, whatever a crate says."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
