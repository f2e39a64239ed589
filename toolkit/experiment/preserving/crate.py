"""The metadata of a crate: RO-Crate 1.1 with the profile Process Run Crate 0.5, one CreateAction for each command.

Sources: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/process/0.5, and for resource usage, which that profile leaves to its
sister, https://w3id.org/ro/wfrun/provenance/0.5. A pipe between two commands, and a file's state that was overwritten later, are
CreativeWorks without content: they tie actions together.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from toolkit import __version__
from toolkit.experiment.preserving.environment import mapping
from toolkit.experiment.preserving.gathering import Gathered, Kept, began, ended
from toolkit.experiment.preserving.pipes import Pipe, pipes_of
from toolkit.experiment.preserving.places import METADATA, absolute
from toolkit.experiment.run_record import Command

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
COMPLETED, FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"
HOME = "https://pypi.org/project/scape-toolkit/"
_CONTENT = "https://archive.softwareheritage.org/api/1/content/sha256:"  # an absolute URI by digest, whether or not it is archived there
_UNITS = {"ns": "https://qudt.org/vocab/unit/NanoSEC", "bytes": "https://qudt.org/vocab/unit/BYTE"}

Entity = dict[str, Any]


@dataclass(frozen=True)
class Agent:
    """Who answers for something: a name, and a URL (an ORCID, a home page) where there is one."""

    name: str
    url: str = ""

    @classmethod
    def parse(cls, text: str) -> Agent:
        """Of ``NAME`` or ``NAME <URL>``."""
        match = re.fullmatch(r"\s*(.+?)\s*<([a-z]+://[^\s<>]+)>\s*", text)
        return cls(match[1], match[2]) if match else cls(text.strip())

    def entity(self, kind: str) -> Entity:
        """As a Person or an Organization."""
        identity = self.url or f"#{kind.lower()}-{_safe(self.name)}"
        return _compact({"@id": identity, "@type": kind, "name": self.name, "url": self.url})


@dataclass(frozen=True)
class Description:
    """What people say of an experiment."""

    title: str
    text: str
    licence: str  # a URL, the short name of a licence at spdx.org, or nothing
    authors: Sequence[Agent]
    organisation: Agent | None = None
    tolerances: Sequence[str] = ()


@dataclass(frozen=True)
class Attachment:
    """A file of the crate that no command read or wrote: a run record, the code."""

    name: str
    title: str
    size: int
    sha256: str
    types: Sequence[str] = ("File",)
    more: Mapping[str, Any] = field(default_factory=dict)


def metadata(gathered: Gathered, attached: Sequence[Attachment], description: Description, now: datetime) -> Entity:
    """The content of ro-crate-metadata.json."""
    graph = _Graph()
    people = [graph.add(_person(author, description.organisation)) for author in description.authors]
    organisation = [graph.add(description.organisation.entity("Organization"))] if description.organisation else []
    parts = [graph.add(_file(one)) for one in attached] + [graph.add(_kept_file(kept, now)) for kept in gathered.kept.values()]
    actions = [graph.add(action) for action in _actions(gathered, people, graph)]
    facts = [_fact("#experiment-root", "root", gathered.root.path)]
    facts += [_fact(f"#tolerance-{number}", "tolerance", text) for number, text in enumerate(description.tolerances, 1)]
    graph.add({"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"})
    root = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": PROFILE},
        "name": description.title,
        "description": description.text,
        "datePublished": _time(now),
        "license": graph.add(_licence(description.licence)),
        "author": people,
        "publisher": organisation,
        "hasPart": parts,
        "mentions": actions,
        "additionalProperty": [graph.add(fact) for fact in facts],
    }
    descriptor = {"@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": SPECIFICATION}, "about": {"@id": "./"}}
    return {"@context": CONTEXT, "@graph": [descriptor, _compact(root), *graph.entities.values()]}


def identifier(name: str) -> str:
    """The @id of a file of the payload: its name as a relative URI."""
    return quote(name)


class _Graph:
    """Entities in the order of their first mention, one for each @id."""

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}

    def add(self, entity: Entity) -> Entity:
        self.entities.setdefault(entity["@id"], _compact(entity))
        return {"@id": entity["@id"]}


def _compact(entity: Entity) -> Entity:
    """Without empty values, and single ones not in lists: as JSON-LD is flattened."""
    found = {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in entity.items()}
    return {key: value for key, value in found.items() if value not in ([], "", None)}


def _person(author: Agent, organisation: Agent | None) -> Entity:
    affiliation = {"affiliation": {"@id": organisation.entity("Organization")["@id"]}} if organisation else {}
    return author.entity("Person") | affiliation


def _licence(licence: str) -> Entity:
    if not licence:
        text = "No licence was given. Ask the authors before you use or pass on what is in here."
        return {"@id": "#licence", "@type": "CreativeWork", "name": "no licence given", "description": text}
    url = licence if "://" in licence else f"https://spdx.org/licenses/{quote(licence)}"
    return {"@id": url, "@type": "CreativeWork", "name": licence, "url": url}


def _file(one: Attachment) -> Entity:
    content = {"contentSize": str(one.size), "sha256": one.sha256, "encodingFormat": encoding(one.name)}
    return {"@id": identifier(one.name), "@type": list(one.types), "name": one.title, **content, **one.more}


def _kept_file(kept: Kept, now: datetime) -> Entity:
    where = {"contentUrl": kept.url, "sdDatePublished": _time(now)} if kept.url else {}
    path = readable(kept.path)
    entity = _file(Attachment(kept.name, os.path.basename(path), kept.size, kept.sha256))
    return entity | {"alternateName": path} | where


def encoding(name: str) -> str:
    """The media type that a name's suffix means; the same on every machine."""
    from mimetypes import MimeTypes

    more = {".jsonl": "application/jsonl", ".npy": "application/x-npy", ".csv": "text/csv", ".bundle": "application/x-git-bundle"}
    return more.get(os.path.splitext(name)[1]) or MimeTypes().guess_type(name)[0] or "application/octet-stream"


def _actions(gathered: Gathered, people: list[Entity], graph: _Graph) -> Iterable[Entity]:
    pipes = pipes_of(gathered.commands)
    for command in sorted(gathered.commands, key=began):
        name = os.path.basename(command.argv[0]) if command.argv else "nothing"
        inputs, outputs = (_references(gathered, command, role, graph) for role in ("input", "output"))
        inputs += [graph.add(_stream(one)) for one in pipes if one.reader is command]
        outputs += [graph.add(_stream(one)) for one in pipes if one.writer is command]
        end = ended(command)
        yield {
            "@id": action_id(command),
            "@type": "CreateAction",
            "name": name + (f", repetition {command.repetition} of {command.repetitions}" if command.repetitions > 1 else ""),
            "description": shlex.join(readable(word) for word in command.argv),
            "instrument": graph.add(_program(command, name, graph)),
            "agent": people,
            "startTime": _time(began(command)),
            "endTime": _time(end) if end else "",
            "object": inputs,
            "result": outputs,
            **_ending(command),
            "environment": [graph.add(fact) for fact in _environment(command)],
            "resourceUsage": [graph.add(fact) for fact in _usage(command)],
            "additionalProperty": [graph.add(fact) for fact in _machine(command)],
        }


def action_id(command: Command) -> str:
    """The @id of a command's action."""
    return f"#command-{_safe(command.command)}"


def _references(gathered: Gathered, command: Command, role: str, graph: _Graph) -> list[Entity]:
    """The entities of the files that a command read or wrote, each in the state that it had then."""
    found: list[Entity] = []
    for file in command.files:
        if file.role != role:
            continue
        key = (absolute(command.directory, file.path), file.sha256)
        if key in gathered.kept:
            found.append({"@id": identifier(gathered.kept[key].name)})
        else:
            path = readable(key[0])
            text = "A state of this file that a later command overwrote: only its digest is kept."
            work = {"@id": f"#overwritten-{_safe(key[1])}", "@type": "CreativeWork", "name": os.path.basename(path), "description": text}
            found.append(graph.add(work | {"alternateName": path, "sha256": key[1], "contentSize": str(file.bytes)}))
    return list({entity["@id"]: entity for entity in found}.values())


def _stream(pipe: Pipe) -> Entity:
    names = [os.path.basename(command.argv[0]) for command in (pipe.writer, pipe.reader)]
    text = "What went through a pipe was not kept."
    identity = f"#pipe-{_safe(pipe.writer.command)}"
    return {"@id": identity, "@type": "CreativeWork", "name": f"stream from {names[0]} to {names[1]}", "description": text}


def _program(command: Command, name: str, graph: _Graph) -> Entity:
    """The program that ran, by the digest of its file; its version is that digest where it tells no other."""
    program = mapping(command.software.get("program"))
    digest = str(program.get("sha256") or "")
    url = f"{_CONTENT}{digest}/" if digest else ""
    needs = [graph.add(_toolkit(str(command.software.get("toolkit") or __version__)))]
    for package, version in sorted(mapping(command.software.get("packages")).items()):
        address = f"https://pypi.org/project/{quote(str(package))}/{quote(str(version))}/"
        needs.append(graph.add(_software(address, str(package), str(version))))
    if python := str(command.software.get("python") or ""):
        needs.append(graph.add(_software(f"https://docs.python.org/release/{quote(python)}/", "Python", python)))
    entity = _software(url or f"#program-{_safe(name)}", name, str(program.get("version") or "") or f"sha256:{digest or 'unknown'}")
    system = " ".join(str(command.machine[key]) for key in ("system", "kernel") if command.machine.get(key))
    return entity | {"url": url or HOME, "operatingSystem": system, "softwareRequirements": needs}


def _toolkit(version: str) -> Entity:
    return _software(f"{HOME}{quote(version)}/", "scape-toolkit", version)


def _software(address: str, name: str, version: str) -> Entity:
    return {"@id": address, "@type": "SoftwareApplication", "name": name, "softwareVersion": version, "url": address}


def _ending(command: Command) -> Entity:
    if command.exit is None:
        return {"actionStatus": FAILED, "error": "Its record has no end."}
    if command.exit.signal:
        return {"actionStatus": FAILED, "error": f"It was killed by {command.exit.signal}."}
    if command.exit.status:
        return {"actionStatus": FAILED, "error": f"It ended with status {command.exit.status}."}
    return {"actionStatus": COMPLETED}


def _environment(command: Command) -> Iterable[Entity]:
    for name, value in sorted(command.environment.items()):
        yield _fact(f"#environment-{_safe(name)}-{_safe(value)}", name, value)


def _usage(command: Command) -> Iterable[Entity]:
    """What the kernel counted: each figure of the record's `exit` line, ns and bytes."""
    for key, value in asdict(command.exit).items() if command.exit else ():
        if isinstance(value, int) and key != "status":
            fact = _fact(f"#usage-{key}-{_safe(command.command)}", key, str(value)) | {"propertyID": f"{HOME}#run-record-{key}"}
            unit = _UNITS.get(key.rpartition("_")[2], "")
            yield fact | ({"unitCode": unit} if unit else {})


def _machine(command: Command) -> Iterable[Entity]:
    cpu = mapping(command.machine.get("cpu"))
    told = {"host": command.machine.get("host"), "processor": cpu.get("model"), "threads": cpu.get("threads")}
    told |= {"memory_bytes": command.machine.get("memory_bytes"), "graphics": command.machine.get("graphics")}
    if command.git:
        told |= {"commit": command.git.get("commit"), "modified": command.git.get("modified")}
    for key, value in told.items():
        if value not in (None, ""):
            yield _fact(f"#machine-{key}-{_safe(str(value))}", key, str(value))


def _fact(identity: str, name: str, value: str) -> Entity:
    return {"@id": identity, "@type": "PropertyValue", "name": name, "value": readable(value)}


def _safe(text: str) -> str:
    return quote(text, safe="", errors="backslashreplace")


def readable(text: str) -> str:
    """Text without the halves of code points that stand for bytes of no encoding."""
    return text.encode(errors="backslashreplace").decode()


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
