"""Correlate two spheres over all rotations; see scc(1)."""

from __future__ import annotations

import sys
from typing import Any

import click

from toolkit.commands.batch import batch_options, check_batch, run_batch
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
    ls grid/*.npy | scc --batch - g.npy --pitch -30:30 --roll -15:15 --top 3 > poses.jsonl
    """,
)
@click.argument("panorama", metavar="[PANORAMA.npy]", nargs=-1)
@click.argument("photo", metavar="PHOTO.npy")
@batch_options
@click.option("-b", "--bandwidth", type=int, metavar="B", help="Degree limit of the sum and of the raster; default: the inputs'.")
@click.option("--yaw", type=Interval(), help="Only these yaws, degrees; 350:370 goes across north.")
@click.option("--pitch", type=Interval(), help="Only these pitches, degrees.")
@click.option("--roll", type=Interval(), help="Only these rolls, degrees.")
@click.option("--spin", type=click.Choice(["0", "2", "both"]), default="2", help="Correlate strengths, line fields, or both. [2]")
@click.option("--scalar-weight", type=float, default=0.1, metavar="W", help="Weight of the strengths with --spin both. [0.1]")
@click.option("--precision", type=click.Choice(["float32", "float64"]), default="float32", help="Of sums and of scores. [float32]")
@click.option("--sft", type=click.Choice(["ducc0", "pyshtools"]), default="ducc0", help="Library of the scalar transform. [ducc0]")
@click.option("--fft", type=click.Choice(["ducc0", "pyfftw"]), default="ducc0", help="Library of the Fourier transforms. [ducc0]")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads; default: one for each core.")
@click.option("--explain", is_flag=True, help="Say first what will be computed, in what time and memory; on a terminal only say it.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write the block here; - is standard output (default).")
def scc(
    panorama: tuple[str, ...],
    photo: str,
    bandwidth: int | None,
    yaw: tuple[float, float] | None,
    pitch: tuple[float, float] | None,
    roll: tuple[float, float] | None,
    spin: str,
    scalar_weight: float,
    precision: str,
    sft: str,
    fft: str,
    jobs: int | None,
    explain: bool,
    output: str,
    **batch: Any,
) -> int:
    """Correlate the line features of PANORAMA.npy and PHOTO.npy over rotations.

    Both are sphere arrays of cylmap and projmap. The result is a stream of four .npy arrays: the axes
    yaw, pitch and roll in degrees, then a score for each pose, shape (pitch, yaw, roll). One input may be -.
    With --batch the photo is correlated with many panoramas, and the result is a list of poses.
    """
    check_batch(panorama, photo, batch["batch"])
    if batch["batch"] is not None:
        search = {"spin": spin, "scalar_weight": scalar_weight, "threads": jobs or 0}
        return run_batch(photo, bandwidth, (yaw, pitch, roll), search, sft, output, **batch)
    from toolkit.core.errors import UsageError
    from toolkit.geo.block import write_block
    from toolkit.geo.coefficients_file import analysed, bandwidth_of, read_panorama_sphere
    from toolkit.geo.correlation import correlate, window
    from toolkit.geo.prediction import check_room, plan, predict
    from toolkit.geo.sphere import check_bandwidth, read_sphere
    from toolkit.geo.wigner import load_kernel

    to_terminal = output == "-" and sys.stdout.isatty()
    if to_terminal and not explain:
        raise UsageError("standard output", "is a terminal, and the block is binary", "pipe it to rank-candidates or give -o FILE")
    with stage("vscc2 set-up"):
        with open_input(panorama[0]) as stream:
            world = read_panorama_sphere(stream, stream_name(panorama[0]))
        with open_input(photo) as stream:
            seen = read_sphere(stream, stream_name(photo))
        bandwidth = min(map(bandwidth_of, (world, seen))) if bandwidth is None else bandwidth
        check_bandwidth(bandwidth)
        cells = window(bandwidth, yaw, pitch, roll)
        work = plan(cells, world, seen, precision, jobs or 0, fft)
        check_room(work, output)
        if explain:
            click.echo("\n".join(predict(work, output)), err=True)
            if to_terminal:
                return 0
    with stage("vscc3 transform"):
        load_kernel(precision)
        coefficients = [analysed(sphere, bandwidth, sft, jobs or 0, spin) for sphere in (world, seen)]
    with stage("vscc4 release"):
        del world, seen
    with stage("vscc5 correlation"), atomic_output(output) as sink, progress("scc", len(cells.pitch), " pitches") as bar:
        slices = correlate(
            coefficients[0],
            coefficients[1],
            cells,
            spin=spin,
            scalar_weight=scalar_weight,
            precision=precision,
            threads=jobs or 0,
            transform=fft,
        )
        write_block(sink, *cells.axes, bar.each(slices), precision)
    with stage("vscc6 final"):
        coefficients.clear()
    return 0
