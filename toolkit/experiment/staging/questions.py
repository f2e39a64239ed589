"""Questions on a channel whose answers are waited for: many at a time, answered in their order."""

from __future__ import annotations

import collections
import queue
from collections.abc import Callable, Iterable, Iterator

from toolkit.core.errors import ToolError
from toolkit.experiment.staging import protocol
from toolkit.experiment.staging.channel import GONE, Channel
from toolkit.experiment.staging.files import shown
from toolkit.experiment.staging.protocol import STATUS, Fields

MOST_QUESTIONS = 4096  # without an answer
Request = tuple[int, bytes]
Answer = tuple[int, bytes]


def asked(channel: Channel, requests: Iterable[Request], most: int = MOST_QUESTIONS) -> Iterator[Answer]:
    """The answers to requests, in their order, so many under way at a time; the first ones leave with this call.

    Raises why the channel has ended.
    """
    waiting: collections.deque[queue.SimpleQueue[Answer]] = collections.deque()
    left = iter(requests)

    def send() -> None:
        while len(waiting) < most and (request := next(left, None)) is not None:
            box: queue.SimpleQueue[Answer] = queue.SimpleQueue()
            channel.request(*request, handler_into(box))
            waiting.append(box)

    def answers() -> Iterator[Answer]:
        while waiting:
            answer = answer_to(channel, waiting.popleft())
            send()
            yield answer

    send()
    return answers()


def answer_to(channel: Channel, box: queue.SimpleQueue[Answer]) -> Answer:
    """The answer that `handler_into` the box is waiting for. Raises why the channel has ended."""
    kind, answer = box.get()
    if kind == GONE:
        assert channel.ended is not None
        raise channel.ended
    return kind, answer


def handler_into(box: queue.SimpleQueue[Answer]) -> Callable[[int, memoryview], None]:
    """A handler that keeps the answer."""
    return lambda kind, answer: box.put((kind, bytes(answer)))


def forget(kind: int, answer: memoryview) -> None:
    """The answer to a CLOSE that nothing depends on."""


def code(answer: bytes) -> int:
    """What a STATUS says."""
    return int.from_bytes(answer[:4], "big")


def failure(channel: Channel, path: bytes, kind: int, answer: bytes, doing: str) -> ToolError:
    """The error that an answer stands for. Raises BadData for one of a kind that cannot be."""
    if kind != STATUS:
        raise protocol.broken(channel.name, f"an answer of kind {kind} where none can be")
    return protocol.failure(shown(path), channel.name, Fields(answer, channel.name), doing)


def outcome(channel: Channel, path: bytes, answer: Answer, doing: str) -> ToolError | None:
    """What became of a request that only succeeds or fails."""
    kind, fields = answer
    return None if kind == STATUS and code(fields) == protocol.OK else failure(channel, path, kind, fields, doing)


def one_name(channel: Channel, answer: bytes) -> bytes:
    """The path in an answer that holds one. Raises BadData."""
    fields = Fields(answer, channel.name)
    if fields.number() != 1:
        raise protocol.broken(channel.name, "several names where one was asked for")
    name = fields.text()
    if not name or b"\0" in name:
        raise protocol.broken(channel.name, "a path that none can have")
    return name
