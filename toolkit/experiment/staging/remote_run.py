"""A command run on the far side between bringing its inputs there and its results back."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from toolkit.core.errors import CannotCreate, NoInput, NotPermitted, ToolError, Unavailable
from toolkit.core.streams import atomic_output
from toolkit.experiment.staging import manifest, remote_tree
from toolkit.experiment.staging.engine import Put
from toolkit.experiment.staging.engine import push as send
from toolkit.experiment.staging.far_command import answer_of, run_in_foreground
from toolkit.experiment.staging.jobs import Template, command_line, fill, job_number
from toolkit.experiment.staging.patterns import matches
from toolkit.experiment.staging.places import Place
from toolkit.experiment.staging.pushing import join, leading
from toolkit.experiment.staging.retrying import retrying
from toolkit.experiment.staging.session import Machine
from toolkit.experiment.staging.stage import Report, pull, push_chosen
from toolkit.experiment.staging.tree import shown
from toolkit.experiment.staging.wishes import Wishes

_log = logging.getLogger(__name__)
_MOST = 1 << 28  # bytes of a job's output that are shown


@dataclass(frozen=True)
class Errand:
    """What is to be run, and what goes there and comes back."""

    words: Sequence[str]  # the command
    inputs: Sequence[str] = ()  # below the present directory
    outputs: Sequence[str] = ()  # patterns of names in the far directory
    template: Template | None = None  # None: at once, by ssh
    poll: float = 10.0  # seconds between two looks at a job, at most
    record: str | None = None  # where the run record goes; None: a new name


def run_there(errand: Errand, machine: Machine, place: Place, wishes: Wishes, report: Report) -> int:
    """Do all of it; gives the command's exit status (128 + n for signal n), or 1 where something did not come back.

    Without a path in `place`, a new directory in the home is used. Raises what `push` raises; TryLater when the connection breaks
    while a command runs that is no job: it is not known then what became of it.
    """
    name = time.strftime("run-%Y%m%dT%H%M%S-") + secrets.token_hex(3)
    top = place.path if place.has_path else b"sftp-stage/" + name.encode()
    record = join(manifest.DIRECTORY, name.encode() + b".jsonl")
    if errand.inputs:
        _, failed = push_chosen([os.fsencode(one) for one in errand.inputs], machine, top, wishes, report)
        if failed:
            raise NoInput(machine.name, f"{failed} of the inputs did not arrive", "nothing was run")
    _log.info("%s: %s", machine.name, shown(top))
    _repeated(machine, wishes, lambda: _make_directory(machine, top))
    line = command_line(list(errand.words), os.fsdecode(record))
    if errand.template is None:
        status = run_in_foreground(machine, top, os.fsencode(line))
    else:
        status = _Job(errand.template, machine, top, name, wishes).run(os.fsencode(line), errand.poll)
    failed = 0
    if errand.outputs:
        failed = _fetch(errand, machine, top, wishes, report)
    _repeated(machine, wishes, lambda: _fetch_record(machine, join(top, record), errand.record or f"{name}.jsonl"))
    return status or (1 if failed else 0)


def _repeated(machine: Machine, wishes: Wishes, work: Callable[[], None]) -> None:
    """Do something that can be done twice, until the connection holds for so long."""

    def attempt() -> None:
        with machine.attempt():
            work()

    retrying(attempt, wishes.retries, lambda: 0)


def _make_directory(machine: Machine, top: bytes) -> None:
    paths = [*leading(top), join(top, manifest.DIRECTORY)]
    error = remote_tree.make_directories(machine.session().channel, [(path, 0o777) for path in paths])[-1]
    if error is not None:
        raise error


def _fetch(errand: Errand, machine: Machine, top: bytes, wishes: Wishes, report: Report) -> int:
    """Bring back what matches; gives how much failed."""
    checks = {pattern: matches(pattern) for pattern in errand.outputs}
    found: set[str] = set()

    def wanted(path: bytes) -> bool:
        fitting = {pattern for pattern, check in checks.items() if check(path)}
        found.update(fitting)
        return bool(fitting)

    _, failed = pull(b".", machine, top, replace(wishes, manifest=False), report, wanted)
    for pattern in errand.outputs:
        if pattern not in found:
            failed += 1
            _log.error("--out: nothing in %s matches %s", shown(top), pattern)
    return failed


def _fetch_record(machine: Machine, far: bytes, here: str) -> None:
    """Bring the run record back, where the far side has profile-wrap."""
    channel = machine.session().channel
    try:
        content = remote_tree.read_bytes(channel, far, _MOST)
    except NoInput:
        _log.warning("%s: has no profile-wrap in PATH: there is no run record", machine.name)
        return
    with atomic_output(here) as output:
        output.write(content)
    remote_tree.remove(channel, [(far, False)])


class _Job:
    """A job of the far side's queue."""

    def __init__(self, template: Template, machine: Machine, top: bytes, name: str, wishes: Wishes) -> None:
        self._template, self._machine, self._top, self._wishes = template, machine, top, wishes
        own = os.fsdecode(manifest.DIRECTORY)
        self._files = {kind: f"{own}/{name}.{kind}" for kind in ("sh", "status", "out", "err")}
        self._values = {"name": name, "status": self._files["status"], "script": self._files["sh"], "directory": "."}

    def run(self, line: bytes, longest: float) -> int:
        """Submit it, wait for its end, and show its output; gives its exit status. Ctrl-C cancels it."""
        submit = fill(self._template.submit, self._values)
        with self._machine.attempt():
            self._send_script(line)
            status, answer = self._ask(submit)
        if status:
            raise Unavailable(self._machine.name, f"{submit.split()[0]} ended with status {status}", "see what it said above")
        job = job_number(answer)
        _log.info("%s: job %s", self._machine.name, job)
        try:
            found = self._wait(job, longest)
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            _log.warning("job %s is cancelled", job)
            self._ask(fill(self._template.cancel, self._values | {"job": job}))
            raise
        _repeated(self._machine, self._wishes, self._show)
        return found

    def _send_script(self, line: bytes) -> None:
        directory = os.fsdecode(remote_tree.real_path(self._machine.session().channel, self._top))
        values = self._values | {"command": os.fsdecode(line), "directory": shlex.quote(directory)}
        with tempfile.NamedTemporaryFile(prefix="sftp-stage-") as file:
            file.write(os.fsencode(fill(self._template.script, values)))
            file.flush()
            found = os.stat(file.name)
            put = Put(file.name, self._far("sh"), found.st_size, 0o755, found.st_mtime_ns)
            error = next(send([self._machine.session().channel], [put])).error
        if error is not None:
            raise error

    def _ask(self, command: str) -> tuple[int, bytes]:
        return answer_of(self._machine, self._top, os.fsencode(command))

    def _wait(self, job: str, longest: float) -> int:
        """The exit status that the script left."""
        status, poll = shlex.quote(self._files["status"]), fill(self._template.poll, self._values | {"job": job})
        look = f"if test -e {status}; then cat {status}; elif ({poll}) 2>/dev/null | grep . >/dev/null; then echo there; else echo gone; fi"
        pause, gone = min(1.0, longest), 0
        while True:
            answers: list[bytes] = []
            _repeated(self._machine, self._wishes, lambda answers=answers: answers.append(self._ask(look)[1].strip()))  # type: ignore[misc]
            answer = answers[-1]
            if answer.isdigit():
                return int(answer)
            gone = gone + 1 if answer == b"gone" else 0
            if gone > 2:  # a status may be seen late through a network's file system
                problem = f"job {job} has gone without a status: cancelled, or out of time or memory"
                raise ToolError(self._machine.name, problem, f"see {self._files['err']} in {shown(self._top)} there")
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _show(self) -> None:
        """What the job wrote, to where the command would have written it; then its files are removed."""
        channel = self._machine.session().channel
        for kind, stream in (("out", sys.stdout), ("err", sys.stderr)):
            content = b""
            try:
                content = remote_tree.read_bytes(channel, self._far(kind), _MOST)
            except (NoInput, NotPermitted) as error:
                _log.info("%s", error)
            _write(stream.buffer, content)
        remote_tree.remove(channel, [(self._far(kind), False) for kind in self._files])

    def _far(self, kind: str) -> bytes:
        return join(self._top, os.fsencode(self._files[kind]))


def _write(stream: BinaryIO, content: bytes) -> None:
    try:
        stream.write(content)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotCreate("standard output", error.strerror or str(error), "the job itself has ended") from error


