"""Peaks and the lists that they come in: GeoNames, GNIS, OpenStreetMap (GeoJSON, Overpass) and plain tables; see peaks(5)."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TextIO

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.annotate.names import comparable

FOOT = 0.3048  # metres, the international foot
# GeoNames' feature codes of class T that a person would call a summit (geonames.org/export/codes.html); ridges have no one place.
GEONAMES_CODES = frozenset({"PK", "PKS", "MT", "MTS", "HLL", "HLLS", "VLC", "NTK", "NTKS", "BUTE", "MESA"})
_GEONAMES_COLUMNS = 19
_OSM_KINDS = ("peak", "volcano")
_HIGHEST, _LOWEST = 9000.0, -500.0  # metres: what lies outside is a slip of units or a mark for "unknown"
_REMEDY = "peaks(5) tells what lists can be read"

# What tables call their columns, in small letters.
_NAME = ("name", "peak", "summit", "feature_name")
_LATITUDE = ("lat", "latitude", "prim_lat_dec", "y")
_LONGITUDE = ("lon", "longitude", "lng", "long", "prim_long_dec", "x")
_HEIGHT = ("height", "height_m", "elevation", "elevation_m", "ele", "elev", "elev_in_m", "altitude")
_PROMINENCE = ("prominence", "prominence_m")

Complain = Callable[[str, str, str], None]  # place in the list, what is wrong, what happened to it
Area = Callable[[float, float], bool]  # whether a latitude and a longitude, degrees, matter


@dataclass(frozen=True)
class Peak:
    """A summit: `latitude`, `longitude` in degrees (WGS 84), `height` and `prominence` in metres, None where the list has none.

    `keys`: all its names in the form in which lists are compared, see `toolkit.geo.annotate.names.comparable`.
    `translated`: whether `name` is in the language that was asked for.
    """

    name: str
    latitude: float
    longitude: float
    height: float | None = None
    prominence: float | None = None
    keys: frozenset[str] = frozenset()
    translated: bool = False


class _BadRow(ValueError):
    """A row that says nothing of use; the message says why."""


def read_peaks(path: str, language: str | None, area: Area, complain: Complain) -> list[Peak]:
    """The peaks of a list within `area`; ``-`` is standard input, what is packed with gzip is unpacked.

    `language`: a code such as "de": of OpenStreetMap's names the one in that language is taken where there is one. Each row that cannot
    be used is told to `complain` and left out; rows that name nothing, or something else than a summit, are left out in silence.

    Raises NoInput when there is no such file, BadData when it is no list that is known, or is cut short.
    """
    place = stream_name(path)
    with open_input(path) as stream:
        assert isinstance(stream, io.BufferedReader)
        packed = stream.peek(2)[:2] == b"\x1f\x8b"
        source: Any = gzip.GzipFile(fileobj=stream) if packed else stream
        text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
        try:
            found = list(_peaks(text, place, language, area, complain))
        except UnicodeDecodeError as error:
            raise BadData(place, "is not in UTF-8", "convert it with iconv") from error
        except (EOFError, zlib.error, gzip.BadGzipFile, csv.Error) as error:
            raise BadData(place, f"is damaged or cut short ({error})", "fetch it again") from error
        text.detach()
    return found


def box_around(latitude: float, longitude: float, range_m: float) -> Area:
    """A box of degrees that holds all within `range_m` metres, and a little more: to leave out quickly what cannot be seen."""
    up = range_m / 110_000.0  # metres in a degree, the fewest
    around = up / max(math.cos(math.radians(min(89.9, abs(latitude) + up))), 1e-3)
    return lambda north, east: abs(north - latitude) <= up and abs((east - longitude + 180.0) % 360.0 - 180.0) <= around


def _peaks(text: TextIO, place: str, language: str | None, area: Area, complain: Complain) -> Iterator[Peak]:
    first = next((line for line in text if line.strip()), "")
    whole = itertools.chain([first], text)
    if first.lstrip()[:1] in ("{", "["):
        rows = _json_rows("".join(whole), place)
        yield from _each(rows, lambda row: _from_tags(row, language), place, "feature", area, complain)
        return
    if first.count("\t") == _GEONAMES_COLUMNS - 1:
        lines = ((number, line.rstrip("\r\n").split("\t")) for number, line in enumerate(whole, 1))
        yield from _each(lines, _from_geonames, place, "line", area, complain)
        return
    delimiter = max("|,;\t", key=first.count)
    heading = [name.strip().strip('"').lower() for name in first.split(delimiter)]
    if not all(set(heading) & set(names) for names in (_NAME, _LATITUDE, _LONGITUDE)):
        raise BadData(place, "is no list of peaks", _REMEDY)
    # GNIS has names with quotation marks and does not escape them.
    reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL)
    rows = ((reader.line_num + 1, dict(zip(heading, row, strict=False))) for row in reader if row)
    yield from _each(rows, _from_table, place, "line", area, complain)


def _each(
    rows: Iterator[tuple[int, Any]], read: Callable[[Any], Peak | None], place: str, unit: str, area: Area, complain: Complain
) -> Iterator[Peak]:
    for number, row in rows:
        try:
            peak = read(row)
        except _BadRow as error:
            complain(f"{place}: {unit} {number}", str(error), "left out")
            continue
        if peak is not None and area(peak.latitude, peak.longitude):
            yield peak


def _from_geonames(columns: list[str]) -> Peak | None:
    """A line of GeoNames' dumps (geonames.org/export). Its column `dem` is left: a mean of 90 m or 900 m around the point, no summit."""
    if columns == [""]:
        return None
    if len(columns) != _GEONAMES_COLUMNS:
        raise _BadRow(f"has {len(columns)} columns, not {_GEONAMES_COLUMNS}")
    if columns[6] != "T" or columns[7] not in GEONAMES_CODES or not columns[1].strip():
        return None
    latitude, longitude = _position(columns[4], columns[5])
    return _peak(columns[1], latitude, longitude, _metres(columns[15]), None, columns[3].split(","))


def _from_table(row: dict[str, str]) -> Peak | None:
    """A row of a table with a heading: GNIS (old columns and those since 2021), or whatever has a name and a position."""
    if "feature_class" in row and row["feature_class"].strip().lower() != "summit":
        return None
    name = _column(row, _NAME)
    if not name:
        return None
    latitude, longitude = _position(_column(row, _LATITUDE), _column(row, _LONGITUDE))
    if "feature_class" in row and latitude == 0.0 and longitude == 0.0:  # GNIS's way to say that the place is unknown
        return None
    height = _metres(_column(row, _HEIGHT))
    if height is None and "elev_in_ft" in row:
        height = _metres(row["elev_in_ft"], FOOT)
    return _peak(name, latitude, longitude, height, _metres(_column(row, _PROMINENCE)))


def _json_rows(text: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """GeoJSON features and Overpass elements, numbered from 1, as tags with "lat" and "lon"."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(place, f"is no JSON ({error})", _REMEDY) from error
    rows = content.get("features", content.get("elements")) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise BadData(place, "is neither a GeoJSON feature collection nor an answer of Overpass", _REMEDY)
    for number, row in enumerate(rows, 1):
        yield number, _tags(row) if isinstance(row, dict) else {}


def _tags(row: dict[str, Any]) -> dict[str, Any]:
    properties = row.get("tags", row.get("properties"))
    properties = properties if isinstance(properties, dict) else {}
    inner = properties.get("tags")
    tags = {**properties, **(inner if isinstance(inner, dict) else {})}
    geometry, centre = row.get("geometry"), row.get("center")
    position = geometry.get("coordinates") if isinstance(geometry, dict) else None
    while isinstance(position, list) and position and isinstance(position[0], list):  # an area around a summit: its first corner
        position = position[0]
    if isinstance(position, list) and len(position) >= 2:
        tags["lon"], tags["lat"] = position[:2]
    else:
        place = centre if isinstance(centre, dict) else row
        tags["lat"], tags["lon"] = place.get("lat"), place.get("lon")
    return tags


def _from_tags(tags: dict[str, Any], language: str | None) -> Peak | None:
    """OpenStreetMap's tags (wiki.openstreetmap.org/wiki/Tag:natural=peak); most peaks without a name are nameless for good."""
    if tags.get("natural") not in _OSM_KINDS:
        return None
    names = {key: str(value) for key, value in tags.items() if key.split(":")[0] in ("name", "alt_name", "int_name", "loc_name") and value}
    wanted = names.get(f"name:{language}") if language else None
    name = wanted or names.get("name")
    if not name:
        return None
    latitude, longitude = _position(tags.get("lat"), tags.get("lon"))
    others = [part for value in names.values() for part in value.split(";")]
    peak = _peak(name, latitude, longitude, _metres(tags.get("ele")), _metres(tags.get("prominence")), others)
    return replace(peak, translated=wanted is not None)


def _peak(
    name: str, latitude: float, longitude: float, height: float | None, prominence: float | None, others: list[str] | None = None
) -> Peak:
    name = name.encode(errors="replace").decode()  # JSON can hold halves of signs, which nothing can draw
    name = " ".join(re.sub("[\x00-\x1f\x7f-\x9f]", " ", name).split())
    keys = frozenset(filter(None, (comparable(each) for each in [name, *(others or [])])))
    return Peak(name, latitude, longitude, height, prominence, keys)


def _column(row: dict[str, str], names: tuple[str, ...]) -> str:
    return next((row[name].strip() for name in names if (row.get(name) or "").strip()), "")


def _position(latitude: Any, longitude: Any) -> tuple[float, float]:
    values = []
    for word, value, most in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _BadRow(f"has no {word}" if value in (None, "") else f"has the {word} {str(value)[:40]!r}, which is no number") from None
        if not abs(number) <= most:  # also catches NaN
            raise _BadRow(f"has the {word} {number:g}, which is not on the Earth")
        values.append(number)
    latitude, longitude = values
    return latitude, longitude if abs(longitude) <= 180.0 else longitude - math.copysign(360.0, longitude)


_MEASURE = re.compile(r"[~c. ]*([-+\u2212]?\d[\d., ']*)\s*(.*)")


def _metres(value: Any, unit: float = 1.0) -> float | None:
    """Metres of what people write: 4158, "4158 m", "4158,5", "13,642 ft", "13642'"; None for what is no height on Earth."""
    match = _MEASURE.fullmatch(str(value if value is not None else "").strip())
    if not match:
        return None
    digits, word = match[1].replace("\u2212", "-").strip(" .,'"), match[2].strip(" .").lower()
    feet = word in ("ft", "feet", "foot") or match[1].rstrip().endswith("'") or word in ("'", "\u2032", "\u2019")
    if word not in ("", "m", "metres", "meters", "meter", "metre", "m.a.s.l", "masl", "m asl", "m \u00fc. m", "\u043c") and not feet:
        return None
    digits = re.sub(r"(?<=\d)[ ',](?=\d{3}(?!\d))", "", digits)  # thousands
    try:
        number = float(digits.replace(",", ".")) * (FOOT if feet else unit)
    except ValueError:
        return None
    return number if math.isfinite(number) and _LOWEST <= number <= _HIGHEST else None
