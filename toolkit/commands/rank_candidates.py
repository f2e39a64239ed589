"""List the camera poses that a correlation proposes; see rank-candidates(1)."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from toolkit.commands.ranking import check_ranking, ranking_options, write_ranking
from toolkit.core.command import command
from toolkit.core.streams import open_input, stream_name


@command(
    "rank-candidates",
    examples="""
    scc f.npy g.npy | rank-candidates - > candidates.jsonl
    rank-candidates block.npy --top 3 --format tsv
    scc f.npy g.npy | rank-candidates - --truth 120.5,-3,0.7 --report quality.json
    """,
)
@click.argument("block", metavar="BLOCK")
@ranking_options
def rank_candidates(block: str, **options: Any) -> None:
    """List the best local maxima of BLOCK, the stream that scc writes; - is standard input.

    Each is refined below the cell and printed best first as {"rank","yaw","pitch","roll","score"}, degrees.
    """
    check_ranking(options)
    from toolkit.geo import candidates
    from toolkit.geo.block import read_block

    with open_input(block) as stream:
        write_ranking(partial(candidates.rank_candidates, read_block(stream, stream_name(block))), options)
