"""A command under observation, from its start to its record."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Mapping

from toolkit.core.errors import ToolError, UsageError
from toolkit.core.stages import INODE, VARIABLE
from toolkit.experiment.profiling import launching, machine
from toolkit.experiment.profiling.files import described, standard_streams
from toolkit.experiment.profiling.memory import Memory
from toolkit.experiment.profiling.privacy import arguments_of, environment_of, tags_of
from toolkit.experiment.profiling.request import Request
from toolkit.experiment.profiling.runs import Membership
from toolkit.experiment.profiling.sampling import Rhythm, Tree, children, transfers_in, transfers_of
from toolkit.experiment.profiling.software import software, source_version
from toolkit.experiment.profiling.stages import Phrases, Stages
from toolkit.experiment.profiling.totals import Totals
from toolkit.experiment.profiling.writing import LateRecord, Record

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
FAILURE = 125
_RUN_UNTOLD_NS = 10_000_000_000  # by then all commands of a pipe have started, on a busy machine too
_SECOND_NS = 1_000_000_000
_SAME_BYTES = 1 << 19  # the kernel counts pages in batches for each processor: two readings of one peak differ by some dozens
_BLOCK = 65536
_PIPE_BYTES = 1 << 20  # some thousands of stages


class Outcome:
    """How the last repetition ended: `status`, or the number of the `signal` that killed it; what failed beside it, and warnings."""

    def __init__(self) -> None:
        self.status = 0
        self.signal: int | None = None
        self.warnings: list[str] = []
        self.failures: list[ToolError] = []


def wrap(request: Request) -> Outcome:
    """Run the command as often as asked, until it fails, and write its record.

    Raises NotFound and NotExecutable when it cannot start, NoInput when an input is missing, CannotCreate when the record cannot be
    written. What goes wrong after the command has begun is in the outcome.
    """
    environment, streams = launching.environment_as_given(), standard_streams()
    _keep_closed()
    path = launching.find_program(request.argv[0], environment)
    begin_of_input = _begin_of_input() if request.repetitions > 1 else 0
    launching.adopt_orphans()
    membership = Membership(environment)
    named = request.output or environment.get("TOOLKIT_RUN_RECORD")
    record = Record(named) if named else LateRecord(lambda: f"{membership.settle()}.jsonl")
    common = {**_common(request, path, environment), "streams": streams}
    outcome, drawn = Outcome(), []
    for repetition in range(1, request.repetitions + 1):
        if repetition > 1:
            os.lseek(0, begin_of_input, os.SEEK_SET)
        watch = _Watch(request, environment, membership, record, {**common, "repetition": repetition})
        drawn.append(watch.run(outcome))
        if outcome.status or outcome.signal or outcome.failures:
            break
    if request.plot:
        from toolkit.experiment.profiling.plotting import draw

        try:
            draw(request.plot, " ".join(common["argv"]), drawn)
        except ToolError as error:
            outcome.failures.append(error)
    return outcome


def _begin_of_input() -> int:
    try:
        return os.lseek(0, 0, os.SEEK_CUR)
    except OSError as error:
        raise UsageError("-r", "cannot repeat: standard input is no file that can be read again", "use < FILE or < /dev/null") from error


def _keep_closed() -> None:
    """Take the numbers of standard streams that are closed, so that no file of ours gets them; the command has them closed as before."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _common(request: Request, path: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the `run` lines of all repetitions have in common."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:  # it was removed
        directory = ""
    argv, hidden = arguments_of(request.argv)
    return {
        "repetitions": request.repetitions,
        "argv": argv,
        **({"argv_hidden": hidden} if hidden else {}),
        "directory": directory,
        "tags": tags_of(request.tags),
        "environment": environment_of(environment),
        "machine": machine.machine(),
        "software": software(path, environment),
        "git": source_version(path, directory),
        "interval_ns": request.interval_ns,
    }


class _Watch:
    """One repetition."""

    def __init__(
        self, request: Request, environment: dict[str, str], membership: Membership, record: Record | LateRecord, common: dict[str, Any]
    ) -> None:
        self._request, self._membership, self._record, self._common = request, membership, record, common
        self._environment = environment
        self._identifier = os.urandom(8).hex()
        self._told, self._early = False, True
        self._tree = Tree(lambda: children(os.getpid()))
        self._rhythm = Rhythm(request.interval_ns)
        self._phrases: Phrases | None = None
        self._orphans = Totals()

    def run(self, outcome: Outcome) -> dict[str, Any]:
        """Run the command and record it; what was recorded is returned for the plot."""
        files = described("input", self._request.inputs)
        self._stages_read, stages_write = _stages_pipe()
        streams: dict[int, int] = {}
        self._errors_read = -1
        number = launching.free_descriptor(taken={}) or stages_write
        streams[number] = stages_write
        environment = {**self._environment, VARIABLE: str(number), INODE: str(os.fstat(stages_write).st_ino)}
        if self._request.stage_regex:
            self._errors_read, streams[2] = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._errors_read, False)
        with launching.Signals() as signals:
            pressure = machine.pressure()
            child = launching.launch(self._request.argv, environment, streams, signals.before)
            for descriptor in streams.values():
                os.close(descriptor)
            self._begin_clock()
            child.release()
            self._stages = Stages(self._begin_ns, self._tree.__contains__)
            if self._request.stage_regex:
                self._phrases = Phrases(self._request.stage_regex, self._stages, child.pid)
            self._memory = Memory(self._tree, self._stages)
            self._observe(child, signals)
            told = self._finish(child, outcome)
            told["pressure"] = machine.pressure_between(pressure, machine.pressure())
            child.close()
        stages = self._stages.finish(told["wall_ns"], child.pid, self._own_peak)
        outcome.warnings += self._stages.warnings
        samples = self._memory.finish()
        for path in self._request.outputs:
            try:
                files += described("output", [path])
            except ToolError as error:
                outcome.failures.append(error)
        self._tell(outcome, [*self._run_line(), *self._parts(samples, stages, files, told)])
        return {"samples": samples, "stages": stages, "exit": told}

    def _begin_clock(self) -> None:
        self._begin_ns, self._began = time.monotonic_ns(), time.time_ns()

    def _elapsed(self) -> int:
        return time.monotonic_ns() - self._begin_ns

    def _observe(self, child: launching.Child, signals: launching.Signals) -> None:
        """Pass signals on, take stages and samples, until the command has ended."""
        open_ends = {self._stages_read, self._errors_read} - {-1}
        due = self._rhythm.after(0)
        while True:
            wait = max(0, due - self._elapsed()) / 1e6
            ready = launching.wait_for([child.descriptor, signals.descriptor, *open_ends], wait)
            if signals.descriptor in ready:
                signals.forward(child.pid)
            open_ends -= {end for end in open_ends & set(ready) if not self._take(end)}
            if self._stages_read in ready:
                due = min(due, self._elapsed() + self._rhythm.after(0))
            if child.descriptor in ready:
                return
            now = self._elapsed()
            if now >= due:
                begin = time.thread_time_ns()
                self._memory.sample(now)
                self._reap_orphans(child.pid)
                due = self._elapsed() + self._rhythm.after(time.thread_time_ns() - begin)
            if self._early and not self._told and (not self._membership.is_shared or now > _RUN_UNTOLD_NS):
                self._tell_early()

    def _take(self, end: int) -> bool:
        """Read what has arrived at one of the descriptors; False when its writers are gone."""
        try:
            received = os.read(end, _BLOCK)
        except BlockingIOError:
            return True
        if end == self._stages_read:
            self._stages.take(received)
            self._rhythm.restart()
        else:
            _write_all(2, received)
            if self._phrases:
                self._phrases.take(received, self._elapsed())
        return bool(received)

    def _reap_orphans(self, child: int) -> None:
        """Count what daemons took that ended while the command runs."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == child:
                return
            self._orphans.add_moved(transfers_of(found.si_pid))
            self._orphans.reap(found.si_pid)

    def _finish(self, child: launching.Child, outcome: Outcome) -> dict[str, Any]:
        """The `exit` line, but for what is read later."""
        wall = self._elapsed()
        while self._take_rest(self._stages_read) or self._take_rest(self._errors_read):
            pass
        if self._phrases:
            self._phrases.finish(wall)
        own = Totals()
        own.add_moved(transfers_in(child.transfers()))
        status = own.reap(child.pid)
        self._own_peak = own.peak_bytes if own.peak_bytes > child.floor_bytes else 0
        self._reap_orphans(child.pid)
        rss, left = self._tree.read()
        for pid in self._tree:
            self._orphans.add_running(pid)
        self._tree.close()
        for end in {self._stages_read, self._errors_read} - {-1}:
            os.close(end)
        outcome.status, outcome.signal = max(status, 0), -status if status < 0 else None
        polled = max(self._tree.peak_bytes, self._stages.peak_bytes)
        exact = max(own.peak_bytes, self._orphans.peak_bytes)
        peak, source = (exact, "ru_maxrss") if exact > child.floor_bytes and exact >= polled - _SAME_BYTES else (polled, "VmHWM")
        return {
            "status": None if status < 0 else status,
            "signal": launching.signal_name(-status) if status < 0 else None,
            "wall_ns": wall,
            **own.with_others(self._orphans),
            "peak_rss_bytes": peak or None,
            "peak_source": source if peak else None,
            "peak_tree_rss_bytes": max(self._memory.peak_rss_bytes, rss, peak) or None,
            "peak_tree_pss_bytes": self._memory.peak_pss_bytes,
            "left_running": left,
            "nvml_bytes": self._memory.graphics_peak_bytes,
        }

    def _take_rest(self, end: int) -> bool:
        """Read on as long as there is something; nothing is waited for: a daemon may hold the other end."""
        return end >= 0 and bool(launching.wait_for([end], 0)) and self._take(end)

    def _run_line(self) -> list[tuple[str, dict[str, Any]]]:
        """The `run` line, once."""
        if self._told:
            return []
        self._told = True
        seconds, rest = divmod(self._began, _SECOND_NS)
        began = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
        own = {"schema": SCHEMA, "run": self._membership.settle(), "command": self._identifier}
        return [("run", {**own, "began": began, "monotonic_ns": self._begin_ns, **self._common})]

    def _parts(self, *kinds: Any) -> list[tuple[str, dict[str, Any]]]:
        samples, stages, files, told = kinds
        rows = [("sample", one) for one in samples] + [("stage", one) for one in stages] + [("file", one) for one in files]
        return [(kind, {"command": self._identifier, **one}) for kind, one in [*rows, ("exit", told)]]

    def _tell_early(self) -> None:
        """Write the `run` line while the command runs, so that a trace is left of a run whose end is never written."""
        try:
            self._record.add(self._run_line())
        except ToolError:
            self._told, self._early = False, False  # it is tried again at the end, and complained of there

    def _tell(self, outcome: Outcome, records: list[tuple[str, dict[str, Any]]]) -> None:
        try:
            self._record.add(records)
        except ToolError as error:
            outcome.failures.append(error)


def _stages_pipe() -> tuple[int, int]:
    """A pipe that never breaks and never blocks its writers: what outlives this process may go on writing stages, to nobody."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    both = os.open(f"/proc/self/fd/{write}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(write)
    return read, both


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:  # nobody reads it any more; the command would not be told either
        pass
