"""The look at what arrives, in processes of its own: parsing and the search for personal data take a core's time.

A worker is a plain child process with a pipe each way: it holds nothing, so one that dies loses nothing, and one whose parent died
reads the end of its pipe and ends. Whatever an attacker's document does to a parser, it does to a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.core.errors import BadData, Unavailable
from toolkit.datacentre.faults import place_of

SECONDS = 60.0  # that one document may take; 90 KB take some milliseconds
_VISIT = "{urn:hl7-org:v3}componentOf/{urn:hl7-org:v3}encompassingEncounter/{urn:hl7-org:v3}id"
_LENGTH = struct.Struct(">Q")
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from toolkit.datacentre.looking import work; work(int(sys.argv[2]))"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """What was found. `status` 0: a good document of the visit with this pseudonym, in the bytes from `begin` to `end` of what was sent.
    Otherwise the HTTP status of its refusal and the `problem` in words that hold none of its content. `soap`: the version of the
    envelope around it, if any."""

    status: int = 0
    problem: str = ""
    visit: str = ""
    begin: int = 0
    end: int = 0
    soap: str = ""


def look(data: bytes, largest: int) -> Looked:
    """Look at what was sent, at most `largest` bytes of a document, with or without an envelope."""
    from toolkit.core.xml import parse_safely
    from toolkit.datacentre import soap
    from toolkit.datacentre.personal_data import find_personal_data

    version, begin, end = "", 0, len(data)
    try:
        tree = parse_safely(data, "document", largest)
        version = soap.version_of(tree)
        if version:
            begin, end = soap.payload(tree, data)
            tree = parse_safely(data[begin:end], "the document in the envelope, taken by itself", largest)
        ids = [one.get("extension") for one in tree.getroot().findall(_VISIT) if one.get("extension")]
        if tree.getroot().tag != "{urn:hl7-org:v3}ClinicalDocument" or len(ids) != 1:
            raise BadData("document", "is no ClinicalDocument with one visit id", "send documents that hl7-send made")
    except BadData as error:
        return Looked(400, str(error), soap=version)
    found = find_personal_data(tree)
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        problem = f"document: holds personal data: {', '.join(found[:5])}{more}; correct the profile and rebuild it"
        return Looked(422, problem, soap=version)
    return Looked(0, "", str(ids[0]), begin, end, version)


def work(largest: int) -> None:
    """A worker's life: documents come on standard input, what was found goes to standard output, until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they go to all processes of a service; the parent decides
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # should memory run out, the system ends a worker and not the gateway
        Path("/proc/self/oom_score_adj").write_text("1000")
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else can slip into the answers
    look(b"<warm/>", largest)
    _send(sink, Looked())
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        data = source.read(_LENGTH.unpack(head)[0])
        try:
            found = look(data, largest)
        except MemoryError:
            found = Looked(413, "document: takes more memory than there is; send a smaller one")
        except Exception as error:  # a fault of ours: refuse, name the place without the content, stay alive
            found = Looked(500, f"document: cannot be looked at ({place_of(error)}); ask the data centre")
        del data
        with contextlib.suppress(BrokenPipeError):
            _send(sink, found)


class Workers:
    """`count` processes that look at documents of at most `largest` bytes; one that dies is replaced."""

    def __init__(self, count: int, largest: int) -> None:
        self.count, self._largest = count, largest
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
        self.replaced = 0

    async def start(self) -> None:
        """Raises Unavailable when the processes do not start."""
        for worker in await asyncio.gather(*(_started(self._largest) for _ in range(self.count))):
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """Let all end; none may be looking."""
        for _ in range(self.count):
            worker = await self._idle.get()
            if worker is not None:
                await worker.end()

    async def look(self, data: bytes) -> Looked:
        """What a worker found. A document whose worker died is tried with another one, once.

        Raises Unavailable when that died too, took too long, or no worker can be started.
        """
        problem = ""
        for _ in range(2):
            worker = await self._idle.get()
            try:
                if worker is None:
                    worker = await _started(self._largest)
                return await asyncio.wait_for(worker.look(data), SECONDS)
            except TimeoutError:  # an OSError, too
                worker, problem = await self._replaced(worker), f"took longer than {SECONDS:g} s"
                break
            except (OSError, EOFError) as error:
                worker, problem = await self._replaced(worker), "ended the process that looked at it"
                _log.warning("a worker died (%s); another one takes its place", type(error).__name__)
            except asyncio.CancelledError:  # it may be in the middle of anything
                worker = await self._replaced(worker)
                raise
            finally:
                self._idle.put_nowait(worker)
        raise Unavailable("document", problem, "send it again later, and tell the data centre if it stays so")

    async def _replaced(self, worker: _Worker | None) -> _Worker | None:
        """Nobody in the worker's place: who needs one next starts it."""
        self.replaced += 1
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            await worker.end()
        return None


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process, self._into, self._from = process, process.stdin, process.stdout

    async def look(self, data: bytes) -> Looked:
        if self._into.is_closing():  # uvloop would call that a fault of ours
            raise BrokenPipeError("the worker is gone")
        self._into.write(_LENGTH.pack(len(data)))
        self._into.write(data)
        await self._into.drain()
        return await self.answer()

    async def answer(self) -> Looked:
        length = _LENGTH.unpack(await self._from.readexactly(_LENGTH.size))[0]
        return Looked(**json.loads(await self._from.readexactly(length)))

    async def end(self) -> None:
        self._into.close()
        await self.process.wait()


async def _started(largest: int) -> _Worker:
    words = [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).resolve().parents[2]), str(largest)]
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        worker = _Worker(process)
        await asyncio.wait_for(worker.answer(), SECONDS)
    except (OSError, EOFError, TimeoutError) as error:
        raise Unavailable("the processes that look at documents", "do not start", "look into this program's log") from error
    return worker


def _send(sink: BinaryIO, found: Looked) -> None:
    answer = json.dumps(asdict(found)).encode()
    sink.write(_LENGTH.pack(len(answer)) + answer)
    sink.flush()
