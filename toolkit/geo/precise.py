"""From the poses that a correlation proposes to the one pose of a photograph: the precise metric, refinement, the metric again.

The correlation is quick and sees the whole raster of poses, but it knows only how much of all lines lies on contours of their
direction. What is asked here of its best candidates is dearer: are whole lines followed, is none crossed, is there no skyline
that the other side lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from toolkit.geo.camera import Camera, scaled
from toolkit.geo.candidates import Candidate
from toolkit.geo.confidence import Measures, confidence, verdict
from toolkit.geo.edges import Edges, edge_polylines
from toolkit.geo.panorama import Panorama, contour_polylines
from toolkit.geo.pose import Pose, angle_between, pose_from_matrix
from toolkit.geo.precise_metric import ContourMap, Evidence, MetricParameters, Walk, contour_map, evidences, frame_of, walk
from toolkit.geo.refinement import Refined, Sights, Target, refine_sights, sights_of, target, zoomed
from toolkit.geo.segments import Polylines
from toolkit.geo.settling import settle

# By which share a focal length may differ: one from EXIF is often that wrong; a calibrated lens changes with focus and heat only.
EXIF_FIT, CALIBRATED_FIT = 0.05, 0.01
# What the best of all headings gains, as a fine score: less than a skyline that is followed, more than what similar mountains differ by.
_HEADING_WEIGHT = 0.1
# Degrees: candidates that settled closer than this are one.
_DISTINCT = 0.7
# Degrees: from here on another pose is a rival.
_ELSEWHERE = 2.5
# Where fewer poses than this were looked at elsewhere, one of this fine score is supposed there: one in ten of the best wrong poses of a
# hundred have more.
_RIVALS, _RIVAL = 10, 0.3


@dataclass(frozen=True)
class PreciseOptions:
    """How poses are ranked precisely.

    `top`: how many to list; `separation`: degrees of rotation, no two listed are closer. `refined`: of how many of the best the angles and
    the field of view are refined. `position_m`: metres by which the position may be off; 0 leaves it as it is. `heading`:
    yaw and its standard deviation, degrees, which favours poses that look there and excludes none. `fit_hfov`: by which share the
    focal length may differ. `metric`: its parameters.
    """

    top: int = 10
    separation: float = 3.0
    refined: int = 12
    position_m: float = 0.0
    heading: tuple[float, float] | None = None
    fit_hfov: float = EXIF_FIT
    metric: MetricParameters = field(default_factory=MetricParameters)


@dataclass(frozen=True)
class PrecisePose:
    """A camera pose after refinement, degrees. `score` is the correlation's, `fine_score` the metric's (`Evidence`).

    `yaw_error`, `pitch_error`, `roll_error`: standard errors, degrees. `latitude`, `longitude`: of the
    camera, None unless the position was refined. `confidence`: the probability that the pose is within 1 degree of the truth;
    `verdict`: "accepted", "doubtful" or "rejected"; `reason`: why, in plain words. `camera`: the lens with the refined field of view;
    `measures`: what the confidence was made of.
    """

    rank: int
    yaw: float
    pitch: float
    roll: float
    score: float
    fine_score: float
    hfov: float
    yaw_error: float
    pitch_error: float
    roll_error: float
    latitude: float | None
    longitude: float | None
    confidence: float
    verdict: str
    reason: str
    camera: Camera
    measures: Measures

    @property
    def pose(self) -> Pose:
        """Its angles."""
        return Pose(self.yaw, self.pitch, self.roll)

    @property
    def record(self) -> dict[str, Any]:
        """Its line in a list of poses: the keys above in their order, the position only where it was refined, without the rest."""
        values = {name: value for name, value in vars(self).items() if name not in ("camera", "measures")}
        if self.latitude is None:
            del values["latitude"], values["longitude"]
        return values


def rank_precisely(
    edges: Edges, camera: Camera, panorama: Panorama, candidates: Sequence[Candidate], options: PreciseOptions = PreciseOptions()
) -> list[PrecisePose]:
    """The best of the candidates by the precise metric, refined, best first. Raises BadData when either side has no line."""
    return rank_proposals(edges, [(camera, candidates)], panorama, options)


@dataclass(frozen=True)
class _Lines:
    """A photograph's lines through one lens, ready for the metric and for refinement."""

    camera: Camera
    walk: Walk
    sights: Sights


@dataclass(frozen=True)
class _Trial:
    """A pose on trial: its rotation, the photograph's lines through its lens, the lens, the correlation's score, what speaks for it,
    what the compass adds, and what a score counts with this lens; `refined` when it was.
    """

    rotation: np.ndarray
    lines: _Lines
    camera: Camera
    score: float
    evidence: Evidence
    prior: float
    weight: float
    refined: Refined | None = None

    @property
    def merit(self) -> float:
        return self.evidence.fine_score * self.weight + self.prior


@dataclass(frozen=True)
class _World:
    """A panorama's contours, ready for the metric and for refinement."""

    panorama: Panorama
    contours: Polylines
    map: ContourMap
    target: Target


def rank_proposals(
    edges: Edges,
    proposals: Sequence[tuple[Camera, Sequence[Candidate]]],
    panorama: Panorama,
    options: PreciseOptions = PreciseOptions(),
) -> list[PrecisePose]:
    """The same for several lenses that the photograph may have been taken with, each with the candidates found for it."""
    contours = contour_polylines(panorama)
    cells = panorama.parameters.get("steps", ())
    world = _World(panorama, contours, contour_map(contours, options.metric, cells), target(contours, cells))
    trials: list[_Trial] = []
    for camera, candidates in proposals:
        seen = edge_polylines(edges, camera)
        lines = _Lines(camera, walk(seen, options.metric, frame_of(scaled(camera, edges.width, edges.height))), sights_of(seen, camera))
        trials += _settled(lines, candidates, world, options, _weight(camera, proposals))
    trials.sort(key=lambda trial: -trial.merit)
    best = _apart(trials, max(options.refined, options.top), _DISTINCT)
    refined = sorted((_refined(trial, world, options, 0.0) for trial in best), key=lambda trial: -trial.merit)
    ranked = [*refined, *trials]  # those that were not refined are rivals too
    listed = _apart(refined, options.top, options.separation)
    if options.position_m > 0.0:
        listed = sorted((_refined(trial, world, options, options.position_m) for trial in listed), key=lambda trial: -trial.merit)
    return [_told(rank, trial, ranked, panorama) for rank, trial in enumerate(listed, 1)]


def _weight(camera: Camera, proposals: Sequence[tuple[Camera, Sequence[Candidate]]]) -> float:
    """What a score counts for: the narrower the lens, the less arc the same lines are, and the more often it fits by chance."""
    widest = max(other.hfov for other, _ in proposals)
    return math.sqrt(camera.hfov / widest)


def _settled(
    lines: _Lines, candidates: Sequence[Candidate], world: _World, options: PreciseOptions, weight: float
) -> list[_Trial]:
    if not candidates:
        return []
    proposed = np.stack([candidate.pose.matrix for candidate in candidates])
    rotations, zooms, lifts = settle(lines.walk, proposed, world.map, options.metric, options.fit_hfov)
    found = evidences(lines.walk, rotations, world.map, options.metric, zooms, lifts)
    return [
        _Trial(rotation, lines, zoomed(lines.camera, zoom), candidate.score, evidence, _prior(rotation, options.heading), weight)
        for rotation, zoom, candidate, evidence in zip(rotations, zooms.tolist(), candidates, found, strict=True)
    ]


def _refined(trial: _Trial, world: _World, options: PreciseOptions, position_m: float) -> _Trial:
    """The trial after refinement; with a position, before contours as they are seen from there.

    Least squares see points, the metric sees lines: where the pose as it was is the better one by the metric, it stays, and its errors
    are those of the fit and the distance to it.
    """
    zoom = trial.camera.fx / trial.lines.camera.fx
    start = pose_from_matrix(trial.rotation)
    fitted = refine_sights(trial.lines.sights, world.target, start, fit_hfov=options.fit_hfov, position_m=position_m, zoom=zoom)
    seen = world.map
    if fitted.position is not None:
        moved = _seen_from(world.contours, fitted.position)
        seen = contour_map(moved, options.metric, world.panorama.parameters.get("steps", ()))
    lifts = np.array(options.metric.lifts)
    rotations, zooms = np.repeat(fitted.pose.matrix[None], len(lifts), axis=0), fitted.camera.fx / trial.lines.camera.fx + 0.0 * lifts
    evidence = max(evidences(trial.lines.walk, rotations, seen, options.metric, zooms, lifts), key=lambda found: found.fine_score)
    moved_to = replace(
        trial,
        rotation=fitted.pose.matrix,
        camera=fitted.camera,
        evidence=evidence,
        prior=_prior(fitted.pose.matrix, options.heading),
        refined=fitted,
    )
    if moved_to.merit >= trial.merit or position_m > 0.0:
        return moved_to
    before, after = pose_from_matrix(trial.rotation), fitted.pose
    apart = ((before.yaw - after.yaw + 180.0) % 360.0 - 180.0, before.pitch - after.pitch, before.roll - after.roll)
    yaw, pitch, roll = np.hypot(fitted.standard_errors, apart).tolist()
    return replace(trial, refined=replace(fitted, standard_errors=(yaw, pitch, roll)))


def _seen_from(contours: Polylines, position: tuple[float, float]) -> Polylines:
    """The same ridges from a place so many metres east and north; what hides what stays as it was."""
    assert contours.distance is not None
    points = contours.points - np.append(position, 0.0) / contours.distance[:, None]
    return replace(contours, points=points / np.linalg.norm(points, axis=1, keepdims=True))


def _prior(rotation: np.ndarray, heading: tuple[float, float] | None) -> float:
    """What a compass adds to the fine score: Gaussian about its reading, on top of a floor that every direction has."""
    if heading is None:
        return 0.0
    off = (pose_from_matrix(rotation).yaw - heading[0] + 180.0) % 360.0 - 180.0
    return _HEADING_WEIGHT * float(np.exp(-0.5 * (off / max(heading[1], 1e-6)) ** 2))


def _apart(trials: list[_Trial], most: int, separation: float) -> list[_Trial]:
    """The first ones, none of them closer than `separation` degrees to one before it."""
    chosen: list[_Trial] = []
    for trial in trials:
        if len(chosen) == most:
            break
        if all(angle_between(trial.rotation, other.rotation) >= separation for other in chosen):
            chosen.append(trial)
    return chosen


def _measures(trial: _Trial, fitted: Refined, ranked: Sequence[_Trial]) -> Measures:
    """What speaks for a pose beside the others."""
    evidence = trial.evidence
    rotations = np.stack([other.rotation for other in ranked])
    merits = np.array([other.merit for other in ranked])
    elsewhere = merits[angle_between(rotations, trial.rotation) > _ELSEWHERE]
    chance = _RIVAL if len(elsewhere) < _RIVALS else -1.0
    return Measures(
        fine_score=evidence.fine_score,
        margin=trial.merit - float(elsewhere.max(initial=chance)),
        skyline=evidence.skyline_followed / max(evidence.skyline_total, 1e-9),
        shown=evidence.panorama_followed / max(evidence.panorama_total, 1e-9),
        length=evidence.skyline_followed,
        crossings=evidence.crossings / max(evidence.total, 1e-9),
        residual=fitted.residual,
        error=max(fitted.standard_errors),
    )


def _told(rank: int, trial: _Trial, ranked: Sequence[_Trial], panorama: Panorama) -> PrecisePose:
    pose, fitted = pose_from_matrix(trial.rotation), trial.refined
    assert fitted is not None
    measures = _measures(trial, fitted, ranked)
    latitude, longitude = (None, None) if fitted.position is None else _place(panorama, fitted.position)
    found, reason = verdict(measures)
    return PrecisePose(
        rank,
        pose.yaw,
        pose.pitch,
        pose.roll,
        trial.score,
        trial.evidence.fine_score,
        trial.camera.hfov,
        *fitted.standard_errors,
        latitude,
        longitude,
        confidence(measures),
        found,
        reason,
        trial.camera,
        measures,
    )


def _place(panorama: Panorama, position: tuple[float, float]) -> tuple[float, float]:
    """Latitude and longitude, degrees, so many metres east and north of the panorama's eye; on the WGS 84 ellipsoid's curvature there."""
    sine = math.sin(math.radians(panorama.latitude))
    across = 6378137.0 / math.sqrt(1.0 - 0.00669438 * sine**2)
    along = across * (1.0 - 0.00669438) / (1.0 - 0.00669438 * sine**2)
    east, north = position
    latitude = panorama.latitude + math.degrees(north / along)
    return latitude, panorama.longitude + math.degrees(east / (across * math.cos(math.radians(panorama.latitude))))
