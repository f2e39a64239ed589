"""From the poses that a correlation proposes to the one pose of a photograph: the precise metric, refinement, the metric again.

The correlation is quick and sees the whole raster of poses, but it knows only how much of all lines lies on contours of their
direction. What is asked here of its best candidates is dearer: are whole lines followed, is none crossed, is there no skyline
that the other side lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.geo.camera import Camera
from toolkit.geo.candidates import Candidate
from toolkit.geo.edges import Edges, edge_polylines
from toolkit.geo.panorama import Panorama, contour_polylines
from toolkit.geo.pose import Pose, angle_between, pose_from_matrix
from toolkit.geo.precise_metric import ContourMap, Evidence, MetricParameters, Walk, contour_map, evidences, frame_of, walk

# What the best of all headings gains, as a fine score: less than a skyline that is followed, more than what similar mountains differ by.
_HEADING_WEIGHT = 0.1


@dataclass(frozen=True)
class PreciseOptions:
    """How poses are ranked precisely.

    `top`: how many to list; `separation`: degrees of rotation, no two listed are closer. `refined`: of how many of the best the angles and
    the field of view are refined. `position_m`: metres by which the position may be off; 0 leaves it as it is. `heading`:
    yaw and its standard deviation, degrees, which favours poses that look there and excludes none. `metric`: its parameters.
    """

    top: int = 10
    separation: float = 3.0
    refined: int = 20
    position_m: float = 0.0
    heading: tuple[float, float] | None = None
    metric: MetricParameters = field(default_factory=MetricParameters)


@dataclass(frozen=True)
class PrecisePose:
    """A camera pose after refinement, degrees. `score` is the correlation's, `fine_score` the metric's (`Evidence`).

    `yaw_error`, `pitch_error`, `roll_error`: standard errors, degrees; None where the pose was not refined. `latitude`, `longitude`: of the
    camera, None unless the position was refined. `confidence`: the probability that the pose is within 1 degree of the truth;
    `verdict`: "accepted", "doubtful" or "rejected"; `reason`: why, in plain words. `camera`: the lens with the refined field of view.
    """

    rank: int
    yaw: float
    pitch: float
    roll: float
    score: float
    fine_score: float
    hfov: float
    yaw_error: float | None
    pitch_error: float | None
    roll_error: float | None
    latitude: float | None
    longitude: float | None
    confidence: float
    verdict: str
    reason: str
    camera: Camera

    @property
    def pose(self) -> Pose:
        """Its angles."""
        return Pose(self.yaw, self.pitch, self.roll)

    @property
    def record(self) -> dict[str, Any]:
        """Its line in a list of poses: the keys above in their order, the position only where it was refined, without the lens."""
        values = {name: value for name, value in vars(self).items() if name != "camera"}
        if self.latitude is None:
            del values["latitude"], values["longitude"]
        return values


def rank_precisely(
    edges: Edges, camera: Camera, panorama: Panorama, candidates: Sequence[Candidate], options: PreciseOptions = PreciseOptions()
) -> list[PrecisePose]:
    """The best of the candidates by the precise metric, refined, best first. Raises BadData when either side has no line."""
    return rank_proposals(edges, [(camera, candidates)], panorama, options)


@dataclass(frozen=True)
class _Trial:
    """A pose on trial: its rotation, lens, the photograph's lines through it, and what speaks for it."""

    rotation: np.ndarray
    camera: Camera
    walk: Walk
    score: float
    evidence: Evidence
    prior: float

    @property
    def merit(self) -> float:
        return self.evidence.fine_score + self.prior


def rank_proposals(
    edges: Edges,
    proposals: Sequence[tuple[Camera, Sequence[Candidate]]],
    panorama: Panorama,
    options: PreciseOptions = PreciseOptions(),
) -> list[PrecisePose]:
    """The same for several lenses that the photograph may have been taken with, each with the candidates found for it."""
    contours = contour_map(contour_polylines(panorama), options.metric)
    trials: list[_Trial] = []
    for camera, candidates in proposals:
        lines = walk(edge_polylines(edges, camera), options.metric, frame_of(camera))
        trials += _tried(lines, camera, candidates, contours, options)
    best = _apart(sorted(trials, key=lambda trial: -trial.merit), options.top, options.separation)
    return [_told(rank, trial) for rank, trial in enumerate(best, 1)]


def _tried(lines: Walk, camera: Camera, candidates: Sequence[Candidate], contours: ContourMap, options: PreciseOptions) -> list[_Trial]:
    if not candidates:
        return []
    rotations = np.stack([candidate.pose.matrix for candidate in candidates])
    found = evidences(lines, rotations, contours, options.metric)
    return [
        _Trial(rotation, camera, lines, candidate.score, evidence, _prior(rotation, options.heading))
        for rotation, candidate, evidence in zip(rotations, candidates, found, strict=True)
    ]


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


def _told(rank: int, trial: _Trial) -> PrecisePose:
    pose = pose_from_matrix(trial.rotation)
    return PrecisePose(
        rank=rank,
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
        score=trial.score,
        fine_score=trial.evidence.fine_score,
        hfov=trial.camera.hfov,
        yaw_error=None,
        pitch_error=None,
        roll_error=None,
        latitude=None,
        longitude=None,
        confidence=0.0,
        verdict="doubtful",
        reason="its confidence was not estimated",
        camera=trial.camera,
    )
