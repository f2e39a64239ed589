"""What a person asks for, in words of a command line, as requests; and the answers, as lines."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toolkit.core.errors import BadData, CannotCreate, UsageError
from toolkit.experiment.preserving.comparing import Tolerance
from toolkit.experiment.preserving.crate import Agent, Description
from toolkit.experiment.preserving.creating import Request
from toolkit.experiment.preserving.gathering import References
from toolkit.experiment.preserving.replaying import Crate, Replay, read_crate, replay, runs
from toolkit.experiment.preserving.shapes import read_metadata
from toolkit.experiment.preserving.telling import command_lines, content, content_lines, plain, replay_json, replay_lines
from toolkit.experiment.preserving.verifying import Verdict, verify

_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_log = logging.getLogger(__name__)


def request_of(records: Sequence[str], given: Mapping[str, Any]) -> Request:
    """A crate to be made, of the options of preserve create. Raises UsageError."""
    size, base = _pair(given["larger_than"], "--larger-than") if given["larger_than"] else ("", "")
    single = {os.path.abspath(file): _url(url) for file, url in (_pair(one, "--reference") for one in given["reference"])}
    references = References(single, _size(size) if size else None, _url(base) if size else "")
    for one in given["tolerance"]:
        Tolerance.parse(one)
    authors = [_agent(one, "--author") for one in given["author"]] or [_user()]
    organisation = _agent(given["organisation"], "--organisation") if given["organisation"] is not None else None
    words = given["title"] or "", given["description"] or "", _licence(given["licence"])
    moved = {os.path.abspath(old): os.path.abspath(new) for old, new in (_pair(one, "--moved") for one in given["moved"])}
    description = Description(*words, authors, organisation, given["tolerance"])
    return Request(records, description, given["root"], moved, references, given["code"], given["history"])


def verify_crate(bag: str, fetch: bool, as_json: bool) -> tuple[int, Iterable[str]]:
    """Look whether a crate is sound: the exit status, and a line for each finding."""
    verdict = verify(bag, fetch)
    if verdict.elsewhere:
        _log.warning("%s: %d files are kept by reference and were not looked at; --fetch gets them", bag, len(verdict.elsewhere))
    return int(bool(verdict.findings)), _finding_lines(verdict, as_json)


def replay_crate(bag: str, directory: str | None, fetch: bool, as_json: bool, agreed: Callable[[str], bool]) -> tuple[int, Iterable[str]]:
    """Run a crate's commands again if it is sound and `agreed` says yes to them; the exit status, and what came of it.

    Raises UsageError where nobody agreed.
    """
    verdict = verify(bag, fetch)
    if verdict.findings:
        _log.warning("%s: is not sound, so nothing was executed", bag)
        return 1, _finding_lines(verdict, as_json)
    crate = read_crate(bag)
    commands = [command for together in runs(crate) for command in together]
    if not commands:
        raise BadData(bag, "has no command that could be repeated", "look at it with preserve show")
    question = "\n".join([f"{bag} wants to execute:", *command_lines(commands), "Run these programs?"])
    if not agreed(question):
        raise UsageError(bag, "executes programs that the crate names", "look at them with preserve show, then give --run")
    result = _replayed(crate, directory)
    lines = [json.dumps(replay_json(result), ensure_ascii=False)] if as_json else replay_lines(result)
    return int(not result.is_equal), lines


def show_crate(bag: str, as_json: bool) -> Iterable[str]:
    """What is in a crate, whether or not it is sound."""
    told = content(read_crate(bag), read_metadata(bag))
    return [json.dumps(told, ensure_ascii=False)] if as_json else content_lines(told)


def _replayed(crate: Crate, directory: str | None) -> Replay:
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="replay-", ignore_cleanup_errors=True) as temporary:
            return replay(crate, temporary)
    try:
        os.mkdir(directory)
    except OSError as error:
        remedy = "choose a new name" if os.path.lexists(directory) else "choose a directory that exists and can be written"
        raise CannotCreate(directory, error.strerror or str(error), remedy) from error
    try:
        return replay(crate, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _finding_lines(verdict: Verdict, as_json: bool) -> Iterable[str]:
    for finding in verdict.findings:
        told = {"place": finding.place, "problem": finding.problem}
        yield json.dumps(told) if as_json else plain(f"{finding.place}: {finding.problem}")


def _agent(text: str, option: str) -> Agent:
    agent = Agent.parse(text)
    if not agent.name or "<" in agent.name:
        raise UsageError(option, f"{text!r} is no name", "write it like Jan Kowalski, or 'Jan Kowalski <https://...>'")
    return agent


def _licence(text: str | None) -> str:
    if text is not None and not re.fullmatch(r"https?://[^/\s]+\S*|[A-Za-z0-9][A-Za-z0-9.+-]*", text):
        raise UsageError("--licence", f"{text!r} is neither a URL nor a short name of spdx.org", "write it like CC-BY-4.0")
    return text or ""


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(option, f"{text!r} has no two sides", "write both with = between")
    return name, value


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+\S*", text):
        raise UsageError(text, "is no URL of https or http", "name where the file can be fetched from")
    return text


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([kMGT]?)B?", text)
    if match is None:
        raise UsageError("--larger-than", f"{text!r} is no number of bytes", "write it like 500000, 100k, 10M or 1G")
    return int(match[1]) * _SIZES[match[2]]


def _user() -> Agent:
    """The user as the system knows them."""
    import pwd

    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return Agent(f"user {os.getuid()}")
    return Agent(entry.pw_gecos.partition(",")[0].strip() or entry.pw_name)
