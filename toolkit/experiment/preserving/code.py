"""The code that ran: the recorded commit of a git work tree, as its files or with its history."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from toolkit.core.errors import BadData, NoInput, Unavailable
from toolkit.experiment.preserving.bag import NewBag
from toolkit.experiment.preserving.crate import Attachment
from toolkit.experiment.preserving.places import CODE, payload_name
from toolkit.experiment.run_record import Command

_log = logging.getLogger(__name__)


def add_code(bag: NewBag, commands: Sequence[Command], directory: str, history: bool) -> list[Attachment]:
    """Put each commit that was recorded, and that `directory` has, into the bag; where none was recorded, the present one.

    A commit's files are a tar archive (git get-tar-commit-id tells the commit); with `history`, one bundle that git clones from.
    Raises NoInput where `directory` is no work tree of git, BadData where it has none of the recorded commits, Unavailable without git.
    """
    if shutil.which("git") is None:
        raise Unavailable("git", "is not installed", "install it, or leave out --code")
    head = _git(directory, "rev-parse", "HEAD")
    found = _recorded(commands, directory) or [head]
    name = os.path.basename(os.path.abspath(directory)) or "code"
    if not history:
        words = ["archive", "--format=tar", "-o", "{file}"]
        return [_attach(bag, directory, commit, f"{CODE}/{name}-{commit[:12]}.tar", [*words, commit, "--"]) for commit in found]
    for commit in found:
        if not _succeeds(directory, "merge-base", "--is-ancestor", commit, "HEAD"):
            raise BadData(directory, f"its present branch lacks the recorded commit {commit[:12]}", "check out one that has it")
    return [_attach(bag, directory, head, f"{CODE}/{name}.bundle", ["bundle", "create", "-q", "{file}", "HEAD"])]


def _recorded(commands: Sequence[Command], directory: str) -> list[str]:
    """The commits of the records that `directory` has; a warning for each that was not all that ran."""
    states: dict[str, bool] = {}
    for command in commands:
        commit = str(command.git.get("commit")) if command.git else ""
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
            states[commit] = states.get(commit, False) or bool(command.git and command.git.get("modified"))
    found = [commit for commit in states if _succeeds(directory, "cat-file", "-e", f"{commit}^{{commit}}")]
    if states and not found:
        raise BadData(directory, f"has no recorded commit, as {next(iter(states))[:12]}", "name the work tree of what ran")
    for commit in found:
        if states[commit]:
            _log.warning("%s: was modified when the commands ran; what the crate keeps is commit %s without that", directory, commit[:12])
    return found


def _attach(bag: NewBag, directory: str, commit: str, place: str, words: Sequence[str]) -> Attachment:
    name = payload_name(place)
    with tempfile.TemporaryDirectory() as temporary:
        file = os.path.join(temporary, "code")
        _git(directory, *(file if word == "{file}" else word for word in words))
        digests = bag.add_file(name, file)
    title = f"Source code: {os.path.basename(os.path.abspath(directory))} at commit {commit}"
    return Attachment(name, title, digests.size, digests.sha256, ("File", "SoftwareSourceCode"), _told(commit))


def _told(commit: str) -> dict[str, str]:
    return {"version": commit, "url": f"https://archive.softwareheritage.org/swh:1:rev:{commit}/"}  # by digest, archived there or not


def _git(directory: str, *words: str) -> str:
    result = subprocess.run(["git", "-C", directory, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["git failed"])[-1]
        raise NoInput(directory, f"is no work tree of git: {said}", "name one that has commits")
    return result.stdout.strip()


def _succeeds(directory: str, *words: str) -> bool:
    return subprocess.run(["git", "-C", directory, *words], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0
