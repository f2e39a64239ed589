"""A receiver on loopback with spool and index of its own, and what was kept there."""

from __future__ import annotations

import contextlib
import ssl
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file

from tests.peers import dcmtk
from toolkit.datacentre.audit import Audit
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import open_index
from toolkit.datacentre.pacs.commitment import Commitments, Holding, Peer
from toolkit.datacentre.pacs.receiver import Place, Receiver, Services

STORESCU, FINDSCU = (dcmtk.binary(name) or name for name in ("storescu", "findscu"))  # pynetdicom's scripts have the same names


@contextlib.contextmanager
def receiving(
    home: Path,
    tls: ssl.SSLContext | None = None,
    peers: Mapping[str, Peer] | None = None,
    sending: ssl.SSLContext | None = None,
    **place: Any,
) -> Iterator[Receiver]:
    """A receiver whose spool and index are below `home`."""
    with ImageSpool(str(home / "spool"), writing=True) as spool, open_index(str(home / "index.db")) as index:
        audit = Audit(str(home / "audit"))
        keeper = ImageKeeper(spool, index)
        commitments = Commitments(Holding(keeper, index, None), "MDC", peers or {}, sending)
        try:
            services = Services(keeper, audit, index, commitments)
            with Receiver(Place("127.0.0.1", 0, **place), services, tls) as receiver:
                yield receiver
        finally:
            commitments.end()
            audit.close()


def kept(home: Path, where: str = "kept") -> list[Path]:
    """The files of objects that the receiver kept."""
    return sorted((home / "spool/images" / where).iterdir())


def sample(path: Path, name: str = "CT_small.dcm", removed: str = "YES", **words: Any) -> Path:
    """One of pydicom's test files, its identity removed or not."""
    dataset = pydicom.dcmread(get_testdata_file(name))
    if removed:
        dataset.PatientIdentityRemoved = removed
    for keyword, value in words.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path)
    return path


def body(path: Path) -> bytes:
    """The data set's bytes: what follows group 2."""
    data = path.read_bytes()
    assert data[128:140] == b"DICM\2\0\0\0UL\4\0"
    return data[144 + struct.unpack("<L", data[140:144])[0] :]


def storescu(receiver: Receiver, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """DCMTK's sender; with `words` (TLS) it is told the host's name."""
    command = [STORESCU, "-v", *words, "localhost" if words else "127.0.0.1", str(receiver.port), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)
