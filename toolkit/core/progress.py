"""Progress bars: on standard error, only where a person is watching, never with ``--quiet``."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

wanted = True  # set once by the command line's --quiet
Item = TypeVar("Item")


class Bar:
    """Counts what has been done; shown by tqdm where it is to be seen."""

    def __init__(self, shown: object | None) -> None:
        self._shown = shown

    def update(self, count: float = 1) -> None:
        """So many more are done."""
        if self._shown is not None:
            self._shown.update(count)  # type: ignore[attr-defined]

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, each counted when the next one is asked for."""
        for item in items:
            yield item
            self.update()


@contextlib.contextmanager
def progress(description: str, total: int | None, unit: str = "it") -> Iterator[Bar]:
    """A bar for work of `total` units, None if unknown, bytes where that is B; silent and without import but on a terminal."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield Bar(None)
        return
    from tqdm import tqdm

    with tqdm(desc=description, total=total, unit=unit, unit_scale=unit == "B", file=sys.stderr, leave=False) as shown:
        yield Bar(shown)


class BarHandler(logging.StreamHandler):
    """A log handler that lifts a running bar out of the way of the line it writes."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
