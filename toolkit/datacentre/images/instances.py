"""What is known of a received object, and what a receiver asks of whoever keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from toolkit.core.errors import BadData

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # PS3.5, section 9.1; leading zeros are tolerated, peers send them


@dataclass(frozen=True)
class Instance:
    """What is known of an object; `digest` is ``sha256:`` and the hexadecimal SHA-256 of the Part 10 file as stored, `size` its bytes."""

    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class: str
    transfer_syntax: str
    patient: str
    accession: str
    modality: str
    study_date: str
    digest: str
    size: int

    @property
    def name(self) -> str:
        """``images/STUDY/SERIES/INSTANCE.dcm``. Raises BadData when a UID is none: it could lead out of the store."""
        for uid in (self.study_uid, self.series_uid, self.instance_uid):
            if len(uid) > 64 or not _UID.fullmatch(uid):
                raise BadData("object", "has no proper UIDs", "have it made anew")
        return f"images/{self.study_uid}/{self.series_uid}/{self.instance_uid}.dcm"


class Outcome(Enum):
    """What became of an object: new, there already with the same content, or its UID was taken by other content."""

    NEW = "new"
    KNOWN = "known"
    CONFLICT = "conflict"


class Incoming(Protocol):
    """A file that is being received."""

    @property
    def path(self) -> Path:
        """Where it is; what was written can be read there after `flush`."""

    def write(self, chunk: bytes) -> None:
        """Append. Raises InputOutput."""

    def flush(self) -> None:
        """Let readers of `path` see everything. Raises InputOutput."""

    def discard(self) -> None:
        """Remove it, if it was not kept; any number of times."""


class Keeper(Protocol):
    """Takes objects, durably."""

    def begin(self) -> Incoming:
        """A new, empty file. Raises InputOutput."""

    def receive(self, incoming: Incoming, instance: Instance, client: str) -> Outcome:
        """Keep it: durable when this returns. Raises InputOutput, BadData."""
