"""A job for the tests of map-reduce: how often words occur, with a word that breaks it, and one that looks around."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.errors import BadData, Unavailable
from toolkit.core.mapreduce.job import Job, guarded


class Words(Job):
    """Counts words in two steps: by word, and words by their number."""

    def steps(self) -> list[Any]:
        return [self.mr(mapper=self.words, reducer=self.count), self.mr(reducer=self.gather)]

    @guarded
    def words(self, _: None, text: str) -> Iterator[tuple[Any, Any]]:
        """The words of a group."""
        for word in json.loads(text)["words"]:
            if word == "broken":
                raise BadData("part 7", "is broken; really", "mend it")
            if word == "where?":
                (home,) = (parent for parent in Path.cwd().parents if parent.name.startswith("toolkit-job-"))
                word = oct(stat.S_IMODE(home.stat().st_mode))
            yield [word, self.parameters.get("language", "")], 1
        self.done(1)

    @guarded
    def count(self, key: Any, values: Iterator[int]) -> Iterator[tuple[Any, Any]]:
        """How often a word occurs."""
        if key[0] == "rare":
            raise Unavailable("the reducer", "met a rare word")
        yield ["by number", sum(values)], key[0]

    @guarded
    def gather(self, key: Any, values: Iterator[str]) -> Iterator[tuple[Any, Any]]:
        """The words that occur so often."""
        yield key, sorted(values)


if __name__ == "__main__":
    Words.run()
