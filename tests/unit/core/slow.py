"""A job that takes its time, and says which processes work for it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.mapreduce.job import Job, guarded


class Slow(Job):
    """Sleeps."""

    @guarded
    def mapper(self, _: None, text: str) -> Iterator[tuple[Any, Any]]:
        """A minute."""
        Path(tempfile.gettempdir(), f"mark{os.getpid()}").touch()
        time.sleep(60)
        yield [text], 1

    @guarded
    def reducer(self, key: Any, values: Iterator[int]) -> Iterator[tuple[Any, Any]]:
        """Nothing new."""
        yield key, sum(values)


if __name__ == "__main__":
    Slow.run()
