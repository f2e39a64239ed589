"""Job scripts for a cluster's queue, made from a template that also says how they are submitted, watched and cancelled."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input

SHIPPED = ("sbatch", "qsub")
_DIRECTION = re.compile(r"#stage (submit|poll|cancel): *(.+)")
_USED = {"submit": "{script}", "poll": "{job}", "cancel": "{job}"}


@dataclass(frozen=True)
class Template:
    """A job script's text, and the commands of the far side's queue, with {names} in braces."""

    script: str
    submit: str
    poll: str  # writes something on its standard output as long as the job waits or runs
    cancel: str


def read_template(name: str) -> Template:
    """The shipped template of that name (sbatch, qsub), else a file. Raises NoInput, BadData."""
    if name in SHIPPED:
        text = (resources.files("toolkit") / "data" / f"{name}.job").read_text()
    else:
        with open_input(name) as stream:
            text = stream.read().decode("utf-8", "surrogateescape")
    found = dict(_DIRECTION.findall(text))
    for direction, used in _USED.items():
        if used not in found.get(direction, ""):
            example = f"#stage {direction}: COMMAND {used}"
            raise BadData(name, f"does not say how to {direction} a job", f"add a line like: {example}")
    for used in ("{command}", "{status}"):
        if used not in text:
            raise BadData(name, f"does not use {used}", "write it where sbatch's template does; see sftp-stage(1)")
    return Template(text, found["submit"], found["poll"], found["cancel"])


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with {name} replaced for the names that there are values of; other braces, as in ``${HOME}``, stay."""
    return re.sub(r"(?<!\$)\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def command_line(words: list[str], record: str) -> str:
    """A line for sh that runs the words, under profile-wrap with its record in `record` where the machine has profile-wrap."""
    plain = shlex.join(words)
    return f"if command -v profile-wrap >/dev/null 2>&1; then profile-wrap -o {shlex.quote(record)} -- {plain}; else {plain}; fi"


def job_number(answer: bytes) -> str:
    """The job's number in what the queue's submit command wrote: the first word of the last line, without a cluster's name."""
    lines = [line for line in os.fsdecode(answer).splitlines() if line.strip()]
    word = lines[-1].split()[0].split(";")[0] if lines else ""
    if not re.fullmatch(r"[\w.\[\]-]+", word) or word.startswith("-"):
        raise BadData("the queue", f"answered {os.fsdecode(answer).strip()!r}, which is no job", "try the submit command by hand")
    return word
