"""Fourier transforms by FFTW, planned by trial within bounds; what the trials found (FFTW's "wisdom") is kept for the user."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import numpy as np
import pyfftw

from toolkit.core.caches import cache_directory
from toolkit.core.errors import ToolError
from toolkit.core.streams import atomic_output

PLANNING_SECONDS = 1.5  # that a process spends on trials in all; plans after that are estimates

log = logging.getLogger(__name__)


class Transforms:
    """The two transforms of `toolkit.geo.fourier.Fourier`, for any number of threads; plans are made when first needed."""

    def __init__(self) -> None:
        self._free: dict[tuple, list[Any]] = {}
        self._planning = threading.Lock()
        self._seconds = PLANNING_SECONDS
        self._file = wisdom_file()
        self._known = _load(self._file)

    def over_roll(self, values: np.ndarray, out: np.ndarray) -> None:
        """Sums of complex `values` (m, k, rows) over k into `out` (m, roll, rows), which may be `values`."""
        self._run(values, out)

    def over_yaw(self, values: np.ndarray, out: np.ndarray) -> None:
        """Sums of Hermitian `values` (rows, m, columns) over m into real `out` (rows, yaw, columns); `values` are spoilt."""
        self._run(values, out)

    def keep(self) -> None:
        """Put what was learnt in the user's cache; where that cannot be written nothing happens, but a line in the log."""
        with self._planning:
            wisdom = pyfftw.export_wisdom()
            if wisdom == self._known or not self._file:
                return
            self._known = wisdom
            try:
                os.makedirs(os.path.dirname(self._file), 0o700, exist_ok=True)
                with atomic_output(self._file) as sink:
                    sink.write(b"\0".join(wisdom))
            except (OSError, ToolError) as error:
                log.info("FFTW's wisdom is not kept: %s", error)

    def _run(self, values: np.ndarray, out: np.ndarray) -> None:
        # A plan holds for a layout of memory, and runs in one thread at a time.
        alignments = tuple(array.ctypes.data % pyfftw.simd_alignment for array in (values, out))
        free = self._free.setdefault((values.dtype, values.shape, values.strides, out.strides, values is out, alignments), [])
        try:
            plan = free.pop()
            plan.update_arrays(values, out)
        except IndexError:
            plan = self._plan(values, out)
        plan.execute()
        free.append(plan)

    def _plan(self, values: np.ndarray, out: np.ndarray) -> Any:
        kept = values.copy()  # trials overwrite both
        with self._planning:  # FFTW plans one at a time
            begin = time.perf_counter()
            plan = pyfftw.FFTW(
                values,
                out,
                axes=(1,),
                direction="FFTW_BACKWARD",
                flags=("FFTW_MEASURE" if self._seconds > 0 else "FFTW_ESTIMATE", "FFTW_DESTROY_INPUT"),
                planning_timelimit=max(self._seconds, 0),
            )
            self._seconds -= time.perf_counter() - begin
        values[...] = kept
        return plan


def wisdom_file() -> str:
    """Where wisdom is kept; empty where nothing can be."""
    place = cache_directory("fftw")
    return os.path.join(place, "wisdom") if place else ""


def _load(path: str) -> tuple[bytes, ...]:
    """Take over the wisdom of a file; a broken one, or one of another FFTW or processor, counts as none. Returns all that is known."""
    try:
        with open(path, "rb") as stream:
            parts = tuple(stream.read().split(b"\0"))
        if len(parts) != 3 or not all(pyfftw.import_wisdom(parts)):
            log.info("%s holds no wisdom for this FFTW, and will be written anew", path)
    except OSError as error:
        log.info("no wisdom of FFTW yet: %s", error)
    return pyfftw.export_wisdom()
