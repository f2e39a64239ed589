"""The processes of a repetition: commands of one pipe started together, each under profile-wrap, below a fresh directory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.core.errors import CannotCreate, Unavailable
from toolkit.experiment.preserving.environment import environment_for
from toolkit.experiment.preserving.gathering import began, ended
from toolkit.experiment.preserving.pipes import pipes_of, stream
from toolkit.experiment.preserving.places import INSIDE, OUTSIDE, RECORDS, Root, absolute
from toolkit.experiment.run_record import Command, read_run_records

_MOST_FILES = 2000  # words of a command line
_WITHIN = re.compile(r"(?<![\w.~/$-])\.{0,2}/(?!/)[^\s'\"<>|;&()$`,:=*?\[\]{}\\]+")  # a path in a shell's line, a program's text
_PLAIN = re.compile(r"[\w./~+@%-]+")


@dataclass(frozen=True)
class Layout:
    """The fresh directory: what was below the experiment's root is below its ``files``, all else below its ``external``."""

    root: Root
    directory: str
    known: frozenset[str]  # the absolute paths of all files of the experiment

    def fresh(self, path: str) -> str:
        """Where a path of the experiment is now."""
        return os.path.join(self.directory, self.root.place(path))

    def word(self, word: str, directory: str) -> str:
        """A word of a command line for the fresh directory: a path that led to the experiment's files leads to the new ones.

        Relative paths below the root stay as they are. A path may be the word, an option's value, or stand within it, as in a line for
        a shell, as long as it has no blanks and quotes there.
        """
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        if self._is_theirs(value, directory):
            return f"{option}{equals}{self.fresh(absolute(directory, value))}"
        return _WITHIN.sub(lambda match: self._within(match[0], directory), word)

    def overlooked(self, word: str, directory: str) -> str:
        """A path of the experiment that stands in a word and cannot be changed there; empty where there is none.

        A command that is given it would read, or write, the original.
        """
        changed = self.word(word, directory).replace(self.directory + "/", "\0")
        for area in (INSIDE, OUTSIDE):
            changed = re.sub(f"\0{area}[^\\s'\"<>|;&()$`\0]*", "", changed)
        if "/" not in changed:
            return ""
        for path in (*self.known, *([self.root.path] if self.root.path != "/" else [])):
            if path in changed and re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", changed):
                return path
        return ""

    def _within(self, path: str, directory: str) -> str:
        """What stands for a path within a word; no fresh path that would be read there as more than a path."""
        fresh = self.fresh(absolute(directory, path))
        return fresh if self._is_theirs(path, directory) and _PLAIN.fullmatch(fresh) else path

    def _is_theirs(self, value: str, directory: str) -> bool:
        """Whether a path must be changed: it leads to the experiment's files, or out of the root in relative steps."""
        if "/" not in value or "://" in value:
            return False
        path = absolute(directory, value)
        if not value.startswith("/"):
            return not self.root.contains(path)  # from the fresh directory it would lead anywhere
        return path in self.known or (self.root.path != "/" and self.root.contains(path)) or self._holds(path)

    def _holds(self, path: str) -> bool:
        """Whether a path is a directory of some of the experiment's files, as far as these are not below the root."""
        return path != "/" and any(Root(path).contains(one) for one in self.known if not self.root.contains(one))

    def program(self, command: Command) -> str:
        """The program to run: the experiment's own file where it was one, else the path where it is still there, else the name alone."""
        word = command.argv[0]
        if "/" not in word:
            return word
        path = absolute(command.directory, word)
        if os.path.exists(self.fresh(path)):
            return self.fresh(path)
        return path if os.path.exists(path) else os.path.basename(word)


def run_together(commands: Sequence[Command], layout: Layout, number: int) -> Iterator[tuple[Command, Command | None, str]]:
    """Run commands at the same time with the pipes that were between them; each after those that had ended before it began.

    Yields each with its new record, None where none arose, and the last line of what it wrote to a log of errors.
    """
    records = {one.command: os.path.join(layout.directory, RECORDS, f"{at:04}.jsonl") for at, one in enumerate(commands, number + 1)}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        with contextlib.ExitStack() as stack:
            inputs, outputs = _pipes(commands, stack)
            for command in sorted(commands, key=began):
                for other in commands:
                    if other.command in processes and (ended(other) or began(other)) <= began(command):
                        processes[other.command].wait()
                ends = inputs.get(stream(command, "stdin")), outputs.get(stream(command, "stdout"))
                processes[command.command] = _start(command, layout, records[command.command], *ends)
        for process in processes.values():  # which alone hold the pipes now: each sees the end of its input
            process.wait()
    except BaseException:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
        raise
    for command in commands:
        record = records[command.command]
        found = read_run_records([record]) if os.path.exists(record) else []
        yield command, found[-1] if found else None, _last_line(_log(layout, record) + ".err")


def wrapper() -> str:
    """The program profile-wrap that belongs to this package. Raises Unavailable."""
    import toolkit

    checkout = Path(toolkit.__file__).resolve().parent.parent / "bin" / "profile-wrap"
    for place in (checkout, Path(sys.executable).parent / "profile-wrap"):
        if os.access(place, os.X_OK):
            return str(place)
    found = shutil.which("profile-wrap")
    if found is None:
        raise Unavailable("profile-wrap", "is not installed", "install all of scape-toolkit")
    return found


def _pipes(commands: Sequence[Command], stack: contextlib.ExitStack) -> tuple[dict[str, IO[bytes]], dict[str, IO[bytes]]]:
    """New pipes for those between the commands, by the old ones' names: an end to read from and one to write to."""
    inputs: dict[str, IO[bytes]] = {}
    outputs: dict[str, IO[bytes]] = {}
    for name in {stream(pipe.writer, "stdout") for pipe in pipes_of(commands)}:
        read, write = os.pipe2(os.O_CLOEXEC)
        inputs[name] = stack.enter_context(os.fdopen(read, "rb"))
        outputs[name] = stack.enter_context(os.fdopen(write, "wb"))
    return inputs, outputs


def _start(
    command: Command, layout: Layout, record: str, stdin: IO[bytes] | None, stdout: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    directory = layout.fresh(absolute("/", command.directory))
    log = _log(layout, record)
    for place in (directory, os.path.dirname(record), os.path.dirname(log)):
        _make(place)
    words = [wrapper(), "-q", "-o", record]
    for name, value in command.tags.items():
        words += ["--tag", f"{name}={value}"]
    files = []
    for file in command.files:
        path = layout.fresh(absolute(command.directory, file.path))
        _make(os.path.dirname(path))
        files += [f"--{file.role}", path]
    words += files if len(files) <= _MOST_FILES else []  # the kernel takes no longer command lines; outputs are compared all the same
    words += ["--", layout.program(command), *(layout.word(word, command.directory) for word in command.argv[1:])]
    with contextlib.ExitStack() as stack:
        reading = stdin or stack.enter_context(open(_source(command, layout), "rb"))
        appended = command.streams.get("appended")
        appended = appended if isinstance(appended, list) else []
        targets = [_target(command, "stdout", layout, log + ".out"), _target(command, "stderr", layout, log + ".err")]
        for name, target in zip(("stdout", "stderr"), targets, strict=True):
            if name not in appended:
                open(target, "wb").close()
        writing = stdout or stack.enter_context(open(targets[0], "ab"))
        errors = stack.enter_context(open(targets[1], "ab"))
        environment = environment_for(command) | {"TOOLKIT_RUN": f"replay-{os.path.basename(record)}"}
        return subprocess.Popen(words, cwd=directory, stdin=reading, stdout=writing, stderr=errors, env=environment)


def _log(layout: Layout, record: str) -> str:
    return os.path.join(layout.directory, "logs", os.path.basename(record).removesuffix(".jsonl"))


def _last_line(log: str) -> str:
    with contextlib.suppress(OSError), open(log, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - 1000))
        lines = stream.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def _source(command: Command, layout: Layout) -> str:
    """What a command's standard input is read from: the file that it was, else nothing."""
    path = stream(command, "stdin")
    return layout.fresh(path) if path.startswith("/") and os.path.isfile(layout.fresh(path)) else os.devnull


def _target(command: Command, name: str, layout: Layout, log: str) -> str:
    """What a stream is written to: the file that it was if the experiment knows it, else a log."""
    path = stream(command, name)
    if not path.startswith("/") or path not in layout.known:
        return log
    _make(os.path.dirname(layout.fresh(path)))
    return layout.fresh(path)


def _make(directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise CannotCreate(directory, error.strerror or str(error), "choose another place with -o") from error
