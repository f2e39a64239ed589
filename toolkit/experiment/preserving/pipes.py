"""Which commands of an experiment were one pipe, and where each one's standard streams led."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.experiment.run_record import Command


@dataclass(frozen=True)
class Pipe:
    """The standard output of one command that was the standard input of another."""

    writer: Command
    reader: Command


def stream(command: Command, name: str) -> str:
    """What ``stdin``, ``stdout`` or ``stderr`` of a command was: a path, ``pipe:[N]`` as the kernel names it, or nothing known."""
    value = command.streams.get(name)
    return value if isinstance(value, str) else ""


def is_pipe(name: str) -> bool:
    """Whether a stream's name is a pipe's."""
    return name.startswith("pipe:[")


def pipes_of(commands: Sequence[Command]) -> list[Pipe]:
    """The pipes between commands of the same run: the kernel's numbers of pipes say who wrote to whom.

    Several commands of a script may have written to one pipe after one another, or read from it.
    """
    readers: dict[tuple[str, str], list[Command]] = {}
    for command in commands:
        readers.setdefault((command.run, stream(command, "stdin")), []).append(command)
    found = []
    for writer in commands:
        name = stream(writer, "stdout")
        if is_pipe(name):
            found += [Pipe(writer, reader) for reader in readers.get((writer.run, name), []) if reader is not writer]
    return found


def pipelines(commands: Sequence[Command]) -> list[list[Command]]:
    """The commands that pipes connect, each before those that read what it writes; the others by themselves; all in their order."""
    pipes = pipes_of(commands)
    of = {command.command: number for number, command in enumerate(commands)}
    for pipe in pipes:
        kept, merged = sorted((of[pipe.writer.command], of[pipe.reader.command]))
        of = {command: kept if number == merged else number for command, number in of.items()}
    together: dict[int, list[Command]] = {}
    for command in commands:
        together.setdefault(of[command.command], []).append(command)
    return [_in_order(members, pipes) for members in together.values()]


def _in_order(members: Sequence[Command], pipes: Sequence[Pipe]) -> list[Command]:
    """By how many pipes what a command reads has come through, at most."""
    depths = dict.fromkeys((command.command for command in members), 0)
    for _ in members:  # a hostile record can tell of a ring: so often, and not until nothing changes
        for pipe in pipes:
            if pipe.reader.command in depths:
                depths[pipe.reader.command] = max(depths[pipe.reader.command], min(depths[pipe.writer.command] + 1, len(members)))
    return sorted(members, key=lambda command: depths[command.command])
