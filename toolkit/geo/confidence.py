"""How likely a pose is right, and whether to say so.

The probability is that of a logistic regression (Cox 1958) on what the precise metric and the refinement tell of a pose and of the next
best one, fitted by `tests/evaluation/calibrate.py` to rendered photographs of real elevation models in bad weather, and to their mirror
images, which have no true pose. Two measures tell nearly all: by how much the pose leads, and how exact it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ACCEPTED, DOUBTFUL, REJECTED = "accepted", "doubtful", "rejected"
# A pose is accepted when at most one in fifty of such poses is wrong, and rejected when it is more likely wrong than right.
ACCEPT_FROM, REJECT_BELOW = 0.98, 0.5
# Whatever the regression says: a pose is not accepted by less evidence than this, radians of skyline that follows the panorama's
# skyline (a flat piece of 3 degrees fits anywhere), nor with a greater standard error, degrees, than what "right" means.
LEAST_SKYLINE, MOST_ERROR = math.radians(6.0), 0.5


@dataclass(frozen=True)
class Measures:
    """What is known of a pose.

    `fine_score`: the precise metric's, and `margin`: by how much it exceeds that of the best pose more than 2.5 degrees away, or a
    supposed one's where few were looked at. `skyline`: share of the photograph's skyline that follows the panorama's, 0 to 1; `shown`:
    share of the panorama's skyline inside the picture that the photograph shows. `length`: radians of the photograph's skyline that
    follow the panorama's. `crossings`: lines that cross contours, for each radian of lines. `residual`: root mean square offset of what
    follows, degrees. `error`: the greatest standard error of yaw, pitch and roll, degrees.
    """

    fine_score: float
    margin: float
    skyline: float
    shown: float
    length: float
    crossings: float
    residual: float
    error: float


# What one unit of each adds to the logarithm of the odds, and where they are at zero; see above.
_MARGIN, _ERROR, _ORIGIN = 45.2, -0.229, -2.89


def confidence(measures: Measures) -> float:
    """The probability, 0 to 1, that the pose is within 1 degree of the truth."""
    odds = _ORIGIN + _MARGIN * measures.margin + _ERROR * measures.error
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, odds))))


def verdict(measures: Measures) -> tuple[str, str]:
    """What to tell people: accepted, doubtful or rejected, and why, in plain words."""
    probability = confidence(measures)
    if measures.length < 0.25 * LEAST_SKYLINE:
        return REJECTED, "no skyline of the photograph follows the terrain's"
    if probability < REJECT_BELOW:
        if measures.margin < 0.03:
            return REJECTED, "other poses fit as well"
        if measures.skyline < 0.5:
            return REJECTED, f"only {100 * measures.skyline:.0f} % of the photograph's skyline follows the terrain's"
        return REJECTED, f"the photograph's lines fit the terrain badly (fine score {measures.fine_score:.2f})"
    if probability >= ACCEPT_FROM:
        if measures.length < LEAST_SKYLINE:
            return DOUBTFUL, f"only {math.degrees(measures.length):.1f} degrees of skyline fit"
        if measures.error > MOST_ERROR:
            return DOUBTFUL, f"its angles are uncertain by {measures.error:.1f} degrees"
        return ACCEPTED, "its lines follow the terrain's, and no other pose fits as well"
    if measures.margin < 0.1:
        return DOUBTFUL, "another pose fits almost as well"
    return DOUBTFUL, "its lines follow the terrain's only in part"
