"""Kinds of option values that several commands take."""

from __future__ import annotations

import math
from typing import Any

import click


class Position(click.ParamType):
    """``LAT,LON[,HEIGHT]`` in degrees and metres; becomes (latitude, longitude in -180 to 180, height or None)."""

    name = "LAT,LON[,HEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float, float | None]:
        if isinstance(value, tuple):
            return value
        numbers = _numbers(value, ",")
        if len(numbers) not in (2, 3):
            self.fail(f"{value!r} is no position; give LAT,LON or LAT,LON,HEIGHT in degrees and metres, such as 46.55,7.98.", param, ctx)
        latitude, longitude = numbers[:2]
        if not -90.0 <= latitude <= 90.0:
            self.fail(f"latitude {latitude:g} is not within -90 to 90 degrees; the latitude comes first.", param, ctx)
        if not -180.0 <= longitude <= 360.0:
            self.fail(f"longitude {longitude:g} is not within -180 to 180 degrees.", param, ctx)
        if longitude > 180.0:
            longitude -= 360.0
        return latitude, longitude, numbers[2] if len(numbers) == 3 else None


class Interval(click.ParamType):
    """``MIN:MAX``, two numbers; becomes (min, max) with min < max, both within `lowest` to `highest`."""

    name = "MIN:MAX"

    def __init__(self, lowest: float = -math.inf, highest: float = math.inf) -> None:
        self.lowest, self.highest = lowest, highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        numbers = _numbers(value, ":")
        if len(numbers) != 2:
            self.fail(f"{value!r} is no interval; give MIN:MAX, such as -30:30.", param, ctx)
        low, high = numbers
        if not low < high:
            self.fail(f"{value!r} is empty; give the smaller number first.", param, ctx)
        if low < self.lowest or high > self.highest:
            self.fail(f"{value!r} is not within {self.lowest:g}:{self.highest:g}.", param, ctx)
        return low, high


class Angles(click.ParamType):
    """``YAW,PITCH,ROLL`` in degrees, as a `toolkit.geo.pose.Pose`."""

    name = "YAW,PITCH,ROLL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from toolkit.geo.pose import Pose

        numbers = _numbers(value, ",")
        if len(numbers) != 3:
            self.fail(f"{value!r} is not YAW,PITCH,ROLL, such as 120.5,-3,0.7", param, ctx)
        yaw, pitch, roll = numbers
        if not (-360.0 <= yaw <= 720.0 and -90.0 <= pitch <= 90.0 and -360.0 <= roll <= 360.0):
            self.fail(f"{value!r}: yaw is 0 to 360, pitch -90 to 90, roll -180 to 180", param, ctx)
        return Pose(yaw % 360.0, pitch, roll)


class Heading(click.ParamType):
    """``YAW:TOL``, degrees, becomes (yaw, tolerance); ``exif`` and ``exif:TOL`` become (None, tolerance or None)."""

    name = "YAW:TOL|exif|exif:TOL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float | None, float | None]:
        if isinstance(value, tuple):
            return value
        if value == "exif":
            return None, None
        read = str(value).startswith("exif:")
        numbers = _numbers(str(value).replace("exif:", "0:", 1) if read else value, ":")
        if len(numbers) != 2:
            self.fail(f"{value!r} is not YAW:TOL, such as 120:30, nor exif or exif:TOL", param, ctx)
        yaw, tolerance = numbers
        if not (-360.0 <= yaw <= 360.0 and 0.0 < tolerance <= 180.0):
            self.fail(f"{value!r}: the yaw is 0 to 360 degrees, the tolerance more than 0 and at most 180", param, ctx)
        return None if read else yaw % 360.0, tolerance


class FieldOfView(click.ParamType):
    """``DEG`` or ``MIN:MAX``, degrees; becomes (lowest, highest), equal for one number."""

    name = "DEG|MIN:MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        numbers = _numbers(str(value), ":")
        if len(numbers) not in (1, 2):
            self.fail(f"{value!r} is no field of view; give DEG or MIN:MAX, such as 52 or 45:60.", param, ctx)
        if numbers[0] > numbers[-1]:
            self.fail(f"{value!r} is empty; give the smaller number first.", param, ctx)
        return numbers[0], numbers[-1]


class Bandwidth(click.ParamType):
    """``B``, ``auto`` or ``auto:B``; becomes (B, whether the search goes from coarse to fine)."""

    name = "B|auto[:B]"

    def __init__(self, usual: int) -> None:
        self.usual = usual

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, bool]:
        if isinstance(value, tuple):
            return value
        automatic = str(value).startswith("auto:")
        try:
            return (self.usual, True) if value == "auto" else (int(str(value).removeprefix("auto:")), automatic)
        except ValueError:
            self.fail(f"{value!r} is no bandwidth; give a whole number such as {self.usual}, or auto, or auto:512.", param, ctx)


def _numbers(text: str, separator: str) -> list[float]:
    """The numbers between separators; none at all when one of them is no finite number."""
    try:
        numbers = [float(part) for part in text.split(separator)]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
