"""Small studies for tests that run whole commands."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

ROOT = Path(__file__).parents[5]


def write_study(directory: Path, number: int, first: int = 0) -> list[Path]:
    """So many MR images of 10 kB, ten a directory, five for each of the patients ``Planted^N``."""
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    paths = []
    for index in range(first, first + number):
        dataset.PatientName, dataset.PatientID = f"Planted^{index // 5}", f"PID{index // 5}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.9.{index}"
        path = directory / f"{index // 10}" / f"{index}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
        paths.append(path)
    return paths


def tree(directory: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of all files below a directory, without those that are being written."""
    found = {}
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != ".partial"]
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
