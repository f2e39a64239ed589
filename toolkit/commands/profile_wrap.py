"""Run a command and record what it took: memory, time, stages, files and machine; see profile-wrap(1)."""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

NAME = "profile-wrap"
# The names of each option, its name here, whether it may be given several times, its value, its help.
OPTIONS = [
    (("-o", "--record"), "output", False, "FILE", "Append the record to this file. [$TOOLKIT_RUN_RECORD, or RUN.jsonl here]"),
    (("--interval",), "interval", False, "MS", "Look at the processes every MS milliseconds. [1, 2, 4 ... 50]"),
    (("--tag",), "tags", True, "K=V", "Note a property of the run, as a resolution or a data set."),
    (("-r", "--repeat"), "repetitions", False, "N", "Run the command N times, until it fails. [1]"),
    (("--input",), "inputs", True, "F", "Record this file, or the files below it, before the command runs."),
    (("--output",), "outputs", True, "F", "Record this file, or the files below it, after it has run."),
    (("--stage-regex",), "stage_regex", False, "REGEX", "A line on standard error that matches begins a stage, named by the first group."),
    (("--plot",), "plot", False, "PNG", "Draw memory over time with the stages."),
]
EXAMPLES = """
profile-wrap -o RUN.jsonl scc sphere.npy photo.npy > block.npy
profile-wrap -o RUN.jsonl edges photo.jpg | profile-wrap -o RUN.jsonl gzip > photo.gz
profile-wrap --tag input=128 --input a.npy --output c.npy scc a.npy b.npy -o c.npy
profile-wrap -r 5 --plot memory.png sort words < /dev/null
"""


class _Command:
    """The command as it is called, and as click knows it. click is loaded only where it has something to say, to help, to complain or
    to complete: loading it takes longer than all that a wrapped command may be slowed down by."""

    def __call__(self) -> None:
        plain = None if f"_{NAME.replace('-', '_').upper()}_COMPLETE" in os.environ else _plain(sys.argv[1:])
        if plain is None:
            _declared()()
            return
        try:
            sys.exit(_run(*plain))
        except Exception as error:  # click's commands have the same
            _say(f"internal error: {type(error).__name__}: {error}; run it again with -vv and report what it prints")
            sys.exit(125)

    def __getattr__(self, name: str) -> Any:
        return getattr(_declared(), name)


profile_wrap = _Command()


def _plain(words: list[str]) -> tuple[list[str], dict[str, Any], bool] | None:
    """The command, the options and whether to be quiet; None where there is anything that click should see to."""
    known = {name: (key, several) for names, key, several, _, _ in OPTIONS for name in names}
    given: dict[str, Any] = {key: () if several else None for _, key, several, _, _ in OPTIONS}
    quiet, at = False, 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-", "--"):
        name, equals, value = words[at].partition("=")
        at += 1
        if name in ("-q", "--quiet") and not equals:
            quiet = True
            continue
        if name not in known or (equals and not name.startswith("--")) or (not equals and at == len(words)):
            return None
        if not equals:
            value, at = words[at], at + 1
        key, several = known[name]
        given[key] = (*given[key], value) if several else value
    command = words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]
    return (command, given, quiet) if command else None


def _declared() -> Any:
    """The same as click declares it."""
    import logging

    import click

    from toolkit.core.command import command

    def function(words: tuple[str, ...], **given: Any) -> int:
        return _run(list(words), given, quiet=logging.getLogger("toolkit").level >= logging.ERROR)

    function.__doc__ = """Run COMMAND and record what it took: memory, time, stages, files and the machine it ran on.

    Its streams, signals and exit status are passed through untouched. Put -- before a COMMAND with options of the same names."""
    function = click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)(function)
    for names, key, several, value, text in reversed(OPTIONS):
        function = click.option(*names, key, metavar=value, multiple=several, help=text)(function)
    tool = command(NAME, examples=EXAMPLES)(function)
    tool.allow_interspersed_args = False
    return tool


def _run(words: list[str], given: dict[str, Any], quiet: bool) -> int:
    """The exit status; of a command that a signal killed, this process dies too."""
    import signal

    from toolkit.core.errors import ToolError, UsageError

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command runs there is nothing to tidy up
    try:
        from toolkit.experiment.profiling.launching import NotExecutable, NotFound, die_of
        from toolkit.experiment.profiling.measuring import FAILURE, wrap
        from toolkit.experiment.profiling.request import request

        outcome = wrap(request(words, given))
    except (UsageError, NotFound, NotExecutable) as error:
        _say(error)
        return error.exit_status
    except (ToolError, OSError) as error:
        _say(error)
        return 125  # as env(1), nohup(1) and timeout(1) tell their own failures
    for warning in [] if quiet else outcome.warnings:
        _say(warning)
    for failure in outcome.failures:
        _say(failure)
    if outcome.signal:
        die_of(outcome.signal)
        return 128 + outcome.signal
    return outcome.status or (FAILURE if outcome.failures else 0)


def _say(message: object) -> None:
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message))
    with contextlib.suppress(OSError, AttributeError):  # nobody is left to be told
        sys.stderr.write(f"{NAME}: {line}\n")
        sys.stderr.flush()
