"""A run's memory over time, with its stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.core.streams import atomic_output


def draw(path: str, title: str, runs: Sequence[dict[str, Any]]) -> None:
    """Write a PNG: one line for each repetition, RSS and PSS of all processes together; bands are the stages of the last one.

    Each of `runs` has ``samples``, ``stages`` and ``exit`` as in run-record(5). Raises CannotCreate and InputOutput.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    longest = max(run["exit"]["wall_ns"] for run in runs)
    scale, second = (1e9, "s") if longest >= 2e9 else (1e6, "ms")
    most = max([run["exit"]["peak_tree_rss_bytes"] or 0 for run in runs] + [run["exit"]["peak_rss_bytes"] or 0 for run in runs])
    unit, byte = next(((unit, byte) for unit, byte in ((1e9, "GB"), (1e6, "MB")) if most >= 2 * unit), (1e3, "kB"))
    for number, run in enumerate(runs):
        samples = run["samples"]
        points = ([sample["time_ns"] / scale for sample in samples], [sample["rss_bytes"] / unit for sample in samples])
        axes.plot(*points, color="C0", lw=1.2, label=_once("RSS", number))
        known = [sample for sample in samples if "pss_bytes" in sample]
        points = ([sample["time_ns"] / scale for sample in known], [sample["pss_bytes"] / unit for sample in known])
        axes.plot(*points, ".-", color="C1", lw=0.8, ms=4, label=_once("PSS", number))
    peak = max(run["exit"]["peak_rss_bytes"] or 0 for run in runs)
    axes.axhline(peak / unit, color="0.5", lw=0.8, ls="--", label="peak of one process")
    _bands(axes, runs[-1]["stages"], scale)
    axes.set(xlabel=f"time ({second})", xlim=(0, longest / scale), ylabel=f"memory ({byte})", ylim=(0, 1.15 * most / unit or 1))
    axes.set_title(_short(title), fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    with atomic_output(path) as stream:
        figure.savefig(stream, format="png", dpi=120)


def _bands(axes: Any, stages: Sequence[dict[str, Any]], scale: float) -> None:
    """Colour the time of each stage, the same colour for the same name; a stage inside another is a lower band."""
    colours = {name: f"C{2 + number % 8}" for number, name in enumerate(dict.fromkeys(stage["stage"] for stage in stages))}
    named: set[str] = set()
    for stage in stages:
        around = sum(_is_inside(stage, other) for other in stages)
        top = max(0.3, 1 - 0.08 * around)
        begin, end = stage["begin_ns"] / scale, stage["end_ns"] / scale
        axes.axvspan(begin, end, ymax=top, color=colours[stage["stage"]], alpha=0.15, lw=0)
        if stage["stage"] not in named:
            named.add(stage["stage"])
            place = axes.get_xaxis_transform()
            axes.text(begin, top - 0.01, f" {stage['stage']}", transform=place, va="top", fontsize=8, color=colours[stage["stage"]])


def _is_inside(stage: dict[str, Any], other: dict[str, Any]) -> bool:
    around = other["begin_ns"] <= stage["begin_ns"] and other["end_ns"] >= stage["end_ns"]
    return around and other is not stage and other["pid"] == stage["pid"]


def _once(label: str, number: int) -> str:
    return "_" if number else label


def _short(title: str) -> str:
    text = "".join(character if character.isprintable() else "?" for character in title).replace("$", r"\$")
    return text if len(text) <= 90 else text[:87] + "..."
