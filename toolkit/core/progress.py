"""Progress bars: on standard error, only where a person is watching, never with ``--quiet``."""

from __future__ import annotations

import sys
from typing import Any

wanted = True  # set once by the command line's --quiet


def progress(description: str, total: int, unit: str = "") -> Any:
    """A bar with ``update(count)``, used as a context manager; silent unless standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(desc=description, total=total, unit=unit, file=sys.stderr, disable=None if wanted else True, leave=False)
