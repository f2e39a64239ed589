"""Find the camera poses under which a photograph fits an elevation model; see locate(1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.parameters import Bandwidth, Heading, Interval, Position
from toolkit.commands.ranking import check_ranking, ranking_options, write_ranking
from toolkit.core.command import command
from toolkit.core.errors import BadData, UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import stream_name

if TYPE_CHECKING:
    from toolkit.geo.candidates import Candidate
    from toolkit.geo.photo import PhotoFacts


@command(
    "locate",
    examples="""
    locate photo.jpg --dem N46E007.hgt N46E008.hgt --overlay fit.png > candidates.jsonl
    locate photo.jpg --dem alps.tif --at 46.5475,7.9853 --hfov 52 --pitch -30:30 --roll -15:15
    locate photo.jpg --dem alps.tif --bandwidth auto:1024
    locate photo.jpg --dem alps.tif --heading 120:30 --top 1 --format tsv
    """,
)
@click.argument("photo", metavar="PHOTO")
@click.argument("more_dem", nargs=-1, metavar="[DEM...]")
@click.option("--dem", multiple=True, required=True, metavar="DEM", help="Elevation data that GDAL reads; several files are one mosaic.")
@click.option("--at", "position", type=Position(), help="Where the camera was, degrees, and metres in the DEM's datum; default: EXIF.")
@click.option(
    "--height", "above_ground", type=click.FloatRange(0.0, min_open=True), default=2.0, metavar="M", help="Metres above ground. [2]"
)
@click.option("--hfov", type=float, metavar="DEG", help="Horizontal field of view; default: EXIF.")
@click.option("--camera", metavar="CAMERA.json", help="Lens with distortion, see camera(5), instead of --hfov.")
@click.option("--heading", type=Heading(), help="Only yaws within TOL degrees of this compass reading.")
@click.option("--pitch", type=Interval(-90.0, 90.0), default="-45:45", help="Only these pitches, degrees. [-45:45]")
@click.option("--roll", type=Interval(-180.0, 180.0), default="-30:30", help="Only these rolls, degrees. [-30:30]")
@click.option(
    "-b",
    "--bandwidth",
    type=Bandwidth(256),
    default=256,
    metavar="B|auto|auto:B",
    help="Cells are 180/B degrees; auto: coarse to fine. [256]",
)
@click.option(
    "--range", "range_km", type=click.FloatRange(0.0, 1000.0, min_open=True), default=100.0, metavar="KM", help="How far to look. [100]"
)
@click.option(
    "--refraction",
    type=click.FloatRange(-1.0, 1.0, min_open=True, max_open=True),
    default=0.13,
    metavar="K",
    help="Coefficient of refraction. [0.13]",
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads; default: one for each core.")
@click.option("--overlay", metavar="PNG", help="Draw the contours of the best pose over the photo.")
@ranking_options
def locate(photo: str, more_dem: tuple[str, ...], dem: tuple[str, ...], **options: Any) -> None:
    """List the poses, best first, under which PHOTO's lines fit the contours of the elevation model DEM.

    The position and the field of view come from the photo's EXIF when not given. Prints
    {"rank","yaw","pitch","roll","score"}, degrees: yaw clockwise from true north, pitch up, roll right side down.
    """
    check_ranking(options)
    if options["hfov"] is not None and options["camera"]:
        raise UsageError("--hfov", "excludes --camera", "the camera tells the field of view")
    from toolkit.core.pictures import write_png
    from toolkit.geo.camera import read_camera
    from toolkit.geo.edges import detect_edges
    from toolkit.geo.locate import Search, rank_poses
    from toolkit.geo.overlay import draw_overlay
    from toolkit.geo.panorama import render_panorama
    from toolkit.geo.photo import read_photo
    from toolkit.geo.photo_sphere import camera_of
    from toolkit.geo.sphere import check_bandwidth
    from toolkit.geo.terrain import read_terrain

    place = stream_name(photo)
    bandwidth, automatic = options["bandwidth"]
    check_bandwidth(bandwidth)
    if automatic and options["truth"]:
        raise UsageError("--truth", "counts all cells, of which --bandwidth auto looks at few", f"give --bandwidth {bandwidth}")
    search = Search(bandwidth, options["heading"], options["pitch"], options["roll"], "2", options["jobs"] or 0, automatic)
    with stage("edges"):
        picture = read_photo(photo)
        latitude, longitude, height = options["position"] or _position(picture.facts, place)
        edges = detect_edges(picture.pixels, facts=picture.facts)
        lens = read_camera(options["camera"]) if options["camera"] else camera_of(edges, options["hfov"], place)
    with stage("panorama"):
        terrain = read_terrain([*dem, *more_dem], latitude, longitude, 1000.0 * options["range_km"])
        view = render_panorama(
            terrain, latitude, longitude, height,
            above_ground=options["above_ground"], range_m=1000.0 * options["range_km"], refraction=options["refraction"],
        )  # fmt: skip

    def draw(found: list[Candidate]) -> None:
        with stage("overlay"):
            write_png(options["overlay"], draw_overlay(picture.pixels, view, lens, found[0].pose))

    write_ranking(partial(rank_poses, view, edges, lens, search, place), options, draw if options["overlay"] else None)


def _position(facts: PhotoFacts, place: str) -> tuple[float, float, None]:
    """Where the EXIF says the photo was taken. Its altitude is left: receivers err by tens of metres, the terrain does not."""
    if facts.latitude is None or facts.longitude is None:
        raise BadData(place, "has no GPS position in its EXIF", "give --at LAT,LON")
    return facts.latitude, facts.longitude, None
