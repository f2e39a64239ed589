"""Files that declare little, or the wrong thing, are opened for what they are; what is no DICOM file is refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.elements import element, meta_information
from toolkit.hospital.dicom.encoding.part10 import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, from_bytes, open_part10

CT = b"1.2.840.10008.5.1.4.1.1.2"


def data_set(implicit: bool = False, big_endian: bool = False) -> bytes:
    return element(0x00080016, "UI", CT + b"\0", implicit, big_endian) + element(0x00080018, "UI", b"1.2.3\0", implicit, big_endian)


def whole(declared: str, body: bytes) -> bytes:
    return meta_information(CT, b"1.2.3", declared) + body


ENCODINGS = [(True, False, IMPLICIT_LITTLE), (False, False, EXPLICIT_LITTLE), (False, True, EXPLICIT_BIG)]


@pytest.mark.parametrize(("implicit", "big_endian", "syntax"), ENCODINGS)
@pytest.mark.parametrize("declared", ["right", "nothing"])
def test_the_encoding_is_found_with_and_without_meta_information(implicit: bool, big_endian: bool, syntax: str, declared: str) -> None:
    body = data_set(implicit, big_endian)
    source = from_bytes(whole(syntax, body) if declared == "right" else body)
    assert (source.implicit, source.big_endian, source.transfer_syntax) == (implicit, big_endian, syntax)
    assert source.data[source.start : source.end] == body


def test_an_explicit_data_set_declared_implicit_is_read_as_written() -> None:
    assert from_bytes(whole(IMPLICIT_LITTLE, data_set())).transfer_syntax == EXPLICIT_LITTLE
    assert from_bytes(whole(EXPLICIT_LITTLE, data_set(implicit=True))).transfer_syntax == IMPLICIT_LITTLE


def test_a_deflated_data_set_is_inflated() -> None:
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    source = from_bytes(whole(DEFLATED[0], press.compress(data_set()) + press.flush()))
    assert source.deflated
    assert source.data[source.start : source.end] == data_set()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"hello, world, this is a text", Reason.NOT_DICOM),
        (bytes(128) + b"DICM", Reason.EMPTY),
        (bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00", Reason.TRUNCATED),
        (bytes(128) + b"DICM\x08\x00", Reason.TRUNCATED),
        (bytes(1000), Reason.NOT_DICOM),
        (whole("1.2.840.113619.5.2", data_set()), Reason.UNKNOWN_TRANSFER_SYNTAX),
        (whole(DEFLATED[0], b"not deflated at all"), Reason.TRUNCATED),
        (whole(DEFLATED[0], zlib.compress(data_set() * 50, wbits=-15)[:-5]), Reason.TRUNCATED),
    ],
)
def test_what_cannot_be_opened_is_quarantined(data: bytes, reason: Reason) -> None:
    with pytest.raises(Quarantine) as caught:
        from_bytes(data)
    assert caught.value.reason is reason


def test_a_large_file_is_mapped_and_read_in_pieces(tmp_path: Path) -> None:
    body = data_set() + element(0x7FE00010, "OW", bytes(range(256)) * (9 << 12), False, False)
    path = tmp_path / "large.dcm"
    path.write_bytes(whole(EXPLICIT_LITTLE, body))
    with open_part10(str(path)) as source:
        assert source.file is not None
        assert b"".join(source.chunks(source.start, source.end)) == body


def test_an_unreadable_file_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(Quarantine) as caught, open_part10(str(tmp_path / "missing")):
        pass
    assert caught.value.reason is Reason.UNREADABLE
