"""Kinds of option values that several commands take."""

from __future__ import annotations

from typing import Any

import click


class Interval(click.ParamType):
    """``MIN:MAX``, two numbers with MIN < MAX."""

    name = "MIN:MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in value.split(":"))
        except ValueError:
            self.fail(f"{value!r} is not MIN:MAX, such as -30:30", param, ctx)
        if not low < high:
            self.fail(f"{value!r}: the first number must be the smaller", param, ctx)
        return low, high


class Angles(click.ParamType):
    """``YAW,PITCH,ROLL`` in degrees, as a `toolkit.geo.pose.Pose`."""

    name = "YAW,PITCH,ROLL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from toolkit.geo.pose import Pose

        try:
            yaw, pitch, roll = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not YAW,PITCH,ROLL, such as 120.5,-3,0.7", param, ctx)
        if not (-360.0 <= yaw <= 720.0 and -90.0 <= pitch <= 90.0 and -360.0 <= roll <= 360.0):
            self.fail(f"{value!r}: yaw is 0 to 360, pitch -90 to 90, roll -180 to 180", param, ctx)
        return Pose(yaw % 360.0, pitch, roll)
