"""One file an analysis: which row tables it reads, what it adds up in a group of parts, and what it says to the reader.

A file that is put here and defines `QUESTION` is an analysis of its name: the command, its help and the map-reduce job find it. Within a
task the row tables are DuckDB views that hold only what counts, of visits that began in the period: ``visits`` (message_id, patient,
day, start, end, sex, age), ``diagnoses`` (message_id, patient, day, start, code, system, plain), ``procedures`` and ``results`` likewise,
and, where the question has codes, ``coded`` (series, message_id, day; patient, if `patients` says something): each visit once
for each series of codes that it has.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from toolkit.datacentre.analyses.answers import Answer, Chart

Parameters = Mapping[str, Any]  # as JSON: from and to as YYYYMMDD, and the values of the question's options by name
Sums = Mapping[tuple[Any, ...], int]


@dataclass(frozen=True)
class Option:
    """An option of the command. `parse` makes of what was given (a tuple where `multiple`) what JSON can hold, and raises UsageError."""

    name: str
    metavar: str
    help: str
    parse: Callable[[Any], Any]
    default: str | None = None
    multiple: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """An analysis.

    `counts` gives a group's sums: tuples whose last item is an integer and is added to those with the same items before it. Where
    patients are to be told apart, `patients` is SQL whose rows begin with ``patient`` and of which `per_patient`, SQL over all the
    ``rows`` of some patients (known by ``low`` and ``high``, 128 bits of a digest), makes such sums. `answer` makes a table of them.
    `check` raises UsageError where options and period do not fit each other.
    """

    summary: str
    tables: tuple[str, ...]
    options: tuple[Option, ...]
    answer: Callable[[Parameters, Sums], Answer]
    chart: Callable[[Parameters, Answer], Chart]
    counts: Callable[[DuckDBPyConnection, Parameters], Iterable[tuple[Any, ...]]] | None = None
    patients: Callable[[Parameters], str] | None = None
    per_patient: str = ""
    check: Callable[[Parameters], None] | None = None


@cache
def questions() -> dict[str, Question]:
    """All questions by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module.QUESTION for name, module in modules.items() if hasattr(module, "QUESTION")}
