"""Objects with pixels for tests: pydicom's own files, without asking the network for more, and what our code reads of one."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.encoding.transcoding import Encoding, elements, read_head
from toolkit.hospital.dicom.pixels.risk import WANTED, PixelAttributes, attributes


def described(source: Part10) -> PixelAttributes:
    encoding = Encoding(source.implicit, source.big_endian)
    places = {
        tag: (read_head(source.data, start, encoding).value, end)
        for tag, start, end in elements(source.data, encoding, source.start, source.end)
        if tag in WANTED
    }
    return attributes(source, places)


def dicom_files(largest: int) -> list[str]:
    """The files of pydicom and, where it is installed, pydicom-data, of at most that many bytes."""
    folders = []
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = find_spec(package)
        if spec and spec.origin:
            folders.append(Path(spec.origin).parent / folder)
    found = sorted(path for folder in folders for path in folder.rglob("*.dcm") if path.stat().st_size <= largest)
    assert found, sys.path
    return [str(path) for path in found]
