"""From a photograph and an elevation model to ranked camera poses, in one process and without temporary files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.core.errors import BadData
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.geo.block import Block
from toolkit.geo.camera import Camera
from toolkit.geo.correlation import Window, correlate, window
from toolkit.geo.edges import Edges
from toolkit.geo.panorama import Panorama, contour_segments
from toolkit.geo.photo_sphere import sphere_of_edges
from toolkit.geo.sphere import analyse, splat

Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Search:
    """What poses are tried: `bandwidth` B gives cells of 180/B degrees in yaw and roll, 90/B in pitch; intervals in degrees, None is all."""

    bandwidth: int = 256
    yaw: Limits = None
    pitch: Limits = None
    roll: Limits = None
    spin: str = "2"
    threads: int = 0


def correlation_block(panorama: Panorama, edges: Edges, camera: Camera, search: Search, place: str) -> Block:
    """The correlation of a panorama's contours with a photograph's edges, for `toolkit.geo.candidates`; `place` names the photograph.

    Raises BadData when either has no line.
    """
    cells = window(search.bandwidth, search.yaw, search.pitch, search.roll)
    with stage("cylmap"):
        contours = contour_segments(panorama)
        if not len(contours.strength):
            raise BadData("elevation data", "show no contour from this position", "is the position right? look farther with --range")
        panorama_sphere = splat(contours, search.bandwidth)
    with stage("projmap"):
        photo_sphere = sphere_of_edges(edges, camera, search.bandwidth, place)
    with stage("vscc3 transform"):
        world, seen = (analyse(sphere, search.bandwidth, threads=search.threads) for sphere in (panorama_sphere, photo_sphere))
    slices = correlate(world, seen, cells, spin=search.spin, threads=search.threads)
    return Block(*cells.axes, _watched(slices, cells))


def _watched(slices: Iterator[np.ndarray], cells: Window) -> Iterator[np.ndarray]:
    with stage("vscc5 correlation"), progress("correlate", len(cells.pitch), " pitches") as bar:
        yield from bar.each(slices)
