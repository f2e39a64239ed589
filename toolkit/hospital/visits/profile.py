"""Profiles: what of a visit's document may leave the hospital, read from a TOML file; the format is in visit-profile(5)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from toolkit.core.errors import BadData, NoInput

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "visit.toml"
# Elements that hold a data type of HL7 v3, not other elements; the rebuilding knows what of each is safe.
CODES = {
    "code", "interpretationCode", "methodCode", "targetSiteCode", "approachSiteCode", "priorityCode", "routeCode",
    "administrationUnitCode", "dischargeDispositionCode",
}  # fmt: skip
QUANTITIES = {"doseQuantity", "rateQuantity", "quantity", "repeatNumber"}
DATA_TYPES = CODES | QUANTITIES | {"templateId", "id", "statusCode", "effectiveTime", "value"}
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+(\.\*)?")
_SETTINGS: dict[str, dict[str, type | tuple[str, ...]]] = {
    "visit": {"roots": list, "without_encounter": ("refuse", "document")},
    "patient": {"roots": list, "national": list, "birth": ("none", "year"), "city": bool},
    "accession": {"roots": list},
    "codes": {"systems": list, "display_names": list},
    "results": {"words": list, "units": list, "range_headings": list, "value_headings": list},
}


@dataclass(frozen=True)
class Profile:
    """One profile, checked. Elements that it does not name are never copied."""

    visit_roots: tuple[str, ...]
    without_encounter: str
    patient_roots: tuple[str, ...]
    national_roots: tuple[str, ...]
    birth: str
    city: bool
    accession_roots: tuple[str, ...]
    systems: tuple[str, ...]
    display_names: tuple[str, ...]
    words: frozenset[str]
    units: frozenset[str]
    range_headings: tuple[str, ...]
    value_headings: tuple[str, ...]
    elements: dict[str, tuple[str, ...]]

    @cached_property
    def plans(self) -> dict[str, dict[object, tuple[int, str, bool]]]:
        """For each element the tags of its children that are kept: place in the order, local name, whether it is a data type."""
        return {
            name: {f"{{urn:hl7-org:v3}}{child}": (place, child, child in DATA_TYPES) for place, child in enumerate(children)}
            for name, children in self.elements.items()
        }


@cache
def read_profile(path: str | None) -> Profile:
    """The profile in the file `path`, or the shipped one. A file replaces it setting by setting, [elements] name by name.

    Raises NoInput when the file cannot be read, BadData when it is no profile: a misspelt setting is never passed over.
    """
    shipped = _load(str(SHIPPED))
    if path is not None:
        for table, settings in _load(path).items():
            shipped[table] = {**shipped[table], **settings} if isinstance(settings, dict) else settings
    visit, patient, codes, results = shipped["visit"], shipped["patient"], shipped["codes"], shipped["results"]
    return Profile(
        visit_roots=tuple(visit["roots"]),
        without_encounter=visit["without_encounter"],
        patient_roots=tuple(patient["roots"]),
        national_roots=tuple(patient["national"]),
        birth=patient["birth"],
        city=patient["city"],
        accession_roots=tuple(shipped["accession"]["roots"]),
        systems=tuple(codes["systems"]),
        display_names=tuple(codes["display_names"]),
        words=frozenset(word.casefold() for word in results["words"]),
        units=frozenset(results["units"]),
        range_headings=tuple(heading.casefold() for heading in results["range_headings"]),
        value_headings=tuple(heading.casefold() for heading in results["value_headings"]),
        elements={name: tuple(children) for name, children in shipped["elements"].items()},
    )


@lru_cache(maxsize=1024)
def listed(patterns: tuple[str, ...], system: str) -> bool:
    """Whether a coding system (an OID) is one of `patterns`: OIDs, or beginnings of them that end in ``*``."""
    return any(system.startswith(p[:-1]) if p.endswith("*") else system == p for p in patterns)


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a profile that exists and can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(path, f"is not TOML: {error}", "see visit-profile(5)") from error
    if content.get("version") != 1:
        raise BadData(path, "does not say version = 1", "see visit-profile(5)")
    for table, settings in content.items():
        if table == "version":
            continue
        if table not in _SETTINGS and table != "elements" or not isinstance(settings, dict):
            raise BadData(path, f"has an unknown table [{table}]", "see visit-profile(5)")
        for name, value in settings.items():
            _check(path, table, name, value)
    return content


def _check(path: str, table: str, name: str, value: object) -> None:
    where = f"[{table}] {name}"
    expected = list if table == "elements" else _SETTINGS[table].get(name)
    if expected is None:
        raise BadData(path, f"has an unknown setting {where}", "see visit-profile(5)")
    if isinstance(expected, tuple):
        if value not in expected:
            raise BadData(path, f"{where} is not one of {', '.join(expected)}", "see visit-profile(5)")
    elif not isinstance(value, expected):
        raise BadData(path, f"{where} is not {'a list' if expected is list else 'true or false'}", "see visit-profile(5)")
    if not isinstance(value, list):
        return
    if not all(isinstance(item, str) and item for item in value):
        raise BadData(path, f"{where} holds something that is not text", "see visit-profile(5)")
    if name in ("systems", "display_names") and not all(_OID.fullmatch(item) for item in value):
        raise BadData(path, f"{where} holds something that is not an OID", "write 2.16.840.1.113883.6.1, or an end of .*")
    if table == "elements":
        known = set(_load_names()) | DATA_TYPES
        if name in DATA_TYPES or not {name, *value} <= known:
            raise BadData(path, f"{where} names an element that cannot be kept", "only those of the shipped profile can be")


@cache
def _load_names() -> frozenset[str]:
    """The elements of the shipped profile: names, addresses, texts and scans cannot be asked for by a site's own one."""
    return frozenset(tomllib.loads(SHIPPED.read_text("utf-8"))["elements"])
