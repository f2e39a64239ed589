"""The manuals: clean mdoc(7), the same sections everywhere, and exactly the options that the commands have.

The grammar that is held. SYNOPSIS names every option once, by any of its names, and the arguments in their order; what
may be left out stands in ``.Op`` (or between ``.Oo`` and ``.Oc``) or is one of several with bars between. OPTIONS has one
``.It`` for each option with all its names and, unless it is a switch, its value as ``Ar`` or its choices as ``Cm``.
"""

from __future__ import annotations

import importlib
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir())
PAGES = sorted((ROOT / "man").glob("man*/*.[1-9]"))
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
MACROS = {"Fl", "Ar", "Cm", "Ns", "Op", "Oo", "Oc", "Brq", "Pq", "Xo", "Xc", "Pf", "No", "Sy", "Li"}

each_command = pytest.mark.parametrize("name", COMMANDS)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@dataclass(frozen=True)
class Flag:
    names: frozenset[str]
    values: tuple[str, ...]  # what Ar and Cm say of its value; empty for a switch
    required: bool = False


def sections(page: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in page.read_text().splitlines():
        if line.startswith(".Sh "):
            found[line[4:].strip('"')] = []
        elif found:
            found[list(found)[-1]].append(line)
    return found


def words(line: str) -> list[str]:
    """The words of a macro line, without the punctuation that mdoc sets between them."""
    return [word for word in shlex.split(line.lstrip(".")) if word not in {",", "=", "Ns", "..."}]


def flags(parts: list[str]) -> tuple[list[str], list[str]]:
    """The option names and the values in the words of one option; ``Fl qv`` is two switches."""
    names, values, macro = [], [], ""
    for part in parts:
        if part in MACROS:
            macro = part
        elif macro == "Fl":
            names += ["-" + part] if part.startswith("-") else ["-" + letter for letter in part]
        elif macro in ("Ar", "Cm"):
            values += [value for value in part.split("|") if value]
    return names, list(dict.fromkeys(values))  # ``Fl b Ar B , Fl -bandwidth Ar B`` tells one value


def alternatives(parts: list[str]) -> list[list[str]]:
    """The words between bars; a bar between two choices of one value does not count."""
    found: list[list[str]] = [[]]
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if part == "|" and following == "Fl":
            found.append([])
        elif part != "|":
            found[-1].append(part)
    return found


def synopsis(lines: list[str]) -> tuple[list[Flag], list[tuple[str, bool]]]:
    """The options and the arguments (name, required) that a SYNOPSIS shows."""
    options, arguments, depth = [], [], 0
    for line in lines:
        if not line.startswith(".") or line.startswith((".Nm", ".Bk", ".Ek", '.\\"')):
            continue
        choices = alternatives(words(line))
        depth += line.split().count("Oo") + line.startswith(".Oo")
        required = depth == 0 and not line.startswith(".Op ") and len(choices) == 1
        for parts in choices:
            names, values = flags(parts)
            if names and not values:
                options += [Flag(frozenset([name]), (), required) for name in names]
            elif names:
                options.append(Flag(frozenset(names), tuple(values), required))
            elif values:
                arguments.append((values[0], required))
        depth -= line.split().count("Oc") + line.startswith(".Oc")
    return options, arguments


def tool(name: str) -> click.Command:
    module = name.replace("-", "_")
    return getattr(importlib.import_module(f"toolkit.commands.{module}"), module)


def real_options(name: str) -> list[click.Option]:
    context = click.Context(tool(name), info_name=name)
    return [parameter for parameter in tool(name).get_params(context) if isinstance(parameter, click.Option)]


def value_of(option: click.Option, name: str) -> tuple[str, ...]:
    if option.is_flag or option.count:
        return ()
    if isinstance(option.type, click.Choice):
        return tuple(option.type.choices)
    return tuple(option.make_metavar(click.Context(tool(name))).removesuffix("...").split("|"))


@each_command
def test_every_command_has_a_page_with_its_sections(name: str) -> None:
    found = sections(ROOT / "man" / "man1" / f"{name}.1")
    assert [section for section in found if section in SECTIONS] == SECTIONS
    assert f".Nm {name}" in found["NAME"]
    assert all(any(line.strip() for line in lines) for lines in found.values())


def test_every_page_of_section_one_is_a_commands() -> None:
    assert [page.stem for page in PAGES if page.suffix == ".1"] == COMMANDS


@each_command
def test_the_options_are_those_of_the_command(name: str) -> None:
    lines = sections(ROOT / "man" / "man1" / f"{name}.1")["OPTIONS"]
    described = [flags(words(line.replace(" | ", " "))) for line in lines if line.startswith(".It Fl")]
    told = {frozenset(names): tuple(values) for names, values in described}
    real = {frozenset(option.opts + option.secondary_opts): value_of(option, name) for option in real_options(name)}
    assert told == real
    assert len(described) == len(told)


@each_command
def test_the_synopsis_is_that_of_the_command(name: str) -> None:
    options, arguments = synopsis(sections(ROOT / "man" / "man1" / f"{name}.1")["SYNOPSIS"])
    real = {}
    for option in real_options(name):
        real.update(dict.fromkeys(option.opts + option.secondary_opts, option))
    shown = [real.get(flag_name) for flag in options for flag_name in flag.names]
    assert None not in shown, "the synopsis shows an option that does not exist"
    assert sorted(o.name for o in shown) == sorted(o.name for o in real_options(name)), "each option once"
    for flag in options:
        option = real[next(iter(flag.names))]
        assert (flag.values, flag.required) == (value_of(option, name), option.required), flag
    parameters = [p for p in tool(name).params if isinstance(p, click.Argument) and p.metavar != ""]
    context = click.Context(tool(name))
    assert arguments == [(p.make_metavar(context).strip("[]").removesuffix("..."), p.required) for p in parameters]


@each_command
def test_the_examples_of_the_help_name_real_options(name: str) -> None:
    known = {flag for option in real_options(name) for flag in option.opts + option.secondary_opts}
    for line in (tool(name).epilog or "").splitlines():
        for stage in line.split("|"):
            if stage.split()[:1] == [name]:
                used = {word.split("=")[0] for word in stage.split() if word.startswith("-") and len(word) > 1}
                assert {word for word in used if not word[1].isdigit() and word != "--"} <= known, line


@each_page
def test_mandoc_finds_nothing_to_complain_about(page: Path, program) -> None:  # type: ignore[no-untyped-def]
    mandoc = program("mandoc", "mandoc")
    result = subprocess.run([mandoc, "-Tlint", "-Wwarning", page], capture_output=True, text=True)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@each_page
def test_man_renders_it(page: Path, program) -> None:  # type: ignore[no-untyped-def]
    man = program("man", "man-db")
    environment = {"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"}
    result = subprocess.run([man, "-l", page], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert all(section in result.stdout for section in sections(page))


@each_page
def test_every_reference_to_our_own_pages_exists(page: Path) -> None:
    pages = {(path.stem, path.suffix[1:]) for path in PAGES}
    tools = {"awk", "cron", "crontab", "exiftool", "gdalinfo", "jq", "make", "proc", "sh"}
    others = tools | {"rsync", "sha256sum", "shasum", "ssh", "ssh_config"}
    for line in page.read_text().splitlines():
        if line.startswith((".Xr ", ".It Xr ")):
            name, section = line.split("Xr ")[1].split()[:2]
            if section in {"1", "5", "7"} and name not in others:
                assert (name, section) in pages, line
