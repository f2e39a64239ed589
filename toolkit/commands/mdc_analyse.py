"""Ask the visits of a data centre: ages, sexes, cases, abnormal results, lengths of stay; see mdc-analyse(1)."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from toolkit.commands.mapreduce import chosen_runner, runner_options
from toolkit.core.command import command
from toolkit.datacentre.analyses.questions import questions


def _question_options(function: Any) -> Any:
    """An option of the command for each that some question has."""
    options: dict[str, tuple[Any, list[str]]] = {}
    for name, question in questions().items():
        for option in question.options:
            options.setdefault(option.name, (option, []))[1].append(name)
    for option, names in reversed(options.values()):
        default = f" [{option.default}]" if option.default else ""
        kind = {"type": click.Choice(option.choices)} if option.choices else {"metavar": option.metavar}
        words = f"{', '.join(names)}: {option.help[0].lower()}{option.help[1:]}{default}"
        function = click.option(f"--{option.name}", multiple=option.multiple, help=words, **kind)(function)
    return function


def _help() -> str:
    analyses = "\n".join(f"  {name:<10}{question.summary}" for name, question in questions().items())
    return f"""Count what the visits of a data centre say. ANALYSIS is one of:

\b
{analyses}

Each STORE is what mdc-store filled (a directory, hdfs://, webhdfs:// or s3://), a directory of visit documents, a document, or - for
documents on standard input. Counts of fewer than five are hidden."""


@command(
    "mdc-analyse",
    help=_help(),
    examples="""
    mdc-analyse ages hdfs://nn:8020/visits --from 2026-01-01 --to 2026-12-31 -o ages
    mdc-analyse cases /srv/visits --from 2025-01-01 --to 2026-12-31 --icd10 I50 --icd10 J12,J18 --periods quarter -o cases
    mdc-analyse abnormal /srv/visits --from 2026-01-01 --to 2026-06-30 --icd10 E11 --trust range
    mdc-analyse stay s3://visits --from 2026-01-01 --to 2026-12-31 --icd10 I50 -r spark -o stay
    cat visits/*.xml | mdc-analyse sexes - --from 2026-01-01 --to 2026-12-31 --plot -
    """,
)
@click.argument("analysis", metavar="ANALYSIS", type=click.Choice(list(questions())))
@click.argument("sources", metavar="STORE...", nargs=-1, required=True)
@click.option("--from", "begin", metavar="DATE", required=True, help="The first day on which the visits began: 2026-01-01.")
@click.option("--to", "end", metavar="DATE", required=True, help="The last day.")
@_question_options
@click.option("-o", "--output", metavar="OUT", default="-", help="Write OUT.csv, OUT.json, OUT.svg and OUT.png. [-: the table]")
@click.option("--plot", type=click.Choice(["-"]), help="Draw the chart in the terminal too.")
@click.option("--suppress", "below", type=click.IntRange(2), metavar="K", default=5, help="Hide counts from 1 to K - 1. [5]")
@click.option("--no-suppress", is_flag=True, help="Show small counts.")
@click.option("--max-bad", type=click.FloatRange(0, 100), metavar="PERCENT", default=1.0, help="More bad documents are a failure. [1]")
@runner_options
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Processes that read documents. [one for each processor]")
@click.option("--tables", metavar="DIR", default="", help="Keep the row tables of documents in a new directory, a STORE from then on.")
@click.option("--cache", metavar="DIR", help="Where results are kept. [~/.cache/scape-toolkit/analyses]")
@click.option("--no-cache", is_flag=True, help="Keep nothing, use nothing that was kept.")
def mdc_analyse(analysis: str, sources: tuple[str, ...], **given: Any) -> int:
    from toolkit.core.caches import cache_directory
    from toolkit.core.errors import UsageError
    from toolkit.core.mapreduce.running import processors
    from toolkit.datacentre.analyses.publishing import Publication, publish
    from toolkit.datacentre.analyses.run import Request

    begin, end = _day("--from", given["begin"]), _day("--to", given["end"])
    if begin > end:
        raise UsageError("--from", f"{begin} is after {end}", "exchange the two")
    parameters = {"from": _number(begin), "to": _number(end), **_parameters(analysis, given)}
    check = questions()[analysis].check
    if check is not None:
        check(parameters)
    if given["no_suppress"] and click.get_current_context().get_parameter_source("below") is click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--suppress", "contradicts --no-suppress", "leave one out")
    kept = "" if given["no_cache"] else given["cache"] or cache_directory("analyses")
    request = Request(analysis, parameters, sources, chosen_runner(given), kept, given["tables"], jobs=given["jobs"] or processors())
    below = 0 if given["no_suppress"] else given["below"]
    return publish(request, Publication(given["output"], given["plot"] == "-", below, given["max_bad"]))


def _parameters(analysis: str, given: dict[str, Any]) -> dict[str, Any]:
    """The values of the question's options."""
    from toolkit.core.errors import UsageError

    question = questions()[analysis]
    for other in questions().values():
        for option in other.options:
            if given[option.name] not in (None, ()) and option.name not in {one.name for one in question.options}:
                raise UsageError(f"--{option.name}", f"says nothing to {analysis}", "leave it out")
    found = {}
    for option in question.options:
        value = option.default if given[option.name] in (None, ()) else given[option.name]
        if value is None:
            raise UsageError(f"--{option.name}", "is missing", f"give {option.metavar}")
        found[option.name] = option.parse(value)
    return found


def _day(option: str, text: str) -> date:
    from toolkit.core.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(option, f"{text!r} is no day of the calendar", "write it like 2026-01-31") from error


def _number(day: date) -> int:
    return day.year * 10000 + day.month * 100 + day.day
