"""Run records as tables, fitted laws, forecasts, figures and one page; see profile-report(1)."""

from __future__ import annotations

import logging
from typing import Any

import click

from toolkit.commands.mapreduce import chosen_runner, runner_options
from toolkit.core.command import command

_MOST_LINES = 5  # of a file
_log = logging.getLogger(__name__)


@command(
    "profile-report",
    help="""Report what runs took: times and memory of commands and their stages by resolution, power laws fitted to them, forecasts,
figures 4 to 11 of the seed experiment with our values, and one page of HTML.

Each RUN is a file that profile-wrap wrote or rank-candidates --report wrote, a directory or a store of them, a pattern, or - for
standard input.""",
    examples="""
    profile-report runs/ -o report
    profile-report runs/*.jsonl quality/*.json -o report --forecast 1024 --forecast 2048
    profile-report runs/ -o report --compare 2026-10 2026-11
    profile-report hdfs://nn:8020/runs -r spark --by photo -o report
    """,
)
@click.argument("sources", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", required=True, help="Write the report here; an earlier report is replaced.")
@click.option("--by", metavar="TAG[,TAG]", default="", help="Tell steps apart by these tags too.")
@click.option("--resolution", metavar="TAG", default="", help="The tag that laws are fitted against. [input or output, what fits better]")
@click.option("--compare", metavar="A B", nargs=2, help="Two machines, or two days, months or years: how many times as much B takes.")
@click.option("--forecast", metavar="R", multiple=True, type=click.FloatRange(0, min_open=True), help="Foretell this resolution. [2048]")
@runner_options
def profile_report(sources: tuple[str, ...], output: str, **given: Any) -> int:
    from toolkit.core.errors import UsageError
    from toolkit.core.stages import stage
    from toolkit.experiment.reporting.publishing import check_place, files_of, write_report
    from toolkit.experiment.reporting.report import Request, make_report

    check_place(output)
    by = tuple(tag.strip() for tag in given["by"].split(",")) if given["by"] else ()
    if not all(by) or len(set(by)) < len(by):
        raise UsageError("--by", f"{given['by']!r} is no list of different tags", "write tags with commas between them: photo,method")
    wanted = tuple(sorted(set(given["forecast"])))
    request = Request(sources, chosen_runner(given), by, given["resolution"], given["compare"] or None, wanted)
    with stage("read"):
        report = make_report(request)
    with stage("draw"):
        files = files_of(report)
    write_report(output, files)
    _name_bad(report.collected.bad)
    return 1 if report.collected.bad else 0


def _name_bad(bad: list[tuple[str, str]]) -> None:
    """A line for each, but of a file that is bad throughout only the first few."""
    named: dict[str, int] = {}
    for place, problem in bad:
        name, _, number = place.rpartition(":")
        name = name if name and number.isdecimal() else place
        named[name] = named.get(name, 0) + 1
        if named[name] <= _MOST_LINES:
            _log.warning("%s: %s; it is left out", place, problem)
    for name, count in named.items():
        if count > _MOST_LINES:
            _log.warning("%s: %d more lines are left out; tables/bad.csv names them", name, count - _MOST_LINES)
