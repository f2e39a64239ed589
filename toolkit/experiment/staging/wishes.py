"""How a tree is to be staged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from toolkit.core.errors import UsageError


@dataclass(frozen=True)
class Wishes:
    """What is asked of one staging."""

    exclude: tuple[str, ...] = ()
    follow: bool = False  # send what links point to
    checksum: bool = False  # compare contents, not sizes and times
    delete: bool = False
    dry_run: bool = False
    verify: Literal["auto", "read-back", "none"] = "auto"
    manifest: bool = True
    synchronise: bool = False  # have each file on disk before it gets its name
    limit: float | None = None  # bytes a second
    channels: int | None = None  # of each connection; None: as many as the work needs
    connections: int = 1
    retries: int = 5


def parse_rate(option: str, text: str | None) -> float | None:
    """Bytes a second of 500k, 10M, 1G; None for none. Raises UsageError, which names `option`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    rate = float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]] if match else 0.0
    if rate < 1:
        raise UsageError(option, f"{text!r} is no rate", "write 500k or 10M, bytes a second")
    return rate
