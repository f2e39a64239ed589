"""List the camera poses that a correlation proposes; see rank-candidates(1)."""

from __future__ import annotations

import click

from toolkit.commands.parameters import Angles
from toolkit.core.command import command
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, open_input, stream_name


@command(
    "rank-candidates",
    examples="""
    scc f.npy g.npy | rank-candidates - > candidates.jsonl
    rank-candidates block.npy --top 3 --format tsv
    scc f.npy g.npy | rank-candidates - --truth 120.5,-3,0.7 --report quality.json
    """,
)
@click.argument("block", metavar="BLOCK")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many poses to list.")
@click.option("--separation", type=click.FloatRange(0), default=3.0, show_default=True, help="No two poses closer than this rotation, degrees.")
@click.option("--truth", type=Angles(), help="The true pose, degrees: report how many cells score above it.")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True), default=2.5, show_default=True, help="A pose this close to the truth is right, degrees.")
@click.option("--report", metavar="FILE", help="Write the quality figures as JSON; needs --truth.")
@click.option("--format", "form", type=click.Choice(["jsonl", "tsv"]), default="jsonl", show_default=True, help="JSON lines, or a table for awk.")
@click.option("-o", "--output", default="-", help="Where the list goes; default: standard output.")
def rank_candidates(block, top, separation, truth, tolerance, report, form, output):  # type: ignore[no-untyped-def]
    """List the best local maxima of BLOCK, the stream that scc writes; - is standard input.

    Each is refined below the cell and printed best first as {"rank","yaw","pitch","roll","score"}.
    """
    from dataclasses import asdict

    from toolkit.core.records import write_records
    from toolkit.geo import candidates
    from toolkit.geo.block import read_block

    if report and not truth:
        raise click.UsageError("--report needs --truth: the figures say how well the true pose does")
    with stage("rank"), open_input(block) as stream:
        scores = read_block(stream, stream_name(block))
        if truth:
            found, quality = candidates.rank_with_truth(scores, truth, tolerance, top, separation)
        else:
            found = candidates.rank_candidates(scores, top, separation)
    with atomic_output(output) as sink:
        write_records(sink, [asdict(candidate) for candidate in found], form)
    if truth:
        click.echo(" ".join(f"{name}={value}" for name, value in asdict(quality).items()), err=True)
    if report:
        with atomic_output(report) as sink:
            write_records(sink, [asdict(quality)], "jsonl")
