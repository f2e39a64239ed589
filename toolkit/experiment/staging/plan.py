"""What has to be done so that one tree becomes like another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from toolkit.core.errors import BadData, CannotCreate, ToolError
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.tree import LeftOut, Tree, above, is_ours, shown, stays


@dataclass
class Plan:
    """Entries of the source in the order in which they are done, but for `deletions`, which are the target's."""

    directories: list[Entry] = field(default_factory=list)  # to be made, parents first
    files: list[Entry] = field(default_factory=list)  # to be sent
    links: list[Entry] = field(default_factory=list)  # to be made
    attributes: list[Entry] = field(default_factory=list)  # there already, but of another mode or time
    same: list[Entry] = field(default_factory=list)  # files and links with nothing to do
    deletions: list[Entry] = field(default_factory=list)  # what is in directories before the directories
    problems: dict[bytes, ToolError] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Is there nothing to do?"""
        return not (self.directories or self.files or self.links or self.attributes or self.deletions)

    @property
    def bytes(self) -> int:
        """How much has to be sent."""
        return sum(entry.size for entry in self.files)


def lines(made: Plan, as_json: bool) -> Iterator[str | bytes]:
    """What would be sent, made a link or deleted, a line for each."""
    for verb, entries in {"send": made.files, "link": made.links, "delete": made.deletions}.items():
        for entry in entries:
            told = {"path": os.fsdecode(entry.path), "bytes": entry.size, "status": f"would {verb}"}
            yield json.dumps(told) if as_json else verb.encode() + b" " + entry.path.replace(b"\n", b"\\n")


def unchanged(source: Entry, target: Entry) -> bool:
    """Size and time are the same: then so is the content, as rsync takes it too."""
    return source.size == target.size and source.mtime == target.mtime


def plan(
    source: Tree, target: Tree, *, delete: bool, left_out: LeftOut, same: Callable[[Entry, Entry], bool] = unchanged
) -> Plan:
    """Compare two trees. `left_out` protects what is not to be staged from being deleted; `same` compares two files.

    Nothing is deleted unless the whole source is known. A link that would lead out of the target is a problem, and so is a file
    where the target has a directory, or the reverse, with all that would be in it.
    """
    made = Plan(problems=dict(source.problems))
    refused: set[bytes] = set()
    for path, entry in source.entries.items():
        there = target.entries.get(path)
        if any(directory in refused for directory in above(path)):
            refused.add(path)
        elif entry.kind == "directory":
            if there is not None and there.kind != "directory":
                refused.add(path)
                made.problems[path] = CannotCreate(shown(path), f"is a {there.kind} there, and a directory here", "remove one of them")
            elif there is None:
                made.directories.append(entry)
            elif (entry.mode, entry.mtime) != (there.mode, there.mtime):
                made.attributes.append(entry)
        elif there is not None and there.kind == "directory":
            made.problems[path] = CannotCreate(shown(path), f"is a directory there, and a {entry.kind} here", "remove one of them")
        elif entry.kind == "link":
            _plan_link(made, entry, there)
        elif entry.kind == "file":
            _plan_file(made, entry, there, same)
    if delete and source.complete:
        made.deletions = _deletions(source, target, left_out)
    return made


def _plan_link(made: Plan, entry: Entry, there: Entry | None) -> None:
    if not stays(entry.path, entry.target):
        problem = f"is a link out of the tree, to {shown(entry.target)}"
        made.problems[entry.path] = BadData(shown(entry.path), problem, "--exclude leaves it out")
    elif there is not None and (there.kind, there.target) == ("link", entry.target):
        made.same.append(entry)
    else:
        made.links.append(entry)


def _plan_file(made: Plan, entry: Entry, there: Entry | None, same: Callable[[Entry, Entry], bool]) -> None:
    if there is None or there.kind != "file" or not same(entry, there):
        made.files.append(entry)
        return
    made.same.append(entry)
    if (entry.mode, entry.mtime) != (there.mode, there.mtime):
        made.attributes.append(entry)


def _deletions(source: Tree, target: Tree, left_out: LeftOut) -> list[Entry]:
    """What the target alone has, what is in a directory before the directory; nothing that is ours, excluded, or refused at the source."""
    kept = source.entries.keys() | source.problems.keys() | source.passed_over.keys()
    held: set[bytes] = set()
    for path, entry in target.entries.items():
        refused = path in source.problems or any(directory in source.problems for directory in above(path))
        excluded = left_out(path, entry.kind == "directory") or any(left_out(directory, True) for directory in above(path))
        if refused or excluded or is_ours(path):
            held.update((path, *above(path)))
    return [entry for path, entry in target.entries.items() if path not in kept and path not in held][::-1]
