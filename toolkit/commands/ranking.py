"""What rank-candidates and locate share: the options of a ranking, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.parameters import Angles
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output

if TYPE_CHECKING:
    from toolkit.geo.block import Block
    from toolkit.geo.candidates import Candidate

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


def write_ranking(block: Block, options: dict[str, Any]) -> list[Candidate]:
    """Rank the poses of a block and write the list, and the quality figures where the truth is known; returns the list."""
    from dataclasses import asdict

    from toolkit.core.records import write_records
    from toolkit.geo import candidates

    with stage("rank"):
        if options["truth"]:
            found, quality = candidates.rank_with_truth(
                block, options["truth"], options["tolerance"], options["top"], options["separation"]
            )
        else:
            found = candidates.rank_candidates(block, options["top"], options["separation"])
    with atomic_output(options["output"]) as sink:
        write_records(sink, [asdict(candidate) for candidate in found], options["form"])
    if options["truth"]:
        click.echo(" ".join(f"{name}={value}" for name, value in asdict(quality).items()), err=True)
        if options["report"]:
            with atomic_output(options["report"]) as sink:
                write_records(sink, [asdict(quality)], "jsonl")
    return found
