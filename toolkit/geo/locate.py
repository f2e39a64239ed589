"""From a photograph and an elevation model to ranked camera poses, in one process and without temporary files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.core.errors import BadData
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.geo import coarse_to_fine
from toolkit.geo.block import Block
from toolkit.geo.camera import Camera
from toolkit.geo.candidates import Candidate, Quality, rank_candidates
from toolkit.geo.correlation import Window, correlate, window
from toolkit.geo.edges import Edges
from toolkit.geo.panorama import Panorama, contour_segments
from toolkit.geo.photo_sphere import sphere_of_edges
from toolkit.geo.pose import Pose
from toolkit.geo.sphere import analyse, splat
from toolkit.geo.wigner import load_kernel

Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Search:
    """What poses are tried: `bandwidth` B gives cells of 180/B degrees in yaw and roll, 90/B in pitch; None is the whole axis.

    With `coarse_to_fine` only the neighbourhoods of poses that are good at lower bandwidths are.
    """

    bandwidth: int = 256
    yaw: Limits = None
    pitch: Limits = None
    roll: Limits = None
    spin: str = "2"
    threads: int = 0
    coarse_to_fine: bool = False


def rank_poses(
    panorama: Panorama,
    edges: Edges,
    camera: Camera,
    search: Search,
    place: str,
    top: int = 10,
    separation: float = 3.0,
    truth: Pose | None = None,
    tolerance: float = 2.5,
) -> tuple[list[Candidate], Quality | None]:
    """The poses in which a photograph's edges fit a panorama's contours, listed as by `toolkit.geo.candidates.rank_candidates`.

    `place` names the photograph. The quality counts all cells: from coarse to fine there is none. Raises BadData when either has no line.
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
        load_kernel("float32")
        world, seen = (
            analyse(sphere, search.bandwidth, threads=search.threads, spin=search.spin) for sphere in (panorama_sphere, photo_sphere)
        )
    if search.coarse_to_fine:
        limits = coarse_to_fine.Limit(search.yaw, search.pitch, search.roll)
        with stage("vscc5 correlation"):
            return coarse_to_fine.search(world, seen, limits, top, separation, spin=search.spin, threads=search.threads), None
    slices = correlate(world, seen, cells, spin=search.spin, threads=search.threads)
    return rank_candidates(Block(*cells.axes, _watched(slices, cells)), top, separation, truth, tolerance)


def _watched(slices: Iterator[np.ndarray], cells: Window) -> Iterator[np.ndarray]:
    with stage("vscc5 correlation"), progress("correlate", len(cells.pitch), " pitches") as bar:
        yield from bar.each(slices)
