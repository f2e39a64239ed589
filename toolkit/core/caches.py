"""Where a user's files are kept that can be made again."""

from __future__ import annotations

import os


def cache_directory(name: str) -> str:
    """The user's directory for results of that name, which may not exist yet; empty for a user without a home, as services are."""
    home = os.path.expanduser("~")
    place = os.environ.get("XDG_CACHE_HOME") or (os.path.join(home, ".cache") if os.path.isdir(home) else "")
    return os.path.join(place, "scape-toolkit", name) if place else ""
