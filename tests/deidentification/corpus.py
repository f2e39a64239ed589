"""The files that de-identification is tried on: pydicom's own test files, pydicom-data's, and a CT of dicomgenerator's."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.deidentification import planter

# Rules for --pixel-rules: the corpus is full of secondary captures, which would all be held back for what may stand in their pixels.
PASSING = """
[[rule]]
name = "nothing is burned in"
kind = ["ultrasound", "secondary-capture", "screen-save", "film", "visible-light", "derived", "unknown-class"]
action = "pass"

[[rule]]
name = "and where it says so, it is not true"
burned-in-annotation = "YES"
action = "pass"
"""


def paths() -> list[Path]:
    """Every file, DICOM or not, odd or not; one of each content."""
    import data_store  # what the package pydicom-data installs

    folders = [Path(pydicom.data.__file__).parent / "test_files", Path(pydicom.data.__file__).parent / "charset_files"]
    folders.append(Path(next(iter(data_store.__path__))) / "data")
    found: dict[bytes, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".py", ".pyc"):
                found.setdefault(path.read_bytes(), path)
    return list(found.values())


def generated() -> bytes:
    """A CT slice of dicomgenerator's template, as a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dicomgenerator.factory import CTDatasetFactory

        data: Dataset = CTDatasetFactory()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=["a generated CT"])
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return as_file(data)


def as_file(data: Dataset) -> bytes:
    """A data set as the bytes of a file, in the transfer syntax that its meta header names."""
    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if getattr(data, "file_meta", None) is not None and "TransferSyntaxUID" in data.file_meta:
            syntax = data.file_meta.TransferSyntaxUID
            pydicom.dcmwrite(stream, data, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        else:
            implicit, little = data.original_encoding
            pydicom.dcmwrite(stream, data, implicit_vr=bool(implicit), little_endian=little is not False)
    return stream.getvalue()


def told_apart(content: bytes, number: int, seen: set[str]) -> bytes:
    """Many files are one instance in different encodings, and two objects of one name are refused: the UID's end is changed."""
    try:
        uid = str(pydicom.dcmread(BytesIO(content), force=True).get("SOPInstanceUID", ""))
    except Exception:
        return content
    if uid in seen and len(uid) > 8 and not planter.inflated(content):
        content = content.replace(uid.encode(), f"{uid[:-3]}{number + 100}".encode())
    seen.add(uid)
    return content
