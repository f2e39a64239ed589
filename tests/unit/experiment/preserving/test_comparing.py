"""How files differ: by bits, by numbers, by what is no number."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import UsageError
from toolkit.experiment.preserving.comparing import Difference, Tolerance, difference


def compared(tmp_path: Path, one: bytes, two: bytes, tolerance: Tolerance | None = None) -> Difference | None:
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "two").write_bytes(two)
    return difference(str(tmp_path / "one"), str(tmp_path / "two"), tolerance)


def arrays(*values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    for value in values:
        np.save(stream, value)
    return stream.getvalue()


def test_nothing(tmp_path: Path) -> None:
    assert compared(tmp_path, b"1,2\n", b"1,2\n") is None
    assert compared(tmp_path, b"", b"") is None


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (b"a,1\n", b"a,1.5\n", "1 of 1 numbers differ by 0.5 at most, relative 0.5, the first at line 1"),
        (b"a,1\nb,2\n", b"a,1\nb,3\n", "1 of 2 numbers differ by 1 at most, relative 0.5, the first at line 2"),
        (b'{"a": 1e3, "x": [0]}\n', b'{"a": 1001, "x": [2]}\n', "2 of 2 numbers differ by 2 at most, relative inf, the first at line 1"),
        (b"a,1\n", b"b,1\n", "differs in line 1, and not only in numbers"),
        (b"1\n", b"1\n2\n", "has more lines than before, 1 alike but for numbers"),
        (b"1\n2\n", b"1\n", "has fewer lines than before, 1 alike but for numbers"),
        (b"1.0\n", b"1\n", "the same 1 numbers are written otherwise"),
        (b"\0\1", b"\0\2", "differs, and is neither text nor .npy"),
        (b"\xff 1", b"\xff 2", "differs, and is neither text nor .npy"),
        (b"nan\n", b"1\n", "1 of 1 numbers differ by inf at most, relative inf, the first at line 1"),
        (b"", b"1\n", "has more lines than before, 0 alike but for numbers"),
    ],
)
def test_text(tmp_path: Path, one: bytes, two: bytes, said: str) -> None:
    assert str(compared(tmp_path, one, two)) == said


@pytest.mark.parametrize(("rtol", "atol", "tolerated"), [(0.01, 0, True), (0.001, 0, False), (0, 0.6, True), (0, 0, False)])
def test_text_within_a_tolerance(tmp_path: Path, rtol: float, atol: float, tolerated: bool) -> None:
    found = compared(tmp_path, b"x 100\n", b"x 100.5\n", Tolerance("*", rtol, atol))
    assert found is not None and found.is_tolerated is tolerated


def test_streams_of_arrays(tmp_path: Path) -> None:
    axis, scores = np.arange(3.0), np.ones((2, 3, 4), "<f4")
    other = scores.copy()
    other[1, 2, 3] += 0.25
    found = compared(tmp_path, arrays(axis, scores), arrays(axis, other))
    assert str(found) == "1 of 27 numbers differ by 0.25 at most, relative 0.25, the first at array 2 [1, 2, 3]"


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (arrays(np.ones(2)), arrays(np.ones(3)), "array 1 was float64 of shape (2,), is float64 of shape (3,)"),
        (arrays(np.ones(2)), arrays(np.ones(2, "f4")), "array 1 was float64 of shape (2,), is float32 of shape (2,)"),
        (arrays(np.ones(2)), arrays(np.ones(2), np.ones(2)), "holds more arrays than before"),
        (arrays(np.ones(2)), arrays(np.ones(2))[:-1], "ends 1 bytes too early in an array of shape (2,)"),
        (arrays(np.ones(2)), arrays(np.ones(2)) + b"tail", "holds more arrays than before"),
    ],
)
def test_arrays_of_another_form(tmp_path: Path, one: bytes, two: bytes, said: str) -> None:
    found = compared(tmp_path, one, two, Tolerance("*", 1, 1))
    assert str(found) == said and found is not None and not found.is_tolerated


def test_what_is_no_number_in_arrays(tmp_path: Path) -> None:
    one, two = np.array([np.nan, np.inf, 1.0, 0.0]), np.array([np.nan, np.inf, np.nan, -0.0])
    found = compared(tmp_path, arrays(one), arrays(two), Tolerance("*", 1, 1))
    assert found is not None and (found.differing, found.beyond, found.absolute) == (1, 1, math.inf)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(1e-12, 1e-2))
def test_arrays_and_text_agree(tmp_path_factory: pytest.TempPathFactory, values: list[float], rtol: float) -> None:
    place = tmp_path_factory.mktemp("agree")
    one = np.array(values)
    two = one * (1 + 1e-6)
    tolerance = Tolerance("*", rtol)
    in_arrays = compared(place, arrays(one), arrays(two), tolerance)
    in_text = compared(place, "\n".join(map(repr, one.tolist())).encode(), "\n".join(map(repr, two.tolist())).encode(), tolerance)
    assert (in_arrays is None) == (in_text is None)
    if in_arrays is not None and in_text is not None:
        assert (in_arrays.differing, in_arrays.beyond) == (in_text.differing, in_text.beyond)
        assert in_arrays.absolute == pytest.approx(in_text.absolute)


@pytest.mark.parametrize("text", ["", "x", "=1", "x=", "x=a", "x=-1", "x=nan", "x=1:2:3", "x=inf"])
def test_no_tolerance(text: str) -> None:
    with pytest.raises(UsageError, match="is no tolerance"):
        Tolerance.parse(text)


def test_a_tolerance() -> None:
    assert Tolerance.parse("a=b*.npy=1e-6:2") == Tolerance("a=b*.npy", 1e-6, 2.0)
