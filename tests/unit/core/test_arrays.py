"""Arrays in streams: numpy reads what we write, we read what numpy writes, and a cut stream is noticed wherever it is cut."""

from __future__ import annotations

import io
import pty
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.core.arrays import read_array, read_header, read_values, write_array, write_header
from toolkit.core.errors import BadData, UsageError

ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", "<f8", ">f4", "<i2", "|u1", "<u8"]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
)


@given(st.lists(ARRAYS, min_size=1, max_size=4))
def test_numpy_reads_several_arrays_in_one_stream_and_so_do_we(arrays: list[np.ndarray]) -> None:
    stream = io.BytesIO()
    for array in arrays:
        write_array(stream, array)
    stream.seek(0)
    for array in arrays:
        np.testing.assert_array_equal(np.load(stream), array)
    stream.seek(0)
    for array in arrays:
        got = read_array(stream, "stream")
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got, array)
    assert stream.read() == b""


@given(ARRAYS, st.data())
def test_a_stream_cut_anywhere_is_bad_data(array: np.ndarray, data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_array(stream, array)
    whole = stream.getvalue()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadData, match=r"^pipe: "):
        read_array(io.BytesIO(whole[:cut]), "pipe")


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_whatever_raise_anything_but_bad_data(noise: bytes, with_magic: bool) -> None:
    if with_magic:
        noise = b"\x93NUMPY\x01\x00" + len(noise).to_bytes(2, "little") + noise
    try:
        read_array(io.BytesIO(noise), "noise", most_values=1000)
    except BadData as error:
        assert error.exit_status == 65


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 62,)}",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 62},)}}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<U8', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
    ],
)
def test_a_header_that_cannot_be_meant(header: str) -> None:
    text = header.encode() + b"\n"
    stream = io.BytesIO(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 64)
    with pytest.raises(BadData, match=r"^f\.npy: "):
        read_header(stream, "f.npy")


def test_an_array_in_fortran_order_is_refused_and_a_newer_version_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((2, 3))))
    with open(tmp_path / "f.npy", "rb") as stream, pytest.raises(BadData, match="C order"):
        read_array(stream, "f.npy")
    later = io.BytesIO()
    np.lib.format.write_array(later, np.arange(3.0), version=(2, 0))
    later.seek(0)
    np.testing.assert_array_equal(read_array(later, "later"), [0.0, 1.0, 2.0])


def test_values_follow_a_header_piece_by_piece() -> None:
    values = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    stream = io.BytesIO()
    write_header(stream, values.shape, "<f4")
    for piece in values:
        stream.write(piece.tobytes())
    stream.seek(0)
    shape, dtype = read_header(stream, "stream")
    assert (shape, dtype) == ((2, 3, 4), np.dtype("<f4"))
    for piece in values:
        np.testing.assert_array_equal(read_values(stream, shape[1:], dtype, "stream"), piece)


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def readinto(self, buffer):  # type: ignore[no-untyped-def, override]
        piece = self.read(min(len(buffer), 7))
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_slow_pipe_is_read_to_the_end() -> None:
    stream = Trickle()
    write_array(stream, np.arange(100.0))
    stream.seek(0)
    np.testing.assert_array_equal(read_array(stream, "pipe"), np.arange(100.0))


def test_more_values_than_the_caller_allows() -> None:
    stream = io.BytesIO()
    write_array(stream, np.zeros(11, "<f4"))
    stream.seek(0)
    with pytest.raises(BadData, match="cannot be meant|too large"):
        read_array(stream, "f.npy", most_values=10)


def test_a_terminal_gets_no_array() -> None:
    leader, follower = pty.openpty()
    with open(leader, "rb", buffering=0), open(follower, "wb", buffering=0) as terminal, pytest.raises(UsageError, match="redirect"):
        write_array(terminal, np.zeros(3))  # type: ignore[arg-type]
