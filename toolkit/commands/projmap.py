"""Put a photograph's edges on the sphere grid around its optical axis, see projmap(1)."""

from __future__ import annotations

import click

from toolkit.core.command import command
from toolkit.core.errors import UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, stream_name


@command(
    "projmap",
    examples="""
    projmap photo.edges.tif -b 256 > g.npy
    projmap photo.edges.tif --hfov 52 -b 256 -o g.npy
    projmap photo.edges.tif --camera camera.json -b 512 | scc f.npy - | rank-candidates -
    """,
)
@click.argument("edges", metavar="EDGES")
@click.option("-b", "--bandwidth", type=int, required=True, metavar="B", help="The grid has 2B x 2B cells; at most 4096.")
@click.option("--hfov", type=float, metavar="DEG", help="Horizontal field of view; default: from the photo's EXIF.")
@click.option("--camera", metavar="CAMERA.json", help="Lens with distortion, see camera(5), instead of --hfov.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write the sphere here; - is standard output (default).")
def projmap(edges: str, bandwidth: int, hfov: float | None, camera: str | None, output: str) -> None:
    """Project EDGES, written by edges(1), on the sphere in camera axes and write it as .npy.

    The array is float32, shape (2B, 2B, 3): strength, strength cos 2 psi, strength sin 2 psi.
    """
    if hfov is not None and camera is not None:
        raise UsageError("--hfov", "excludes --camera", "the camera tells the field of view")
    if not 1 <= bandwidth <= 4096:
        raise UsageError(f"--bandwidth {bandwidth}", "is not possible", "give a number from 1 to 4096")
    from toolkit.core.arrays import write_array
    from toolkit.geo.camera import read_camera
    from toolkit.geo.edges_file import read_edges
    from toolkit.geo.photo_sphere import camera_of, sphere_of_edges

    with stage("projmap"):
        found = read_edges(edges)
        lens = read_camera(camera) if camera is not None else camera_of(found, hfov, stream_name(edges))
        sphere = sphere_of_edges(found, lens, bandwidth, stream_name(edges))
        with atomic_output(output) as stream:
            write_array(stream, sphere)
