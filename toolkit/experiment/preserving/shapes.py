"""What RO-Crate 1.1 and Process Run Crate 0.5 demand of metadata, as checks of plain JSON.

Each check names the sentence that it holds. They expect flattened JSON-LD with the terms of the two contexts, as RO-Crate 1.1 demands
it; nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from toolkit.core.errors import BadData, NoInput
from toolkit.experiment.preserving.crate import COMPLETED, FAILED, PROFILE, SPECIFICATION
from toolkit.experiment.preserving.places import METADATA
from toolkit.experiment.preserving.tags import Finding

_LARGEST = 1 << 28  # bytes
_TOOLS = {"SoftwareApplication", "SoftwareSourceCode", "ComputationalWorkflow"}
_ACTIONS = {"CreateAction", "ActivateAction", "UpdateAction"}

Entity = dict[str, Any]


def read_metadata(bag: str) -> dict[str, Entity]:
    """The entities of a bag's crate by their @id. Raises NoInput, BadData where there are none to read."""
    place = os.path.join(bag, "data", METADATA)
    if not os.path.isdir(bag):
        raise NoInput(bag, "is no directory" if os.path.exists(bag) else "does not exist", "name the directory of a crate")
    try:
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            content = json.loads(stream.read(_LARGEST))
    except OSError as error:
        raise BadData(place, error.strerror or str(error), "name a crate") from error
    except (ValueError, RecursionError) as error:
        raise BadData(place, f"is no JSON: {error}", "restore it from a copy") from error
    graph = content.get("@graph") if isinstance(content, dict) else None
    if not isinstance(graph, list) or not _is_of_crates(content.get("@context")):
        raise BadData(place, "is not the metadata of an RO-Crate", "name a crate")
    entities: dict[str, Entity] = {}
    for number, entity in enumerate(graph, 1):
        identity = entity.get("@id") if isinstance(entity, dict) else None
        if not isinstance(identity, str) or not types(entity):
            raise BadData(place, f"entity {number} has no @id or no @type", "restore it from a copy")
        if entities.setdefault(identity, entity) is not entity:
            raise BadData(place, f"tells of {identity} twice", "restore it from a copy")
    return entities


def wrong_with(entities: Mapping[str, Entity], payload: Mapping[str, int], digests: Mapping[str, str]) -> list[Finding]:
    """Everything that breaks a rule. `payload` is each file's length (negative: not known), `digests` its SHA-256 in the manifest."""
    root = _root(entities)
    if root is None:
        return [Finding(METADATA, "tells of no root: it has no Dataset that ro-crate-metadata.json is about")]
    found = [*_root_findings(entities, root), *_references(entities), *_file_findings(entities, root, payload, digests)]
    for identity, entity in entities.items():
        if types(entity) & _ACTIONS:
            found += [Finding(identity, problem) for problem in _action_problems(entities, entity)]
    return found


def types(entity: Entity) -> set[str]:
    """The types of an entity."""
    return {text for text in many(entity.get("@type")) if isinstance(text, str)}


def many(value: Any) -> list[Any]:
    """A property's values: JSON-LD writes one, or a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def ids(value: Any) -> list[str]:
    """The @ids that a property refers to."""
    return [one["@id"] for one in many(value) if isinstance(one, dict) and isinstance(one.get("@id"), str)]


def text_of(entity: Entity, name: str) -> str:
    """A property's text; empty where it has none."""
    value = next(iter(many(entity.get(name))), "")
    return value if isinstance(value, str) else ""


def path_of(identity: str) -> str:
    """The payload's path that an @id names; empty where it names something else, or leads out of the crate."""
    if re.match("[A-Za-z][A-Za-z0-9+.-]*:|#|/", identity) or "?" in identity:
        return ""
    path = unquote(identity.removeprefix("./"))
    return "" if {"", ".", ".."} & set(path.rstrip("/").split("/")) or "\0" in path else path


def _is_of_crates(context: Any) -> bool:
    return any(isinstance(one, str) and re.fullmatch(r"https://w3id\.org/ro/crate/1\.\d+/context", one) for one in many(context))


def _root(entities: Mapping[str, Entity]) -> Entity | None:
    """The Dataset that the descriptor is about."""
    about = ids(entities.get(METADATA, {}).get("about"))
    root = entities.get(about[0]) if len(about) == 1 else None
    return root if root is not None and "Dataset" in types(root) else None


def _root_findings(entities: Mapping[str, Entity], root: Entity) -> Iterator[Finding]:
    descriptor = entities[METADATA]
    if "CreativeWork" not in types(descriptor):
        yield Finding(METADATA, "must be a CreativeWork (RO-Crate 1.1, metadata file descriptor)")
    if not any(one.startswith(SPECIFICATION.rpartition("/")[0]) for one in ids(descriptor.get("conformsTo"))):
        yield Finding(METADATA, "must conform to a version of RO-Crate")
    if not root["@id"].endswith("/"):
        yield Finding(root["@id"], "must end with a slash: it is the root")
    for name in ("name", "description"):
        if not text_of(root, name):
            yield Finding(root["@id"], f"must have a {name} (RO-Crate 1.1, root data entity)")
    if not many(root.get("license")):
        yield Finding(root["@id"], "must have a license")
    if not _is_time(text_of(root, "datePublished")):
        yield Finding(root["@id"], "must have a datePublished, an ISO 8601 date")
    profiles = [one for one in ids(root.get("conformsTo")) if one.startswith(PROFILE.rpartition("/")[0])]
    if not any("CreativeWork" in types(entities.get(one, {})) for one in profiles):
        yield Finding(root["@id"], "must conform to the profile Process Run Crate, and the profile be a CreativeWork")


def _references(entities: Mapping[str, Entity]) -> Iterator[Finding]:
    """Whatever an action or the root refers to is told of."""
    for identity, entity in entities.items():
        if types(entity) & (_ACTIONS | {"Dataset"}):
            for name, value in entity.items():
                for one in ids(value):
                    if one not in entities and name != "conformsTo":
                        yield Finding(identity, f"refers to {one} as its {name}, which nothing tells of")


def _file_findings(
    entities: Mapping[str, Entity], root: Entity, payload: Mapping[str, int], digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Files and directories against the payload, both ways; and all of them parts of the root."""
    parts, told, directories = _parts(entities, root), {METADATA}, []
    for identity, entity in entities.items():
        if not types(entity) & {"File", "Dataset"} or entity is root or identity.startswith("#"):
            continue
        if identity not in parts:
            yield Finding(identity, "must be a part of the root (RO-Crate 1.1, data entities)")
        if re.match("[A-Za-z][A-Za-z0-9+.-]*://", identity):
            continue
        path = path_of(identity)
        if not path:
            yield Finding(identity, "is no path within the crate")
        elif "Dataset" in types(entity):
            directories.append(path.rstrip("/") + "/")
        elif path not in payload:
            yield Finding(identity, "is not in the crate")
        else:
            told.add(path)
            yield from _content(identity, entity, payload[path], digests.get(path))
    for path in sorted(set(payload) - told):
        if not any(path.startswith(directory) for directory in directories) and not path.startswith("ro-crate-preview"):
            yield Finding(f"data/{path}", "is told of nowhere in the metadata")


def _content(identity: str, entity: Entity, size: int, digest: str | None) -> Iterator[Finding]:
    told, recorded = text_of(entity, "contentSize"), text_of(entity, "sha256")
    if told and size >= 0 and told != str(size):
        yield Finding(identity, f"has {size} bytes, its metadata says {told}")
    if recorded and digest and recorded != digest:
        yield Finding(identity, "has another SHA-256 in the metadata than in the manifest")


def _parts(entities: Mapping[str, Entity], root: Entity) -> set[str]:
    """All that is a part of the root, or of its parts."""
    found: set[str] = set()
    waiting = ids(root.get("hasPart"))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += ids(entities.get(one, {}).get("hasPart"))
    return found


def _action_problems(entities: Mapping[str, Entity], action: Entity) -> Iterator[str]:
    """Process Run Crate 0.5, requirements."""
    tools = ids(action.get("instrument"))
    if not tools or not all(types(entities.get(one, {})) & _TOOLS for one in tools):
        yield "must have an instrument, the program that ran"
    for name in ("startTime", "endTime"):
        if text_of(action, name) and not _is_time(text_of(action, name)):
            yield f"has a {name} that is no ISO 8601 time"
    status = many(action.get("actionStatus"))
    if status and (len(status) != 1 or status[0] not in (COMPLETED, FAILED)):
        yield f"has an actionStatus that is neither {COMPLETED} nor {FAILED}"
    if action.get("error") and FAILED not in status:
        yield "has an error although it did not fail"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
