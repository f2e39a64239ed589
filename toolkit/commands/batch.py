"""scc --batch: its options, what excludes what, and the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.core import ParameterSource

from toolkit.core.errors import BadData, ToolError, UsageError
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.core.streams import atomic_output, open_input, stream_name

logger = logging.getLogger(__name__)
Limits = tuple[float, float] | None

_OPTIONS = (
    click.option("--batch", metavar="LIST", help="Many panoramas, one file a line of LIST; list the best poses of each as JSON lines."),
    click.option("--top", type=click.IntRange(1), default=10, metavar="N", help="With --batch: how many poses of each. [10]"),
    click.option(
        "--separation", type=click.FloatRange(0.0), default=3.0, metavar="DEG", help="With --batch: no two poses closer than this. [3]"
    ),
)
_ONLY_BATCH = ("top", "separation")
_NEVER_BATCH = {
    "precision": "the sums are made in float32",
    "fft": "the transforms are ducc0's",
    "explain": "tells of one correlation",
}


def batch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to scc."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_batch(panoramas: tuple[str, ...], photo: str, batch: str | None) -> None:
    """Raises UsageError for one sphere too few or too many, and for options that do not go together."""
    context = click.get_current_context()
    given = {name for name in (*_ONLY_BATCH, *_NEVER_BATCH) if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if batch is None:
        if only := [name for name in _ONLY_BATCH if name in given]:
            raise UsageError(f"--{only[0]}", "says nothing without --batch", "give it to rank-candidates")
        if len(panoramas) != 1:
            raise UsageError(" ".join((*panoramas, photo)), "is not two spheres", "write scc PANORAMA.npy PHOTO.npy")
        return
    for name, reason in _NEVER_BATCH.items():
        if name in given:
            raise UsageError(f"--{name}", f"says nothing to --batch: {reason}", "leave it out")
    if panoramas:
        raise UsageError("--batch", "takes one sphere, the photograph's", "write scc --batch LIST PHOTO.npy")
    if batch == photo == "-":
        raise UsageError("standard input", "cannot be both LIST and PHOTO", "put one of them into a file")


def run_batch(
    photo: str,
    bandwidth: int | None,
    limits: tuple[Limits, Limits, Limits],
    search: dict[str, Any],
    sft: str,
    output: str,
    *,
    batch: str,
    **ranking: Any,
) -> int:
    """Rank the poses of each panorama of the list `batch`; returns 1 where some failed, else 0."""
    from toolkit.core.records import write_records
    from toolkit.geo.batch import Batch
    from toolkit.geo.batch_list import ranked_panoramas
    from toolkit.geo.correlation import window
    from toolkit.geo.sphere import analyse, check_bandwidth, read_sphere
    from toolkit.geo.wigner import load_kernel

    with stage("vscc2 set-up"):
        with open_input(photo) as stream:
            sphere = read_sphere(stream, stream_name(photo))
        bandwidth = len(sphere) // 2 if bandwidth is None else bandwidth
        check_bandwidth(bandwidth)
        cells = window(bandwidth, *limits)
    with stage("vscc3 transform"):
        load_kernel("float32")
        one = Batch(analyse(sphere, bandwidth, sft, search["threads"]), cells, **search, **ranking)
    failed = 0
    with stage("vscc5 correlation"), atomic_output(output) as sink, progress("scc", None, " panoramas") as bar:
        for name, poses in ranked_panoramas(one, _names(batch), sft):
            bar.update()
            if isinstance(poses, ToolError):
                logger.error("%s", poses)
                failed += 1
            else:
                write_records(sink, [{"panorama": name, **vars(pose)} for pose in poses], "jsonl")
    return 1 if failed else 0


def _names(path: str) -> Iterator[str]:
    """The lines of a list, one by one as they come. Raises BadData when there is none."""
    import os

    empty = True
    with open_input(path) as stream:
        for line in stream:
            if name := line.rstrip(b"\r\n"):
                empty = False
                yield os.fsdecode(name)
    if empty:
        raise BadData(stream_name(path), "names no panorama", "write one file a line")
