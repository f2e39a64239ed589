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
@click.option("-b", "--bandwidth", type=click.IntRange(2), help="Degree limit B of the sum and of the raster; default: that of the inputs.")
@click.option("--yaw", type=Interval(), help="Only these yaws, degrees; 350:370 goes across north.")
@click.option("--pitch", type=Interval(), help="Only these pitches, degrees.")
@click.option("--roll", type=Interval(), help="Only these rolls, degrees.")
@click.option("--spin", type=click.Choice(["0", "2", "both"]), default="2", show_default=True, help="Correlate strengths, line fields, or both.")
@click.option("--scalar-weight", type=float, default=0.1, show_default=True, help="Weight of the strengths with --spin both.")
@click.option("--sft", type=click.Choice(["ducc0", "pyshtools"]), default="ducc0", show_default=True, help="Library of the scalar transform.")
@click.option("--jobs", type=click.IntRange(1), help="Threads; default: one for each core.")
@click.option("-o", "--output", default="-", help="Where the block goes; default: standard output.")
def scc(panorama, photo, bandwidth, yaw, pitch, roll, spin, scalar_weight, sft, jobs, output):  # type: ignore[no-untyped-def]
    """Correlate the line features of PANORAMA.npy and PHOTO.npy over rotations.

    Both are sphere arrays of cylmap and projmap. The result is a stream of four .npy arrays: the axes
    yaw, pitch and roll in degrees, then a score for each pose, shape (pitch, yaw, roll). One input may be -.
    """
    from toolkit.core.errors import UsageError
    from toolkit.geo.block import write_block
    from toolkit.geo.correlation import correlate, window
    from toolkit.geo.sphere import analyse, read_sphere

    if output == "-" and sys.stdout.isatty():
        raise UsageError("standard output", "is a terminal, and the block is binary", "pipe it to rank-candidates or give -o FILE")
    with stage("vscc2 set-up"):
        spheres = []
        for path in (panorama, photo):
            with open_input(path) as stream:
                spheres.append(read_sphere(stream, stream_name(path)))
        bandwidth = bandwidth or min(sphere.shape[0] // 2 for sphere in spheres)
        cells = window(bandwidth, yaw, pitch, roll)
    with stage("vscc3 transform"):
        coefficients = [analyse(sphere, bandwidth, sft, jobs or 0) for sphere in spheres]
    with stage("vscc4 release"):
        spheres.clear()
    with stage("vscc5 correlation"), atomic_output(output) as sink, progress("scc", len(cells.pitch), " pitches") as bar:
        slices = correlate(*coefficients, cells, spin=spin, scalar_weight=scalar_weight, threads=jobs or 0)
        write_block(sink, *cells.axes, bar.each(slices))
    with stage("vscc6 final"):
        coefficients.clear()
