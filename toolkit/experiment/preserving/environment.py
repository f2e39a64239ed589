"""What differed in the surroundings of a command and of its repetition; and the part of them that a repetition takes over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.experiment.run_record import Command

# What can change results and means the same on another machine: numbers of threads, language, time zone, seeds.
_TAKEN = re.compile(
    r"OMP_(?!PLACES|PROC_BIND|AFFINITY)\w+|\w+_NUM_THREADS|MKL_CBWR|LANG|LANGUAGE|LC_[A-Z]+|TZ|PYTHONHASHSEED|SOURCE_DATE_EPOCH"
)
_HIDDEN = "***"  # profile-wrap's word for what looked like a secret


@dataclass(frozen=True)
class Change:
    """One thing that was otherwise: what, as it was recorded, as it is now."""

    what: str
    was: str
    now: str


def environment_for(command: Command) -> dict[str, str]:
    """This process' environment, with what the command had of the variables that change results and mean the same anywhere."""
    kept = {name: value for name, value in os.environ.items() if not _TAKEN.fullmatch(name)}
    return kept | {name: value for name, value in command.environment.items() if _TAKEN.fullmatch(name) and _HIDDEN not in value}


def changes(pairs: Sequence[tuple[Command, Command]]) -> list[Change]:
    """What differs between recorded commands and their repetitions, each once."""
    found: dict[Change, None] = {}
    for was, now in pairs:
        old, new = dict(_facts(was)), dict(_facts(now))
        for what in [*old, *(what for what in new if what not in old)]:
            if old.get(what, "") != new.get(what, ""):
                found[Change(what, old.get(what, "") or "not known", new.get(what, "") or "not known")] = None
    return list(found)


def _facts(command: Command) -> Iterator[tuple[str, str]]:
    machine, software = command.machine, command.software
    cpu, group = mapping(machine.get("cpu")), mapping(machine.get("cgroup"))
    for what, value in (
        ("host", machine.get("host")),
        ("system", machine.get("system")),
        ("kernel", machine.get("kernel")),
        ("architecture", machine.get("architecture")),
        ("processor", cpu.get("model")),
        ("threads", cpu.get("threads")),
        ("memory in bytes", machine.get("memory_bytes")),
        ("memory limit in bytes", group.get("memory_max_bytes")),
        ("processor limit", group.get("cpu_limit")),
        ("graphics", machine.get("graphics")),
        ("scape-toolkit", software.get("toolkit")),
        ("Python", software.get("python")),
    ):
        yield what, "" if value is None else str(value)
    name = os.path.basename(command.argv[0])
    program = mapping(software.get("program"))
    yield f"{name}, version", str(program.get("version") or "")
    yield f"{name}, SHA-256 of its file", str(program.get("sha256") or "")
    for package, version in sorted(mapping(software.get("packages")).items()):
        yield f"package {package}", str(version)
    yield from ((f"${name}", value) for name, value in sorted(command.environment.items()) if _TAKEN.fullmatch(name))
    git = mapping(command.git)
    yield "git commit", str(git.get("commit") or "") + (", modified" if git.get("modified") else "")


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of a record that should be a mapping; an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}
