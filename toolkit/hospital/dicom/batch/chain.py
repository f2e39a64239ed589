"""What happens to a batch of files in one process: open, de-identify, write aside, claim names, make durable, store the way back, rename.

In this order nothing is lost or half done at any kill: a file takes its name when its bytes are on the disk and the vault holds what
restores it, and the journal says done when the file has its name. What was cut off in between is done again: the same input gives the
same names.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from toolkit.core.errors import InputOutput, ToolError
from toolkit.hospital.dicom.batch.files import Input
from toolkit.hospital.dicom.batch.journal import Claim, Journal, Verdict
from toolkit.hospital.dicom.batch.maps import PairMap
from toolkit.hospital.dicom.batch.outcome import Outcome
from toolkit.hospital.dicom.batch.quarantine_directory import QuarantineDirectory
from toolkit.hospital.dicom.batch.settings import Settings
from toolkit.hospital.dicom.batch.staging import REMEDY, Staging
from toolkit.hospital.dicom.cleaning.deidentify import Deidentified, Deidentifier
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import Part10, open_part10
from toolkit.hospital.dicom.pixels.risk import read_pixel_rules
from toolkit.hospital.dicom.rules.profile import compile_policy

if TYPE_CHECKING:
    from toolkit.hospital.dicom.restoring.vault import Vault, VaultEntry

logger = logging.getLogger(__name__)

# What restores objects is held in memory until it is committed, up to this many bytes; more (cleaned pixels) is streamed into the vault.
_HELD_PATCH = 16 << 20
# Files that are written aside wait so long (seconds) for their names: synchronising the disk stalls all writing, so it serves many at once.
_MOST_WAITING, _LONGEST_WAIT = 2048, 0.5
_DIRECTORIES_REMEMBERED = 10_000
STANDARD_INPUT = "/dev/stdin"


@dataclass
class _Prepared:
    """An object that is written aside and waits for its name."""

    item: Input
    key: bytes
    output: bytes
    temporary: str
    content: bytes
    uids: tuple[str, str, str]
    digest: bytes
    patient: tuple[str, str]
    pairs: list[tuple[str, str]]
    actions: str
    patch: Iterable[bytes]
    held: int


class Chain:
    """The work on batches under `settings`, into the directory `output`; made once, then `connect`ed in every process that works."""

    def __init__(self, settings: Settings, output: str, journal_directory: str, run: int) -> None:
        self.settings, self.output, self.run = settings, output, run
        self._journal_directory = journal_directory
        self._pseudonyms = Pseudonyms(settings.keyring.current)
        rules = read_pixel_rules(settings.pixel_rules)
        self._deidentify = Deidentifier(compile_policy(settings.options), self._pseudonyms, rules, settings.recipients)
        self._stamp = settings.stamp()
        self._reporting = settings.report is not None
        self.staging = Staging(output)
        self.quarantine = QuarantineDirectory(settings.quarantine, output)
        self._uid_map = PairMap(settings.uid_map) if settings.uid_map else None
        self._patient_map = PairMap(settings.patient_map) if settings.patient_map else None
        self._made: set[bytes] = set()
        self._waiting: list[_Prepared] = []
        self._held = 0
        self._since = 0.0
        self._vault: Vault | None = None
        self._journal: Journal
        self.wanted: Callable[[], bool] = lambda: True  # asked before each file; False ends the process

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Hold this process's own connections to the journal and the vault."""
        with contextlib.ExitStack() as stack:
            if not self.settings.dry_run:
                self._journal = Journal(self._journal_directory, self.run)
                stack.callback(self._journal.close)
                for pairs in filter(None, (self._uid_map, self._patient_map)):
                    stack.callback(pairs.close)
                if self.settings.vault is not None:
                    from toolkit.hospital.dicom.restoring.vault import open_vault

                    self._vault = stack.enter_context(open_vault(self.settings.vault, self.settings.keyring))
            yield

    def process(self, batch: list[Input], settle: bool = False) -> Outcome:
        """Work on all files of `batch`; the outcome is of those that have come to their end, now or since an earlier batch.

        With `settle` none is left waiting. Raises ToolError when going on makes no sense: a full disk, a vault out of reach.
        """
        outcome = Outcome()
        keys = {item: self.key(item) for item in batch}
        try:
            for item in self._changed(keys, outcome):
                if not self.wanted():
                    raise SystemExit(1)
                self._prepare(item, keys[item], outcome)
                if len(self._waiting) >= _MOST_WAITING or self._held > _HELD_PATCH or time.monotonic() - self._since > _LONGEST_WAIT:
                    self._place(outcome)
            if settle:
                self._place(outcome)
        except BaseException:
            self._drop()
            raise
        return outcome

    def _drop(self) -> None:
        """Forget what waits for its name."""
        for one in self._waiting:
            self.staging.discard(one.temporary)
        self._waiting, self._held = [], 0

    @property
    def settled(self) -> bool:
        """Whether no file waits for its name."""
        return not self._waiting

    def key(self, item: Input) -> bytes:
        """The keyed hash that stands for the input's path in the journal and the quarantine: 16 bytes."""
        path = os.path.abspath(item.path)
        if path == STANDARD_INPUT:
            path += f" {item.changed}"  # another object each time
        return self._pseudonyms.hash("journal-path", os.fsencode(path))[:16]

    def put_into_quarantine(self, item: Input, key: bytes, why: Quarantine, outcome: Outcome) -> None:
        """Store, count and report an object that must not leave."""
        if not self.settings.dry_run:
            self.quarantine.store(key.hex(), item, why)
        logger.info("%s: %s: %s", item.path, why.reason.value, why)
        outcome.reasons[why.reason] += 1
        outcome.last = f"{why.reason.value}: {why}"
        self._note(outcome, item, "quarantined", b"", reason=why.reason.value, detail=why.detail, remedy=why.remedy)

    def _note(self, outcome: Outcome, item: Input, result: str, output: bytes, actions: str = "", **more: str) -> None:
        outcome.counts[result] += 1
        if self.settings.dry_run:
            said = os.fsdecode(output) if output else f"quarantine: {more['reason']}: {more['detail']}"
            outcome.listing += f"{item.path}\t{said}\n".encode("utf-8", "surrogateescape")
        if self._reporting:
            record = json.dumps({"input": item.path, "result": result, "output": os.fsdecode(output) or None, **more})
            outcome.report += (f'{record[:-1]}, "actions": {actions}}}\n' if actions else f"{record}\n").encode()

    def _stamp_of(self, item: Input) -> bytes:
        return hashlib.blake2b(struct.pack("<qq", item.size, item.changed), key=self._stamp, digest_size=16).digest()

    def _changed(self, keys: dict[Input, bytes], outcome: Outcome) -> list[Input]:
        """Those of the batch that an earlier run has not done already."""
        if self.settings.dry_run:
            return list(keys)
        done = self._journal.unchanged({key: self._stamp_of(item) for item, key in keys.items()})
        left = []
        for item, key in keys.items():
            if key in done and self._exists(done[key]):
                self._note(outcome, item, "unchanged", done[key])
            else:
                left.append(item)
        return left

    def _exists(self, output: bytes) -> bool:
        return os.path.lexists(self._place_of(output))

    def _place_of(self, output: bytes) -> bytes:
        return os.path.join(os.fsencode(self.output), output)

    def _prepare(self, item: Input, key: bytes, outcome: Outcome) -> None:
        """De-identify one file and write it aside; what cannot be cleaned goes to quarantine."""
        try:
            with open_part10(item.path) as source:
                done = self._deidentify(source, self._reporting)
                output = self._name(item, done)
                if self.settings.dry_run:
                    self._note(outcome, item, "would be written", output, self._actions(done))
                    return
                one = self._write_aside(item, key, source, done, output)
                if not isinstance(one.patch, list):  # its rest is read from the source: it must reach the vault before that is closed
                    self._place(outcome)
                if not self._waiting:
                    self._since = time.monotonic()
                self._waiting.append(one)
                self._held += one.held
                if not isinstance(one.patch, list):
                    try:
                        self._place(outcome)
                    except BaseException:
                        self._drop()
                        raise
        except Quarantine as why:
            self.put_into_quarantine(item, key, why, outcome)
        except ToolError:
            raise
        except Exception as error:
            logger.debug("%s", item.path, exc_info=True)
            # Not its message: that may quote a value.
            fault = Quarantine(Reason.INTERNAL, f"{type(error).__name__} {_origin(error)}", "run it alone with -vv and report the fault")
            self.put_into_quarantine(item, key, fault, outcome)

    def _name(self, item: Input, done: Deidentified) -> bytes:
        if self.settings.keep_names:
            return os.fsencode(item.relative)
        return f"{done.study_uid}/{done.series_uid}/{done.instance_uid}.dcm".encode()

    def _write_aside(self, item: Input, key: bytes, source: Part10, done: Deidentified, output: bytes) -> _Prepared:
        with self.staging.create() as (temporary, descriptor):
            try:
                done.write_to(descriptor)
            except OSError as error:
                if source.file is not None and error.errno in (errno.EIO, errno.ESTALE):
                    raise Quarantine(Reason.UNREADABLE, error.strerror or "it cannot be read to its end", "check the disk") from error
                raise
            if self.settings.verify:
                self._verify(item, temporary)
            digest = done.digest
            patch: Iterable[bytes] = []
            if self._vault is not None:
                patch = _held(done.patch())
            actions = self._actions(done)
            return _Prepared(
                item,
                key,
                output,
                temporary,
                self._content(source, digest, patch),
                (done.study_uid, done.series_uid, done.instance_uid),
                digest,
                (done.patient, done.patient_pseudonym),
                done.uids if self._uid_map is not None else [],
                actions,
                patch,
                len(actions) + (sum(map(len, patch)) if isinstance(patch, list) else 0),
            )

    def _verify(self, item: Input, temporary: str) -> None:
        from toolkit.hospital.dicom.cleaning.verify import verify

        problems = verify(item.path, temporary, self.settings.options)
        if problems:
            raise Quarantine(Reason.VERIFICATION, "; ".join(problems[:3]), "report this as a fault, with the kind of object")

    def _content(self, source: Part10, digest: bytes, patch: Iterable[bytes]) -> bytes:
        """A keyed hash that is equal for equal inputs: of the new object and what restores the old one. With recipients it is of the old
        one itself, because their envelope is a different one each time."""
        parts = hashlib.sha256()
        if self.settings.recipients or not isinstance(patch, list):
            for piece in source.chunks(source.start, source.end):
                parts.update(piece)
        else:
            parts.update(digest)
            for chunk in patch:
                parts.update(chunk)
        return self._pseudonyms.hash("journal-content", parts.digest())[:16]

    def _place(self, outcome: Outcome) -> None:
        """Give what was written aside its names."""
        if not self._waiting:
            return
        prepared = self._waiting
        claims = [Claim(one.uids[2].encode(), one.output, one.key, one.content, partial(self._same, one)) for one in prepared]
        granted, placed = [], []
        for one, verdict in zip(prepared, self._journal.claim(claims, self._exists), strict=True):
            if verdict is Verdict.GRANTED:
                granted.append(one)
                continue
            self.staging.discard(one.temporary)
            if verdict is Verdict.DUPLICATE:
                placed.append(one)
                self._note(outcome, one.item, "duplicate", one.output)
            else:
                self.put_into_quarantine(one.item, one.key, _taken(one.output), outcome)
        if granted:
            # The claims are in the same file system as the output, and become durable with the files: a name never stands for torn bytes.
            self.staging.synchronise()
            if self._vault is not None:
                self._vault.put([_entry(one) for one in granted])
        for one in granted:
            if self._rename(one):
                placed.append(one)
                self._note(outcome, one.item, "written", one.output, one.actions)
            else:
                self.staging.discard(one.temporary)
                self.put_into_quarantine(one.item, one.key, _taken(one.output), outcome)
        self._record(placed)
        self._waiting, self._held = [], 0

    def _record(self, placed: list[_Prepared]) -> None:
        """Write maps and journal, in this order: what the journal says done is not looked at again."""
        for one in placed:
            self.quarantine.release(one.key.hex())
        if self._uid_map is not None:
            self._uid_map.add(itertools.chain.from_iterable(one.pairs for one in placed))
        if self._patient_map is not None:
            self._patient_map.add(one.patient for one in placed if one.patient[0])
        self._journal.done([(one.key, self._stamp_of(one.item), one.output) for one in placed])

    def _actions(self, done: Deidentified) -> str:
        """What was done to each attribute, as JSON for the report; empty when none is asked for."""
        if not self._reporting:
            return ""
        return json.dumps([{"attribute": path, "action": action, "code": code} for path, action, code in done.actions])

    def _same(self, one: _Prepared) -> bool:
        """Whether the file that has the name already holds the very bytes."""
        try:
            with open(self._place_of(one.output), "rb") as there, open(one.temporary, "rb") as new:
                while piece := new.read(1 << 20):
                    if there.read(len(piece)) != piece:
                        return False
                return not there.read(1)
        except OSError:
            return False

    def _rename(self, one: _Prepared) -> bool:
        """Whether the object could take its name: with the input's names a file may stand where a directory must be, or the reverse."""
        target = self._place_of(one.output)
        directory = os.path.dirname(target)
        try:
            if directory not in self._made:
                os.makedirs(directory, exist_ok=True)
                if len(self._made) > _DIRECTORIES_REMEMBERED:
                    self._made.clear()
                self._made.add(directory)
            try:
                os.rename(one.temporary, target)
            except FileNotFoundError:  # somebody removed the directory
                os.makedirs(directory, exist_ok=True)
                os.rename(one.temporary, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            return False
        except OSError as error:
            raise InputOutput(os.fsdecode(directory), error.strerror or str(error), REMEDY) from error
        return True


def _held(patch: Iterator[bytes]) -> Iterable[bytes]:
    """The chunks of a patch as a list, or as an iterator when they are too many to be held."""
    chunks: list[bytes] = []
    held = 0
    for chunk in patch:
        chunks.append(chunk)
        held += len(chunk)
        if held > _HELD_PATCH:
            return itertools.chain(chunks, patch)
    return chunks


def _entry(one: _Prepared) -> VaultEntry:
    from toolkit.hospital.dicom.restoring.vault import VaultEntry

    return VaultEntry(*one.uids, one.digest, one.patient[0], one.patch)


def _taken(output: bytes) -> Quarantine:
    problem = f"another input of different content has its SOP Instance UID or its output {os.fsdecode(output)}"
    return Quarantine(Reason.SAME_OUTPUT, problem, "keep one of them, or use another output directory")


def _origin(error: BaseException) -> str:
    """Where an exception was raised, for a report of the fault."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"in {os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}" if trace else ""
