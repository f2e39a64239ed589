"""What dciodvfy (Debian's dicom3tools) says of an object's IOD, before and after."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from tests.deidentification.planter import DEFLATED, inflated


def errors(path: Path) -> frozenset[str] | None:
    """The lines that begin with Error, without values and item numbers; None where dciodvfy itself breaks down on the object."""
    content = path.read_bytes()
    if rest := inflated(content):  # dciodvfy reads no deflated data set
        header = content[: 144 + int.from_bytes(content[140:144], "little")]
        with tempfile.NamedTemporaryFile() as plain:
            plain.write(header.replace(DEFLATED, DEFLATED[:-3].ljust(len(DEFLATED), b"\0")) + rest)
            plain.flush()
            return _errors(Path(plain.name))
    return _errors(path)


def _errors(path: Path) -> frozenset[str] | None:
    try:
        result = subprocess.run(["dciodvfy", "-new", path], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if result.returncode < 0:
        return None
    lines = (result.stdout + result.stderr).decode("latin-1").splitlines()
    return frozenset(normalised(line) for line in lines if line.startswith("Error"))


def normalised(line: str) -> str:
    """`line` without what differs between two objects of one kind: numbers of items, values, offsets.

    >>> normalised("Error - </ContentSequence(0040,a730)[4]/PatientID(0010,0020)> - Illegal root for UID = <9.8.7.6>")
    'Error - </ContentSequence(0040,a730)/PatientID(0010,0020)> - Illegal root for UID = <>'
    """
    line = re.sub(r"\[\d+\]", "", line)
    line = re.sub(r"(= *)<[^>]*>", r"\1<>", line)
    return re.sub(r"\b(0x[0-9a-fA-F]+|\d+) (dec|bytes?)\b|\(0x[0-9a-f]+\)", "#", line)


def new_errors(before: Path, after: Path) -> frozenset[str]:
    """What `after` breaks and `before` did not. Nothing can be said, and nothing is, where dciodvfy breaks down on either."""
    old, new = errors(before), errors(after)
    return frozenset() if old is None or new is None else new - old
