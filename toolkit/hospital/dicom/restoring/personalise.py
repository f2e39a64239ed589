"""Restoring anonymised objects: all are checked before the first is written, the audit has each before its original appears."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import logging
import os
import pwd
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from toolkit.core.errors import CannotCreate, InputOutput, NotPermitted, ToolError, TryLater, Unavailable
from toolkit.core.progress import progress
from toolkit.core.stages import stage
from toolkit.core.streams import stream_name
from toolkit.hospital.dicom.batch.files import Finder, Input, OwnFiles
from toolkit.hospital.dicom.batch.parallel import processes
from toolkit.hospital.dicom.batch.report import Sink, report_to
from toolkit.hospital.dicom.batch.staging import Staging
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import Part10, from_bytes, open_part10
from toolkit.hospital.dicom.restoring.originals import FromEnvelope, FromSideFiles, FromVault, Originals, instance_uid, uids_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from toolkit.hospital.dicom.restoring.vault import Vault

logger = logging.getLogger(__name__)

_BATCH = 64
_IN_MEMORY = 64 << 20
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_NOT_THE_OBJECTS = (InputOutput, TryLater, Unavailable)  # faults that end the run
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


@dataclass(frozen=True)
class Access:
    """The way to the originals: a vault and its key file, a private key, or the place of PADI's side files.

    A vault that is named together with one of the others takes the audit's rows.
    """

    vault: str | None = None
    key_file: str | None = None
    private_key: RSAPrivateKey | None = None
    side_files: str | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Originals, Vault | None]]:
        """The originals, and the vault that takes the audit. Raises ToolError."""
        with contextlib.ExitStack() as stack:
            vault = None
            if self.vault is not None and self.key_file is not None:
                from toolkit.core.keys import read_keys
                from toolkit.hospital.dicom.restoring.vault import open_vault

                vault = stack.enter_context(open_vault(self.vault, read_keys(self.key_file), create=False))
            if self.private_key is not None:
                yield FromEnvelope(self.private_key), vault
            elif self.side_files is not None:
                yield FromSideFiles(self.side_files), vault
            else:
                assert vault is not None, "the command asks for a vault and its key where no other way is named"
                yield FromVault(vault), vault


@dataclass(frozen=True)
class Settings:
    """What is done with the originals. `output`: a directory, or ``-`` for one object on standard output."""

    output: str
    keep_names: bool = False
    mixed_patients: bool = False
    dry_run: bool = False
    report: str | None = None
    jobs: int = 1


class Outcome(NamedTuple):
    """What became of one object; `problem` is empty when all went well, `status` is then 0."""

    input: Input
    instance: str = ""
    patient: str = ""
    output: str = ""
    problem: str = ""
    remedy: str = ""
    status: int = 0


def personalise(paths: Sequence[str], access: Access, settings: Settings) -> int:
    """Restore the objects in `paths` (files, directories, DICOMDIR, or ``-`` alone); the exit status.

    0 when all were restored; otherwise the status that all refusals have in common, 1 when they differ or some objects were restored.
    Raises ToolError when nothing can be done, NotPermitted when the objects belong to several patients and that is not allowed.
    """
    named = (access.vault, access.key_file, settings.report, settings.output)
    own = OwnFiles(path for path in named if path is not None and path != "-" and "://" not in path)
    inputs = [Input("-", "", 0, 0)] if list(paths) == ["-"] else list(Finder(paths, own))
    with access.open():
        pass  # a wrong key or an unreachable vault is told before anything else, and by this process
    with report_to(settings.report) as report:
        with stage("check"):
            checked = list(_each(_check, inputs, access, settings))
        ready = [outcome for outcome in checked if not outcome.problem]
        refused = [outcome for outcome in checked if outcome.problem]
        _tell(refused, report)
        patients = len({outcome.patient for outcome in ready})
        if patients > 1 and not settings.mixed_patients:
            _refuse_all(ready, patients, access, report, settings.dry_run)
        with stage("restore"), _staging(settings, bool(ready)), contextlib.closing(_each(_restore, ready, access, settings)) as outcomes:
            for outcome in outcomes:
                _tell([outcome], report)
                refused += [outcome] if outcome.problem else []
    statuses = {outcome.status for outcome in refused}
    if len(refused) == len(inputs) and len(statuses) == 1:
        return statuses.pop()
    return 1 if refused else 0


def _refuse_all(ready: list[Outcome], patients: int, access: Access, report: Sink | None, dry_run: bool) -> None:
    problem = f"the objects belong to {patients} patients"
    refused = [outcome._replace(problem=problem, status=NotPermitted.exit_status) for outcome in ready]
    if not dry_run:
        with access.open() as (_, vault):
            _audit(vault, refused)
    if report is not None:
        report.write(b"".join(map(_line, refused)))
    raise NotPermitted("nothing was restored", problem, "name the objects of one patient, or say --mixed-patients")


def _tell(outcomes: Iterable[Outcome], report: Sink | None) -> None:
    for outcome in outcomes:
        if outcome.problem:
            logger.error("%s: %s%s", stream_name(outcome.input.path), outcome.problem, f"; {outcome.remedy}" if outcome.remedy else "")
        if report is not None:
            report.write(_line(outcome))


def _line(outcome: Outcome) -> bytes:
    record = {
        "input": outcome.input.path,
        "instance": outcome.instance,
        "outcome": "refused" if outcome.problem else "restored" if outcome.output else "can be restored",
        "reason": outcome.problem or None,
        "output": outcome.output or None,
    }
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def _audit(vault: Vault | None, outcomes: Sequence[Outcome]) -> None:
    """One row for each object: who, when, what, which object, what became of it."""
    if vault is not None and outcomes:
        from toolkit.hospital.dicom.restoring.vault import AuditRow

        now, user = datetime.now(UTC), who()
        told = [f"personalise: {f'refused, {outcome.problem}' if outcome.problem else 'restored'}" for outcome in outcomes]
        vault.audit(AuditRow(now, user, what, outcome.instance) for what, outcome in zip(told, outcomes, strict=True))


@lru_cache(maxsize=1)
def who() -> str:
    """The user of this process by the system's accounts, not the environment: ``name (uid 1000)``; who logged in, where that differs."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = "?"
    login = ""
    with contextlib.suppress(OSError):
        login = os.getlogin()
    return f"{name} (uid {number})" + (f" logged in as {login}" if login not in ("", name) else "")


class _Work(NamedTuple):
    """What a process checks and restores with."""

    settings: Settings
    staging: Staging
    originals: Originals
    vault: Vault | None


_Task = Callable[[_Work, Sequence[Any]], list[Outcome]]


def _temporary(settings: Settings) -> Staging:
    return Staging(settings.output, f".restoring-{os.getpid()}")


@contextlib.contextmanager
def _staging(settings: Settings, needed: bool) -> Iterator[None]:
    """The directory of temporary files; it goes when the processes that write to it have ended."""
    if settings.output == "-" or settings.dry_run or not needed:
        yield
        return
    staging = _temporary(settings)
    staging.prepare(0o700)
    try:
        yield
    finally:
        staging.clear()


def _each(task: _Task, found: Sequence[Any], access: Access, settings: Settings) -> Generator[Outcome, None, None]:
    """The outcomes of `task` for all of `found`, in their order, worked on in batches by this process or by `settings.jobs` others."""
    staging = _temporary(settings)
    batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
    with contextlib.ExitStack() as stack:
        if settings.jobs == 1 or len(batches) < 2:
            work = _Work(settings, staging, *stack.enter_context(access.open()))
            done: Iterator[list[Outcome]] = (task(work, batch) for batch in batches)
        else:
            done = stack.enter_context(processes(_serve, batches, settings.jobs, task, access, settings, staging))
        bar = stack.enter_context(progress(task.__name__.strip("_"), len(found), " objects"))
        for outcomes in done:
            yield from bar.each(outcomes)


def _serve(batches: Sequence[Sequence[Any]], task: _Task, access: Access, settings: Settings, staging: Staging) -> Iterator[list[Outcome]]:
    """In a process of its own: its share of the batches."""
    with access.open() as (originals, vault):
        for batch in batches:
            yield task(_Work(settings, staging, originals, vault), batch)


@contextlib.contextmanager
def _opened(found: Input) -> Iterator[Part10]:
    """The object, open. Raises ToolError."""
    try:
        if found.path == "-":
            yield from_bytes(_standard_input())
        else:
            with open_part10(found.path) as source:
                yield source
    except Quarantine as error:
        refusal = ToolError(found.path, error.detail, error.remedy)
        refusal.exit_status = 66 if error.reason is Reason.UNREADABLE else 65
        raise refusal from error


@lru_cache(maxsize=1)
def _standard_input() -> bytes:
    return sys.stdin.buffer.read()


def _check(work: _Work, batch: Sequence[Input]) -> list[Outcome]:
    """Whose each object is, or why it cannot be restored."""
    outcomes = []
    for found in batch:
        outcome = Outcome(found)
        try:
            with _opened(found) as source:
                outcome = outcome._replace(instance=instance_uid(source, found.path))
                outcome = outcome._replace(patient=work.originals.find(source, found.path).patient)
        except _NOT_THE_OBJECTS:
            raise
        except ToolError as error:
            outcome = _failed(outcome, error)
        outcomes.append(outcome)
    if not work.settings.dry_run:
        _audit(work.vault, [outcome for outcome in outcomes if outcome.problem])
    return outcomes


def _failed(outcome: Outcome, error: ToolError) -> Outcome:
    problem = error.problem if error.place == outcome.input.path else f"{error.place}: {error.problem}"
    return outcome._replace(problem=problem, remedy=error.remedy, status=error.exit_status, output="")


def _restore(work: _Work, batch: Sequence[Outcome]) -> list[Outcome]:
    """Each object's original in its place. What fails is told in its outcome; a failure to write anything ends the run."""
    settings, staging = work.settings, work.staging
    if settings.dry_run:
        with open(os.devnull, "wb") as nowhere:
            return [_restored(work, outcome, nowhere) for outcome in batch]
    if settings.output == "-":
        return [_to_standard_output(work, outcome) for outcome in batch]
    temporary, outcomes = [], []
    try:
        for outcome in batch:
            with staging.create(0o600) as (path, descriptor):
                temporary.append(path)
                with os.fdopen(os.dup(descriptor), "wb") as out:
                    outcome = _restored(work, outcome, out)
            outcomes.append(outcome if outcome.problem else _named(settings, outcome, path))
        staging.synchronise()
        _audit(work.vault, outcomes)
        placed = [outcome if outcome.problem else _placed(outcome, path) for outcome, path in zip(outcomes, temporary, strict=True)]
    finally:
        for path in temporary:
            staging.discard(path)
    _audit(work.vault, [after for before, after in zip(outcomes, placed, strict=True) if after.problem and not before.problem])
    return placed


def _restored(work: _Work, outcome: Outcome, out: BinaryIO) -> Outcome:
    """Write the original to `out`. Raises InputOutput, Unavailable where the fault is not the object's."""
    found = outcome.input
    try:
        with _opened(found) as source:
            original = work.originals.find(source, found.path)
            if instance_uid(source, found.path) != outcome.instance or original.patient != outcome.patient:
                raise ToolError(found.path, "it changed while this command ran", "run it again")
            try:
                original.write_to(out)
                out.flush()
            except OSError as error:
                raise InputOutput(work.settings.output, error.strerror or str(error), "make room and run it again") from error
    except _NOT_THE_OBJECTS:
        raise
    except ToolError as error:
        return _failed(outcome, error)
    return outcome


def _named(settings: Settings, outcome: Outcome, path: str) -> Outcome:
    """The outcome with the name of its output: the original UIDs, or as the input is called."""
    if settings.keep_names:
        return outcome._replace(output=os.path.join(settings.output, outcome.input.relative))
    with _opened(Input(path, "", 0, 0)) as source:
        uids = uids_of(source, path)
    if not all(len(uid) <= 64 and _UID.fullmatch(uid) for uid in uids):
        problem = "its original UIDs are missing or no UIDs, and would name its file"
        return outcome._replace(problem=problem, remedy="say --keep-names", status=65)
    return outcome._replace(output=os.path.join(settings.output, *uids) + ".dcm")


def _placed(outcome: Outcome, path: str) -> Outcome:
    """Give the temporary file `path` its name; another file that has it stays."""
    target = outcome.output
    try:
        _make_private(os.path.dirname(target))
        try:
            os.link(path, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "exists") from error
            os.rename(path, target)  # a file system without hard links
    except FileExistsError:
        if not os.path.isfile(target) or not filecmp.cmp(path, target, shallow=False):
            problem = f"{target} exists and is another file"
            return outcome._replace(problem=problem, remedy="choose another output directory", status=CannotCreate.exit_status, output="")
    except OSError as error:
        raise InputOutput(target, error.strerror or str(error), "make room and run it again") from error
    return outcome


def _make_private(directory: str) -> None:
    """Make a directory and those above it, for the owner only; os.makedirs gives its mode to the last one alone."""
    if not os.path.isdir(directory):
        _make_private(os.path.dirname(directory))
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)


def _to_standard_output(work: _Work, outcome: Outcome) -> Outcome:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
        outcome = _restored(work, outcome, whole)  # type: ignore[arg-type]
        _audit(work.vault, [outcome])
        if not outcome.problem:
            whole.seek(0)
            shutil.copyfileobj(whole, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            outcome = outcome._replace(output="-")
    return outcome
