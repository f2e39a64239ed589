"""Images to send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid


def image(path: Path, name: str = "CT_small.dcm", removed: str | None = "YES", **words: Any) -> str:
    """One of pydicom's test files at `path`, with a UID of its own; its UID."""
    dataset = pydicom.dcmread(get_testdata_file(name))
    if removed is not None:
        dataset.PatientIdentityRemoved = removed
    dataset.SOPInstanceUID = generate_uid()
    for keyword, value in words.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return str(dataset.SOPInstanceUID)


def images(directory: Path, count: int, **words: Any) -> list[str]:
    """Some of them, in the order of their names; their UIDs."""
    return [image(directory / f"{number:03}.dcm", **words) for number in range(count)]
