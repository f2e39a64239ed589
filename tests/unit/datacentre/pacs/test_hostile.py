"""Peers with a certificate and bad intentions, or bad programs: what they leave behind, and what they cost."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from tests.unit.datacentre.pacs.rooms import kept, receiving, sample, storescu
from tests.unit.datacentre.pacs.test_faults import agreed, command, connected, fragment, until

ABORT = b"\7\0\0\0\0\4\0\0\0\0"


def verification_request() -> bytes:
    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    context = item(0x20, b"\1\0\0\0" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2"))
    body = struct.pack(">HH", 1, 0) + b"MDC".ljust(16) + b"SENDER".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + item(0x50, item(0x51, struct.pack(">L", 16384)))
    return struct.pack(">BxL", 1, len(body)) + body


@pytest.mark.parametrize("end", [ABORT, b"", b"\5\0\0\0\0\4\0\0\0\0"])
def test_objects_that_nobody_got_to_leave_nothing(tmp_path: Path, end: bytes) -> None:
    """Many at once, without waiting for answers, and gone."""
    home = tmp_path / "home"
    with receiving(home) as receiver:
        for _ in range(5):
            with agreed(receiver) as peer:
                peer.sendall((fragment(3, command()) + fragment(2, b"x" * 9000)) * 12 + end)
        until(lambda: not receiver.connections)
        until(lambda: not kept(home, "incoming"), 5)


def test_an_object_over_a_context_for_something_else_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with receiving(home) as receiver:
        for _ in range(5):
            with connected(receiver) as peer:
                peer.sendall(verification_request() + fragment(3, command()) + fragment(2, b"x" * 9000))
                peer.recv(1000)
        until(lambda: not receiver.connections)
        until(lambda: not kept(home, "incoming"), 5)


@pytest.mark.parametrize("uid", [b"1.2.\xe9\0", b"1.2\\3.4\0", b"1" * 70000], ids=["letters", "two", "long"])
def test_an_object_whose_uid_is_none_leaves_nothing(tmp_path: Path, uid: bytes) -> None:
    home = tmp_path / "home"
    with receiving(home) as receiver:
        for _ in range(5):
            with agreed(receiver) as peer:
                peer.sendall(fragment(3, command(uid)) + fragment(2, b"x" * 9000))
                peer.recv(1000)
        until(lambda: not receiver.connections)
        until(lambda: not kept(home, "incoming"), 5)
        assert storescu(receiver, sample(tmp_path / "one.dcm")).returncode == 0


def test_queries_are_not_inflated(tmp_path: Path) -> None:
    """A few kilobytes could become gigabytes; no peer has to deflate what it asks."""
    with receiving(tmp_path / "home") as receiver:
        for what in (StudyRootQueryRetrieveInformationModelFind, StorageCommitmentPushModel):
            entity = AE("SENDER")
            entity.add_requested_context(what, DeflatedExplicitVRLittleEndian)
            assoc = entity.associate("127.0.0.1", receiver.port, ae_title="MDC")
            accepted = assoc.is_established and assoc.accepted_contexts
            if assoc.is_established:
                assoc.release()
            assert not accepted
