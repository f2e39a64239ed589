"""What a received data set says of itself, read from its first elements only."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from toolkit.core.errors import BadData, InputOutput

_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyDate", "AccessionNumber", "Modality", "PatientID", "PatientIdentityRemoved",
    "StudyInstanceUID", "SeriesInstanceUID",
)  # fmt: skip
_LAST = Tag("SeriesInstanceUID")
_TAGS: list[BaseTag | int] = [tag for word in _NEEDED if (tag := tag_for_keyword(word)) is not None]
_LARGE = 1 << 16  # bytes of an element that is not read
# deflated explicit little endian, and with pixels elsewhere: JPIP, JPIP of HTJ2K (PS3.5, annex A)
_DEFLATED_SYNTAXES = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
_DEFLATED = 4 << 20  # bytes that are inflated, and what they may become: identifiers stand at the beginning
_INFLATED = 16 << 20


@dataclass(frozen=True)
class Identifiers:
    """The attributes that name an object, as text; empty where they are missing."""

    sop_class: str
    instance_uid: str
    study_date: str
    accession: str
    modality: str
    patient: str
    removed: str
    study_uid: str
    series_uid: str


def identifiers(path: Path, start: int, transfer_syntax: str) -> Identifiers:
    """Those of the data set that begins at byte `start` of a file. Raises InputOutput, BadData when it cannot be read."""
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            source: io.BufferedReader | io.BytesIO = stream
            if transfer_syntax in _DEFLATED_SYNTAXES:
                source = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(_DEFLATED), _INFLATED))
            found = read_dataset(
                source,
                transfer_syntax == ImplicitVRLittleEndian,
                transfer_syntax != ExplicitVRBigEndian,
                stop_when=lambda tag, kind, length: tag > _LAST,
                defer_size=_LARGE,
                specific_tags=_TAGS,
            )
            words = [str(found.get(word, "") or "") for word in _NEEDED]
    except OSError as error:
        if error.errno is None:
            raise BadData("object", "its data set cannot be read", "have it made anew") from error
        raise InputOutput(str(path), error.strerror or str(error), "look at the disk") from error
    except Exception as error:  # pydicom's parser raises anything
        raise BadData("object", "its data set cannot be read", "have it made anew") from error
    return Identifiers(*words)
