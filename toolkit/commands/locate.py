"""Find the camera poses under which a photograph fits an elevation model; see locate(1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.locating import check_locating, heading_of, position_of
from toolkit.commands.parameters import Bandwidth, FieldOfView, Heading, Interval, Position
from toolkit.commands.ranking import check_ranking, ranking_options, write_list, write_ranking
from toolkit.core.command import command
from toolkit.core.errors import BadData, ToolError
from toolkit.core.stages import stage
from toolkit.core.streams import stream_name

if TYPE_CHECKING:
    from toolkit.geo.camera import Camera
    from toolkit.geo.panorama import Panorama
    from toolkit.geo.pose import Pose
    from toolkit.geo.precise import PrecisePose


@command(
    "locate",
    examples="""
    locate photo.jpg --dem N46E007.hgt N46E008.hgt --overlay fit.png > candidates.jsonl
    locate photo.jpg --dem alps.tif --at 46.5475,7.9853 --hfov 45:60 --heading 120:30
    locate photo.jpg --dem alps.tif --top 1 | jq 'select(.verdict == "accepted")'
    locate photo.jpg --dem alps.tif --coarse --bandwidth auto:1024 --format tsv
    """,
)
@click.argument("photo", metavar="PHOTO")
@click.argument("more_dem", nargs=-1, metavar="[DEM...]")
@click.option("--dem", multiple=True, required=True, metavar="DEM", help="Elevation data that GDAL reads, or a horizon.")
@click.option("--at", "position", type=Position(), help="Where the camera was, degrees, and metres in the DEM's datum; default: EXIF.")
@click.option(
    "--height", "above_ground", type=click.FloatRange(0.0, min_open=True), default=2.0, metavar="M", help="Metres above ground. [2]"
)
@click.option("--hfov", type=FieldOfView(), help="Horizontal field of view; default: EXIF, or else a search from 20 to 100.")
@click.option("--camera", metavar="CAMERA.json", help="Lens with distortion, see camera(5), instead of --hfov.")
@click.option("--heading", type=Heading(), metavar="YAW:TOL|exif|exif:TOL", help="Prefer yaws near this compass reading.")
@click.option("--strict-heading", is_flag=True, help="Only yaws within TOL degrees of --heading.")
@click.option("--pitch", type=Interval(-90.0, 90.0), default="-45:45", help="Only these pitches, degrees. [-45:45]")
@click.option("--roll", type=Interval(-180.0, 180.0), default="-35:35", help="Only these rolls, degrees. [-35:35]")
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
@click.option(
    "--visibility",
    "visibility_km",
    type=click.FloatRange(0.0, min_open=True),
    metavar="KM",
    help="How far one sees through the haze; default: clear air.",
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads; default: one for each core.")
@click.option("--coarse", is_flag=True, help="Only the correlation: quicker, and without a verdict.")
@click.option("--candidates", type=click.IntRange(1), default=100, metavar="N", help="How many of its poses are looked at closely. [100]")
@click.option("--refine-position", type=click.FloatRange(0.0, min_open=True), metavar="M", help="The position may be off by M metres.")
@click.option("--allow-rejected", is_flag=True, help="Exit with status 0 when no pose is believed.")
@click.option("--overlay", metavar="PNG", help="Draw the contours of the best pose over the photo.")
@ranking_options
def locate(photo: str, more_dem: tuple[str, ...], dem: tuple[str, ...], **options: Any) -> None:
    """List the poses, best first, under which PHOTO's lines fit the contours of the elevation model DEM.

    The position and the field of view come from the photo's EXIF when not given. Prints JSON with rank, yaw, pitch,
    roll (degrees: clockwise from true north, up, right side down), score, fine_score, hfov, yaw_error, pitch_error, roll_error,
    confidence, verdict (accepted, doubtful or rejected) and reason.
    """
    check_ranking(options)
    check_locating(options)
    from toolkit.core.pictures import write_png
    from toolkit.geo import locate as geo
    from toolkit.geo.camera import read_camera
    from toolkit.geo.decode import LARGEST_SIDE
    from toolkit.geo.edges import detect_edges
    from toolkit.geo.overlay import draw_overlay
    from toolkit.geo.photo import read_photo
    from toolkit.geo.precise import CALIBRATED_FIT, EXIF_FIT, PreciseOptions
    from toolkit.geo.sphere import check_bandwidth
    from toolkit.geo.view import view_from

    place = stream_name(photo)
    bandwidth, automatic = options["bandwidth"]
    check_bandwidth(bandwidth)
    with stage("edges"):
        picture = read_photo(photo, LARGEST_SIDE)
        latitude, longitude, height = options["position"] or position_of(picture.facts, place)
        yaw, heading = heading_of(options, picture.facts, place)
        edges = detect_edges(picture.pixels, facts=picture.facts)
        cameras = [read_camera(options["camera"])] if options["camera"] else geo.lenses(edges, options["hfov"])
    if len(cameras) > 1 and (options["coarse"] or options["truth"]):
        need = "--coarse" if options["coarse"] else "--truth"
        raise BadData(place, f"has no single field of view, which {need} needs", "give --hfov DEG or --camera")
    search = geo.Search(bandwidth, yaw, options["pitch"], options["roll"], "2", options["jobs"] or 0, automatic, heading)

    visibility_m = None if options["visibility_km"] is None else 1000.0 * options["visibility_km"]

    def view(latitude: float, longitude: float) -> Panorama:
        return view_from(
            [*dem, *more_dem], latitude, longitude, height,
            range_m=1000.0 * options["range_km"], refraction=options["refraction"], above_ground=options["above_ground"],
            visibility_m=visibility_m,
        )  # fmt: skip

    with stage("panorama"):
        seen = view(latitude, longitude)

    def draw(pose: Pose, lens: Camera, moved: Panorama | None = None) -> None:
        with stage("overlay"):
            write_png(options["overlay"], draw_overlay(picture.pixels, moved or seen, lens, pose))

    def draw_best(best: PrecisePose) -> None:
        moved = None if best.latitude is None or best.longitude is None else view(best.latitude, best.longitude)
        draw(best.pose, best.camera, moved)

    if options["coarse"]:
        rank = partial(geo.rank_poses, seen, edges, cameras[0], search, place)
        return write_ranking(rank, options, (lambda found: draw(found[0].pose, cameras[0])) if options["overlay"] else None)
    precise = PreciseOptions(
        options["top"], options["separation"], position_m=options["refine_position"] or 0.0, heading=heading,
        fit_hfov=CALIBRATED_FIT if options["camera"] else EXIF_FIT,
    )  # fmt: skip
    with stage("rank"):
        found, quality = geo.rank_photo(
            seen, edges, cameras, search, place, precise, options["candidates"], options["truth"], options["tolerance"]
        )
    records = [one.record for one in found] or [geo.rejection("the photo shows no line that terrain could make", cameras)]
    write_list(records, quality, options, partial(draw_best, found[0]) if found and options["overlay"] else None)
    if records[0]["verdict"] == "rejected" and not options["allow_rejected"]:
        remedy = "do not use the poses that are listed" if found else "take another photo"
        raise ToolError(place, f"rejected: {records[0]['reason']}", f"{remedy}; --allow-rejected makes this no error")
