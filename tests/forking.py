"""Commands as real processes that begin where their work begins: forked from a process that has imported their modules.

A test that kills a command a hundred times would otherwise hit its imports most of the time, in which nothing is at stake, and spend
most of its time on them. Each command is a process with standard streams, directory, arguments and exit status of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the commands import in functions when they need it.
_MODULES = (
    "cryptography.x509",
    "http.client",
    "httptools",
    "lxml.etree",
    "pandas",  # pyarrow imports it where it is installed
    "pyarrow.parquet",
    "pydicom",
    "pynetdicom",
    "sqlalchemy.dialects.sqlite",
    "starlette.applications",
    "uvicorn",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}  # while numpy and pyarrow are imported
_PACKAGES = ("toolkit.commands", "toolkit.core", "toolkit.datacentre", "toolkit.hospital")


class Started:
    """A command that was started; as subprocess.Popen, as far as tests need it."""

    def __init__(self, answers: socket.socket, words: Sequence[str]) -> None:
        self.args, self.returncode = words, None  # type: tuple[Sequence[str], int | None]
        self._answers = answers
        self.pid = int(self._answers.recv(64))

    def poll(self) -> int | None:
        """Its exit status, negative when a signal ended it; None while it runs."""
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._ended(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        try:
            return self._ended(timeout)
        except TimeoutError:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int:
        if self.returncode is None:
            self._answers.settimeout(timeout)
            self.returncode = int(self._answers.recv(64))
            self._answers.close()
        return self.returncode


class Forge:
    """The process that all commands are forked from; it imports `modules` too. A context manager; what was started is not ended with it."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __enter__(self) -> Forge:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno()), *self._modules]
            given = {"pass_fds": [theirs.fileno()], "stdin": subprocess.DEVNULL, "env": os.environ | _NO_THREADS}
            self._process = subprocess.Popen(words, cwd=ROOT, **given)
        self._asked = ours
        assert self._asked.recv(64) == b"ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.close()
        self._process.wait()

    def start(self, name: str, *words: str | Path, home: Path, log: int) -> Started:
        """A command of bin/, or the script at a path, in `home`; it writes to the descriptor `log`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([name, str(home), [str(word) for word in words]]).encode()
            socket.send_fds(self._asked, [request], [log, theirs.fileno()])
        return Started(ours, [name, *map(str, words)])


def main(asked: socket.socket, modules: Sequence[str]) -> None:
    """Fork a command for each request until nobody can make one; only in the command's own process this goes on."""
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            importlib.import_module(module.name)
    for name in (*_MODULES, *modules):
        importlib.import_module(name)
    with open("/proc/self/status") as status:
        assert "Threads:\t1\n" in status.read(), "threads do not survive a fork"
    for name in _NO_THREADS:
        os.environ.pop(name, None)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who watch commands are not waited for
    asked.send(b"ready")
    while True:
        request, given, *_ = socket.recv_fds(asked, 1 << 16, 2)
        if not request:
            return
        log, answers = given
        if not os.fork():
            asked.close()
            return _watch(*json.loads(request), log, socket.socket(fileno=answers))
        os.close(log)
        os.close(answers)


def _watch(name: str, home: str, words: list[str], log: int, answers: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        answers.send(str(pid).encode())
        with contextlib.suppress(BrokenPipeError):  # the test has ended
            answers.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    answers.close()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    os.chdir(home)
    program = str(ROOT / "bin" / name)
    sys.argv = [program, *words]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does, but for taking all modules apart
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
