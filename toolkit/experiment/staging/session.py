"""One machine, connected to in the background: what is to be done here meanwhile need not wait for the handshake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from toolkit.core.errors import ToolError, TryLater, Unavailable
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.connection import Access, Connection, Host, Lost, connect
from toolkit.experiment.staging.remote_tree import status
from toolkit.experiment.staging.retrying import Unreached

NEAR = 0.005  # s, round trip: OpenSSH lets 2 MiB be under way on one channel, 400 MB/s
_log = logging.getLogger(__name__)
Value = TypeVar("Value")


class Session:
    """A context; leaving it ends all connections, and so whatever still runs on them."""

    def __init__(self, host: Host, access: Access, connections: int = 1) -> None:
        self.name = str(host)
        self._workers = ThreadPoolExecutor(max_workers=16)
        self._first: Future[Channel] = Future()
        at_once = self._first.set_result if access.accept_key is None else None  # else there may be a second attempt
        self._connecting = [self._workers.submit(connect, host, access, at_once if turn == 0 else None) for turn in range(connections)]
        self._connecting[0].add_done_callback(self._connected)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *problem: object) -> None:
        for connecting in self._connecting:
            connecting.cancel()
            connecting.add_done_callback(_close)
        self._workers.shutdown(wait=kind is None, cancel_futures=True)  # who presses Ctrl-C does not wait for a host that is silent

    @property
    def connection(self) -> Connection:
        """The first connection, as soon as it is there. Raises Unreached when it cannot be made, and what connect raises."""
        try:
            return self._connecting[0].result()
        except Lost as error:
            raise Unreached(error.place, error.problem, error.remedy) from error

    @property
    def channel(self) -> Channel:
        """The first channel of the first connection, perhaps before that stands: what is asked then goes out with the handshake.

        Raises Lost; `reason` knows more.
        """
        return self._first.result()

    def reason(self, error: ToolError) -> ToolError:
        """Why there is no connection, if `error` came of that."""
        if isinstance(error, Lost):
            try:
                self.connection.channels(1)
            except ToolError as reason:
                return reason
        return error

    def _connected(self, connecting: Future[Connection]) -> None:
        if self._first.done():
            return
        if connecting.cancelled():
            self._first.cancel()
        elif (problem := connecting.exception()) is not None:
            self._first.set_exception(problem)
        else:
            self._first.set_result(connecting.result().channels(1)[0])

    def channels(self, count: int) -> Sequence[Channel]:
        """So many channels of each connection, of one after the other in turn."""
        opened = [list(self.connection.channels(count))]
        for connecting in self._connecting[1:]:
            try:
                opened.append(list(connecting.result().channels(count)))
            except (Lost, Unavailable) as error:
                _log.info("%s: no further connection: %s", self.name, error.problem)
        return [one for turn in range(count) for of_connection in opened for one in of_connection[turn : turn + 1]]

    def useful_channels(self, most: int) -> Sequence[Channel]:
        """At most so many channels: to a machine that is near one is as fast as several, and opening takes time. Raises Lost."""
        first = self.connection.channels(1)[0]
        for _ in range(3):  # the least counts: one machine or the other may be busy
            begun = time.monotonic()
            status(first, [b"."])
            taken = time.monotonic() - begun
            if taken < NEAR:
                return self.channels(1)
            if taken > 4 * NEAR:
                break
        return self.channels(most)

    def soon(self, function: Callable[..., Value], *words: object) -> Future[Value]:
        """Call a function in the background."""
        return self._workers.submit(function, *words)


class Machine:
    """A machine that is connected to, and again after its connection broke. A context: at its begin it connects in the background."""

    def __init__(self, host: Host, access: Access, connections: int = 1) -> None:
        self.name, self._words = str(host), (host, access, connections)
        self._session: Session | None = None

    def __enter__(self) -> Machine:
        self.session()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._session is not None:
            self._session.__exit__(*problem)  # type: ignore[arg-type]

    def session(self) -> Session:
        """The session that there is, or a new one."""
        if self._session is None:
            self._session = Session(*self._words)
        return self._session

    @contextmanager
    def attempt(self) -> Iterator[Session]:
        """The session for as long as it holds: after TryLater or Unreached the next one is new."""
        try:
            yield self.session()
        except (TryLater, Unreached) as error:
            reason: ToolError = error
            if self._session is not None:
                reason = self._session.reason(error)
                self._session.__exit__(type(error), error, None)
            self._session = None
            raise reason from error


def _close(connecting: Future[Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


def result_or_error(future: Future[Value]) -> Value | ToolError:
    """What became of a call in the background; Lost is raised."""
    try:
        return future.result()
    except Lost:
        raise
    except ToolError as error:
        return error
