"""How a command is declared, and what every command does alike: options, messages, signals and exit status."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from toolkit import __version__
from toolkit.core import progress
from toolkit.core.errors import InputOutput, Internal, NoInput, ToolError, Unavailable

_handler: logging.Handler | None = None
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # only writing fails in these ways, and files name themselves
_UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class _Ended(BaseException):
    """A signal asked the process to end: unwind, so that temporary files go, then die of that signal."""

    def __init__(self, number: int) -> None:
        self.number = number


class Tool(click.Command):
    """A click command that behaves in pipelines, cron jobs and makefiles as coreutils do."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None, **extra: Any
    ) -> NoReturn:
        name = self.name or prog_name or ""
        arguments = list(sys.argv[1:] if args is None else args)
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        instruction = os.environ.get(variable)
        if instruction:
            from click.shell_completion import shell_complete

            sys.exit(shell_complete(self, {}, name, variable, instruction))
        extra.pop("standalone_mode", None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP: so do we then
                signal.signal(number, _raise_ended)
        sys.exit(_run(name, lambda: self._invoke_whole(name, arguments, extra)))

    def _invoke_whole(self, name: str, arguments: list[str], extra: dict[str, Any]) -> int:
        try:
            with self.make_context(name, arguments, **extra) as context:
                status = self.invoke(context)
        except click.exceptions.Exit as end:
            status = end.exit_code
        except click.ClickException as error:
            hint = f"Try '{name} --help'." if isinstance(error, click.UsageError) else ""
            _say("\n".join(filter(None, [f"{name}: {' '.join(error.format_message().split())}", hint])))
            status = error.exit_code
        if sys.stdout is not None:
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
        epilog = f"Examples:\n{lines}\n\nSee {name}(1)."
        tool = click.command(name, cls=Tool, epilog=epilog, context_settings={"max_content_width": 100}, **settings)(function)
        tool.params += _common_options()  # last in the help: a command's own options come first
        return tool

    return declare


def _common_options() -> list[click.Parameter]:
    hidden: dict[str, Any] = {"expose_value": False, "is_eager": True}  # eager: they hold while other options are checked
    return [
        click.Option(["-q", "--quiet"], is_flag=True, callback=_set_quiet, help="No progress, no warnings.", **hidden),
        click.Option(["-v", "--verbose"], count=True, callback=_set_verbose, help="Say more; twice: with tracebacks.", **hidden),
        click.Option(["--version"], is_flag=True, callback=_show_version, help="Show the version and exit.", **hidden),
    ]


def _run(name: str, work: Callable[[], int]) -> int:
    _start_logging(name)
    try:
        return work()
    except ToolError as error:
        return _complain(name, error)
    except BrokenPipeError:
        return _die_of(signal.SIGPIPE)
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _die_of(signal.SIGINT)
    except _Ended as end:
        return _die_of(end.number)
    except MemoryError:
        return _complain(name, InputOutput("memory", "is exhausted", "ask for less: a lower bandwidth or a smaller window"))
    except OSError as error:
        return _complain(name, _from_system(error))
    except Exception as error:
        return _complain(name, _from_fault(error))


def _from_system(error: OSError) -> ToolError:
    """What the operating system refused, as one of ours."""
    problem = error.strerror or str(error)
    if error.filename is not None and isinstance(error, _UNREADABLE):  # outputs are opened by streams, which says it better
        return NoInput(os.fsdecode(error.filename), problem, "name a file that exists and can be read")
    return InputOutput(error.filename or ("standard output" if error.errno in _FULL else "input or output"), problem)


def _from_fault(error: Exception) -> ToolError:
    """What no code foresaw: a package that is missing or broken, or a fault of this program."""
    if isinstance(error, ImportError) and not (error.name or "").startswith("toolkit"):
        problem = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        return Unavailable(f"Python package {error.name}", problem, "run `make` in the checkout or pip install scape-toolkit")
    return Internal("internal error", f"{type(error).__name__}: {error}", "run it again with -vv and report what it prints")


def _complain(name: str, error: ToolError) -> int:
    if _debugging():
        import traceback

        _say(traceback.format_exc().rstrip())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))  # a file's name may hold anything
    _say(f"{name}: {line}")
    _abandon_stdout()
    return error.exit_status


def _say(message: str) -> None:
    try:
        if sys.stderr is not None:  # started with 2>&-
            print(message, file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody is left to be told; the exit status still says it


def _abandon_stdout() -> None:
    """Keep the interpreter from flushing into a stream that failed: it would print a second message."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _die_of(number: int) -> int:
    """Let the signal kill this process, so that a shell or make sees what happened; returns only where it cannot."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container survives its own signals


def _raise_ended(number: int, frame: Any) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise _Ended(number)


def _start_logging(name: str) -> None:
    """Our own warnings go to standard error; those of the packages below only with --verbose: they name no remedy."""
    global _handler
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
    _handler = progress.BarHandler(sys.stderr)
    _handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    root.addHandler(_handler)
    logging.captureWarnings(True)
    progress.wanted = True
    _set_levels(logging.WARNING, logging.CRITICAL)


def _set_levels(ours: int, theirs: int) -> None:
    logging.getLogger("toolkit").setLevel(ours)
    logging.getLogger().setLevel(theirs)


def _debugging() -> bool:
    return logging.getLogger("toolkit").level <= logging.DEBUG


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        progress.wanted = False
        _set_levels(logging.ERROR, logging.CRITICAL)


def _set_verbose(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        _set_levels(logging.INFO if value == 1 else logging.DEBUG, logging.WARNING)


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"{context.info_name} (scape-toolkit) {__version__}")
        context.exit()
