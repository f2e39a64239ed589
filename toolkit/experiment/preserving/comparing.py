"""Is a file what another one was: bit by bit, and where not, by how much their numbers differ.

Numbers are compared in ``.npy`` files and streams of several arrays, and in text of any kind (JSON lines, CSV, tables): there all that
stands between numbers must be the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import BinaryIO

from toolkit.core.errors import BadData, ToolError, UsageError
from toolkit.experiment.preserving.gathering import matches

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\b(?:nan|NaN|[iI]nf|[iI]nfinity)\b")
_VALUES = 1 << 20  # of an array that are looked at together
_LONGEST = 1 << 26  # bytes of a line


@dataclass(frozen=True)
class Tolerance:
    """By how much numbers of files whose names match a pattern may differ: ``atol + rtol * |kept|``."""

    pattern: str
    rtol: float
    atol: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Tolerance:
        """Of ``PATTERN=RTOL[:ATOL]``. Raises UsageError."""
        pattern, equals, numbers = text.rpartition("=")
        try:
            values = [float(number) for number in numbers.split(":")]
        except ValueError:
            values = []
        if not equals or not pattern or len(values) not in (1, 2) or not all(math.isfinite(value) and value >= 0 for value in values):
            raise UsageError(text, "is no tolerance", "write it like '*.npy=1e-6' or '*.csv=1e-6:1e-9'")
        return cls(pattern, *values)


@dataclass(frozen=True)
class Difference:
    """How two files differ: numbers that do, of how many, by how much at most, and where the first does."""

    differing: int = 0
    numbers: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    beyond: int = 0  # numbers that differ by more than is tolerated
    where: str = ""
    other: str = ""  # what is no difference of numbers

    @property
    def is_tolerated(self) -> bool:
        """Whether only numbers differ, and none by more than is tolerated."""
        return not self.beyond and not self.other

    def __str__(self) -> str:
        if self.other:
            return self.other
        if not self.differing:
            return f"the same {self.numbers} numbers are written otherwise"
        how = f"by {self.absolute:.3g} at most, relative {self.relative:.3g}"
        return f"{self.differing} of {self.numbers} numbers differ {how}, the first at {self.where}"


def tolerance_for(name: str, tolerances: list[Tolerance]) -> Tolerance | None:
    """The last tolerance whose pattern means the file."""
    return next((one for one in reversed(tolerances) if matches(name, one.pattern)), None)


def difference(kept: str, fresh: str, tolerance: Tolerance | None) -> Difference | None:
    """How the file `fresh` differs from `kept`; None where every bit is the same."""
    with open(kept, "rb") as one, open(fresh, "rb") as two:
        if _same(one, two):
            return None
        one.seek(0)
        two.seek(0)
        magic = one.read(6), two.read(6)
        one.seek(0)
        two.seek(0)
        tally = _Tally(tolerance)
        try:
            (_arrays if magic == (b"\x93NUMPY",) * 2 else _texts)(one, two, tally)
        except ToolError as error:
            return Difference(other=error.problem)
        return tally.result()


class _Tally:
    """Counts while numbers are compared."""

    def __init__(self, tolerance: Tolerance | None) -> None:
        self.rtol, self.atol = (tolerance.rtol, tolerance.atol) if tolerance else (0.0, 0.0)
        self.differing = self.numbers = self.beyond = 0
        self.absolute = self.relative = 0.0
        self.where = ""

    def add(self, one: float, two: float, where: str) -> None:
        self.numbers += 1
        if one == two or (math.isnan(one) and math.isnan(two)):
            return
        apart = abs(one - two)
        allowed = self.atol + self.rtol * abs(one)
        self._enter(1, int(not apart <= allowed), apart, apart / abs(one) if one and math.isfinite(one) else math.inf, where)

    def add_arrays(self, one, two, where) -> None:  # type: ignore[no-untyped-def]
        import numpy as np

        self.numbers += one.size
        unequal = ~((one == two) | ((one != one) & (two != two)))
        if not unequal.any():
            return
        first = int(np.flatnonzero(unequal)[0])
        with np.errstate(all="ignore"):
            old, new = one[unequal].astype(np.longdouble), two[unequal].astype(np.longdouble)
            apart = np.abs(old - new)
            beyond = int((~(apart <= self.atol + self.rtol * np.abs(old))).sum())
            relative = np.where(old == 0, np.inf, apart / np.abs(old))
        self._enter(len(apart), beyond, float(_most(apart)), float(_most(relative)), where(first))

    def _enter(self, differing: int, beyond: int, absolute: float, relative: float, where: str) -> None:
        self.where = self.where or where
        self.differing += differing
        self.beyond += beyond
        self.absolute = max(self.absolute, math.inf if math.isnan(absolute) else absolute)
        self.relative = max(self.relative, math.inf if math.isnan(relative) else relative)

    def result(self) -> Difference:
        return Difference(self.differing, self.numbers, self.absolute, self.relative, self.beyond, self.where)


def _most(values):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.inf if np.isnan(values).any() else values.max()


def _same(one: BinaryIO, two: BinaryIO) -> bool:
    while True:
        left, right = one.read(1 << 20), two.read(1 << 20)
        if left != right:
            return False
        if not left:
            return True


def _arrays(one: BinaryIO, two: BinaryIO, tally: _Tally) -> None:
    from toolkit.core.arrays import read_header, read_values

    number = 0
    while more := (_more(one), _more(two)):
        if not any(more):
            return
        number += 1
        if not all(more):
            raise BadData("", f"holds {'more' if more[1] else 'fewer'} arrays than before")
        (shape, dtype), (other, other_type) = read_header(one, "the kept file"), read_header(two, "the new file")
        if shape != other or dtype != other_type:
            raise BadData("", f"array {number} was {dtype} of shape {shape}, is {other_type} of shape {other}")
        count, done = math.prod(shape), 0
        while done < count:
            piece = (min(_VALUES, count - done),)
            left, right = read_values(one, piece, dtype, "the kept file"), read_values(two, piece, dtype, "the new file")
            tally.add_arrays(left, right, lambda at, n=number, s=shape, d=done: _index(n, s, d + at))
            done += piece[0]


def _index(number: int, shape: tuple[int, ...], flat: int) -> str:
    import numpy as np

    return f"array {number} {[int(index) for index in np.unravel_index(flat, shape)]}"


def _more(stream: BinaryIO) -> bool:
    found = stream.read(1)
    if found:
        stream.seek(-1, 1)
    return bool(found)


def _texts(one: BinaryIO, two: BinaryIO, tally: _Tally) -> None:
    for number, (left, right) in enumerate(zip_longest(_lines(one), _lines(two)), 1):
        if left is None or right is None:
            raise BadData("", f"has {'more' if left is None else 'fewer'} lines than before, {number - 1} alike but for numbers")
        if left == right:
            tally.numbers += len(_NUMBER.findall(left))
            continue
        if _NUMBER.sub("#", left) != _NUMBER.sub("#", right):
            raise BadData("", f"differs in line {number}, and not only in numbers")
        for old, new in zip(_NUMBER.findall(left), _NUMBER.findall(right), strict=True):
            tally.add(float(old), float(new), f"line {number}")


def _lines(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline(_LONGEST):
        if b"\0" in line:
            raise BadData("", "differs, and is neither text nor .npy")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise BadData("", "differs, and is neither text nor .npy") from error
