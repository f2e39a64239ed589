"""A report as one page of HTML that needs nothing else: tables, figures, forecasts, machines, and what could not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from toolkit import __version__
from toolkit.experiment.reporting.collected import Step
from toolkit.experiment.reporting.figures import Drawn
from toolkit.experiment.reporting.laws import FARTHEST
from toolkit.experiment.reporting.quality import PARTS
from toolkit.experiment.reporting.report import Report
from toolkit.experiment.reporting.sheet import brief
from toolkit.experiment.reporting.tables import QUANTITIES, Quantity

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #555; --line: #ccc; --band: #f4f6f8; --link: #0b5fa5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a8adb3; --line: #3b4148; --band: #1e2226; --link: #7fb8ea; }
}
body { font: 15px/1.5 system-ui, "DejaVu Sans", Verdana, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 80rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p { max-width: 52rem; margin: .4rem 0; } .soft, figcaption { color: var(--soft); font-size: .875rem; }
a { color: var(--link); } nav a { margin-right: 1rem; white-space: nowrap; }
.wide { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { padding: .18rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--soft); vertical-align: bottom; } td.text, th.text { text-align: left; }
td.long { white-space: normal; min-width: 12rem; max-width: 56rem; overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: var(--band); }
summary { cursor: pointer; margin: .8rem 0; font-weight: 600; }
figure { margin: 1rem 0 1.6rem; } figure svg { width: 100%; max-width: 48rem; height: auto; background: #fff; border-radius: 4px; }
.warning { border-left: 4px solid #d55e00; padding: .3rem .8rem; background: var(--band); }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { max-width: none; margin: 0; font-size: 9.5pt; } nav { display: none; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } summary { list-style: none; }
  figure, tr { break-inside: avoid; } .wide { overflow: visible; } table { font-size: 7pt; } th, td { padding: .1rem .3rem; }
  td.long { min-width: 7rem; }
}
"""
_STATISTICS = ("n", "mean", "sd", "min", "q05", "q25", "median", "q75", "q95", "max")
_HEADINGS = {"q05": "5 %", "q25": "25 %", "q75": "75 %", "q95": "95 %", "sd": "s. d."}
_MOST_BAD = 200  # lines that the page names
_FIRST = ("time", "memory")  # what is seen at once
_BYTES = (("MB", 1.0), ("GB", 1e3), ("TB", 1e6))
_TIMES = (("s", 1.0), ("min", 60.0), ("h", 3600.0))  # hours, however many: the seed said 27 h
Cell = str | tuple[str, str]  # a text, or a text and its class


def page(report: Report, figures: Sequence[Drawn]) -> bytes:
    """The page, UTF-8."""
    tables = report.tables
    sections = [
        ("laws", "Fitted laws", _laws(report)),
        ("forecast", "Forecast", _forecast(report)),
        ("comparison", "Comparison", _comparison(report)),
        ("figures", "Figures", "".join(map(_figure, figures))),
        ("tables", "Times and memory", _statistics(report)),
        ("quality", "Quality of the correlations", _quality(tables["quality"])),
        ("machines", "Machines and software", _machines(tables["machines"])),
        ("failed", "Runs that did not end well", _failed(tables["failed"])),
        ("bad", "What could not be used", _bad(tables["bad"])),
    ]
    shown = [(name, title, body) for name, title, body in sections if body]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    bodies = "".join(f'<section id="{name}"><h2>{title}</h2>\n{body}</section>\n' for name, title, body in shown)
    style = f"<style>{_STYLE}</style>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Report of runs</title>{style}'
    text = f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n<h1>Report of runs</h1>\n{_summary(report)}<nav>{links}</nav>\n'
    return (text + bodies + f'<p class="soft">Made by profile-report of scape-toolkit {__version__}.</p>\n</body></html>\n').encode(
        errors="backslashreplace"
    )


def _summary(report: Report) -> str:
    found = report.collected
    days = "" if not found.days else f" on {found.days[0]}" if len(found.days) == 1 else f" from {found.days[0]} to {found.days[-1]}"
    machines = ", ".join(map(escape, found.machines)) if len(found.machines) <= 5 else f"{len(found.machines)} machines"
    quality = sum(row["n"] for row in report.tables["quality"])
    text = f"<p>{_count(found.runs, 'command')}{days}" + (f" on {machines}" if machines else "")
    text += (f"; quality of {_count(quality, 'correlation')}" if quality else "") + ".</p>\n"
    if found.bad or found.failed:
        words = [f'<a href="#failed">{_count(len(found.failed), "command")} did not end well</a>'] if found.failed else []
        words += [f'<a href="#bad">{_count(len(found.bad), "line or file", "lines or files")} could not be used</a>'] if found.bad else []
        text += f'<p class="warning">{" and ".join(words)}: the rest is reported here.</p>\n'
    return text


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _statistics(report: Report) -> str:
    """Time and memory of commands are seen at once, the rest on demand."""
    rows = report.tables["statistics"]
    if not rows:
        return ""
    text = (
        "<p>MB are 10<sup>6</sup> bytes. Quantiles lie on straight lines between values; s. d. is the standard deviation of the sample. "
        "Under <em>seed</em> stand the values of the laws that the seed experiment fitted on its six-core node: its single values are not "
        "at hand. The time of a command in a pipe includes its waiting for those before it: its processor time, below, does not.</p>\n"
    )
    first = [quantity for quantity in QUANTITIES if quantity.name in _FIRST]
    rest = [quantity for quantity in QUANTITIES if quantity not in first]
    text += _quantities(report, first, [row for row in rows if not row["stage"]])
    for title, wanted, some in (
        ("Stages", first, [row for row in rows if row["stage"]]),
        ("Processor time, memory of all processes, bytes read and written", rest, rows),
    ):
        inside = _quantities(report, wanted, some)
        text += f"<details><summary>{title}</summary>\n{inside}</details>\n" if inside else ""
    return text


def _quantities(report: Report, quantities: Sequence[Quantity], rows: Sequence[Mapping[str, Any]]) -> str:
    text = ""
    for quantity in quantities:
        some = [row for row in rows if row["quantity"] == quantity.name]
        if not some:
            continue
        seed = any(row["seed"] is not None for row in some)
        heading = [*_where_headings(report), *(_HEADINGS.get(name, name) for name in _STATISTICS), *(["seed"] if seed else [])]
        lines = [
            [*_where(report, row), *(_number(row[name]) for name in _STATISTICS), *([_number(row["seed"])] if seed else [])] for row in some
        ]
        text += f"<h3>{quantity.title}, {quantity.unit}</h3>\n{_table(heading, lines)}"
    return text


def _laws(report: Report) -> str:
    rows = report.tables["laws"]
    if not rows:
        return ""
    text = (
        "<p>log<sub>10</sub>(y) = a log<sub>2</sub>(r) + b, by least squares over the medians of the pairs; y in s or MB. "
        "All machines share a, each has its own b. Intervals hold with 95 % (Student's t). The spread is that of the residuals, as a "
        "factor. r is the resolution "
        f"{'given by --resolution' if report.chosen else 'of the pair against which the residuals are smaller'}.</p>\n"
    )
    return text + _parted(rows, _laws_table)


def _laws_table(rows: Sequence[Mapping[str, Any]]) -> str:
    seeds = any(row["seed_a"] is not None for row in rows)
    several = any(len(row["machines"]) > 1 for row in rows)
    notes = any(row["note"] for row in rows)
    heading: list[Cell] = [("", "text"), ("step", "text"), ("r", "text"), "a", "95 %", *(["seed a"] if seeds else [])]
    heading += [*([("machine", "text")] if several else []), "b", "95 %", *(["seed b"] if seeds else [])]
    heading += ["spread", "R²", "points", *([("", "text")] if notes else [])]
    lines: list[list[Cell]] = []
    for row in rows:
        for number, one in enumerate(row["machines"]):
            first: list[Cell] = [(row["quantity"], "text"), (_title(row), "text"), (row["scale"], "text"), f"{row['a']:.4f}"]
            first += [_interval(row["a_low"], row["a_high"], "{:.3f}")]
            first += [_fixed(row["seed_a"])] if seeds else []
            own: list[Cell] = [(one["machine"], "text")] if several else []
            own += [f"{one['b']:.4f}", _interval(one["b_low"], one["b_high"], "{:.3f}")]
            last: list[Cell] = [_fixed(row["seed_b"])] if seeds else []
            last += ["" if row["spread"] is None else f"× {brief(10 ** row['spread'])}", _fixed(row["r_squared"]), str(row["points"])]
            last += [(row["note"], "text long")] if notes else []
            lines.append([*(first if number == 0 else [""] * len(first)), *own, *(last if number == 0 else [""] * len(last))])
    return _table(heading, lines)


def _parted(rows: Sequence[Mapping[str, Any]], show: Callable[[Sequence[Mapping[str, Any]]], str]) -> str:
    """Time and memory of commands at once; processor times and stages on demand."""
    text = ""
    for title, chosen in (
        ("", [row for quantity in _FIRST for row in rows if row["quantity"] == quantity and not row["stage"]]),
        ("Stages", [row for quantity in _FIRST for row in rows if row["quantity"] == quantity and row["stage"]]),
        ("Processor time", [row for row in rows if row["quantity"] not in _FIRST]),
    ):
        if chosen:
            text += f"<details><summary>{title}</summary>\n{show(chosen)}</details>\n" if title else show(chosen)
    return text


def _forecast(report: Report) -> str:
    rows = [row for row in report.tables["forecast"] if not row["stage"]]
    if not rows:
        return ""
    text = (
        "<p>What the laws foretell for whole commands on each machine seen. The interval is that of a new pair's median and holds with "
        "95 %, as far as the law does: <em>beyond</em> says how many times farther than anything measured the resolution is; beyond "
        f"{FARTHEST} times nothing is foretold.</p>\n"
    )
    return text + _parted(rows, _forecast_table)


def _forecast_table(rows: Sequence[Mapping[str, Any]]) -> str:
    heading: list[Cell] = [("", "text"), ("command", "text"), ("machine", "text"), "r", "forecast", "95 %", "beyond", "seed", ("", "text")]
    lines: list[list[Cell]] = [
        [
            (row["quantity"], "text"),
            (_title(row), "text"),
            (row["machine"], "text"),
            f"{row['resolution']:g} ({row['scale']})",
            "–" if row["value"] is None else _said(row["value"], row["quantity"]),
            "" if row["low"] is None else f"{_said(row['low'], row['quantity'])} to {_said(row['high'], row['quantity'])}",
            f"× {row['beyond']:.3g}" if row["beyond"] > 1 else "",
            "" if row["seed"] is None else _said(row["seed"], row["quantity"]),
            (
                "; ".join([*(["more memory than the machine has"] if row["fits"] is False else []), *filter(None, [row["note"]])]),
                "text long",
            ),
        ]
        for row in rows
    ]
    return _table(heading, lines)


def _comparison(report: Report) -> str:
    rows = report.tables["comparison"]
    if not report.compared:
        return ""
    one, other = map(escape, report.compared)
    if not rows:
        return f"<p>Nothing was measured both on {one} and on {other} at the same resolutions.</p>\n"
    text = (
        f"<p>How many times as much {other} takes as {one}: the median of all ratios, with the interval of Mann and Whitney's test. "
        "Where the runs are too few for 95 %, the highest possible confidence is given.</p>\n"
    )
    return text + _parted(rows, lambda some: _comparison_table(report.scales, some))


def _comparison_table(scales: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    heading: list[Cell] = [("", "text"), ("step", "text"), *scales, "runs", "ratio", "interval", "confidence", ("differ", "text")]
    lines: list[list[Cell]] = [
        [
            (row["quantity"], "text"),
            (_title(row), "text"),
            *(_resolution(row[scale]) for scale in scales),
            f"{row['n_first']}, {row['n_second']}",
            brief(row["ratio"]),
            "" if row["low"] is None else f"{brief(row['low'])} to {brief(row['high'])}",
            "" if row["confidence"] is None else f"{100 * row['confidence']:.1f} %",
            ({True: "yes", False: "no", None: ""}[row["differs"]], "text"),
        ]
        for row in rows
    ]
    return _table(heading, lines)


def _quality(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    ranks = list(rows[0]["ranks"])
    titles = [f"rank {rank}" if rank != "none" else "not listed" for rank in ranks]
    first = [
        [f"{row['output']:g}", _number(row["tolerance"]), str(row["n"]), *map(_number, (row["mean"], row["sd"], row["median"]))]
        + [str(row["ranks"][rank]) for rank in ranks]
        for row in rows
    ]
    text = "<p>The false ratio is the share of a correlation's cells that score above the best cell near the truth.</p>\n"
    text += _table(["resolution", "tolerance, °", "n", "mean", "s. d.", "median", *titles], first)
    heading = ["quantile", *(f"{row['output']:g}" + (f", {row['tolerance']:g}°" if row["tolerance"] is not None else "") for row in rows)]
    lines = [[f"{100 * part // PARTS} %", *(_number(row["quantiles"][part]) for row in rows)] for part in range(PARTS + 1)]
    return text + f"<details><summary>50-quantiles of the false ratio, by resolution</summary>\n{_table(heading, lines)}</details>\n"


def _figure(drawn: Drawn) -> str:
    svg = drawn.svg.decode()
    name = drawn.name.replace("fig-0", "Figure ").replace("fig-", "Figure ")
    return f'<figure id="{drawn.name}">{svg[svg.index("<svg ") :]}<figcaption>{name}. {escape(drawn.title)}.</figcaption></figure>\n'


def _machines(rows: Sequence[Mapping[str, Any]]) -> str:
    lines: list[list[Cell]] = []
    packed: list[list[Cell]] = []
    for row in rows:
        for seen in row["seen"]:
            machine, software = seen["machine"], seen["software"]
            cpu = machine.get("cpu") if isinstance(machine.get("cpu"), dict) else {}
            limits = machine.get("cgroup") if isinstance(machine.get("cgroup"), dict) else {}
            memory = machine.get("memory_bytes")
            allowed = limits.get("memory_max_bytes")
            packages = software.get("packages") if isinstance(software.get("packages"), dict) else {}
            if packages:
                packed.append([(row["machine"], "text"), (", ".join(f"{name} {packages[name]}" for name in sorted(packages)), "text long")])
            lines.append(
                [
                    (row["machine"], "text"),
                    (" ".join(str(machine.get(name) or "") for name in ("system", "kernel", "architecture")), "text"),
                    (str(cpu.get("model") or ""), "text"),
                    f"{cpu.get('cores') or '?'} / {cpu.get('threads') or '?'}",
                    _gigabytes(memory) + (f" ({_gigabytes(allowed)} allowed)" if allowed else ""),
                    (str(machine.get("graphics") or ""), "text"),
                    (", ".join(f"{name} {software[name]}" for name in ("toolkit", "python", "program") if name in software), "text long"),
                ]
            )
    unique, of_packages = ([line for number, line in enumerate(some) if line not in some[:number]] for some in (lines, packed))
    heading: list[Cell] = [("machine", "text"), ("system", "text"), ("processor", "text"), "cores / threads", "memory"]
    text = _table([*heading, ("graphics", "text"), ("software", "text")], unique) if unique else ""
    if of_packages:
        text += f"<details><summary>Packages</summary>\n{_table([('machine', 'text'), ('packages', 'text')], of_packages)}</details>\n"
    return text


def _failed(rows: Sequence[Mapping[str, Any]]) -> str:
    def ending(row: Mapping[str, Any]) -> str:
        if row["signal"]:
            return f"died of {row['signal']}"
        return "its end is not recorded" if row["status"] is None else f"status {row['status']}"

    lines: list[list[Cell]] = [
        [
            (row["began"][:19].replace("T", " "), "text"),
            (row["program"], "text"),
            (row["machine"], "text"),
            (ending(row), "text"),
            (", ".join(_resolution(scale) for scale in row["scales"]), "text"),
        ]
        for row in rows
    ]
    heading: list[Cell] = [(name, "text") for name in ("began", "command", "machine", "ended", "resolutions")]
    return f"<p>They count in no table.</p>\n{_table(heading, lines)}" if lines else ""


def _bad(rows: Sequence[Mapping[str, Any]]) -> str:
    lines: list[list[Cell]] = [[(row["place"], "text long"), (row["problem"], "text long")] for row in rows[:_MOST_BAD]]
    more = f"<p>… and {len(rows) - _MOST_BAD} more, in tables/bad.csv.</p>\n" if len(rows) > _MOST_BAD else ""
    return _table([("place", "text"), ("problem", "text")], lines) + more if lines else ""


def _table(heading: Sequence[Cell], lines: Iterable[Sequence[Cell]]) -> str:
    def cell(tag: str, content: Cell) -> str:
        text, kind = content if isinstance(content, tuple) else (content, "")
        return f"<{tag}{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</{tag}>"

    head = "".join(cell("th", one) for one in heading)
    body = "".join(f"<tr>{''.join(cell('td', one) for one in line)}</tr>\n" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def _where_headings(report: Report) -> list[Cell]:
    machine: list[Cell] = [("machine", "text")] if len(report.collected.machines) > 1 else []
    return [("step", "text"), *report.scales, *machine]


def _where(report: Report, row: Mapping[str, Any]) -> list[Cell]:
    machine: list[Cell] = [(row["machine"], "text")] if len(report.collected.machines) > 1 else []
    return [(_title(row), "text"), *(_resolution(row[scale]) for scale in report.scales), *machine]


def _title(row: Mapping[str, Any]) -> str:
    return Step(row["command"], row["stage"], tuple(row["labels"])).title


def _resolution(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _number(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else brief(value)


def _fixed(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{form.format(low)} to {form.format(high)}"


def _said(value: float, quantity: str) -> str:
    """Seconds or MB in the unit that people say them in."""
    units = _BYTES if quantity == "memory" else _TIMES
    name, size = next((unit for unit in reversed(units) if value >= unit[1]), units[0])
    return f"{brief(value / size)} {name}"


def _gigabytes(size: Any) -> str:
    return f"{size / 1e9:.1f} GB" if isinstance(size, int) else ""
