"""How a program that has to go on speaks of a fault of its own: one line, never with the words of a document."""

from __future__ import annotations

import logging
import os
import traceback


def place_of(error: BaseException) -> str:
    """Where it was raised: ``KeyError in gateway.py, line 12``."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def report(log: logging.Logger, error: BaseException, consequence: str) -> None:
    """Log a fault and what follows from it; with -vv its traceback, too."""
    log.error("%s: a fault of this program; %s", place_of(error), consequence)
    log.debug("the traceback", exc_info=error)
