"""List the camera poses that a correlation proposes, or those that a photograph's lines confirm; see rank-candidates(1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from toolkit.commands.parameters import Heading
from toolkit.commands.ranking import check_ranking, ranking_options, write_list, write_ranking
from toolkit.core.command import command
from toolkit.core.errors import BadData, UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import open_input, stream_name

if TYPE_CHECKING:
    from toolkit.geo.candidates import Candidate, Quality

_SEPARATION = 2.0  # degrees between candidates: the precise metric settles each within about as much


@command(
    "rank-candidates",
    examples="""
    scc f.npy g.npy | rank-candidates - > candidates.jsonl
    rank-candidates block.npy --top 3 --format tsv
    scc f.npy g.npy | rank-candidates - --truth 120.5,-3,0.7 --report quality.json
    scc f.npy g.npy | rank-candidates - --photo photo.edges.tif --panorama view.tif
    rank-candidates candidates.jsonl --photo photo.edges.tif --panorama view.tif --refine-position 50
    """,
)
@click.argument("block", metavar="BLOCK")
@click.option("--photo", metavar="EDGES", help="Rank precisely by these lines, written by edges(1); needs --panorama.")
@click.option("--panorama", metavar="PANO", help="What they are compared with, written by panorama(1).")
@click.option("--hfov", type=float, metavar="DEG", help="Horizontal field of view; default: from the photo's EXIF.")
@click.option("--camera", metavar="CAMERA.json", help="Lens with distortion, see camera(5), instead of --hfov.")
@click.option("--candidates", type=click.IntRange(1), default=100, metavar="N", help="How many maxima are looked at closely. [100]")
@click.option(
    "--heading",
    type=Heading(),
    metavar="YAW:TOL|exif|exif:TOL",
    help="The yaw is about this, degrees: poses near it gain, none is left out.",
)
@click.option("--refine-position", type=click.FloatRange(0.0, min_open=True), metavar="M", help="The position may be off by M metres.")
@ranking_options
def rank_candidates(block: str, **options: Any) -> None:
    """List the best local maxima of BLOCK, the stream that scc writes; - is standard input.

    Each is refined below the cell and printed best first as {"rank","yaw","pitch","roll","score"}, degrees. With --photo the lines
    of the photograph decide: which follow the panorama's contours, which cross them. BLOCK may then also be such a list of poses, and
    the keys fine_score, hfov, yaw_error, pitch_error, roll_error, confidence, verdict and reason are added.
    """
    check_ranking(options)
    _check(block, options)
    from toolkit.geo import candidates
    from toolkit.geo.block import read_block

    place = stream_name(block)
    if options["photo"]:
        with open_input(block) as stream:
            proposed, quality = _proposed(stream, place, options)
        return _rank_precisely(proposed, quality, options)
    with open_input(block) as stream:
        write_ranking(partial(candidates.rank_candidates, read_block(stream, place)), options)


def _check(block: str, options: dict[str, Any]) -> None:
    if options["photo"] and not options["panorama"]:
        raise UsageError("--photo", "needs --panorama", "name the panorama that the sphere was made of")
    if not options["photo"]:
        for name in ("panorama", "hfov", "camera", "heading", "refine_position"):
            if options[name] is not None:
                raise UsageError(f"--{name.replace('_', '-')}", "needs --photo", "name the photograph's edges")
    if options["hfov"] is not None and options["camera"]:
        raise UsageError("--hfov", "excludes --camera", "the camera tells the field of view")
    if [block, options["photo"], options["panorama"]].count("-") > 1:
        raise UsageError("-", "is standard input, which can be read only once", "name files for the other inputs")


def _proposed(stream: BinaryIO, place: str, options: dict[str, Any]) -> tuple[list[Candidate], Quality | None]:
    """The poses to look at, from a block or from a list."""
    from toolkit.geo import candidates
    from toolkit.geo.block import read_block

    if stream.peek(1)[:1] != b"{":  # type: ignore[attr-defined]
        block = read_block(stream, place)
        return candidates.rank_candidates(block, options["candidates"], _SEPARATION, options["truth"], options["tolerance"])
    if options["truth"]:
        raise BadData(place, "lists poses and has no cells, which --truth counts", "give the block that scc writes")
    return candidates.read_candidates(stream, place)[: options["candidates"]], None


def _rank_precisely(proposed: list[Candidate], quality: Quality | None, options: dict[str, Any]) -> None:
    from dataclasses import replace

    from toolkit.geo.camera import read_camera
    from toolkit.geo.edges_file import read_edges
    from toolkit.geo.locate import exif_heading, rank_of
    from toolkit.geo.panorama_file import read_panorama
    from toolkit.geo.photo_sphere import camera_of
    from toolkit.geo.precise import CALIBRATED_FIT, EXIF_FIT, PreciseOptions, rank_precisely

    place = stream_name(options["photo"])
    edges = read_edges(options["photo"])
    lens = read_camera(options["camera"]) if options["camera"] else camera_of(edges, options["hfov"], place)
    heading = options["heading"]
    if heading is not None and heading[0] is None:
        heading = exif_heading(edges.facts, heading[1], place)
    precise = PreciseOptions(
        options["top"],
        options["separation"],
        position_m=options["refine_position"] or 0.0,
        heading=heading,
        fit_hfov=CALIBRATED_FIT if options["camera"] else EXIF_FIT,
    )
    with stage("precise"):
        found = rank_precisely(edges, lens, read_panorama(options["panorama"], distance=False), proposed, precise)
    if quality is not None:
        quality = replace(quality, rank_of_truth=rank_of(options["truth"], found, options["tolerance"]))
    write_list([pose.record for pose in found], quality, options, None)
