"""From a photograph and an elevation model to ranked camera poses, in one process and without temporary files."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from toolkit.core.errors import BadData
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.geo import coarse_to_fine
from toolkit.geo.block import Block
from toolkit.geo.camera import Camera, camera_from_hfov
from toolkit.geo.candidates import Candidate, Quality, rank_candidates
from toolkit.geo.correlation import Window, correlate, window
from toolkit.geo.edges import Edges
from toolkit.geo.panorama import Panorama, contour_segments
from toolkit.geo.photo import PhotoFacts
from toolkit.geo.photo_sphere import sphere_of_edges
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.precise import PreciseOptions, PrecisePose, rank_proposals
from toolkit.geo.sphere import Coefficients, analyse, splat
from toolkit.geo.wigner import load_kernel

log = logging.getLogger(__name__)

Limits = tuple[float, float] | None
Proposals = list[tuple[Camera, list[Candidate]]]

# From a long telephoto lens to the widest of telephones, degrees: where a field of view is looked for that nothing tells.
FIELDS_OF_VIEW = (20.0, 100.0)
# Focal lengths that differ by less need not be tried apart: refinement mends 5 per cent to either side.
_FOCAL_STEP = 1.1
# With many lenses the correlation is coarse: its cells, 1.4 degrees, are as wide as the borders are off between two of them.
_LENSES_BANDWIDTH = 128
# Of many lenses so many times more candidates are looked at; from each no more than from one that is known, less those beyond any hope.
_LENSES_CANDIDATES, _ONE_LENS_SHARE = 3, 0.6
# Degrees between candidates: the precise metric settles each within about as much.
_CANDIDATE_SEPARATION = 2.0
# What the pose of the very heading gains in score, where nothing but the correlation ranks: about what the best false pose leads by on
# photographs on which it leads.
_HEADING_BONUS = 0.25
# Tolerance, degrees, of a heading in the EXIF: compasses of telephones err by 10 to 30, and magnetic north is up to 25 off besides.
EXIF_TOLERANCE, _MAGNETIC_TOLERANCE = 30.0, 25.0


@dataclass(frozen=True)
class Search:
    """What poses are tried: `bandwidth` B gives cells of 180/B degrees in yaw and roll, 90/B in pitch; None is the whole axis.

    With `coarse_to_fine` only the neighbourhoods of poses that are good at lower bandwidths are. `heading`: yaw and tolerance, degrees,
    of poses that are looked at in any case and preferred.
    """

    bandwidth: int = 256
    yaw: Limits = None
    pitch: Limits = None
    roll: Limits = None
    spin: str = "2"
    threads: int = 0
    coarse_to_fine: bool = False
    heading: tuple[float, float] | None = None


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
    world = _world(panorama, search)
    seen = _seen(edges, camera, search, place)
    if search.heading is None:
        return _searched(world, seen, search, top, separation, truth, tolerance)
    found, quality = _searched(world, seen, search, 10 * top, separation, truth, tolerance)
    wanted, off = search.heading
    found.sort(key=lambda one: -one.score * (1.0 + _HEADING_BONUS * math.exp(-0.5 * (_turn(wanted, one.yaw) / off) ** 2)))
    found = [replace(one, rank=rank) for rank, one in enumerate(found[:top], 1)]
    if quality is not None and truth is not None:
        quality = replace(quality, rank_of_truth=rank_of(truth, found, tolerance))
    return found, quality


def rank_photo(
    panorama: Panorama,
    edges: Edges,
    cameras: Sequence[Camera],
    search: Search,
    place: str,
    options: PreciseOptions,
    candidates: int = 100,
    truth: Pose | None = None,
    tolerance: float = 2.5,
) -> tuple[list[PrecisePose], Quality | None]:
    """The same poses, as many as the correlation proposes, ranked by the precise metric; none when the photograph has no line.

    `cameras`: lenses that it may have been taken with, see `lenses`. The quality is that of the correlation, but for the rank of the
    truth; it needs a single lens. Raises BadData when the panorama has no contour.
    """
    if not edges.x.size:
        return [], None
    proposals, quality = propose(panorama, edges, cameras, search, place, candidates, truth, tolerance)
    with stage("precise"):
        found = rank_proposals(edges, proposals, panorama, options)
    if len(cameras) > 1 and found:
        log.info(
            "%s: the field of view is not known: of %d from %.0f to %.0f degrees, %.1f fits best",
            place, len(cameras), cameras[0].hfov, cameras[-1].hfov, found[0].hfov,
        )  # fmt: skip
    if quality is not None and truth is not None:
        quality = replace(quality, rank_of_truth=rank_of(truth, found, tolerance))
    return found, quality


def propose(
    panorama: Panorama,
    edges: Edges,
    cameras: Sequence[Camera],
    search: Search,
    place: str,
    count: int = 100,
    truth: Pose | None = None,
    tolerance: float = 2.5,
) -> tuple[Proposals, Quality | None]:
    """What the correlation proposes, for each lens: about `count` poses for one, more for several, and more near the heading.

    For several lenses the scores are divided by the norm of the photograph's field: it is what the score of any direction grows with.
    """
    several = len(cameras) > 1
    if several:
        search = replace(search, bandwidth=min(search.bandwidth, _LENSES_BANDWIDTH), coarse_to_fine=False)
    world = _world(panorama, search)
    proposals: Proposals = []
    quality = None
    for camera in cameras:
        seen = _seen(edges, camera, search, place)
        some = round(_ONE_LENS_SHARE * count) if several else count
        found, quality = _searched(world, seen, search, some, _CANDIDATE_SEPARATION, truth, tolerance)
        if search.heading is not None:
            yaw, wide = search.heading[0], 2.0 * search.heading[1]
            near = replace(search, yaw=(yaw - wide, yaw + wide) if wide < 180.0 else None, coarse_to_fine=False)
            found += _searched(world, seen, near, max(1, some // 4), _CANDIDATE_SEPARATION, None, tolerance)[0]
        norm = _norm(seen) if several else 1.0
        proposals.append((camera, _without_twins([replace(one, score=one.score / norm) for one in found])))
    if several:
        scores = sorted((one.score for _, found in proposals for one in found), reverse=True)
        least = scores[min(len(scores), _LENSES_CANDIDATES * count) - 1]
        proposals = [(camera, [one for one in found if one.score >= least]) for camera, found in proposals]
    return proposals, quality


def lenses(edges: Edges, hfov: tuple[float, float] | None) -> list[Camera]:
    """The lenses that a photograph may have been taken with, by ascending field of view.

    `hfov`: what is known of it, lowest and highest, degrees; None is what the EXIF tells, and if it tells nothing, any. Raises BadData
    for one that no lens without distortion has.
    """
    if hfov is None:
        hfov = FIELDS_OF_VIEW if edges.facts.hfov is None else (edges.facts.hfov, edges.facts.hfov)
    cameras = [camera_from_hfov(edges.width, edges.height, width) for width in hfov]
    ratio = cameras[0].fx / cameras[1].fx
    if ratio == 1.0:
        return cameras[:1]
    steps = max(1, math.ceil(math.log(ratio) / math.log(_FOCAL_STEP)))
    focal = cameras[0].fx * ratio ** (-np.arange(steps + 1) / steps)
    return [replace(cameras[0], fx=float(length), fy=float(length)) for length in focal]


def rejection(reason: str, cameras: Sequence[Camera]) -> dict[str, Any]:
    """The only line about a photograph for which there is no pose at all: keys as of `PrecisePose.record`, without angles."""
    names = [one.name for one in fields(PrecisePose) if one.name not in ("latitude", "longitude", "camera", "measures")]
    hfov = round(cameras[0].hfov, 9) if len(cameras) == 1 else None
    return {**dict.fromkeys(names), "rank": 1, "hfov": hfov, "confidence": 0.0, "verdict": "rejected", "reason": reason}


def exif_heading(facts: PhotoFacts, tolerance: float | None, place: str) -> tuple[float, float]:
    """Yaw and tolerance, degrees, of the compass reading in a photograph's EXIF.

    A magnetic one is taken as it stands, with a wider tolerance, since the declination is not known. Raises BadData when there is none.
    """
    if facts.heading is None:
        raise BadData(place, "has no heading in its EXIF", "give --heading YAW:TOL, or none")
    if tolerance is None:
        tolerance = EXIF_TOLERANCE
    if facts.heading_reference == "magnetic":
        tolerance += _MAGNETIC_TOLERANCE
        log.warning(
            "%s: its heading %.0f is from magnetic north; the declination is not known, so that it counts to within %.0f degrees",
            place, facts.heading, tolerance,
        )  # fmt: skip
    return facts.heading, min(tolerance, 180.0)


def rank_of(truth: Pose, found: Sequence[Candidate | PrecisePose], tolerance: float) -> int | None:
    """The rank of the first pose within `tolerance` degrees of rotation of the truth; None when none is."""
    return next((one.rank for one in found if angle_between(one.pose.matrix, truth.matrix) <= tolerance), None)


def _world(panorama: Panorama, search: Search) -> Coefficients:
    with stage("cylmap"):
        contours = contour_segments(panorama)
        if not len(contours.strength):
            raise BadData("elevation data", "show no contour from this position", "is the position right? look farther with --range")
        sphere = splat(contours, search.bandwidth)
    with stage("vscc3 transform"):
        load_kernel("float32")
        return analyse(sphere, search.bandwidth, threads=search.threads, spin=search.spin)


def _seen(edges: Edges, camera: Camera, search: Search, place: str) -> Coefficients:
    with stage("projmap"):
        sphere = sphere_of_edges(edges, camera, search.bandwidth, place)
    with stage("vscc3 transform"):
        return analyse(sphere, search.bandwidth, threads=search.threads, spin=search.spin)


def _searched(
    world: Coefficients, seen: Coefficients, search: Search, top: int, separation: float, truth: Pose | None, tolerance: float
) -> tuple[list[Candidate], Quality | None]:
    if search.coarse_to_fine:
        limits = coarse_to_fine.Limit(search.yaw, search.pitch, search.roll)
        with stage("vscc5 correlation"):
            return coarse_to_fine.search(world, seen, limits, top, separation, spin=search.spin, threads=search.threads), None
    cells = window(search.bandwidth, search.yaw, search.pitch, search.roll)
    slices = correlate(world, seen, cells, spin=search.spin, threads=search.threads)
    return rank_candidates(Block(*cells.axes, _watched(slices, cells)), top, separation, truth, tolerance)


def _watched(slices: Iterator[np.ndarray], cells: Window) -> Iterator[np.ndarray]:
    with stage("vscc5 correlation"), progress("correlate", len(cells.pitch), " pitches") as bar:
        yield from bar.each(slices)


def _turn(start: float, end: float) -> float:
    """Degrees clockwise from one yaw to the other, -180 to 180."""
    return (end - start + 180.0) % 360.0 - 180.0


def _norm(seen: Coefficients) -> float:
    return math.sqrt(sum(float(np.vdot(field, field).real) for field in (seen.scalar, seen.electric, seen.magnetic)))


def _without_twins(found: list[Candidate]) -> list[Candidate]:
    """Two searches find the same maxima in the same cells."""
    return list({(round(one.yaw, 3), round(one.pitch, 3), round(one.roll, 3)): one for one in found}.values())
