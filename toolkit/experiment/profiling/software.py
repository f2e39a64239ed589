"""The programs behind a command: the file that is executed, its interpreter and packages, the version of its source."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Mapping

from toolkit import __version__
from toolkit.experiment.profiling.launching import find_program, wait_for

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

_SECONDS_FOR_GIT = 5
_COMMANDS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # the checkout, if it is one


def software(path: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What `path`, a program, consists of; read from its files, nothing of it is executed.

    A program in Python has ``interpreter`` and ``packages``: the versions that are installed for that interpreter.
    """
    program: dict[str, Any] = {"path": os.path.abspath(path), "sha256": _digest(path)}
    found: dict[str, Any] = {"toolkit": __version__, "python": sys.version.split()[0], "libc": _libc(), "program": program, "packages": {}}
    if os.path.dirname(os.path.realpath(path)) == os.path.join(_COMMANDS, "bin") or os.path.dirname(os.path.abspath(path)) == _scripts():
        program["version"] = __version__ if _is_ours(path) else None
        interpreter: str | None = sys.executable
    else:
        interpreter = _interpreter(path, environment)
    if interpreter:
        found["interpreter"] = interpreter
        found["packages"] = _packages(interpreter)
    return {**found, "program": {name: value for name, value in program.items() if value is not None}}


def source_version(path: str, directory: str) -> dict[str, Any] | None:
    """The git commit of the checkout that the program `path` is of, or else of the one that `directory` is in.

    ``modified`` tells whether tracked files differ from the commit; None where git took too long to say.
    """
    for place in (os.path.dirname(os.path.realpath(path)), directory):
        root = _checkout(place)
        told = _git_status(root) if root else None
        if told is not None:
            return {"commit": told[0], "modified": told[1], "root": root}
    return None


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # another one than GNU's
        return None


def _digest(path: str) -> str | None:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # it may be executed and not read
        return None


def _scripts() -> str:
    return os.path.join(sys.prefix, "bin")


def _is_ours(path: str) -> bool:
    name = os.path.basename(os.path.realpath(path)).replace("-", "_")
    return os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "commands", f"{name}.py"))


def _interpreter(path: str, environment: Mapping[str, str]) -> str | None:
    """The Python that executes `path`; None where it is no Python program."""
    if os.path.basename(path).startswith("python"):
        return os.path.abspath(path)
    try:
        with open(path, "rb") as stream:
            first = os.fsdecode(stream.readline(256))
    except OSError:
        return None
    words = first[2:].split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words or not os.path.basename(words[0]).startswith("python"):
        return None
    try:
        return os.path.abspath(find_program(words[0], environment))
    except Exception:  # the command's own start will tell
        return None


def _packages(interpreter: str) -> dict[str, str]:
    """Names and versions of the packages installed for an interpreter, by the names of their dist-info directories."""
    prefix = os.path.dirname(os.path.dirname(interpreter))
    if not os.path.exists(os.path.join(prefix, "pyvenv.cfg")):
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(interpreter)))
    found = {}
    library = os.path.join(prefix, "lib")
    places = [os.path.join(library, name, "site-packages") for name in _names(library) if name.startswith("python3.")]
    for place in [*places, os.path.join(library, "python3", "dist-packages")]:
        for name in _names(place):
            if name.endswith((".dist-info", ".egg-info")) and "-" in name[:-10]:
                package, version = name[:-10].split("-")[:2]
                found[package.lower().replace("_", "-")] = version
    return dict(sorted(found.items()))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _checkout(place: str) -> str | None:
    while place and not os.path.lexists(os.path.join(place, ".git")):
        above = os.path.dirname(place)
        place = "" if above == place else above
    return place or None


def _git_status(root: str) -> tuple[str, bool | None] | None:
    """The commit of a checkout, and whether a tracked file was changed."""
    words = ["git", "-C", root, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules"]
    read, write = os.pipe()
    quiet = [(os.POSIX_SPAWN_DUP2, write, 1), *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 2))]
    try:
        pid = os.posix_spawnp("git", words, {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}, file_actions=quiet)
    except OSError:
        os.close(read)
        return None
    finally:
        os.close(write)
    told = b""
    while wait_for([read], _SECONDS_FOR_GIT * 1000):
        part = os.read(read, 65536)
        if not part:
            break
        told += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(read)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    rows = told.decode(errors="replace").splitlines()
    commit = next((row.split()[2] for row in rows if row.startswith("# branch.oid ")), "")
    if len(commit) < 40:  # refused, or nothing is committed yet
        return None
    return commit, None if status else any(not row.startswith("#") for row in rows)
