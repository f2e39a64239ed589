"""Make a crate: run records, the files that they name, the code, and the metadata that ties them together, as one bag."""

from __future__ import annotations

import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from toolkit import __version__
from toolkit.core.errors import BadData
from toolkit.core.progress import progress
from toolkit.core.streams import open_input, stream_name
from toolkit.experiment.preserving.bag import Digests, NewBag, new_bag
from toolkit.experiment.preserving.code import add_code
from toolkit.experiment.preserving.crate import Attachment, Description, metadata
from toolkit.experiment.preserving.gathering import Gathered, Kept, References, changed, common_root, gather
from toolkit.experiment.preserving.pipes import is_pipe, pipes_of, stream
from toolkit.experiment.preserving.places import METADATA, RECORDS, Root, absolute, payload_name
from toolkit.experiment.run_record import Command, read_run_records

_log = logging.getLogger(__name__)
_READERS = 4  # hashing two digests of one file keeps one processor busy


@dataclass(frozen=True)
class Request:
    """What a crate is made of."""

    records: Sequence[str]  # paths, - for standard input
    description: Description
    root: str | None = None  # below it files keep their places; by default the directory that all commands ran below
    moved: Mapping[str, str] = field(default_factory=dict)
    references: References = References()
    code: str | None = None  # a git work tree whose recorded commit goes into the crate
    history: bool = False


def create(request: Request, target: str) -> None:
    """Write the crate `target`; it appears whole or not at all.

    Raises NoInput, BadData where a file that a record names is gone or has changed, CannotCreate, InputOutput.
    """
    records = {name: _read(path) for name, path in zip(_record_names(request.records), request.records, strict=True)}
    commands = _commands(records, request.records)
    root = _root(request.root, commands) if request.root is not None else common_root(commands)
    gathered = gather(commands, root, request.moved, request.references)
    _warn(gathered)
    description = _described(request.description, commands)
    now = datetime.now(UTC)
    information = _information(description, now)
    with new_bag(target, information) as bag:
        _copy(gathered, bag)
        attached = [_record(bag, name, content) for name, content in records.items()]
        if request.code is not None:
            attached += add_code(bag, commands, request.code, request.history)
        text = json.dumps(metadata(gathered, attached, description, now), indent=1, ensure_ascii=False)
        bag.add_bytes(METADATA, text.encode() + b"\n")


def _described(description: Description, commands: Sequence[Command]) -> Description:
    """With a title and a text, which a crate must have."""
    names = list(dict.fromkeys(os.path.basename(command.argv[0]) for command in commands))
    title = description.title or ", ".join(names[:5]) + (" and others" if names[5:] else "")
    return replace(description, title=title, text=description.text or f"{len(commands)} recorded command{'s' * (len(commands) > 1)}.")


def _root(directory: str, commands: Sequence[Command]) -> Root:
    """The directory as the records call it: they know no symbolic links in the directories that commands ran in."""
    places = [Root(os.path.abspath(directory)), Root(os.path.realpath(directory))]
    return next((one for one in places if any(one.contains(absolute("/", command.directory)) for command in commands)), places[0])


def _warn(gathered: Gathered) -> None:
    """Say what a crate will not be able to repeat, or lacks, while it can still be recorded otherwise."""
    known, fed = {path for path, _ in gathered.kept}, {pipe.reader.command for pipe in pipes_of(gathered.commands)}
    inherited = Counter(stream(command, "stdin") for command in gathered.commands)  # by several: from cron, ssh or a script
    for command in gathered.commands:
        name, stdin, stdout = os.path.basename(command.argv[0]), stream(command, "stdin"), stream(command, "stdout")
        if is_pipe(stdin) and inherited[stdin] == 1 and command.command not in fed:
            _log.warning("%s: if it read what a program piped to it, put profile-wrap before that too, or it cannot be repeated", name)
        if stdin.startswith("/") and not stdin.startswith("/dev/") and stdin not in known:
            _log.warning("%s: read %s, which was not recorded, so it cannot be repeated; give profile-wrap --input", name, stdin)
        if gathered.root.contains(stdout) and not stdout.startswith("/dev/") and stdout not in known:
            _log.warning("%s: wrote to %s, which was not recorded and is not kept; give profile-wrap --output", name, stdout)


def _read(path: str) -> bytes:
    with open_input(path) as stream:
        return stream.read()


def _record_names(paths: Iterable[str]) -> list[str]:
    """A name in the crate for each run record; records of the same name in different directories are numbered."""
    names: list[str] = []
    for path in paths:
        base = "standard-input.jsonl" if path == "-" else os.path.basename(path)
        name, number = payload_name(f"{RECORDS}/{base}"), 2
        while name in names:
            name, number = payload_name(f"{RECORDS}/{number}-{base}"), number + 1
        names.append(name)
    return names


class _Named(io.BytesIO):
    """What was read from a file, with its name for messages."""

    name = ""


def _commands(records: Mapping[str, bytes], paths: Sequence[str]) -> list[Command]:
    sources = [_Named(content) for content in records.values()]
    for path, source in zip(paths, sources, strict=True):
        source.name = stream_name(path)
    commands = [command for command in read_run_records(sources) if command.argv]
    if not commands:
        raise BadData(", ".join(map(stream_name, paths)), "tells of no command", "name files that profile-wrap wrote")
    return commands


def _copy(gathered: Gathered, bag: NewBag) -> None:
    """Copy or reference every file, each compared with its record while it is read."""
    kept = list(gathered.kept.values())
    with progress("preserve", sum(one.size for one in kept), "B") as bar, ThreadPoolExecutor(_READERS) as pool:
        tasks = [pool.submit(_add, bag, one) for one in kept]
        try:
            for one, task in zip(kept, tasks, strict=True):
                task.result()
                bar.update(one.size)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _add(bag: NewBag, kept: Kept) -> Digests:
    found = bag.add_file(kept.name, kept.source) if kept.url is None else bag.add_reference(kept.name, kept.source, kept.url)
    if found.sha256 != kept.sha256:
        raise changed(kept, f"SHA-256 {found.sha256[:12]}..., not {kept.sha256[:12]}...")
    return found


def _record(bag: NewBag, name: str, content: bytes) -> Attachment:
    digests = bag.add_bytes(name, content)
    return Attachment(name, "Run record: " + os.path.basename(name), digests.size, digests.sha256)


def _information(description: Description, now: datetime) -> dict[str, str]:
    """The lines of bag-info.txt (RFC 8493, 2.2.2)."""
    organisation = description.organisation.name if description.organisation else ""
    return {
        "Source-Organization": organisation,
        "Contact-Name": ", ".join(author.name for author in description.authors),
        "External-Description": description.title,
        "Bagging-Date": now.date().isoformat(),
        "Bag-Software-Agent": f"scape-toolkit {__version__}, preserve(1)",
    }
