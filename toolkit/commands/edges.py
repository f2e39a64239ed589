"""Find the lines of a photograph that an elevation model may know, see edges(1)."""

from __future__ import annotations

import functools
from typing import Any

import click

from toolkit.core.command import command
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, stream_name

_SHARE = click.FloatRange(0.0, 1.0)
_POSITIVE = click.FloatRange(0.0, min_open=True)
_option = functools.partial(click.option, show_default=True)


@command(
    "edges",
    examples="""
    edges photo.jpg -o photo.edges.tif
    edges photo.jpg --preview lines.png -o photo.edges.tif
    edges photo.jpg | projmap - --hfov 52 -b 256 > g.npy
    """,
)
@click.argument("photo", metavar="PHOTO")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write the edge file here; - is standard output (default).")
@click.option("--preview", metavar="PNG", help="Also draw kept and dropped lines over the photo.")
@_option("--working-size", type=click.IntRange(64, 20000), default=1200, metavar="PIXELS", help="Reduce the longer side to this.")
@_option("--scale", type=click.FloatRange(0.5, 20.0), default=1.4, metavar="PIXELS", help="Gaussian of the gradient.")
@_option("--contrast", type=_SHARE, default=0.005, metavar="SHARE", help="Faintest line, of full range a pixel.")
@_option("--noise", type=click.FloatRange(0.0), default=4.0, metavar="TIMES", help="Lines exceed noise this many times.")
@_option("--texture", type=click.FloatRange(0.0), default=1.6, metavar="SHARE", help="Surroundings taken off a line.")
@_option("--texture-scale", type=_POSITIVE, default=7.0, metavar="PIXELS", help="Gaussian of the surroundings.")
@_option("--shortest", type=_SHARE, default=0.025, metavar="SHARE", help="Shortest chain kept, of the longer side.")
@_option("--long", type=_POSITIVE, default=0.15, metavar="SHARE", help="Chain with full weight, of the longer side.")
@_option("--compass", type=_POSITIVE, default=10.0, metavar="PIXELS", help="Distance at which a line's sides are compared.")
@_option("--parted", type=_SHARE, default=0.3, metavar="SHARE", help="Least difference of the sides, 1 full.")
@_option("--haze", type=_SHARE, default=0.4, metavar="SHARE", help="Weight left where the lower side is farther.")
@_option("--skyline", type=click.FloatRange(0.0), default=2.5, metavar="WEIGHT", help="Weight of the skyline.")
@_option("--depth", type=_POSITIVE, default=0.25, metavar="SHARE", help="Height below it that takes lines to 1/e.")
def edges(photo: str, output: str, preview: str | None, **parameters: Any) -> None:
    """Find line features in PHOTO and write them with sub-pixel place, direction and strength.

    Keeps the skyline and long ridges; suppresses clouds, texture, noise and frames. The photo is turned upright as its EXIF
    says; what else that tells (position, field of view) goes into the edge file.
    """
    from importlib import import_module
    from threading import Thread

    Thread(target=import_module, args=("scipy.ndimage",)).start()  # takes as long as reading a large photo, of which it needs nothing
    from toolkit.core.pictures import write_png
    from toolkit.geo.edges import EdgeParameters, detect_and_explain
    from toolkit.geo.edges_file import write_edges
    from toolkit.geo.edges_preview import edge_preview
    from toolkit.geo.photo import read_photo

    with stage("read"):
        picture = read_photo(photo)
    with stage("edges"):
        found, dropped = detect_and_explain(picture.pixels, EdgeParameters(**parameters), picture.facts)
    with stage("write"), atomic_output(output) as stream:
        write_edges(found, stream, stream_name(photo))
        if preview is not None:  # before the edge file becomes visible: both appear, or neither
            write_png(preview, edge_preview(found, dropped, picture.pixels))
