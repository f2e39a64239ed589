"""Trying again where a connection broke: later each time, and never at the same moment as others do."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from toolkit.core.errors import ToolError, TryLater, Unavailable

_log = logging.getLogger(__name__)
_LONGEST = 60.0  # seconds between two attempts
Value = TypeVar("Value")


def pause(attempt: int, first: float = 1.0) -> float:
    """Seconds to wait after so many attempts in a row have failed: doubled each time, then anything from half of it to the whole."""
    longest = min(_LONGEST, first * 2.0 ** min(attempt - 1, 30))
    return random.uniform(longest / 2, longest)


class Unreached(Unavailable):
    """A host that could not be connected to."""


def retrying(
    attempt: Callable[[], Value], retries: int, advanced: Callable[[], float], sleep: Callable[[float], None] = time.sleep
) -> Value:
    """Call `attempt` until it ends without TryLater or Unreached.

    `advanced` counts what has been done: while it grows between attempts, they are not counted as `retries`. A host that was never
    reached is tried two times more only: its name may be wrong. Raises TryLater when given up, or Unreached if it was so from the
    first to the last; every other error passes as it is.
    """
    failed, before, reached = 0, advanced(), False
    while True:
        try:
            return attempt()
        except (TryLater, Unreached) as error:
            reached = reached or isinstance(error, TryLater)
            now = advanced()
            failed, before = (1 if now > before else failed + 1), now
            if not reached and failed > min(retries, 2):
                raise
            if failed > retries:
                raise _given_up(error, failed) from error
            wait = pause(failed)
            _log.info("%s: %s; trying again in %.1f s", error.place, error.problem, wait)
            sleep(wait)


def _given_up(error: ToolError, attempts: int) -> TryLater:
    times = "once" if attempts == 1 else f"{attempts} times in a row"
    return TryLater(error.place, f"{error.problem} ({times})", "run the same command again: it goes on where this one ended")
