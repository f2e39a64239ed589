"""Many panoramas in files against one photograph: files are read while those read before are correlated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from toolkit.core.errors import BadData, ToolError
from toolkit.geo.batch import Batch
from toolkit.geo.candidates import Candidate
from toolkit.geo.coefficients_file import read_panoramas

_Entry = tuple[str, ToolError | None]  # a panorama's name, and what is wrong with it


def ranked_panoramas(
    batch: Batch, paths: Iterable[str], scalar_transform: str = "ducc0"
) -> Iterator[tuple[str, list[Candidate] | ToolError]]:
    """The best poses of each panorama, in the order of the list, or what is wrong with it.

    `paths`: files of spheres, of coefficients or of many panoramas' coefficients (`toolkit.geo.coefficients_file`). Memory is bounded
    whatever their number.
    """
    groups = _groups(batch, paths, scalar_transform)
    reader = ThreadPoolExecutor(1)
    try:
        following = reader.submit(next, groups, None)
        while (group := following.result()) is not None:
            following = reader.submit(next, groups, None)
            entries, panoramas = group
            poses = batch.best_poses(panoramas)
            for name, problem in entries:
                yield name, problem or next(poses)
    finally:
        reader.shutdown(wait=False, cancel_futures=True)  # it may wait for the next name, which may never come


def _groups(batch: Batch, paths: Iterable[str], scalar_transform: str) -> Iterator[tuple[list[_Entry], np.ndarray]]:
    """Panoramas in groups of as many as the batch takes at once, with those between that cannot be used."""
    entries: list[_Entry] = []
    parts: list[np.ndarray] = []
    held = 0
    for path in paths:
        for names, panoramas in _read(path, batch, scalar_transform):
            used = 0
            for entry in names:
                entries.append(entry)
                if entry[1] is None:
                    used, held = used + 1, held + 1
                if held == batch.at_once or len(entries) == 4 * batch.at_once:
                    yield entries, np.concatenate([*parts, panoramas[:used]])
                    panoramas, used, held, entries, parts = panoramas[used:], 0, 0, [], []
            parts.append(panoramas)
    if entries:
        yield entries, np.concatenate(parts)


def _read(path: str, batch: Batch, scalar_transform: str) -> Iterator[tuple[list[_Entry], np.ndarray]]:
    """What a file holds; if it cannot be read, that."""
    bandwidth = batch.cells.bandwidth
    try:
        for names, panoramas in read_panoramas(path, bandwidth, scalar_transform, batch.threads):
            yield [(name.place, name) if isinstance(name, ToolError) else (name, None) for name in names], panoramas
    except (ToolError, OSError) as error:
        problem = error if isinstance(error, ToolError) else BadData(path, error.strerror or str(error), "is the disk all right?")
        yield [(path, problem)], np.empty((0, 3, bandwidth * (bandwidth + 1) // 2), np.complex64)
