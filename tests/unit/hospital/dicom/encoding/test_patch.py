"""The anonymised data set and the patch give the original, byte for byte."""

from __future__ import annotations

import io
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.hospital.dicom.encoding.elements import element, meta_information
from toolkit.hospital.dicom.encoding.part10 import DEFLATED, EXPLICIT_LITTLE, Part10, from_bytes
from toolkit.hospital.dicom.encoding.patch import MOST, Edit, encode_patch, restore

CT = b"1.2.840.10008.5.1.4.1.1.2"


def opened(body: bytes, syntax: str = EXPLICIT_LITTLE) -> Part10:
    header = meta_information(CT, b"1.2.3", syntax)
    if syntax == EXPLICIT_LITTLE:
        return from_bytes(header + body)
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return from_bytes(header + press.compress(body) + press.flush())


def applied(source: Part10, edits: list[Edit]) -> bytes:
    parts, position = [], source.start
    for start, end, new in edits:
        parts += [source.data[position:start], new]
        position = end
    return b"".join([*parts, source.data[position : source.end]])


BODY = element(0x00080016, "UI", CT + b"\0", False, False) + element(0x00100010, "PN", b"Doe^John" * 20, False, False)


@given(st.lists(st.tuples(st.integers(0, len(BODY)), st.integers(0, 30), st.binary(max_size=40)), max_size=8))
def test_a_patch_undoes_any_edits(drawn: list[tuple[int, int, bytes]]) -> None:
    source = opened(BODY)
    edits: list[Edit] = []
    position = source.start + 8
    for step, length, new in drawn:
        start = position + step
        if start + length > source.end:
            break
        edits.append((start, start + length, new))
        position = start + length
    anonymised = from_bytes(meta_information(CT, b"9", EXPLICIT_LITTLE) + applied(source, edits))
    out = io.BytesIO()
    restore(anonymised, encode_patch(source, edits), out)
    assert out.getvalue() == source.data


def test_a_deflated_data_set_comes_back_deflated() -> None:
    source = opened(BODY, DEFLATED[0])
    edits = [(source.start + 60, source.start + 70, b"")]
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    anonymised = from_bytes(meta_information(CT, b"9", DEFLATED[0]) + press.compress(applied(source, edits)) + press.flush())
    out = io.BytesIO()
    restore(anonymised, encode_patch(source, edits), out)
    again = from_bytes(out.getvalue())
    assert again.deflated
    assert again.data[again.start : again.end] == BODY


def test_large_originals_come_in_bounded_chunks() -> None:
    body = BODY + element(0x7FE00010, "OW", random.Random(1).randbytes(20 << 20), False, False)
    source = opened(body)
    edits = [(source.end - (20 << 20), source.end, bytes(20 << 20))]
    chunks = list(encode_patch(source, edits))
    assert len(chunks) > 2
    assert max(map(len, chunks)) <= MOST
    out = io.BytesIO()
    restore(from_bytes(meta_information(CT, b"9", EXPLICIT_LITTLE) + applied(source, edits)), chunks, out)
    assert out.getvalue() == source.data


@pytest.mark.parametrize("harm", ["cut", "other object", "not a patch"])
def test_a_patch_that_does_not_fit_is_refused(harm: str) -> None:
    source = opened(BODY)
    edits = [(source.start + 100, source.start + 110, b"new")]
    patch = b"".join(encode_patch(source, edits))
    anonymised = from_bytes(meta_information(CT, b"9", EXPLICIT_LITTLE) + (applied(source, edits) if harm != "other object" else BODY[:38]))
    with pytest.raises(ValueError, match="the patch"):
        restore(anonymised, [patch[:-9] if harm == "cut" else b"something" if harm == "not a patch" else patch], io.BytesIO())
