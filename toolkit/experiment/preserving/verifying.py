"""Look whether a crate is sound: every file there and unchanged, nothing else, and the metadata right and complete."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from toolkit.core.errors import ToolError
from toolkit.core.progress import Bar, progress
from toolkit.experiment.preserving.crate import action_id
from toolkit.experiment.preserving.places import RECORDS
from toolkit.experiment.preserving.shapes import Entity, ids, read_metadata, text_of, wrong_with
from toolkit.experiment.preserving.tags import Finding, Tags, read_tags
from toolkit.experiment.run_record import read_run_records

_BLOCK = 1 << 20
_READERS = 4
_ROLES = (("input", "object"), ("output", "result"))


@dataclass(frozen=True)
class Verdict:
    """What was found wrong, and which files are elsewhere and were not looked at."""

    findings: list[Finding] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def verify(bag: str, fetch: bool = False) -> Verdict:
    """Look at the crate in the directory `bag`; with `fetch`, get what it keeps by reference first.

    No link is followed and nothing outside of `bag` is opened, whatever the crate says. Raises NoInput, BadData where there is no bag.
    """
    tags = read_tags(bag)
    findings = tags.findings
    there = _files(bag, findings)
    missing = [path for path in tags.fetch if path not in there]
    if fetch and missing:
        from toolkit.experiment.preserving.fetching import fetch_files

        findings += fetch_files(bag, {path: tags.fetch[path] for path in missing}, tags.manifests)
        there = _files(bag, [])
        missing = [path for path in missing if path not in there]
    _complete(tags, there, set(missing), findings)
    _oxum(tags, there, missing, findings)
    findings += _digests(bag, tags, there)
    sizes = {path: size for path, size in there.items() if path.startswith("data/")}
    for path in missing:
        length = tags.fetch[path][1]
        sizes[path] = -1 if length is None else length
    findings += _metadata(bag, tags, sizes)
    return Verdict(findings, [] if fetch else sorted(missing))


def _files(bag: str, findings: list[Finding]) -> dict[str, int]:
    """The length of every regular file in the bag, by its path; anything that is neither file nor directory is a finding."""
    found: dict[str, int] = {}
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(bag, directory)) as entries:
            for entry in entries:
                path = os.path.join(directory, entry.name)
                if entry.is_symlink():
                    findings.append(Finding(path, "is a symbolic link"))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    found[path] = entry.stat(follow_symlinks=False).st_size
                else:
                    findings.append(Finding(path, "is neither a file nor a directory"))
    return found


def _complete(tags: Tags, there: Mapping[str, int], missing: set[str], findings: list[Finding]) -> None:
    """Each file of the payload in each manifest, and each file of a manifest there (RFC 8493, 3)."""
    for algorithm, manifest in tags.manifests.items():
        name = f"manifest-{algorithm}.txt"
        for path in sorted(path for path in there if path.startswith("data/") and path not in manifest):
            findings.append(Finding(path, f"is not in {name}"))
        for path in sorted(path for path in manifest if path not in there and path not in missing):
            findings.append(Finding(path, f"is missing, {name} names it"))
        for path in sorted(path for path in tags.fetch if path not in manifest):
            findings.append(Finding(path, f"is in fetch.txt and not in {name}"))
    for algorithm, manifest in tags.tag_manifests.items():
        for path in sorted(path for path in manifest if path not in there):
            findings.append(Finding(path, f"is missing, tagmanifest-{algorithm}.txt names it"))
        for path in sorted(f"manifest-{other}.txt" for other in tags.manifests if f"manifest-{other}.txt" not in manifest):
            findings.append(Finding(path, f"is not in tagmanifest-{algorithm}.txt"))


def _oxum(tags: Tags, there: Mapping[str, int], missing: Iterable[str], findings: list[Finding]) -> None:
    lengths = [size for path, size in there.items() if path.startswith("data/")]
    expected = [tags.fetch[path][1] for path in missing]
    if tags.oxum is None or None in expected:
        return
    octets, count = sum(lengths) + sum(size for size in expected if size is not None), len(lengths) + len(expected)
    if (octets, count) != tags.oxum:
        promised = f"{tags.oxum[0]} bytes in {tags.oxum[1]} files"
        findings.append(Finding("bag-info.txt", f"promises {promised}, there are {octets} bytes in {count} files"))


def _digests(bag: str, tags: Tags, there: Mapping[str, int]) -> list[Finding]:
    """Read every file once and compare it with all digests that are given for it."""
    wanted: dict[str, dict[str, str]] = {}
    for manifests in (tags.manifests, tags.tag_manifests):
        for algorithm, manifest in manifests.items():
            for path, digest in manifest.items():
                if path in there:
                    wanted.setdefault(path, {})[algorithm] = digest
    with progress("verify", sum(there[path] for path in wanted), "B") as bar, ThreadPoolExecutor(_READERS) as pool:
        rows = pool.map(lambda path: _differences(bag, path, wanted[path], bar), sorted(wanted))
        return [finding for row in rows for finding in row]


def _differences(bag: str, path: str, wanted: Mapping[str, str], bar: Bar) -> list[Finding]:
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in wanted}
    try:
        with open(os.open(os.path.join(bag, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                for one in hashes.values():
                    one.update(block)
                bar.update(len(block))
    except OSError as error:
        return [Finding(path, error.strerror or str(error))]
    different = [algorithm for algorithm, digest in wanted.items() if hashes[algorithm].hexdigest() != digest]
    return [Finding(path, f"has changed: its {' and '.join(different)} differ{'s' * (len(different) == 1)}")] if different else []


def _metadata(bag: str, tags: Tags, sizes: Mapping[str, int]) -> list[Finding]:
    """What is wrong with the metadata, by itself, against the payload, and against the run records in it."""
    try:
        entities = read_metadata(bag)
    except ToolError as error:
        return [Finding(os.path.relpath(error.place, bag), error.problem)]
    digests = {path.removeprefix("data/"): digest for path, digest in tags.manifests.get("sha256", {}).items()}
    payload = {path.removeprefix("data/"): size for path, size in sizes.items()}
    return wrong_with(entities, payload, digests) + list(_untold(bag, entities, payload))


def _untold(bag: str, entities: Mapping[str, Entity], payload: Mapping[str, int]) -> Iterator[Finding]:
    """Commands and files of the run records that the metadata does not tell of."""
    records = [os.path.join(bag, "data", path) for path in sorted(payload) if path.startswith(f"{RECORDS}/")]
    for command in read_run_records(records):
        action = entities.get(action_id(command), {})
        if not action:
            yield Finding(os.path.relpath(command.source, bag), f"has the command {command.command}, of which the metadata does not tell")
        told = {role: {text_of(entities.get(one, {}), "sha256") for one in ids(action.get(name))} for role, name in _ROLES}
        for file in command.files if action else ():
            if file.sha256 not in told.get(file.role, ()):
                yield Finding(action["@id"], f"does not tell of its {file.role} {file.path} with the recorded digest")
