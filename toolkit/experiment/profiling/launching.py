"""Starting a command so that the kernel's own peak of its memory can be believed.

When a process executes a program, Linux keeps the high-water mark of what it was before: `ru_maxrss` of a child is never less than the
memory of the process that forked it (setmax_mm_hiwater_rss in fs/exec.c), which is a Python interpreter's here. So a shell, that
is small, forks the command: the shell's parent half kills itself, the other half waits at a gate, becomes this process' child
(PR_SET_CHILD_SUBREAPER, prctl(2)), and is let go when all is ready. What ru_maxrss then starts from is less than a megabyte.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
import sys
from collections.abc import Mapping, Sequence

from toolkit.core.errors import ToolError, Unavailable

_SHELL, _ENV = "/bin/sh", "/usr/bin/env"
_SCRIPT = '(kill -9 $$; read toolkit_go <&{gate} || exit 125; exec {gate}<&-; {tidy}exec "$@"); :'
_OF_SHELLS = {"IFS", "OPTIND", "PPID", "toolkit_go"}
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGALRM", "SIGXCPU")


class NotFound(ToolError):
    """There is no such command."""

    exit_status = 127


class NotExecutable(ToolError):
    """The command is there and cannot be executed."""

    exit_status = 126


def environment_as_given() -> dict[str, str]:
    """The environment that this process was started with; Python adds LC_CTYPE to its own where the locale is C (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            pairs = [pair.partition(b"=") for pair in stream.read().split(b"\0") if b"=" in pair]
    except OSError:
        return dict(os.environ)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in reversed(pairs)}  # of two of a name the first counts


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """The file that execvp(3) would execute for `name`.

    Raises NotFound (exit status 127) and NotExecutable (126), as env(1) and nohup(1) end.
    """
    refused = ""
    places = [""] if "/" in name else environment.get("PATH", os.defpath).split(":")
    for place in places if name else []:
        path = os.path.join(place, name)
        if not os.path.isdir(path) and os.access(path, os.X_OK):
            return path
        if os.path.lexists(path):
            refused = refused or path
    if not refused:
        raise NotFound(name or "''", "command not found", "check its name and PATH")
    if not os.path.exists(refused):
        raise NotFound(refused, "is a symbolic link to nothing", "check what it points to")
    problem = "is a directory" if os.path.isdir(refused) else "Permission denied"
    raise NotExecutable(refused, problem, "name a program that you may execute")


class Child:
    """A command that waits to be let go; `floor_bytes` is what its `ru_maxrss` starts from at most."""

    def __init__(self, pid: int, floor_bytes: int, gate: int) -> None:
        self.pid, self.floor_bytes, self._gate = pid, floor_bytes, gate
        self.descriptor = os.pidfd_open(pid)  # readable when it has ended
        try:
            self._transfers = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._transfers = -1

    def release(self) -> None:
        """Let it begin."""
        if self._gate >= 0:
            with contextlib.suppress(BrokenPipeError):  # it was killed at the gate
                os.write(self._gate, b"go\n")
            os.close(self._gate)

    def transfers(self) -> bytes:
        """What its /proc/PID/io says, until it is reaped; nobody but root could open that any more when it has ended."""
        try:
            return os.pread(self._transfers, 4096, 0)
        except OSError:
            return b""

    def close(self) -> None:
        """Close what was kept open for it."""
        for descriptor in {self.descriptor, self._transfers} - {-1}:
            os.close(descriptor)


class Signals:
    """The signals that are passed on, held back from this process between entering and leaving.

    A terminal's Ctrl-C reaches the command by itself, so that only what other processes send is passed on. SIGTSTP, SIGCONT and the
    like are nobody's business but the shell's.
    """

    def __init__(self) -> None:
        self._wanted = {getattr(signal, name) for name in FORWARDED}

    def __enter__(self) -> Signals:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._wanted)
        mask = bytearray(128)  # sigset_t
        for number in self._wanted:
            mask[(number - 1) // 8] |= 1 << (number - 1) % 8
        self.descriptor = _library().signalfd(-1, (ctypes.c_char * 128).from_buffer(mask), os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise Unavailable("signalfd", os.strerror(ctypes.get_errno()), "Linux is needed")
        return self

    def forward(self, pid: int) -> None:
        """Pass what has arrived on to the process `pid`."""
        try:
            while told := os.read(self.descriptor, 128):  # struct signalfd_siginfo
                number, _, code, sender = struct.unpack_from("=IiiI", told)
                if code <= 0 and sender != pid:  # SI_USER and its like: sent by a process, not by the kernel
                    os.kill(pid, number)
        except (BlockingIOError, ProcessLookupError, PermissionError):
            pass

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def adopt_orphans() -> None:
    """Become the parent of what the commands leave behind.

    Raises Unavailable where the kernel is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise Unavailable("profile-wrap", "needs Linux: it reads /proc", "run it on a Linux machine")
    _library().prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def launch(argv: list[str], environment: Mapping[str, str], streams: Mapping[int, int], mask: set[int | signal.Signals]) -> Child:
    """Start `argv` behind a gate. `streams` maps the descriptors that it gets, beside its own, to ours; `mask` is its signal mask.

    Raises NotExecutable when the system refuses (arguments too long, no more processes).
    """
    kept = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in streams.items()]
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # as Python starts; see subprocess' restore_signals
    gate = free_descriptor(taken=streams)
    try:
        if gate is None or "=" in argv[0] or not _can_launch():
            pid = os.posix_spawnp(argv[0], argv, environment, file_actions=kept, setsigmask=mask, setsigdef=ignored)
            return Child(pid, _own_peak(), -1)
        read, write = os.pipe()
        kept.append((os.POSIX_SPAWN_DUP2, read, gate))
        words = ["sh", "-c", _SCRIPT.format(gate=gate, tidy="" if "PWD" in environment else "unset PWD; "), "sh"]
        if _is_left_alone(environment) and not argv[0].startswith("-"):
            words += argv
        else:
            words += [_ENV, "-i", *(f"{name}={value}" for name, value in environment.items()), *argv]
            environment = {}
        shell = os.posix_spawn(_SHELL, words, environment, file_actions=kept, setsigmask=mask, setsigdef=ignored)
        os.close(read)
        os.waitpid(shell, 0)
        children = own_children()
        if not children:
            raise OSError(errno.EAGAIN, f"{_SHELL} started nothing")
        return Child(children[0], 0, write)
    except OSError as error:
        status = NotFound if error.errno == errno.ENOENT else NotExecutable
        raise status(argv[0], error.strerror or str(error)) from error


def _can_launch() -> bool:
    """Whether there are the programs that it takes; a shell complains of a working directory that was removed."""
    try:
        return bool(os.getcwd()) and os.access(_SHELL, os.X_OK) and os.access(_ENV, os.X_OK)
    except OSError:
        return False


def _is_left_alone(environment: Mapping[str, str]) -> bool:
    """Whether the shell passes the environment on as it is. Others than dash count their levels in it, and dash too drops names that it
    cannot spell, and corrects PWD; then env(1) has to bring it back, which takes more memory than the smallest commands do."""
    if os.path.basename(os.path.realpath(_SHELL)) != "dash" or not all(name.isascii() and name.isidentifier() for name in environment):
        return False
    return _OF_SHELLS.isdisjoint(environment) and ("PWD" not in environment or _is_here(environment["PWD"]))


def _is_here(place: str) -> bool:
    try:
        return place.startswith("/") and os.path.samestat(os.stat(place), os.stat("."))
    except OSError:
        return False


def free_descriptor(taken: Mapping[int, int]) -> int | None:
    """A descriptor of one digit that is not open, the highest: dash and other shells spell no longer ones."""
    for number in range(9, 2, -1):
        try:
            os.fstat(number)
        except OSError:
            if number not in taken:
                return number
    return None


def wait_for(descriptors: Sequence[int], milliseconds: float) -> list[int]:
    """Those of the descriptors that can be read, after at most that time."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(milliseconds)]


def die_of(number: int) -> None:
    """End as the command did, without a core of our own; returns only where the signal cannot kill (the first process)."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.raise_signal(number)


def signal_name(number: int) -> str:
    """SIGKILL and the like; real-time signals count from SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def own_children() -> list[int]:
    """The processes whose parent is this one, the oldest first."""
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:
        return [int(word) for word in stream.read().split()]


def _own_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
