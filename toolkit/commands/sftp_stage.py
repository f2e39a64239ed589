"""Bring trees of files to a machine far away, run something there, and bring results back; see sftp-stage(1)."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.core.command import command

if TYPE_CHECKING:
    from toolkit.experiment.staging.connection import Access
    from toolkit.experiment.staging.ledger import Outcome
    from toolkit.experiment.staging.plan import Plan
    from toolkit.experiment.staging.wishes import Wishes

_log = logging.getLogger(__name__)
_OF_RUN = ("inputs", "outputs", "template", "poll", "record")
_OF_TREES = ("exclude", "exclude_from", "follow", "checksum", "delete", "dry_run", "form")
_NAMES = {"inputs": "in", "outputs": "out", "form": "json"}


@command(
    "sftp-stage",
    examples="""
    sftp-stage push data cluster:/scratch/me/data
    sftp-stage pull cluster:/scratch/me/results results --exclude '*.tmp'
    sftp-stage run cluster:work --in sphere.npy --out '*.jsonl' -- rank-candidates sphere.npy
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["push", "pull", "run"]))
@click.argument("words", metavar="WORD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out what matches.")
@click.option("--exclude-from", metavar="FILE", multiple=True, help="Leave out what matches a line of the file.")
@click.option("--follow", is_flag=True, help="Send what links point to.")
@click.option("--checksum", is_flag=True, help="Compare contents, not sizes and times.")
@click.option("--delete", is_flag=True, help="Delete in the target what the source does not have.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "form", is_flag=True, help="Write a line of JSON for each file.")
@click.option("--verify", type=click.Choice(["auto", "read-back", "none"]), default="auto", help="How files are verified. [auto]")
@click.option("--no-manifest", is_flag=True, help="Keep no .sftp-stage/manifest.sha256 in the target.")
@click.option("--fsync", "synchronise", is_flag=True, help="Have each file on disk before it gets its name.")
@click.option("--limit", metavar="RATE", help="Bytes a second at most: 500k, 10M.")
@click.option("--connections", type=click.IntRange(1, 16), metavar="N", default=1, help="Connections, for lossy networks. [1]")
@click.option("--channels", type=click.IntRange(1, 10), metavar="N", help="Channels of a connection. [as the work needs]")
@click.option("--retries", type=click.IntRange(0, 1000), metavar="N", default=5, help="Attempts in a row that may fail. [5]")
@click.option("--transport", type=click.Choice(["auto", "ssh", "paramiko"]), default="auto", help="What makes the connection. [auto]")
@click.option("--identity", "identities", metavar="FILE", multiple=True, type=Path, help="A private key.")
@click.option("--known-hosts", metavar="FILE", multiple=True, type=Path, help="Where keys of hosts are. [~/.ssh/known_hosts]")
@click.option("--accept-key", metavar="FINGERPRINT", help="Accept an unknown host that has this key.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="The host's port. [22]")
@click.option("--ssh-option", "ssh_options", metavar="NAME=VALUE", multiple=True, help="ssh: an option of ssh_config.")
@click.option("--in", "inputs", metavar="FILE", multiple=True, help="run: bring a file or directory there first.")
@click.option("--out", "outputs", metavar="GLOB", multiple=True, help="run: bring back what matches.")
@click.option("--template", metavar="NAME", help="run: as a job of a queue: sbatch, qsub, or a file.")
@click.option("--poll", type=click.FloatRange(0.1), metavar="SECONDS", help="run: how often a job is looked after, at most. [10]")
@click.option("--record", metavar="FILE", help="run: where the run record goes. [run-HOST-TIME.jsonl]")
def sftp_stage(action: str, words: tuple[str, ...], **given: Any) -> int:
    """Bring files to another machine and back over SFTP, quickly, verified, and on from where a broken connection left them.

    \b
      push LOCAL HOST:PATH           a directory's contents, or a file, into the directory PATH
      pull LOCAL HOST:PATH           from there into the directory LOCAL
      run HOST[:DIR] -- COMMAND      bring files there, run a command, bring results back

    What is there with the same size and time is not sent again. HOST:PATH may also be sftp://USER@HOST:PORT/PATH.
    """
    from toolkit.core.errors import UsageError

    for name in _OF_TREES if action == "run" else _OF_RUN:
        if given[name]:
            raise UsageError("--" + _NAMES.get(name, name).replace("_", "-"), f"says nothing to {action}", "leave it out")
    wishes, access = _wishes(given), _access(given)
    return _run(words, given, wishes, access) if action == "run" else _stage(action, words, given, wishes, access)


def _stage(action: str, words: tuple[str, ...], given: dict[str, Any], wishes: Wishes, access: Access) -> int:
    from toolkit.core.errors import UsageError
    from toolkit.experiment.staging.places import host_of, is_place, parse_place
    from toolkit.experiment.staging.session import Machine

    if len(words) != 2:
        raise UsageError(action, "needs a local name and HOST:PATH", f"write sftp-stage {action} LOCAL HOST:PATH")
    local, far = words[::-1] if is_place(words[0]) and not is_place(words[1]) else words
    place = parse_place(far)
    if is_place(local):
        raise UsageError(local, "is on another machine too", "write ./ before a local name with a colon")
    with Machine(host_of(place, given["port"]), access, wishes.connections) as machine:
        from toolkit.experiment.staging.stage import pull, push  # while it connects

        bring, report = {"push": push, "pull": pull}[action], _write if given["form"] else lambda outcome: None
        plan, failed = bring(os.fsencode(local), machine, place.path, wishes, report)
    return 1 if failed or (wishes.dry_run and _say(plan, given["form"])) else 0


def _run(words: tuple[str, ...], given: dict[str, Any], wishes: Wishes, access: Access) -> int:
    from toolkit.core.errors import UsageError
    from toolkit.experiment.staging.jobs import read_template
    from toolkit.experiment.staging.places import host_of, parse_place
    from toolkit.experiment.staging.remote_run import Errand, run_there
    from toolkit.experiment.staging.session import Machine

    if len(words) < 2:
        raise UsageError("run", "needs a host and a command", "write sftp-stage run HOST:DIR -- COMMAND")
    if given["poll"] and not given["template"]:
        raise UsageError("--poll", "says nothing without --template", "leave it out")
    template = read_template(given["template"]) if given["template"] else None
    errand = Errand(words[1:], given["inputs"], given["outputs"], template, given["poll"] or 10.0, given["record"])
    place = parse_place(words[0], path_needed=False)
    with Machine(host_of(place, given["port"]), access, wishes.connections) as machine:
        return run_there(errand, machine, place, wishes, lambda outcome: None)


def _wishes(given: dict[str, Any]) -> Wishes:
    from dataclasses import fields

    from toolkit.experiment.staging.patterns import read_patterns
    from toolkit.experiment.staging.wishes import Wishes, parse_rate

    patterns = [pattern for file in given["exclude_from"] for pattern in read_patterns(file)]
    read = {"exclude": (*given["exclude"], *patterns), "manifest": not given["no_manifest"], "limit": parse_rate("--limit", given["limit"])}
    return Wishes(**{field.name: given[field.name] for field in fields(Wishes) if field.name in given} | read)


def _access(given: dict[str, Any]) -> Access:
    from toolkit.experiment.staging.connection import Access

    return Access(**{name: given[name] for name in ("transport", "identities", "known_hosts", "accept_key", "ssh_options")})


def _write(outcome: Outcome) -> None:
    import json

    click.echo(json.dumps(outcome.record()))


def _say(plan: Plan, form: bool) -> int:
    """What a dry run found, a line for each file; gives how much would fail."""
    from toolkit.experiment.staging.plan import lines

    for line in lines(plan, form):
        click.echo(line)
    for error in plan.problems.values():
        _log.error("%s", error)
    return len(plan.problems)
