"""Is there what was sent? The far side itself says, where it runs commands."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from toolkit.core.errors import Unavailable
from toolkit.experiment.staging import manifest
from toolkit.experiment.staging.far_shell import CHECK, GREETING, PREFIXES, check_line, directory_line
from toolkit.experiment.staging.session import Session

_VERDICTS = {b"OK": True, b"FAILED": False, b"FAILED open or read": False}


class FarCheck:
    """What ``sha256sum -c`` says on the far side, in `directory` there, fed with one file after another while others are still sent."""

    def __init__(self, session: Session, directory: bytes) -> None:
        reading, writing = os.pipe()
        self._given = os.fdopen(writing, "wb")
        self._session, self._reading = session, reading
        self._running = session.soon(self._run)
        self._write(directory_line(directory) + check_line())

    def add(self, path: bytes, digest: str) -> None:
        """Check a file, by its name in the directory."""
        self._write(manifest.line(b"./" + path, digest))

    def verdicts(self) -> dict[bytes, bool] | None:
        """Whether each file is as it must be; one that the far side says nothing of is not in it. None: it runs no such commands.

        Raises Lost.
        """
        self.close()
        answer = self._running.result()
        if answer is None or not answer.startswith(GREETING) or answer == GREETING:
            return None
        found = {}
        for line in answer[len(GREETING) :].splitlines():
            name, _, verdict = line.rpartition(b": ")
            if verdict in _VERDICTS:
                found[_path(name)] = _VERDICTS[verdict]
        return found

    def close(self) -> None:
        """Nothing more will be asked."""
        with contextlib.suppress(OSError):
            self._given.close()

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the script has ended; verdicts() says how
            self._given.write(line)
            self._given.flush()

    def _run(self) -> bytes | None:
        with os.fdopen(self._reading, "rb", buffering=0) as given:
            return _answer(self._session, CHECK, given)


def _path(name: bytes) -> bytes:
    if name.startswith(b"\\"):
        name = manifest.unescape(name[1:])
    return name.removeprefix(b"./")


def far_prefixes(session: Session, directory: bytes, asked: Sequence[tuple[bytes, int]]) -> list[str] | None:
    """SHA-256 of the first so many bytes of files in `directory`; None where the far side runs no such commands. Raises Lost."""
    pairs = b"".join(b"%d\0./%s\0" % (length, path) for path, length in asked)
    with tempfile.TemporaryFile(buffering=0) as given:
        given.write(directory_line(directory) + pairs)
        given.seek(0)
        lines = (_answer(session, PREFIXES, given) or b"").splitlines()
    if lines[:1] != [GREETING.rstrip()] or len(lines) != len(asked) + 1:
        return None
    return [line.partition(b" ")[0].decode("ascii", "replace") for line in lines[1:]]


def _answer(session: Session, command: str, given: BinaryIO) -> bytes | None:
    """What a command writes; None where none are run."""
    with tempfile.TemporaryFile() as answer:
        try:
            session.connection.execute(command, given, answer)
        except Unavailable:
            return None
        answer.seek(0)
        return answer.read()


def digest_here(path: bytes) -> str:
    """SHA-256 of a local file. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prefixes_here(path: bytes, lengths: Iterable[int]) -> dict[int, str]:
    """SHA-256 of the first so many bytes of a local file, for several lengths, read once. Raises OSError."""
    found, sha256, place = {}, hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        for length in sorted(lengths):
            while place < length and (piece := file.read(min(length - place, 1 << 20))):
                sha256.update(piece)
                place += len(piece)
            found[length] = sha256.copy().hexdigest()
    return found
