"""Render what can be seen from a point of an elevation model; see panorama(1)."""

from __future__ import annotations

import click

from toolkit.commands.parameters import Interval, Position
from toolkit.core.command import command
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output


@command(
    "panorama",
    examples="""
    panorama N46E007.hgt N46E008.hgt --at 46.5475,7.9853 -o jungfraujoch.tif
    panorama alps.tif --at 46.5475,7.9853,3571 --range 150 --preview view.png -o view.tif
    panorama horizon.geojson --at 61.1252,-147.1258,463.3 -o view.tif
    panorama andes.tif --at -33.1,-70.2 -o - | cylmap - -b 256 > f.npy
    """,
)
@click.argument("dem", nargs=-1, required=True, type=click.Path())
@click.option(
    "--at",
    "position",
    type=Position(),
    required=True,
    help="The eye, degrees north and east (WGS 84) and metres in the DEM's vertical datum.",
)
@click.option("-o", "--output", required=True, metavar="PANO", help="The panorama file, panorama(5); - is standard output.")
@click.option(
    "--height", "above_ground", type=click.FloatRange(0.0, min_open=True), default=2.0, metavar="M", help="Metres above ground. [2]"
)
@click.option(
    "--range", "range_km", type=click.FloatRange(0.0, 1000.0, min_open=True), default=100.0, metavar="KM", help="How far to look. [100]"
)
@click.option("--width", type=click.IntRange(8, 65536), default=4096, metavar="N", help="Columns in 360 degrees. [4096]")
@click.option(
    "--elevations",
    type=Interval(-90.0, 90.0),
    default="-45:45",
    metavar="MIN:MAX",
    help="Lowest and highest elevation angle in degrees. [-45:45]",
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
@click.option("--preview", metavar="PNG", help="Also write a shaded picture for people.")
@click.option(
    "--engine", type=click.Choice(["auto", "numpy", "numba"]), default="auto", help="What computes; the result is the same. [auto]"
)
def panorama(
    dem: tuple[str, ...],
    position: tuple[float, float, float | None],
    output: str,
    above_ground: float,
    range_km: float,
    width: int,
    elevations: tuple[float, float],
    refraction: float,
    visibility_km: float | None,
    preview: str | None,
    engine: str,
) -> None:
    """Render what can be seen from a point: distances and occluding contours, 360 degrees around.

    DEM is elevation data that GDAL reads (GeoTIFF, SRTM .hgt, ESRI ASCII, USGS DEM, VRT) in any coordinate reference system; several
    files are one mosaic. A single .geojson is a surveyed horizon: lines of longitude, latitude and height.
    """
    from toolkit.geo.panorama_file import write_panorama
    from toolkit.geo.view import view_from

    latitude, longitude, height = position
    with stage("sweep"):
        view = view_from(
            list(dem), latitude, longitude, height,
            above_ground=above_ground, range_m=1000.0 * range_km, width=width, elevations=elevations, refraction=refraction, engine=engine,
            visibility_m=None if visibility_km is None else 1000.0 * visibility_km,
        )  # fmt: skip
    with stage("write"), atomic_output(output) as stream:
        write_panorama(view, stream)
        if preview is not None:  # before the panorama becomes visible: both appear, or neither
            from toolkit.core.pictures import write_png
            from toolkit.geo.panorama_picture import paint

            write_png(preview, paint(view))
