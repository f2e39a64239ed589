"""Lists of images: which objects one run of mdc-store put into the stores, with all that the index knows of each.

``images/STUDY/SERIES/INSTANCE.dcm`` is an object as it was received. ``lists/NAME.json`` is written after the objects that it names: with
digests, sizes, senders and times, and a digest of itself, so that the index can be made anew from it. Nothing here is ever changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import BadData
from toolkit.core.storage import digest_of
from toolkit.datacentre.images.instances import Instance
from toolkit.datacentre.images.rows import Held

if TYPE_CHECKING:
    from toolkit.core.storage import Store


def list_object(name: str) -> str:
    """The name of the object that a list is kept in."""
    return f"lists/{name}.json"


def lists(store: Store) -> Iterator[str]:
    """The names of the lists that a store holds, in order of time."""
    for name in sorted(entry.name for entry in store.list("lists")):
        if name.endswith(".json"):
            yield name.removeprefix("lists/").removesuffix(".json")


def write_list(name: str, created: str, some: Sequence[Held]) -> bytes:
    """The list as JSON, with a digest of itself."""
    instances = [{**asdict(one.instance), "client": one.client, "received": one.received} for one in some]
    content = {"list": name, "created": created, "instances": instances}
    return json.dumps({**content, "digest": digest_of(_canonical(content))}, indent=1).encode() + b"\n"


def read_list(data: bytes, name: str) -> list[Held]:
    """The instances that the list `name` names, each at its place there. Raises BadData when it was damaged."""
    try:
        content = json.loads(data)
        if content.pop("digest") != digest_of(_canonical(content)) or content["list"] != name:
            raise ValueError("another digest")
        found = []
        for one in content["instances"]:
            client, received = one.pop("client"), one.pop("received")
            found.append(Held(Instance(**one), client, received, f"object:{name}"))
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(list_object(name), "is no list of images, or was damaged", "run mdc-store verify") from error


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
