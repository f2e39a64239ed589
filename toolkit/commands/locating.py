"""How locate's options go together, and with what the photograph's EXIF tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.core.errors import BadData, UsageError

if TYPE_CHECKING:
    from toolkit.geo.photo import PhotoFacts

Pair = tuple[float, float]


def check_locating(options: dict[str, Any]) -> None:
    """Raises UsageError for options that exclude each other; before the work."""
    if options["hfov"] is not None and options["camera"]:
        raise UsageError("--hfov", "excludes --camera", "the camera tells the field of view")
    if options["truth"] and options["bandwidth"][1]:
        remedy = f"give --bandwidth {options['bandwidth'][0]}"
        raise UsageError("--truth", "counts all cells, of which --bandwidth auto looks at few", remedy)
    if options["strict_heading"] and options["heading"] is None:
        raise UsageError("--strict-heading", "needs --heading", "give --heading YAW:TOL")
    if options["coarse"] and (options["refine_position"] or options["allow_rejected"]):
        raise UsageError("--coarse", "neither refines nor rejects a pose", "leave out --refine-position and --allow-rejected")


def heading_of(options: dict[str, Any], facts: PhotoFacts, place: str) -> tuple[Pair | None, Pair | None]:
    """The interval that yaws must lie in, and the heading that they should have: at most one of them."""
    from toolkit.geo.locate import exif_heading

    if options["heading"] is None:
        return None, None
    yaw, tolerance = options["heading"]
    if yaw is None:
        yaw, tolerance = exif_heading(facts, tolerance, place)
    return ((yaw - tolerance, yaw + tolerance), None) if options["strict_heading"] else (None, (yaw, tolerance))


def position_of(facts: PhotoFacts, place: str) -> tuple[float, float, None]:
    """Where the EXIF says the photo was taken. Its altitude is left: receivers err by tens of metres, the terrain does not."""
    if facts.latitude is None or facts.longitude is None:
        raise BadData(place, "has no GPS position in its EXIF", "give --at LAT,LON")
    return facts.latitude, facts.longitude, None
