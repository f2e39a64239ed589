"""The memory of all processes of a command together, sample by sample."""

from __future__ import annotations

import time

from toolkit.experiment.profiling.nvidia import Graphics
from toolkit.experiment.profiling.sampling import Series, Tree
from toolkit.experiment.profiling.stages import Stages

_SECOND_NS = 1_000_000_000
_GROWTH = 1.05  # PSS is read where RSS has grown by so much, and once a second, but
_SHARE = 100  # after a reading that took t not again for 100 t


class Memory:
    """Samples of a tree of processes. PSS, which costs more than RSS, and the memory of graphics processors are read now and then."""

    def __init__(self, tree: Tree, stages: Stages) -> None:
        self._tree, self._stages, self._graphics = tree, stages, Graphics()
        self._series = Series()
        self.peak_rss_bytes = 0
        self.peak_pss_bytes: int | None = None
        self._rss_at_reading, self._read_at, self._not_before = 0, -_SECOND_NS, 0

    def sample(self, now: int) -> None:
        """Look at all processes; `now` is the time in ns since the command began."""
        rss, processes = self._tree.read()
        if not processes:
            return
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
        self._stages.sampled_tree(rss)
        for pid, own in self._tree.memory():
            self._stages.sampled(pid, own)
        sample = {"time_ns": now, "rss_bytes": rss, "processes": processes}
        if now >= self._not_before and (rss > _GROWTH * self._rss_at_reading or now >= self._read_at + _SECOND_NS):
            self._rss_at_reading, self._read_at = rss, now
            sample |= self._read_more(now)
        self._series.add(sample)

    def finish(self) -> list[dict[str, int]]:
        """All samples."""
        self._series.flush()
        return self._series.samples

    @property
    def graphics_peak_bytes(self) -> int | None:
        """The most that graphics processors were seen to hold for the command; None where there are none."""
        return self._graphics.peak_bytes

    def _read_more(self, now: int) -> dict[str, int]:
        begin = time.thread_time_ns()
        pss = self._tree.read_pss()
        if self._graphics:
            self._graphics.read(self._tree)
        self._not_before = now + _SHARE * (time.thread_time_ns() - begin)
        if pss is None:
            return {}
        self.peak_pss_bytes = max(self.peak_pss_bytes or 0, pss)
        return {"pss_bytes": pss}
