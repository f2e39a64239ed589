"""Put a panorama's edges on the sphere grid; see cylmap(1)."""

from __future__ import annotations

import click

from toolkit.commands.parameters import Interval
from toolkit.core.command import command
from toolkit.core.errors import BadData, UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, stream_name


@command(
    "cylmap",
    examples="""
    cylmap view.tif -b 256 > f.npy
    panorama alps.tif --at 46.5475,7.9853 -o - | cylmap - -b 256 > f.npy
    cylmap view.tif -b 64 --coefficients -o grid/0001.npy
    cylmap stitched.jpg --elevations -20:30 --projection tan -b 256 -o f.npy
    """,
)
@click.argument("pano", metavar="PANO")
@click.option("-b", "--bandwidth", type=int, required=True, metavar="B", help="The grid has 2B x 2B cells.")
@click.option(
    "--elevations", type=Interval(-90.0, 90.0), metavar="MIN:MAX", help="For an image: elevation of its lower and upper border, degrees."
)
@click.option("--projection", type=click.Choice(["angle", "tan"]), help="For an image: rows are equal steps of this. [angle]")
@click.option("--coefficients", is_flag=True, help="Write the sphere's harmonic coefficients instead, for scc --batch.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write the sphere here; - is standard output (default).")
def cylmap(
    pano: str, bandwidth: int, elevations: tuple[float, float] | None, projection: str | None, coefficients: bool, output: str
) -> None:
    """Put the line features of PANO on the sphere in East-North-Up and write it as .npy.

    PANO is a file of panorama, or with --elevations any cylindrical image that begins at north and goes clockwise through 360
    degrees. The array is float32, shape (2B, 2B, 3): strength, strength cos 2 psi, strength sin 2 psi;
    with --coefficients complex64, shape (3, B(B+1)/2).
    """
    from toolkit.core.arrays import write_array
    from toolkit.geo.sphere import check_bandwidth, splat

    check_bandwidth(bandwidth)
    if projection and not elevations:
        raise UsageError("--projection", "says how an image's rows are spaced", "give its --elevations too")
    with stage("cylmap"):
        if elevations:
            from toolkit.geo.panorama_image import image_segments
            from toolkit.geo.photo import read_photo

            segments = image_segments(read_photo(pano).pixels, elevations, projection or "angle")
        else:
            from toolkit.geo.panorama import contour_segments
            from toolkit.geo.panorama_file import read_panorama

            segments = contour_segments(read_panorama(pano, distance=False))
        if not len(segments.strength):
            raise BadData(
                stream_name(pano), "holds no contour: nothing stands out before anything else", "render another place or a longer range"
            )
        sphere = splat(segments, bandwidth)
        if coefficients:
            from toolkit.geo.coefficients_file import array_of
            from toolkit.geo.sphere import analyse

            sphere = array_of(analyse(sphere, bandwidth))
        with atomic_output(output) as stream:
            write_array(stream, sphere)
