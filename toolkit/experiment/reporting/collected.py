"""What all records together say: the pairs that the job gives, put in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from toolkit.experiment.reporting.observations import FIELDS

Resolution = int | float | None


class Step(NamedTuple):
    """A command, or with `stage` one of its stages; apart by the tags that the user groups by."""

    program: str
    stage: str
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        """What tables and figures call it."""
        name = f"{self.program}: {self.stage}" if self.stage else self.program
        words = [label for label in self.labels if label]
        return f"{name} ({', '.join(words)})" if words else name


class Place(NamedTuple):
    """Where a value belongs: a step at resolutions (one for each resolution tag) on a machine."""

    step: Step
    scales: tuple[Resolution, ...]
    machine: str


@dataclass(frozen=True)
class Row:
    """A step's values in one run; `values` as `observations.FIELDS` names them, ns and bytes, None where not measured."""

    command: str
    day: str
    values: tuple[int | None, ...]


@dataclass(frozen=True)
class Ended:
    """A run that did not end with status 0, which counts nowhere: `status` or `signal`; with neither, its end is not known."""

    command: str
    program: str
    scales: tuple[Resolution, ...]
    machine: str
    began: str
    status: int | None
    signal: str | None


@dataclass
class Collected:
    """`runs`: how many commands ended well. `curves`: memory over time, points [ns, bytes] and bands [stage, begin, end], by command and
    resolutions. `machines`: hardware and software seen, by host. `outputs`, `quality`: see `quality.placed`. `bad`: place and problem."""

    rows: dict[Place, list[Row]] = field(default_factory=dict)
    runs: int = 0
    days: list[str] = field(default_factory=list)
    curves: dict[tuple[Step, tuple[Resolution, ...]], tuple[list[list[int]], list[list[Any]]]] = field(default_factory=dict)
    machines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failed: list[Ended] = field(default_factory=list)
    outputs: dict[tuple[str, str], list[Sequence[Resolution]]] = field(default_factory=dict)
    quality: list[Sequence[Any]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    others: int = 0
    tags: list[str] = field(default_factory=list)

    def values(self, place: Place, name: str) -> list[int]:
        """All values of a field there, ascending."""
        return sorted(value for _, value in self.dated(place, name))

    def dated(self, place: Place, name: str) -> list[tuple[str, int]]:
        """The same with their days."""
        return sorted((row.day, value) for row in self.rows[place] if (value := field_of(row, name)) is not None)


def field_of(row: Row, name: str) -> int | None:
    """A value by its name; ``cpu_ns`` is that of user and system together."""
    if name == "cpu_ns":
        user, system = field_of(row, "user_ns"), field_of(row, "system_ns")
        return None if user is None or system is None else user + system
    return row.values[FIELDS.index(name)]


def collected(pairs: Iterable[tuple[Any, Any]], missing: Iterable[tuple[str, str]] = ()) -> Collected:
    """Order the job's pairs, which come in any order; `missing` are places and problems of what could not even be listed."""
    found = Collected()
    found.bad += missing
    ended: dict[str, list[list[Any]]] = {}
    for key, values in sorted(pairs, key=lambda pair: repr(pair[0])):
        if key[0] == "rows":
            _, program, stage, labels, scales, machine, day = key
            place = Place(Step(program, stage, tuple(labels)), tuple(scales), machine)
            found.rows.setdefault(place, []).extend(Row(command, day, tuple(row)) for command, *row in values)
        elif key[0] == "curve":
            _, program, labels, scales = key
            found.curves[Step(program, "", tuple(labels)), tuple(scales)] = values[0][2], values[0][3]
        elif key[0] == "machine":
            found.machines[key[1]] = values
        elif key[0] == "ended":
            for one in values:
                ended.setdefault(one[0], []).append(one)
        elif key[0] == "output":
            found.outputs[key[1], key[2]] = values
        elif key[0] == "quality":
            found.quality = values
        elif key[0] == "bad":
            found.bad += ((place, problem) for place, problem in values)
        elif key[0] == "tags":
            found.tags = [tag for (tag,) in values]
        else:
            found.others = len(values)
    _sort(found, ended)
    return found


def _sort(found: Collected, ended: Mapping[str, list[list[Any]]]) -> None:
    found.rows = {place: found.rows[place] for place in sorted(found.rows, key=_order)}
    for rows in found.rows.values():
        rows.sort(key=lambda row: (row.day, row.command))
    found.days = sorted({row.day for rows in found.rows.values() for row in rows})
    for ends in ended.values():
        well = [one for one in ends if one[5] == 0]  # of two copies of a record one may be torn
        found.runs += bool(well)
        if not well:
            command, program, scales, machine, began, status, signal, _ = max(ends, key=lambda one: one[7])
            found.failed.append(Ended(command, program, tuple(scales), machine, began, status, signal))
    found.failed.sort(key=lambda one: (one.began, one.command))
    found.bad.sort(key=bad_order)


def bad_order(bad: tuple[str, str]) -> tuple[str, int, str]:
    """Lines of a file by their numbers."""
    name, _, number = bad[0].rpartition(":")
    return (name, int(number), bad[1]) if name and number.isdecimal() else (bad[0], 0, bad[1])


def _order(place: Place) -> tuple[Any, ...]:
    return place.step, tuple((scale is None, scale or 0) for scale in place.scales), place.machine
