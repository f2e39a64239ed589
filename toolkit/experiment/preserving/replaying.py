"""Run the commands of a crate again in a fresh directory, and say what came out otherwise.

Only lists of words are executed, never a line of a shell. Inputs are laid out where the commands knew them, below the fresh directory;
pipes between commands and redirections to files are made again; each command runs under profile-wrap, so that new records arise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from toolkit.core.errors import BadData, CannotCreate, NoInput
from toolkit.core.progress import progress
from toolkit.experiment.preserving.comparing import Difference, Tolerance, difference, tolerance_for
from toolkit.experiment.preserving.environment import Change, changes, mapping
from toolkit.experiment.preserving.gathering import began, ended
from toolkit.experiment.preserving.pipes import is_pipe, pipelines, pipes_of, stream
from toolkit.experiment.preserving.places import METADATA, RECORDS, Root, absolute, payload_name
from toolkit.experiment.preserving.running import Layout, run_together
from toolkit.experiment.preserving.shapes import Entity, ids, many, path_of, read_metadata, text_of
from toolkit.experiment.run_record import Command, read_run_records


@dataclass(frozen=True)
class Crate:
    """What a repetition needs of a crate: its bag's directory, where its files were, by how much they may differ, its commands."""

    bag: str
    root: Root
    tolerances: list[Tolerance]
    commands: list[Command]

    def file(self, path: str) -> str:
        """Where the bag has the file that commands knew by this absolute path."""
        return os.path.join(self.bag, "data", payload_name(self.root.place(path)))


@dataclass(frozen=True)
class Repeated:
    """A command and its repetition; `problem` says why there is none, or how it ended otherwise, `note` what it had to do without."""

    was: Command
    now: Command | None = None
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Output:
    """A file that commands wrote, and how it differs from what it was; ``equal`` may also be within what is tolerated."""

    path: str  # below the fresh directory
    equal: bool
    difference: Difference | None = None
    tolerance: Tolerance | None = None
    problem: str = ""


@dataclass(frozen=True)
class Replay:
    """What came of running an experiment again."""

    commands: list[Repeated] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    environment: list[Change] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether all commands ended as they had, and all they wrote is what it was."""
        return not any(one.problem for one in self.commands) and all(one.equal for one in self.outputs)


def read_crate(bag: str) -> Crate:
    """Read what is needed for a repetition. Raises BadData where the crate is not one of preserve's."""
    entities = read_metadata(bag)
    root = next((entity for entity in entities.values() if entity["@id"] == "./"), {})
    facts = [entities.get(one, {}) for one in ids(root.get("additionalProperty"))]
    roots = [text_of(fact, "value") for fact in facts if text_of(fact, "name") == "root"]
    if len(roots) != 1:
        place = os.path.join(bag, "data", METADATA)
        raise BadData(place, "does not tell where the files of the experiment were", "name a crate that preserve made")
    tolerances = [Tolerance.parse(text_of(fact, "value")) for fact in facts if text_of(fact, "name") == "tolerance"]
    commands = [command for command in read_run_records(_records(bag, root)) if command.argv]
    for command in commands:
        if not all(_is_for_programs(text) for text in _texts(command)):
            raise BadData(command.source, f"has a command, {command.command}, with text that no program can be given", "leave it")
    return Crate(bag, Root(absolute("/", roots[0])), tolerances, commands)


def _texts(command: Command) -> Iterable[str]:
    """All of a record that is handed to the system: words, paths, settings."""
    yield from command.argv
    yield command.directory
    yield from (file.path for file in command.files)
    yield from (stream(command, name) for name in ("stdin", "stdout", "stderr"))
    for settings in (command.environment, command.tags):
        yield from settings.keys()
        yield from settings.values()


def _is_for_programs(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _records(bag: str, root: Entity) -> Iterable[str]:
    names = [one["@id"] for one in many(root.get("hasPart")) if isinstance(one, dict) and str(one.get("@id")).startswith(f"{RECORDS}/")]
    return [os.path.join(bag, "data", path_of(name)) for name in names if path_of(name)]


def runs(crate: Crate) -> list[list[Command]]:
    """The commands to repeat, those that pipes connect together, in the order in which they began; of repetitions only the last."""
    commands = sorted(crate.commands, key=began)
    last = {(one.run, tuple(one.argv), one.directory): one.repetition for one in commands}  # rising: the last one stays
    return pipelines([one for one in commands if one.repetition == last[one.run, tuple(one.argv), one.directory]])


def replay(crate: Crate, directory: str) -> Replay:
    """Repeat the commands of a crate, which must be sound, in the new directory `directory`.

    Raises NoInput where an input is kept by reference and was not fetched, CannotCreate where the directory cannot be made.
    """
    versions = _versions(crate)
    layout = Layout(crate.root, os.path.abspath(directory), frozenset(versions))
    _lay_out(crate, layout, [path for path, (role, _) in versions.items() if role == "input"])
    done: list[Repeated] = []
    with progress("replay", len(crate.commands), "command") as bar:
        for commands in runs(crate):
            refusals = [(command, _refusal(command, layout)) for command in commands]
            if any(refusal for _, refusal in refusals):
                others = "another command of its pipe cannot be"
                done += [Repeated(command, problem=f"was not repeated: {refusal or others}") for command, refusal in refusals]
                _lay_out(crate, layout, [path for command in commands for path in _written(command)], missing_is_fine=True)
            else:
                done += [_repeated(*one) for one in run_together(commands, layout, len(done))]
            bar.update(len(commands))
    fed = {pipe.reader.command for pipe in pipes_of(crate.commands)}
    done = [replace(one, note=_note(one.was, fed)) for one in done]
    pairs = [(one.was, one.now) for one in done if one.now is not None]
    skipped = {path for one in done if one.now is None for path in _written(one.was)}
    outputs = [_output(crate, layout, path, digest) for path, (_, digest) in _newest(crate, done).items() if path not in skipped]
    return Replay(done, outputs, changes(pairs))


def _versions(crate: Crate) -> dict[str, tuple[str, str]]:
    """Of each file, by absolute path, what its first command did with it, and that state's SHA-256."""
    found: dict[str, tuple[str, str]] = {}
    for command in sorted(crate.commands, key=began):
        for file in sorted(command.files, key=lambda file: file.role):  # a command reads before it writes
            found.setdefault(absolute(command.directory, file.path), (file.role, file.sha256))
    return found


def _newest(crate: Crate, done: Sequence[Repeated]) -> dict[str, tuple[Command, str]]:
    """Of each file that repeated commands wrote, by absolute path, the last that did and the state's SHA-256."""
    found: dict[str, tuple[Command, str]] = {}
    for command in sorted((one.was for one in done), key=lambda command: ended(command) or began(command)):
        for file in command.files:
            if file.role == "output":
                found[absolute(command.directory, file.path)] = (command, file.sha256)
    return found


def _written(command: Command) -> list[str]:
    return [absolute(command.directory, file.path) for file in command.files if file.role == "output"]


def _lay_out(crate: Crate, layout: Layout, paths: Iterable[str], missing_is_fine: bool = False) -> None:
    """Copy files of the crate to where the commands look for them; the crate's own are never touched."""
    programs = {absolute(one.directory, str(mapping(one.software.get("program")).get("path") or "")) for one in crate.commands}
    for path in paths:
        source, target = crate.file(path), layout.fresh(path)
        if not os.path.exists(source):
            if missing_is_fine:
                continue
            raise NoInput(os.path.relpath(source, crate.bag), "is kept by reference", "fetch it with --fetch")
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            os.chmod(target, 0o755 if path in programs else 0o644)
        except OSError as error:
            raise CannotCreate(target, error.strerror or str(error), "choose another place with -o") from error


def _refusal(command: Command, layout: Layout) -> str:
    """Why a command cannot be repeated; empty where it can."""
    stdin = stream(command, "stdin")
    if command.exit is None:
        return "its record has no end"
    if any("***" in word for word in command.argv):
        return "a secret was left out of its command line"
    if not command.directory:
        return "it ran in a directory that had been removed"
    if command.repetitions > 1 and is_pipe(stream(command, "stdout")):
        return "its repetitions wrote to one pipe"
    overlooked = next(filter(None, (layout.overlooked(word, command.directory) for word in command.argv[1:])), "")
    if overlooked:
        return f"{overlooked} stands in the middle of a word of its command line, where it cannot be changed for the new place"
    if stdin.startswith("/") and not stdin.startswith("/dev/") and not os.path.exists(layout.fresh(stdin)):
        return f"its standard input {stdin} is not in the crate; record it with --input"
    return ""


def _note(command: Command, fed: set[str]) -> str:
    """A pipe that a command had and perhaps did not read: many inherit one from cron, ssh or a script."""
    if is_pipe(stream(command, "stdin")) and command.command not in fed:
        return "its standard input was empty, it had been a pipe from a program that was not recorded"
    return ""


def _repeated(was: Command, now: Command | None, said: str) -> Repeated:
    if now is None or now.exit is None:
        return Repeated(was, now, f"could not be repeated: {said or 'profile-wrap left no record'}")
    old, new = _how(was), _how(now)
    return Repeated(was, now, "" if old == new else f"ended with {new}, not with {old}{': ' * bool(said)}{said}")


def _how(command: Command) -> str:
    end = command.exit
    return "no end" if end is None else end.signal or f"status {end.status}"


def _output(crate: Crate, layout: Layout, path: str, digest: str) -> Output:
    fresh, kept, place = layout.fresh(path), crate.file(path), crate.root.place(path)
    if not os.path.isfile(fresh):
        return Output(place, False, problem="was not written")
    if not os.path.exists(kept):
        import hashlib

        with open(fresh, "rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == digest
        return Output(place, same, problem="" if same else "differs from what is kept by reference; --fetch lets it be measured")
    tolerance = tolerance_for(place, crate.tolerances)
    found = difference(kept, fresh, tolerance)
    return Output(place, found is None or (tolerance is not None and found.is_tolerated), found, tolerance)
