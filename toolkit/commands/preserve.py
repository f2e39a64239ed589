"""Keep an experiment so that it can be verified and repeated; see preserve(1)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from toolkit.core.command import command

ACTIONS = ["create", "verify", "replay", "show"]
_USED_BY = {
    "create": [
        *["output", "title", "description", "author", "organisation", "licence", "tolerance"],
        *["root", "moved", "code", "history", "reference", "larger_than"],
    ],
    "verify": ["fetch", "json"],
    "replay": ["output", "fetch", "json", "run"],
    "show": ["json"],
}


@command(
    "preserve",
    examples="""
    preserve create run.jsonl -o crate --title 'Correlation at 128' --author 'Jan Kowalski' --licence CC-BY-4.0
    preserve create run.jsonl -o crate --code . --tolerance '*.npy=1e-6' --larger-than 1G=https://data.example/run7
    preserve verify crate
    preserve replay crate --run -o again
    preserve show crate
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", help="create: the new crate. replay: a new directory to work in. [a temporary one]")
@click.option("--title", metavar="TEXT", help="create: what the experiment is called. [its commands' names]")
@click.option("--description", metavar="TEXT", help="create: what it is about.")
@click.option("--author", metavar="NAME", multiple=True, help="create: who did it, with an ORCID if there is one. [the user's name]")
@click.option("--organisation", metavar="NAME", help="create: where it was done.")
@click.option("--licence", metavar="ID|URL", help="create: how it may be used, as CC-BY-4.0. [none given]")
@click.option("--root", metavar="DIR", help="create: below it files keep their places. [where the commands ran]")
@click.option("--moved", metavar="OLD=NEW", multiple=True, help="create: files recorded below OLD are now below NEW.")
@click.option("--code", metavar="DIR", help="create: keep the recorded commits of this git work tree.")
@click.option("--history", is_flag=True, help="create: keep the code with its history, as a git bundle.")
@click.option("--reference", metavar="FILE=URL", multiple=True, help="create: do not copy this file, it can be fetched from there.")
@click.option("--larger-than", metavar="SIZE=URL", help="create: the same for all files larger than 100k, 10M, 1G, below a URL.")
@click.option("--tolerance", metavar="PATTERN=RTOL[:ATOL]", multiple=True, help="create: by how much numbers may differ in a replay.")
@click.option("--fetch", is_flag=True, help="verify, replay: fetch the files that are kept by reference.")
@click.option("--run", is_flag=True, help="replay: execute the commands without asking.")
@click.option("--json", is_flag=True, help="verify, replay, show: write JSON.")
def preserve(action: str, paths: tuple[str, ...], **given: Any) -> int:
    """Keep an experiment as a crate, and look at what was kept.

    ACTION create makes a crate of run records, each PATH one, and of the files that they name: a Process Run Crate in a BagIt bag. verify
    looks whether the crate PATH is whole and unchanged, replay executes its commands again and compares what they write, show lists what
    is in it.
    """
    from toolkit.core.errors import UsageError

    for name, value in given.items():
        if value not in (None, (), False) and name not in _USED_BY[action]:
            raise UsageError("--" + name.replace("_", "-"), f"says nothing to {action}", "leave it out")
    if action == "create":
        return _create(paths, given)
    if len(paths) > 1:
        raise UsageError(paths[1], f"is one too many: {action} takes one crate", "leave it out")
    from toolkit.experiment.preserving.asking import replay_crate, show_crate, verify_crate

    lines: Iterable[str]
    if action == "verify":
        status, lines = verify_crate(paths[0], given["fetch"], given["json"])
    elif action == "replay":
        status, lines = replay_crate(paths[0], given["output"], given["fetch"], given["json"], _agreed if not given["run"] else _yes)
    else:
        status, lines = 0, show_crate(paths[0], given["json"])
    for line in lines:
        sys.stdout.write(line + "\n")
    return status


def _create(records: tuple[str, ...], given: dict[str, Any]) -> int:
    from toolkit.core.errors import UsageError
    from toolkit.experiment.preserving.asking import request_of
    from toolkit.experiment.preserving.creating import create

    if given["output"] is None:
        raise UsageError("--output", "is missing", "name the crate that is to be made")
    if given["history"] and given["code"] is None:
        raise UsageError("--history", "says nothing without --code", "name a git work tree with --code")
    create(request_of(records, given), given["output"])
    return 0


def _agreed(question: str) -> bool:
    """Whether a person at the terminal says yes; without one nobody can."""
    return sys.stdin is not None and sys.stdin.isatty() and click.confirm(question, err=True)


def _yes(question: str) -> bool:
    return True
