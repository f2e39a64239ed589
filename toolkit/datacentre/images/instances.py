"""What is known of a received object, and what a receiver asks of whoever keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

from toolkit.core.errors import BadData, InputOutput

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # PS3.5, section 9.1; leading zeros are tolerated, peers send them
_LONGEST = 256  # characters; DICOM's own limit is 64, PostgreSQL cannot index some thousands
_GROUP_2_ENDS = 144  # and so many bytes as its first element says: preamble, prefix and that element (PS3.10, section 7.1)


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

    def check(self) -> None:
        """Raises BadData for what cannot stand in a store or an index: it would keep others out, too."""
        words = self.patient, self.accession, self.modality, self.study_date
        if not _UID.fullmatch(self.sop_class) or len(self.sop_class) > 64:
            raise BadData("object", "has no proper UIDs", "have it made anew")
        if any(len(word) > _LONGEST or not word.isprintable() for word in words):
            raise BadData("object", "has identifiers that are none", "have it made anew")
        _ = self.name


class Outcome(Enum):
    """What became of an object: new, there already with the same content, or its UID was taken by other content."""

    NEW = "new"
    KNOWN = "known"
    CONFLICT = "conflict"


def read_instance(path: Path) -> Instance:
    """What a Part 10 file of the spool says of itself. Raises FileNotFoundError, InputOutput, BadData when it cannot be read."""
    from pydicom.filereader import read_file_meta_info

    from toolkit.datacentre.images.identifiers import identifiers

    try:
        with path.open("rb") as stream:
            digest, size = file_digest(stream, "sha256").hexdigest(), stream.tell()
        meta = read_file_meta_info(path)
        syntax = str(meta.TransferSyntaxUID)
        start = _GROUP_2_ENDS + int(meta.FileMetaInformationGroupLength)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputOutput(str(path), error.strerror or str(error), "look at the disk") from error
    except Exception as error:  # pydicom's parser raises anything
        raise BadData(str(path), "cannot be read as a DICOM file", "look at it") from error
    found = identifiers(path, start, syntax)
    return Instance(
        found.study_uid, found.series_uid, found.instance_uid, found.sop_class, syntax, found.patient, found.accession, found.modality,
        found.study_date, f"sha256:{digest}", size,
    )  # fmt: skip


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
