"""Write names, heights and distances on the peaks of a photograph whose pose is known; see annotate(1)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.parameters import Angles, Position
from toolkit.core.command import command
from toolkit.core.errors import BadData, UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import stream_name

if TYPE_CHECKING:
    from toolkit.geo.annotate.poses import Found
    from toolkit.geo.panorama import Panorama
    from toolkit.geo.photo import PhotoFacts
    from toolkit.geo.terrain import Terrain

_log = logging.getLogger(__name__)
_UNSURE = ("doubtful", "rejected")


class PoseOrFile(Angles):
    """``YAW,PITCH,ROLL`` as a pose, anything else as the name of a list of candidates."""

    name = "CANDIDATES|YAW,PITCH,ROLL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        looks_like_angles = isinstance(value, str) and value.count(",") == 2 and not set(value) - set("0123456789+-.eE, ")
        return super().convert(value, param, ctx) if looks_like_angles else value


@command(
    "annotate",
    examples="""
    locate photo.jpg --dem alps.tif --top 1 | annotate photo.jpg --pose - --peaks CH.txt --dem alps.tif -o named.jpg
    annotate photo.jpg --pose candidates.jsonl --peaks osm.geojson CH.txt.gz --panorama pano.tif -o named.svg
    annotate photo.jpg --pose 197.66,-1.25,3.39 --hfov 52 --peaks mine.csv --dem alps.tif --at 46.5475,7.9853 -o named.png
    """,
)
@click.argument("photo", metavar="PHOTO")
@click.argument("more_peaks", nargs=-1, metavar="[FILE...]")
@click.option("--pose", required=True, type=PoseOrFile(), help="The pose, degrees, or a list of poses, of which the first counts.")
@click.option("--peaks", multiple=True, required=True, metavar="FILE", help="List of peaks, see peaks(5); of several each peak once.")
@click.option("--panorama", metavar="PANO", help="What can be seen from there, from panorama(1); default: rendered from --dem.")
@click.option("--dem", multiple=True, metavar="DEM", help="Elevation data that GDAL reads; several files are one mosaic.")
@click.option("--at", "position", type=Position(), help="Where the camera was, degrees and metres; default: the pose's, else EXIF.")
@click.option(
    "--height", "above_ground", type=click.FloatRange(0.0, min_open=True), default=2.0, metavar="M", help="Metres above ground. [2]"
)
@click.option(
    "--range", "range_km", type=click.FloatRange(0.0, 1000.0, min_open=True), default=100.0, metavar="KM", help="How far to look. [100]"
)
@click.option("--hfov", type=float, metavar="DEG", help="Horizontal field of view; default: the pose's, else EXIF.")
@click.option("--camera", metavar="CAMERA.json", help="Lens with distortion, see camera(5).")
@click.option("--language", metavar="CODE", help="Take names in this language where lists have them, such as de or ja.")
@click.option("--units", type=click.Choice(["metric", "imperial"]), default="metric", help="Metres and km, or feet and miles. [metric]")
@click.option("--most", type=click.IntRange(0), metavar="N", help="At most so many labels; default: as many as find room.")
@click.option("--contours", is_flag=True, help="Draw the terrain's contours too: the skyline red, ridges yellow.")
@click.option("--json", "json_path", metavar="JSON", help="Write names, pixels, distances, elevations and azimuths here.")
@click.option("-o", "--output", required=True, metavar="IMAGE", help="Picture to write, by its ending PNG, JPEG or SVG; - is a PNG.")
def annotate(photo: str, more_peaks: tuple[str, ...], peaks: tuple[str, ...], pose: Any, output: str, **options: Any) -> int:
    """Write names, heights and distances on the peaks that PHOTO shows, the important ones first.

    A peak is named when the elevation model shows its summit from where the photo was taken.
    """
    from toolkit.geo.annotate.annotation import annotate_view, records
    from toolkit.geo.annotate.lists import read_lists
    from toolkit.geo.annotate.metadata import read_metadata, with_pose
    from toolkit.geo.annotate.output import LARGEST_SIDE, encode, kind_of, write_outputs
    from toolkit.geo.annotate.poses import Found, camera_for, read_first
    from toolkit.geo.photo import read_photo

    kind = kind_of(output)
    _check(photo, output, [pose, *peaks, *more_peaks, options["panorama"]].count("-"), options)
    found = read_first(pose) if isinstance(pose, str) else Found(pose)
    if found.verdict in _UNSURE:
        why = f" ({found.reason})" if found.reason else ""
        _log.warning("%s: the pose is %s%s; the names may be on the wrong peaks", stream_name(pose), found.verdict, why)
    with stage("photo"):
        picture = read_photo(photo, LARGEST_SIDE)
        rows, columns = picture.pixels.shape[:2]
        hfov = options["hfov"] if options["hfov"] is not None else found.hfov
        lens = camera_for(columns, rows, options["camera"], hfov, picture.facts.hfov, photo)
    with stage("panorama"):
        view, terrain = _view(photo, picture.facts, found, options)
    with stage("peaks"):
        listed, bad = read_lists([*peaks, *more_peaks], view, options["language"])
    with stage("annotate"):
        named = annotate_view(
            listed, view, terrain, lens, found.pose,
            most=options["most"], language=options["language"], imperial=options["units"] == "imperial", contours=options["contours"],
        )  # fmt: skip
        if not named.sights:
            _log.warning("%s: no peak of the lists is seen in the picture", photo)
    with stage("write"):
        metadata = with_pose(read_metadata(photo), found.pose, lens.hfov, columns, rows, photo)
        where = {"latitude": view.latitude, "longitude": view.longitude, "height_m": round(view.height, 2)}
        angles = {"yaw": found.pose.yaw, "pitch": found.pose.pitch, "roll": found.pose.roll, "hfov": round(lens.hfov, 6)}
        record = {"photo": photo, "width": columns, "height": rows, **where, **angles, "peaks": records(named)}
        write_outputs(output, encode(kind, picture.pixels, named.annotation, metadata), options["json_path"], record)
    return 1 if bad else 0


def _check(photo: str, output: str, streams: int, options: dict[str, Any]) -> None:
    if streams > 1:
        raise UsageError("-", f"is named {streams} times", "standard input can be read once")
    if photo == "-":
        raise UsageError("PHOTO", "cannot be standard input: its EXIF is read again when the picture is written", "name a file")
    if options["hfov"] is not None and options["camera"]:
        raise UsageError("--hfov", "excludes --camera", "the camera tells the field of view")
    if options["position"] and options["panorama"]:
        raise UsageError("--at", "excludes --panorama", "the panorama tells where it was seen from")
    if not options["panorama"] and not options["dem"]:
        raise UsageError("terrain", "is not given", "give --dem, --panorama, or both")
    if options["json_path"] == "-" and output == "-":
        raise UsageError("--json", "and --output both name standard output", "give one of them a file")


def _view(photo: str, facts: PhotoFacts, found: Found, options: dict[str, Any]) -> tuple[Panorama, Terrain | None]:
    """The panorama, read or rendered, and the elevation data where they are given."""
    from toolkit.geo.panorama import render_panorama
    from toolkit.geo.panorama_file import read_panorama

    view = read_panorama(options["panorama"]) if options["panorama"] else None
    if not options["dem"]:
        assert view is not None
        return view, None
    from toolkit.geo.terrain import read_terrain

    if view is not None:
        reach = float(view.parameters.get("range_m", 1000.0 * options["range_km"]))
        return view, read_terrain(list(options["dem"]), view.latitude, view.longitude, reach)
    own = (facts.latitude, facts.longitude) if facts.latitude is not None and facts.longitude is not None else None
    latitude, longitude, height = options["position"] or (*(found.position or own or (None, None)), None)
    if latitude is None:
        raise BadData(photo, "has no GPS position in its EXIF", "give --at LAT,LON")
    terrain = read_terrain(list(options["dem"]), latitude, longitude, 1000.0 * options["range_km"])
    above, reach = options["above_ground"], 1000.0 * options["range_km"]
    return render_panorama(terrain, latitude, longitude, height, above_ground=above, range_m=reach), terrain
