"""What rank-candidates and locate share: the options of a ranking, and how it is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.parameters import Angles
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output

if TYPE_CHECKING:
    from toolkit.geo.candidates import Candidate, Quality

_OPTIONS = (
    click.option("--top", type=click.IntRange(1), default=10, metavar="N", help="How many poses to list. [10]"),
    click.option(
        "--separation", type=click.FloatRange(0.0), default=3.0, metavar="DEG", help="No two poses closer than this rotation. [3]"
    ),
    click.option("--truth", type=Angles(), help="The true pose, degrees: report how many cells score above it."),
    click.option(
        "--tolerance",
        type=click.FloatRange(0.0, min_open=True),
        default=2.5,
        metavar="DEG",
        help="A pose this close to the truth is right. [2.5]",
    ),
    click.option("--report", metavar="FILE", help="Write the quality figures as JSON; needs --truth."),
    click.option("--format", "form", type=click.Choice(["jsonl", "tsv"]), default="jsonl", help="JSON lines, or a table for awk. [jsonl]"),
    click.option("-o", "--output", metavar="FILE", default="-", help="Write the list here; - is standard output (default)."),
)


def ranking_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_ranking(options: dict[str, Any]) -> None:
    """Raises click.UsageError for options that exclude each other; to be called before the work."""
    if options["report"] and not options["truth"]:
        raise click.UsageError("--report needs --truth: the figures say how well the true pose does")


def write_ranking(
    rank: Callable[..., tuple[list[Candidate], Quality | None]],
    options: dict[str, Any],
    draw: Callable[[list[Candidate]], None] | None = None,
) -> None:
    """Rank poses and write the list, and the quality figures where the truth is known.

    `rank` is called with how many, their separation, the truth and the tolerance, as `toolkit.geo.candidates.rank_candidates`.
    `draw` makes another output of the list; files become visible when all of them are complete.
    """
    from dataclasses import asdict

    with stage("rank"):
        found, quality = rank(options["top"], options["separation"], options["truth"], options["tolerance"])
    write_list([asdict(candidate) for candidate in found], quality, options, partial(draw, found) if draw else None)


def write_list(records: list[dict[str, Any]], quality: Quality | None, options: dict[str, Any], draw: Callable[[], None] | None) -> None:
    """Write the records, the quality figures if there are any, and what `draw` makes; files become visible when all are complete."""
    from dataclasses import asdict

    from toolkit.core.records import write_records

    with contextlib.ExitStack() as outputs:
        sink = outputs.enter_context(atomic_output(options["output"]))
        write_records(sink, records, options["form"])
        if quality and options["report"]:
            write_records(outputs.enter_context(atomic_output(options["report"])), [asdict(quality)], "jsonl")
        if draw:
            draw()
    if quality:
        click.echo(" ".join(f"{name}={value}" for name, value in asdict(quality).items()), err=True)
