"""How a command is declared, and what every command does alike: options, messages, signals and exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from toolkit import __version__
from toolkit.core import progress
from toolkit.core.errors import InputOutput, ToolError, Unavailable


class _Terminated(BaseException):
    """SIGTERM arrived: unwind, so that temporary files go, then die of it."""


class Tool(click.Command):
    """A click command that behaves in pipelines, cron jobs and makefiles as coreutils do."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None, **extra: Any
    ) -> NoReturn:
        name = self.name or prog_name or ""
        arguments = list(sys.argv[1:] if args is None else args)
        instruction = os.environ.get(f"_{name.replace('-', '_').upper()}_COMPLETE")
        if instruction:
            from click.shell_completion import shell_complete

            sys.exit(shell_complete(self, {}, name, f"_{name.replace('-', '_').upper()}_COMPLETE", instruction))
        extra.pop("standalone_mode", None)
        signal.signal(signal.SIGTERM, _raise_terminated)
        status = _run(name, arguments, lambda: self._invoke_whole(name, arguments, extra))
        sys.exit(status)

    def _invoke_whole(self, name: str, arguments: list[str], extra: dict[str, Any]) -> int:
        try:
            with self.make_context(name, list(arguments), **extra) as context:
                status = self.invoke(context)
        except click.exceptions.Exit as end:
            status = end.exit_code
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        sys.stdout.flush()
        return status if isinstance(status, int) else 0

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog as it stands: it holds examples, one command a line."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(self.epilog.strip("\n") + "\n")


def command(name: str, *, examples: str, **settings: Any) -> Callable[[Callable[..., Any]], Tool]:
    """Declare the function below as the command `name`; `examples` close its help, the commonest pipe first."""
    lines = "\n".join("  " + line.strip() for line in examples.strip().splitlines())

    def declare(function: Callable[..., Any]) -> Tool:
        function = click.version_option(__version__, prog_name=name, message="%(prog)s (scape-toolkit) %(version)s")(function)
        for decorate in (
            click.option("-v", "--verbose", count=True, expose_value=False, callback=_set_verbose, help="Say more; twice: with tracebacks."),
            click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet, help="No progress, no warnings."),
        ):
            function = decorate(function)
        epilog = f"Examples:\n{lines}\n\nSee {name}(1)."
        return click.command(name, cls=Tool, epilog=epilog, context_settings={"max_content_width": 100}, **settings)(function)

    return declare


def _run(name: str, arguments: list[str], work: Callable[[], int]) -> int:
    logging.basicConfig(format=f"{name}: %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    try:
        return work()
    except ToolError as error:
        return _complain(name, arguments, error)
    except BrokenPipeError:
        _die_of(signal.SIGPIPE)
    except (KeyboardInterrupt, click.exceptions.Abort):
        _die_of(signal.SIGINT)
    except _Terminated:
        _die_of(signal.SIGTERM)
    except ModuleNotFoundError as error:
        return _complain(name, arguments, Unavailable(f"Python package {error.name}", "is not installed", "run `make install` or pip install scape-toolkit"))
    except MemoryError:
        return _complain(name, arguments, InputOutput("memory", "is exhausted", "ask for less: a lower bandwidth or a smaller window"))
    except OSError as error:
        return _complain(name, arguments, InputOutput(error.filename or "standard output", error.strerror or str(error)))
    raise AssertionError("a signal that kills did not")


def _complain(name: str, arguments: list[str], error: ToolError) -> int:
    if logging.getLogger().level <= logging.DEBUG:
        import traceback

        traceback.print_exc()
    print(f"{name}: {error}", file=sys.stderr)
    _abandon_stdout()
    return error.exit_status


def _abandon_stdout() -> None:
    """Keep the interpreter from flushing into a stream that failed: it would print a second message."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _die_of(number: signal.Signals) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("unreachable: the signal's default action ends the process")


def _raise_terminated(number: int, frame: Any) -> NoReturn:
    raise _Terminated


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        progress.wanted = False
        logging.getLogger().setLevel(logging.ERROR)


def _set_verbose(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        logging.getLogger().setLevel(logging.INFO if value == 1 else logging.DEBUG)
