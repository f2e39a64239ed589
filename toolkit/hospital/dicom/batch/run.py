"""A run of dicom-anon over files and directories, or over one object in a pipe."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import BinaryIO

from toolkit.core.errors import NoInput, UsageError
from toolkit.core.progress import progress
from toolkit.hospital.dicom.batch.chain import STANDARD_INPUT, Chain
from toolkit.hospital.dicom.batch.files import Finder, Input, OwnFiles
from toolkit.hospital.dicom.batch.journal import Journal, locked
from toolkit.hospital.dicom.batch.maps import PairMap
from toolkit.hospital.dicom.batch.outcome import Outcome
from toolkit.hospital.dicom.batch.report import report_to
from toolkit.hospital.dicom.batch.settings import Settings

logger = logging.getLogger(__name__)

# Handed to a process at once: enough files to share the cost of handing over, few enough that all processes end at the same time.
_MOST_FILES = 64
_MOST_BYTES = 16 << 20


def run(
    paths: list[str],
    settings: Settings,
    output: str,
    own: Iterable[str] = (),
    listing: Callable[[bytearray], object] = lambda lines: None,
) -> Outcome:
    """De-identify what `paths` name into the directory `output`; returns the counts.

    `own`: further files that are no inputs wherever they stand, such as the key. `listing` takes the lines of a dry run. Raises
    UsageError, NoInput, TryLater (another run holds the output), CannotCreate, InputOutput (a full disk; what is done stays done), and
    what the vault raises.
    """
    output = output.rstrip("/") or "/"
    journal = output + ".journal"
    _check_places(paths, settings, output)
    kept = [output, journal, settings.quarantine, settings.report, settings.uid_map, settings.patient_map, *own]
    for path in (settings.report, settings.uid_map, settings.patient_map):
        kept += [path + ".partial", path + ".pending"] if path else []
    if settings.vault is not None and "://" not in settings.vault.replace("sqlite:///", ""):
        kept.append(settings.vault.removeprefix("sqlite:///"))
    total = Outcome()
    with contextlib.ExitStack() as stack:
        number = 0
        if not settings.dry_run:
            stack.enter_context(locked(journal, output))
            first = Journal(journal)
            number = first.run
            first.close()
        chain = Chain(settings, output, journal, number)
        if not settings.dry_run:
            chain.staging.clear()  # of a run that was killed
            chain.staging.prepare()
            stack.callback(chain.staging.clear)
            chain.quarantine.clear()
            stack.callback(chain.quarantine.clear)
            for pairs in _pair_maps(settings):
                stack.callback(pairs.merge)
            _try_vault(settings)
        finder = Finder(paths, OwnFiles([path for path in kept if path is not None]))
        report = stack.enter_context(report_to(settings.report))
        bar = stack.enter_context(progress("dicom-anon", 0, " files"))
        for outcome in stack.enter_context(contextlib.closing(_outcomes(chain, finder, settings.jobs))):
            total.add(outcome)
            if report is not None:
                report.write(outcome.report)
            listing(outcome.listing)
            bar.update(sum(outcome.counts.values()))
        if total.counts["written"]:
            chain.staging.synchronise()  # the names as well: who is told that all is done may remove the originals
    total.counts["skipped"] += finder.skipped
    total.counts["directory"] += finder.directories
    return total


def _outcomes(chain: Chain, finder: Iterable[Input], jobs: int) -> Generator[Outcome]:
    batches = _batches(finder)
    if jobs > 1:
        from toolkit.hospital.dicom.batch.workers import each

        yield from each(chain, batches, jobs)
        return
    with chain.connected():
        for batch in batches:
            yield chain.process(batch)
        yield chain.process([], settle=True)


def _batches(items: Iterable[Input]) -> Iterator[list[Input]]:
    batch: list[Input] = []
    size = 0
    for item in items:
        batch.append(item)
        size += item.size
        if len(batch) >= _MOST_FILES or size >= _MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _pair_maps(settings: Settings) -> list[PairMap]:
    """The maps that are asked for, found fit to be written."""
    maps = [PairMap(path) for path in (settings.uid_map, settings.patient_map) if path is not None]
    for pairs in maps:
        pairs.check()
    return maps


def _try_vault(settings: Settings) -> None:
    """Make the vault, or find out that it cannot be used, before any file is opened; and load here what all child processes need."""
    if settings.vault is not None:
        from toolkit.hospital.dicom.restoring.vault import open_vault

        with open_vault(settings.vault, settings.keyring):
            pass


def _check_places(paths: list[str], settings: Settings, output: str) -> None:
    """Raise NoInput for what does not exist, UsageError where outputs would mix with inputs or originals with what may leave."""
    for path in paths:
        if not os.path.lexists(path):
            raise NoInput(path, "No such file or directory", "name a file or a directory that exists")
    if os.path.lexists(output) and not os.path.isdir(output):
        raise UsageError(output, "is not a directory", "name the directory for the anonymised files")
    if _within(settings.quarantine, output):
        raise UsageError(settings.quarantine, "the quarantine would lie inside the output", "choose another: it holds originals")
    for path in paths:
        if _within(path, output):
            raise UsageError(path, "lies inside the output", "choose an output directory that holds no originals")
        if _within(path, settings.quarantine):
            raise UsageError(path, "lies inside the quarantine", "move the files elsewhere, or name another quarantine")
    if settings.quarantine != default_quarantine(output):
        for path in filter(os.path.isdir, paths):
            if _within(settings.quarantine, path):
                raise UsageError(settings.quarantine, f"the quarantine would lie inside the input {path}", "choose a directory elsewhere")


def default_quarantine(output: str) -> str:
    """The quarantine beside `output`."""
    return (output.rstrip("/") or "/") + ".quarantine"


def _within(path: str, directory: str) -> bool:
    inner, outer = os.path.realpath(path), os.path.realpath(directory)
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def run_stream(source: BinaryIO, sink: BinaryIO, settings: Settings) -> Outcome:
    """De-identify the one object in `source` into `sink`; returns the counts. Nothing is written unless all can be; the vault comes first.

    An object that must not leave is put into quarantine where the settings name one.
    """
    with tempfile.TemporaryDirectory(prefix="dicom-anon-") as directory, tempfile.TemporaryFile() as original:
        # The original's copy has no name: however this ends, nothing of it stays. As standard input it can be opened by a name again.
        shutil.copyfileobj(source, original, 1 << 20)
        original.flush()
        os.dup2(original.fileno(), 0)
        status = os.fstat(0)
        item = Input(STANDARD_INPUT, "object.dcm", status.st_size, status.st_mtime_ns)
        output = os.path.join(directory, "output")
        with locked(output + ".journal", output), contextlib.ExitStack() as stack:
            chain = Chain(settings, output, output + ".journal", 0)
            chain.staging.prepare()
            for pairs in _pair_maps(settings):
                stack.callback(pairs.merge)
            _try_vault(settings)
            report = stack.enter_context(report_to(settings.report))
            with chain.connected():
                outcome = chain.process([item], settle=True)
            if report is not None:
                report.write(outcome.report)
            chain.staging.clear()
            chain.quarantine.clear()
        for folder, _, names in os.walk(output):
            for name in names:
                with open(os.path.join(folder, name), "rb") as anonymised:
                    shutil.copyfileobj(anonymised, sink, 1 << 20)
        return outcome
