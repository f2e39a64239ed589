"""Correlate two spheres over all rotations; see scc(1)."""

from __future__ import annotations

import sys

import click

from toolkit.commands.parameters import Interval
from toolkit.core.command import command
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, open_input, stream_name


@command(
    "scc",
    examples="""
    scc f.npy g.npy --pitch -30:30 --roll -15:15 | rank-candidates - > candidates.jsonl
    scc f.npy g.npy --bandwidth 128 -o block.npy
    """,
)
@click.argument("panorama", metavar="PANORAMA.npy")
@click.argument("photo", metavar="PHOTO.npy")
@click.option("-b", "--bandwidth", type=int, metavar="B", help="Degree limit of the sum and of the raster; default: the inputs'.")
@click.option("--yaw", type=Interval(), help="Only these yaws, degrees; 350:370 goes across north.")
@click.option("--pitch", type=Interval(), help="Only these pitches, degrees.")
@click.option("--roll", type=Interval(), help="Only these rolls, degrees.")
@click.option("--spin", type=click.Choice(["0", "2", "both"]), default="2", help="Correlate strengths, line fields, or both. [2]")
@click.option("--scalar-weight", type=float, default=0.1, metavar="W", help="Weight of the strengths with --spin both. [0.1]")
@click.option("--sft", type=click.Choice(["ducc0", "pyshtools"]), default="ducc0", help="Library of the scalar transform. [ducc0]")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads; default: one for each core.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write the block here; - is standard output (default).")
def scc(
    panorama: str,
    photo: str,
    bandwidth: int | None,
    yaw: tuple[float, float] | None,
    pitch: tuple[float, float] | None,
    roll: tuple[float, float] | None,
    spin: str,
    scalar_weight: float,
    sft: str,
    jobs: int | None,
    output: str,
) -> None:
    """Correlate the line features of PANORAMA.npy and PHOTO.npy over rotations.

    Both are sphere arrays of cylmap and projmap. The result is a stream of four .npy arrays: the axes
    yaw, pitch and roll in degrees, then a score for each pose, shape (pitch, yaw, roll). One input may be -.
    """
    from toolkit.core.errors import UsageError
    from toolkit.geo.block import write_block
    from toolkit.geo.correlation import correlate, window
    from toolkit.geo.sphere import analyse, check_bandwidth, read_sphere

    if output == "-" and sys.stdout.isatty():
        raise UsageError("standard output", "is a terminal, and the block is binary", "pipe it to rank-candidates or give -o FILE")
    with stage("vscc2 set-up"):
        spheres = []
        for path in (panorama, photo):
            with open_input(path) as stream:
                spheres.append(read_sphere(stream, stream_name(path)))
        bandwidth = min(sphere.shape[0] // 2 for sphere in spheres) if bandwidth is None else bandwidth
        check_bandwidth(bandwidth)
        cells = window(bandwidth, yaw, pitch, roll)
    with stage("vscc3 transform"):
        coefficients = [analyse(sphere, bandwidth, sft, jobs or 0) for sphere in spheres]
    with stage("vscc4 release"):
        spheres.clear()
    with stage("vscc5 correlation"), atomic_output(output) as sink, progress("scc", len(cells.pitch), " pitches") as bar:
        slices = correlate(coefficients[0], coefficients[1], cells, spin=spin, scalar_weight=scalar_weight, threads=jobs or 0)
        write_block(sink, *cells.axes, bar.each(slices))
    with stage("vscc6 final"):
        coefficients.clear()
