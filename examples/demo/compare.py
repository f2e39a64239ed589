"""Compare the best pose that was found with the true one: a table, and exit status 1 when they are more than 2 degrees apart."""

from __future__ import annotations

import argparse
import json
import sys

from toolkit.core.errors import BadData, ToolError
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.pose import angle_between, rotation_matrix

TOLERANCE = 2.0  # degrees
ANGLES = ("yaw", "pitch", "roll")


def compare(truth: dict[str, float], found: dict[str, float]) -> tuple[str, float]:
    """A table of the three angles, and the angle in degrees of the rotation between both poses."""
    lines = [f"{'degrees':8}{'truth':>10}{'found':>10}{'difference':>12}"]
    for name in ANGLES:
        difference = (found[name] - truth[name] + 180.0) % 360.0 - 180.0
        lines.append(f"{name:8}{truth[name]:10.2f}{found[name]:10.2f}{difference:+12.2f}")
    apart = float(angle_between(rotation_matrix(*(truth[name] for name in ANGLES)), rotation_matrix(*(found[name] for name in ANGLES))))
    lines.append(f"{'rotation between them':28}{apart:12.2f}")
    return "\n".join(lines), apart


def read_pose(path: str) -> dict[str, float]:
    """The first line with content, or the whole of a JSON file, as an object with yaw, pitch and roll.

    Raises NoInput when there is no such file, BadData when it holds no pose.
    """
    with open_input(path) as stream:
        text = stream.read().decode("utf-8", "replace").strip()
    try:
        pose = json.JSONDecoder().raw_decode(text)[0]
        return {name: float(pose[name]) for name in ANGLES}
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(stream_name(path), "holds no pose", "give JSON with yaw, pitch and roll") from error


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the first candidate with the true pose.")
    parser.add_argument("truth", metavar="TRUTH.json")
    parser.add_argument("candidates", metavar="CANDIDATES.jsonl")
    arguments = parser.parse_args()
    table, apart = compare(read_pose(arguments.truth), read_pose(arguments.candidates))
    print(table)
    return 0 if apart <= TOLERANCE else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        print(f"compare: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
