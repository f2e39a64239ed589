"""Where objects go that must not leave: a directory that only its owner reads, a copy of each, and why it is there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

from toolkit.core.errors import CannotCreate
from toolkit.hospital.dicom.batch.files import Input
from toolkit.hospital.dicom.batch.staging import Staging
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason

_AT_ONCE = 64 << 20  # bytes that the kernel copies in one call


class QuarantineDirectory:
    """`directory`/NAME.dcm is a copy of the original, NAME.json one JSON object: input, reason, detail, remedy, copy.

    NAME follows from the input's path, so a later run replaces what it finds, and removes it once the input has passed. The original stays
    where it is. Without a `directory` (one object in a pipe) nothing is stored.
    """

    def __init__(self, directory: str, output: str) -> None:
        self.directory = directory
        # Runs into several outputs may share one quarantine; none may remove another's temporary files.
        self._staging = Staging(directory, ".partial-" + hashlib.sha256(os.fsencode(os.path.realpath(output))).hexdigest()[:16])
        self._in_use = os.path.isdir(directory)

    def clear(self) -> None:
        """Remove the temporary files of this run, or of one that was killed."""
        if self.directory:
            self._staging.clear()

    def store(self, name: str, item: Input, why: Quarantine) -> None:
        """Put `item` into quarantine, if there is one; of an input that cannot be read there is the reason alone.

        Raises CannotCreate, InputOutput.
        """
        if not self.directory:
            return
        self._staging.prepare(0o700)
        if not self._in_use:
            self._in_use = True
            try:
                os.chmod(self.directory, 0o700)
            except OSError as error:
                raise CannotCreate(self.directory, error.strerror or str(error), "choose a directory of your own") from error
        copied = why.reason is not Reason.UNREADABLE and self._copy(item, name)
        if not copied:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name, "dcm"))
        record = {
            "input": item.path,
            "reason": why.reason.value,
            "detail": why.detail,
            "remedy": why.remedy,
            "copy": f"{name}.dcm" if copied else None,
        }
        with self._staging.create(0o600) as (temporary, descriptor):
            os.write(descriptor, json.dumps(record).encode() + b"\n")
            os.rename(temporary, self._path(name, "json"))

    def release(self, name: str) -> None:
        """Remove what an earlier run stored of an input that has passed now."""
        if self._in_use:
            for ending in ("dcm", "json"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(name, ending))

    def _path(self, name: str, ending: str) -> str:
        return os.path.join(self.directory, f"{name}.{ending}")

    def _copy(self, item: Input, name: str) -> bool:
        """Copy the original; whether it could be read. A copy that is there already, of the same size and time, is not made again."""
        target = self._path(name, "dcm")
        with contextlib.suppress(OSError):
            there = os.stat(target)
            if (there.st_size, there.st_mtime_ns) == (item.size, item.changed):
                return True
        try:
            source = os.open(item.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            with self._staging.create(0o600) as (temporary, descriptor):
                while os.sendfile(descriptor, source, None, _AT_ONCE):
                    pass
                os.utime(descriptor, ns=(item.changed, item.changed))
                os.rename(temporary, target)
        finally:
            os.close(source)
        return True
