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
    """The pipes between commands of the same run: the kernel's numbers of pipes say who wrote to whom."""
    readers = {(command.run, command.repetition, stream(command, "stdin")): command for command in commands}
    found = []
    for command in commands:
        name = stream(command, "stdout")
        reader = readers.get((command.run, command.repetition, name))
        if is_pipe(name) and reader is not None and reader is not command:
            found.append(Pipe(command, reader))
    return found
