"""The tag files of a bag that somebody else may have made: read line by line, each wrong line a finding, no name trusted."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.core.errors import BadData, NoInput

DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
_LARGEST = 1 << 28  # bytes of a tag file: two million files
_ESCAPES = {"%0A": "\n", "%0D": "\r", "%25": "%"}


@dataclass(frozen=True)
class Finding:
    """What is wrong with a crate, and where: a file of the bag, or an entity of its metadata."""

    place: str
    problem: str


@dataclass
class Tags:
    """What the tag files say: digests by algorithm and path, what may be fetched (URL and length), the promised oxum."""

    manifests: dict[str, dict[str, str]] = field(default_factory=dict)
    tag_manifests: dict[str, dict[str, str]] = field(default_factory=dict)
    fetch: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    oxum: tuple[int, int] | None = None
    findings: list[Finding] = field(default_factory=list)

    def find(self, place: str, problem: str) -> None:
        """One more finding."""
        self.findings.append(Finding(place, problem))


def read_tags(bag: str) -> Tags:
    """Read the tag files in the directory `bag`. Raises NoInput where it is not there, BadData where it is no bag."""
    try:
        names = sorted(os.listdir(bag))
    except OSError as error:
        raise NoInput(bag, error.strerror or str(error), "name the directory of a crate") from error
    tags = Tags()
    if "bagit.txt" not in names:
        raise BadData(bag, "is no bag: bagit.txt is missing", "name a directory that preserve create made")
    _declaration(bag, tags)
    for name in names:
        match = re.fullmatch(r"(tag)?manifest-([a-z0-9]+)\.txt", name)
        if match and match[2] not in DIGITS:
            tags.find(name, "is of an algorithm that is not known here")
        elif match:
            which = tags.tag_manifests if match[1] else tags.manifests
            which[match[2]] = _manifest(bag, name, match[2], tags)
    if not tags.manifests:
        tags.find(bag, "has no manifest")
    if "bag-info.txt" in names:
        _information(bag, tags)
    if "fetch.txt" in names:
        _fetch(bag, tags)
    return tags


def _declaration(bag: str, tags: Tags) -> None:
    lines = [text for _, text in _lines(bag, "bagit.txt", tags)]
    if len(lines) != 2 or not re.fullmatch(r"BagIt-Version: (0\.9[3-7]|1\.0)", lines[0]):
        tags.find("bagit.txt", "is not the declaration of a bag of version 0.93 to 1.0")
    elif lines[1].casefold() != "tag-file-character-encoding: utf-8":
        tags.find("bagit.txt", "declares another encoding than UTF-8")


def _manifest(bag: str, name: str, algorithm: str, tags: Tags) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in _lines(bag, name, tags):
        match = re.fullmatch(r"([0-9A-Fa-f]+)[ \t]+\*?(.+)", line)
        if match is None or len(match[1]) != DIGITS[algorithm]:
            tags.find(f"{name}: line {number}", f"is no {algorithm} digest and a path")
            continue
        path = _path(match[2], payload=name.startswith("manifest"), place=f"{name}: line {number}", tags=tags)
        if path in found:
            tags.find(f"{name}: line {number}", f"names {path} a second time")
        elif path:
            found[path] = match[1].lower()
    return found


def _fetch(bag: str, tags: Tags) -> None:
    for number, line in _lines(bag, "fetch.txt", tags):
        place = f"fetch.txt: line {number}"
        match = re.fullmatch(r"(\S+)[ \t]+(-|[0-9]{1,19})[ \t]+(.+)", line)
        if match is None:
            tags.find(place, "is no URL, length and path")
            continue
        path = _path(match[3], payload=True, place=place, tags=tags)
        if not re.match(r"https?://[^/\s]+", match[1]):
            tags.find(place, f"has the URL {match[1]}, which is neither https nor http")
        elif path in tags.fetch:
            tags.find(place, f"names {path} a second time")
        elif path:
            tags.fetch[path] = (match[1], None if match[2] == "-" else int(match[2]))


def _information(bag: str, tags: Tags) -> None:
    for number, line in _lines(bag, "bag-info.txt", tags):
        label, colon, value = line.partition(":")
        if line[:1] in (" ", "\t"):
            continue  # goes on with the line before
        if not colon:
            tags.find(f"bag-info.txt: line {number}", "is no label and value")
        elif label.strip().casefold() == "payload-oxum":
            match = re.fullmatch(r"([0-9]{1,19})\.([0-9]{1,19})", value.strip())
            if match is None or tags.oxum is not None:
                tags.find(f"bag-info.txt: line {number}", "is no single Payload-Oxum")
            else:
                tags.oxum = (int(match[1]), int(match[2]))


def _path(text: str, payload: bool, place: str, tags: Tags) -> str:
    """The path of a line, its escapes undone (RFC 8493, 2.1.3); empty and a finding where it must not be followed."""
    path = re.sub("%0[AD]|%25", lambda match: _ESCAPES[match[0].upper()], text, flags=re.IGNORECASE)
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in path or path.startswith("~"):
        tags.find(place, f"has the path {text}, which leads out of the bag or is not written plainly")
    elif payload and parts[0] != "data":
        tags.find(place, f"has the path {text}, which is not below data/")
    elif not payload and parts[0] == "data":
        tags.find(place, f"has the path {text}, which is no tag file's")
    else:
        return path
    return ""


def _lines(bag: str, name: str, tags: Tags) -> Iterator[tuple[int, str]]:
    """The lines of a tag file, numbered, without their ends and without empty ones."""
    try:
        descriptor = os.open(os.path.join(bag, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                tags.find(name, "is no file of text")
                return
            text = stream.read(_LARGEST).decode()
    except OSError as error:
        tags.find(name, error.strerror or str(error))
        return
    except UnicodeDecodeError as error:
        tags.find(name, f"is no UTF-8 at byte {error.start}")
        return
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        if line:
            yield number, line
