"""Progress bars: on standard error, only where a person is watching, never with ``--quiet``."""

from __future__ import annotations

import logging
import sys
from typing import Any

wanted = True  # set once by the command line's --quiet


def progress(description: str, total: int, unit: str = "") -> Any:
    """A bar with ``update(count)``, used as a context manager; silent unless standard error is a terminal."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        return _Unseen()  # importing tqdm takes 60 ms, which nobody would see
    from tqdm import tqdm

    return tqdm(desc=description, total=total, unit=unit, file=sys.stderr, leave=False)


class _Unseen:
    def __enter__(self) -> _Unseen:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        pass


class BarHandler(logging.StreamHandler):
    """A log handler that lifts a running bar out of the way of the line it writes."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
