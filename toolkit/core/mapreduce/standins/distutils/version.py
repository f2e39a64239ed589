"""Versions of Hadoop and Spark compared as mrjob does it."""

from __future__ import annotations

import re
from functools import total_ordering


@total_ordering
class LooseVersion:
    """A version as its numbers and words: ``3.3.6``, ``2.7.0-mapr``."""

    def __init__(self, text: str) -> None:
        self.version = [int(word) if word.isdigit() else word for word in re.findall(r"\d+|[a-z]+", text)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LooseVersion) and self.version == other.version

    def __lt__(self, other: LooseVersion) -> bool:
        return [(isinstance(one, int), one) for one in self.version] < [(isinstance(one, int), one) for one in other.version]
