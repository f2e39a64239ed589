"""The view from a place, whatever the terrain is known from: elevation models, or one surveyed horizon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolkit.core.errors import UsageError
from toolkit.geo.panorama import Panorama

HORIZON_ENDINGS = (".geojson", ".json")


def view_from(
    paths: list[str],
    latitude: float,
    longitude: float,
    height: float | None,
    *,
    range_m: float,
    refraction: float,
    visibility_m: float | None = None,
    **render: Any,
) -> Panorama:
    """What is seen from a position in degrees: of the mosaic of `paths`, see `toolkit.geo.panorama.render_panorama` for the rest; or, if
    the only path ends in .geojson, of the horizon that it holds, see `toolkit.geo.horizon_file.horizon_panorama`.

    With `visibility_m`, the distance at which haze leaves 2 % of contrast, lines are weighed by what is left of theirs, see
    `toolkit.geo.contours.contour_segments`. Raises what those do, and UsageError when a horizon comes with other files or without the
    height of the eye.
    """
    horizons = [path for path in paths if path.lower().endswith(HORIZON_ENDINGS)]
    if not horizons:
        from toolkit.geo.panorama import render_panorama
        from toolkit.geo.terrain import read_terrain

        terrain = read_terrain(paths, latitude, longitude, range_m)
        view = render_panorama(terrain, latitude, longitude, height, range_m=range_m, refraction=refraction, **render)
        return _through_haze(view, visibility_m)
    from toolkit.geo.horizon_file import horizon_panorama

    if len(paths) > 1:
        raise UsageError(horizons[0], "is a horizon, and cannot be mixed with other files", "give it alone")
    if height is None:
        raise UsageError(horizons[0], "is a horizon, which does not tell the height of the eye", "give --at LAT,LON,HEIGHT")
    return _through_haze(horizon_panorama(horizons[0], latitude, longitude, height, refraction=refraction), visibility_m)


def _through_haze(view: Panorama, visibility_m: float | None) -> Panorama:
    return view if visibility_m is None else replace(view, parameters=view.parameters | {"visibility_m": visibility_m})
