"""What the reader of a published table can compute, by looking at all tables that agree with it."""

import dataclasses
import itertools
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from toolkit.datacentre.analyses import suppression
from toolkit.datacentre.analyses.answers import Answer, Cell, Column, Equation
from toolkit.datacentre.analyses.suppression import hide, protect

TOTAL: Cell = ("count", "total")


def one_way(values: Sequence[int]) -> tuple[dict[Cell, int], list[Equation]]:
    cells: list[Cell] = [("table", row, 1) for row in range(len(values))]
    return dict(zip(cells, values, strict=True)) | {TOTAL: sum(values)}, [(TOTAL, tuple(cells))]


def two_way(values: Sequence[Sequence[int]]) -> tuple[dict[Cell, int], list[Equation]]:
    """With totals of rows (last column), columns (last row), and of all."""
    table = np.array(values)
    table = np.hstack([table, table.sum(axis=1, keepdims=True)])
    table = np.vstack([table, table.sum(axis=0, keepdims=True)])
    height, width = table.shape
    counts: dict[Cell, int] = {("table", row, column): int(table[row, column]) for row in range(height) for column in range(width)}
    equations: list[Equation] = [
        (("table", row, width - 1), tuple(("table", row, column) for column in range(width - 1))) for row in range(height)
    ]
    equations += [(("table", height - 1, column), tuple(("table", row, column) for row in range(height - 1))) for column in range(width)]
    return counts, equations


def published(counts: Mapping[Cell, int], equations: Sequence[Equation], hidden: set[Cell]) -> tuple[list[Cell], np.ndarray, np.ndarray]:
    """The hidden cells and what is known of them: matrix @ hidden = values."""
    cells = sorted(hidden)
    matrix, values = np.zeros((len(equations), len(cells))), np.zeros(len(equations))
    for row, (total, parts) in enumerate(equations):
        for cell, sign in ((total, 1), *((part, -1) for part in parts)):
            if cell in hidden:
                matrix[row, cells.index(cell)] += sign
            else:
                values[row] -= sign * counts[cell]
    return cells, matrix, values


def determined(counts: Mapping[Cell, int], equations: Sequence[Equation], hidden: set[Cell], below: int, each: int = 1) -> list[Cell]:
    """Hidden small cells that can be computed or bounded below `below`, of `each` how-manyth; a hidden cell is known to be at least 1."""
    cells, matrix, values = published(counts, equations, hidden)
    known = [LinearConstraint(matrix, values, values)] if len(equations) else []
    found = []
    for column, cell in enumerate(cells):
        if 0 < counts[cell] < below and not column % each:
            goal = np.zeros(len(cells))
            goal[column] = -1
            at_least = LinearConstraint(-goal[None, :], below, np.inf)
            answer = milp(goal * 0, constraints=[*known, at_least], bounds=Bounds(1, np.inf), integrality=np.ones(len(cells)))
            if answer.x is None:
                found.append(cell)
    return found


def possible_values(counts: Mapping[Cell, int], equations: Sequence[Equation], hidden: set[Cell], most: int) -> dict[Cell, set[int]]:
    """By trying all numbers from 1 to `most`: slow, and beyond doubt."""
    cells, matrix, values = published(counts, equations, hidden)
    guesses = np.indices((most,) * len(cells), dtype=np.int16).reshape(len(cells), -1) + 1
    agreeing = guesses[:, (matrix.astype(np.int16) @ guesses == values.astype(np.int16)[:, None]).all(axis=0)]
    return {cell: set(agreeing[row].tolist()) for row, cell in enumerate(cells)}


small_counts = st.one_of(st.just(0), st.integers(0, 7), st.integers(0, 7), st.integers(0, 300))


def checked(counts: Mapping[Cell, int], equations: Sequence[Equation], below: int) -> set[Cell]:
    hidden = protect(counts, equations, below)
    small = {cell for cell, value in counts.items() if 0 < value < below}
    assert small <= hidden
    assert all(counts[cell] for cell in hidden), "a zero is shown"
    assert determined(counts, equations, hidden, below) == []
    if not small:
        assert not hidden
    for cell in hidden - small:
        assert determined(counts, equations, hidden - {cell}, below), f"{cell} was hidden without need"
    return hidden


@settings(deadline=None, max_examples=40)
@given(st.lists(small_counts, min_size=1, max_size=12), st.integers(0, 8))
def test_no_small_count_can_be_computed_from_a_total(values: list[int], below: int) -> None:
    checked(*one_way(values), below)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(small_counts, min_size=width, max_size=width), min_size=1, max_size=4)))
def test_no_small_count_can_be_computed_from_totals_of_rows_and_columns(values: list[list[int]]) -> None:
    checked(*two_way(values), 5)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_no_small_count_can_be_computed_from_any_equations(data: st.DataObject) -> None:
    """Sums of cells chosen at random, sums of sums among them: the general case, by the linear program."""
    values = data.draw(st.lists(small_counts, min_size=2, max_size=7))
    counts: dict[Cell, int] = {("table", row, 0): value for row, value in enumerate(values)}
    equations: list[Equation] = []
    for number in range(data.draw(st.integers(1, 4))):
        parts = data.draw(st.lists(st.sampled_from(sorted(counts)), min_size=1, max_size=5, unique=True))
        total: Cell = ("count", f"sum {number}")
        counts[total] = sum(counts[part] for part in parts)
        equations.append((total, tuple(parts)))
    checked(counts, equations, 5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=4), st.integers(2, 4))
def test_trying_all_numbers_computes_no_small_count(values: list[int], below: int) -> None:
    counts, equations = two_way([values[:2], values[2:]])
    hidden = protect(counts, equations, below)
    assume(0 < len(hidden) < 5)
    for cell, possible in possible_values(counts, equations, hidden, most=sum(values) + below).items():
        if counts[cell] < below:
            assert len(possible) >= 2
            assert max(possible) >= below


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(small_counts, min_size=3, max_size=3), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_counts_and_equations_does_not_matter(values: list[list[int]], shuffler: random.Random) -> None:
    counts, equations = two_way(values)
    shuffled = list(counts.items())
    shuffler.shuffle(shuffled)
    turned = [(total, tuple(shuffler.sample(parts, len(parts)))) for total, parts in shuffler.sample(equations, len(equations))]
    assert protect(dict(shuffled), turned, 5) == protect(counts, equations, 5)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([10, 20, 30], {0, 1, 2}),
        ([3, 20, 30, 10], {1, 2}),  # with the smallest other one
        ([4, 2, 30, 10], {2, 3}),  # 4 and 2 hide each other: 6 may be 5 and 1
        ([1, 1, 30, 10], {2}),  # the others leave 2 for both: they would be 1 each
        ([2, 2, 2, 30], set()),  # 6 for three: none could be 5
        ([3, 3, 3, 30], {3}),
        ([0, 3, 0, 30], {0, 2}),  # zeros are shown, and hide nothing
    ],
)
def test_of_one_column_as_little_as_possible_is_hidden(values: list[int], shown: set[int]) -> None:
    hidden = protect(*one_way(values), 5)
    assert {row for row in range(len(values)) if ("table", row, 1) not in hidden} == shown
    assert TOTAL not in hidden


def test_where_all_others_are_zero_the_total_is_hidden_too() -> None:
    assert protect(*one_way([0, 3, 0]), 5) == {("table", 1, 1), TOTAL}


def test_a_total_that_is_small_is_hidden() -> None:
    assert protect(*one_way([1, 1, 0]), 5) == {("table", 0, 1), ("table", 1, 1), TOTAL}


def test_a_count_that_is_the_difference_of_two_others_is_as_safe_as_one_in_the_table() -> None:
    counts: dict[Cell, int] = {("count", "read"): 1003, ("count", "excluded"): 3, ("count", "counted"): 1000}
    equations: list[Equation] = [(("count", "read"), (("count", "excluded"), ("count", "counted")))]
    assert protect(counts, equations, 5) == {("count", "excluded"), ("count", "counted")}


def test_a_hidden_total_cannot_be_computed_from_the_table_below_it() -> None:
    counts, equations = one_way([40, 960])
    counts[TOTAL] = 1000
    counts |= {("count", "read"): 1003, ("count", "excluded"): 3}
    equations.append((("count", "read"), (("count", "excluded"), TOTAL)))
    hidden = checked(counts, equations, 5)
    assert hidden in ({("count", "excluded"), TOTAL, ("table", 0, 1)}, {("count", "excluded"), ("count", "read")})


def test_four_corners_hide_a_count_in_a_table_with_totals_both_ways() -> None:
    hidden = protect(*two_way([[1, 90, 80], [70, 60, 50], [40, 8, 9]]), 5)
    assert hidden == {("table", row, column) for row, column in [(0, 0), (0, 2), (2, 0), (2, 2)]}


def test_a_count_in_three_equations_is_hidden_in_all() -> None:
    counts: dict[Cell, int] = {("table", row, 0): value for row, value in enumerate([2, 50, 60, 70])}
    equations: list[Equation] = []
    for other in (1, 2, 3):
        counts["count", str(other)] = counts["table", 0, 0] + counts["table", other, 0]
        equations.append((("count", str(other)), (("table", 0, 0), ("table", other, 0))))
    assert checked(counts, equations, 5) == {("table", row, 0) for row in range(4)}


def test_a_small_count_in_no_equation_is_hidden_alone() -> None:
    assert protect({("count", "a"): 3, ("count", "b"): 5, ("count", "c"): 0}, [], 5) == {("count", "a")}


def nested(values: Sequence[Sequence[int]]) -> Answer:
    """Months and their total, of codes of which each is within the next one."""
    sums = [list(itertools.accumulate(row)) for row in values]
    rows = [(str(number), *row) for number, row in enumerate([*sums, [sum(column) for column in zip(*sums, strict=True)]])]
    width = len(rows[0])
    equations: list[Equation] = [
        (("table", len(sums), column), tuple(("table", row, column) for row in range(len(sums)))) for column in range(1, width)
    ]
    pairs = list(itertools.combinations(range(1, width), 2))
    within: list[tuple[Cell, Cell]] = [(("table", row, one), ("table", row, other)) for row in range(len(rows)) for one, other in pairs]
    columns = (Column("month", "Month", kind="label"), *(Column(f"i{number}", "I") for number in range(1, width)))
    return Answer("Cases", "2026", columns, tuple(rows), equations=tuple(equations), within=tuple(within))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 3).flatmap(lambda width: st.lists(st.lists(small_counts, min_size=width, max_size=width), min_size=1, max_size=4)))
def test_no_small_difference_of_codes_within_each_other_can_be_computed(values: list[list[int]]) -> None:
    answer = nested(values)
    hidden = set(hide(answer, 5).hidden)
    counts: dict[Cell, int] = {
        ("table", row, column): value for row, one in enumerate(answer.rows) for column, value in enumerate(one) if isinstance(value, int)
    }
    equations = list(answer.equations)
    for number, (part, whole) in enumerate(answer.within):
        counts["count", str(number)] = counts[whole] - counts[part]
        equations.append((whole, (part, ("count", str(number)))))
    unpublished = {("count", str(number)) for number in range(len(answer.within)) if counts["count", str(number)]}
    assert determined(counts, equations, hidden | unpublished, 5) == []


def test_a_code_is_hidden_that_would_show_how_few_have_another() -> None:
    assert hide(nested([[97, 3]]), 5).rows == (("0", None, 100), ("1", None, 100))
    assert not hide(nested([[95, 5]]), 5).hidden
    assert not hide(nested([[95, 0]]), 5).hidden


def test_a_mean_of_many_is_shown_though_their_number_is_not() -> None:
    """With few digits: 3.5161290322580645 is 109/31, so of 186 stays, and 190 visits less 186 stays are 4."""
    columns = (Column("visits", "Visits"), Column("stays", "Stays"), Column("mean", "Mean", "days", "number"), Column("open", "Open"))
    equations: tuple[Equation, ...] = ((("table", 0, 0), (("table", 0, 1), ("table", 0, 3))),)
    derived: dict[Cell, tuple[Cell, ...]] = {("table", 0, 2): (("table", 0, 1),)}
    answer = Answer("Stays", "2026", columns, ((190, 186, 3.5161290322580645, 4),), equations=equations, derived=derived)
    assert hide(answer, 5).rows == ((190, None, 3.5, None),)
    assert hide(dataclasses.replace(answer, rows=((190, 4, 3.5, 186),)), 5).rows == ((190, None, None, None),)
    assert hide(dataclasses.replace(answer, rows=((21, 19, 3.5, 2),)), 5).rows == ((21, None, None, None),)
    assert hide(dataclasses.replace(answer, rows=((190, 180, 3.5161290322580645, 10),)), 5).rows == ((190, 180, 3.5161290322580645, 10),)


@pytest.mark.parametrize("mean", [0.0, 0.1, 2.3, 3.5, 9.9])
def test_a_mean_told_to_a_tenth_is_possible_for_any_number_of_whole_days(mean: float) -> None:
    for number in range(suppression._MANY, 300):
        assert any(round(days / number, 1) == mean for days in range(int(number * (mean + 1)) + 1))


def test_a_code_asked_twice_hides_as_much() -> None:
    answer = nested([[97, 0, 3]])
    again: list[tuple[Cell, Cell]] = [(("table", row, 2), ("table", row, 1)) for row in range(2)]
    assert hide(dataclasses.replace(answer, within=(*answer.within, *again)), 5).rows == (("0", None, None, 100), ("1", None, None, 100))
    answer = nested([[97, 3, 0]])
    again = [(("table", row, 3), ("table", row, 2)) for row in range(2)]
    assert hide(dataclasses.replace(answer, within=(*answer.within, *again)), 5).rows == (("0", None, 100, 100), ("1", None, 100, 100))


def test_a_part_is_not_greater_than_its_whole() -> None:
    with pytest.raises(ValueError, match="negative"):
        hide(nested([[9, -1]]), 5)


@pytest.mark.parametrize(
    ("counts", "equations", "problem"),
    [
        ({TOTAL: 4, ("table", 0, 0): 3}, [(TOTAL, (("table", 0, 0),))], "do not add up"),
        ({TOTAL: 4}, [(TOTAL, (("table", 0, 0),))], "without a count"),
        ({TOTAL: -4}, [], "negative"),
    ],
)
def test_what_does_not_add_up_is_refused(counts: dict[Cell, int], equations: list[Equation], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        protect(counts, equations, 5)


@pytest.mark.parametrize("columns", [2, 4])
def test_ten_years_of_months_take_less_than_two_seconds(columns: int) -> None:
    numbers = random.Random(7)
    values = [[numbers.choice([0, 1, 2, 3, 4, 6, 9, 20]) for _ in range(columns)] for _ in range(120)]
    counts, equations = two_way(values)
    begin = time.process_time()
    hidden = protect(counts, equations, 5)
    assert time.process_time() - begin < 2
    assert determined(counts, equations, hidden, 5, each=10) == []


ANSWER = Answer(
    title="Sexes",
    period="2026-01-01 to 2026-12-31",
    columns=(
        Column("sex", "Sex", kind="label"),
        Column("patients", "Patients"),
        Column("share", "Share", "%", "share"),
        Column("mean", "Mean", "days", "number"),
        Column("ratio", "Ratio", "", "number"),
    ),
    rows=(("F", 60, 58.3, 2.5, 1.0), ("M", 40, 38.8, 3.0, 1.2), ("UN", 3, 2.9, 2.0, 0.8), ("unknown", 0, 0.0, None, None)),
    counts={"patients": 103, "documents": None},
    equations=((("count", "patients"), tuple(("table", row, 1) for row in range(4))),),
    derived={
        **{("table", row, column): (("table", row, 1), ("count", "patients")) for row in range(4) for column in (2, 3)},
        **{("table", row, 4): (("table", row, 3),) for row in range(4)},
    },
    notes=("one",),
)


def test_shares_are_hidden_with_their_counts_and_means_of_few() -> None:
    hidden = hide(ANSWER, 5)
    assert hidden.rows == (
        ("F", 60, 58.3, 2.5, 1.0),
        ("M", None, None, 3.0, 1.2),
        ("UN", None, None, None, None),
        ("unknown", 0, 0.0, None, None),
    )
    assert hidden.hidden == {("table", row, column) for row, columns in ((1, (1, 2)), (2, (1, 2, 3, 4))) for column in columns}
    assert hidden.counts == {"patients": 103, "documents": None}
    assert hidden.notes == ("one", "* fewer than 5, or hidden so that such a count cannot be computed")


def test_a_hidden_count_beside_the_table_holds_nothing() -> None:
    answer = Answer("Two", "2026", (Column("a", "A"),), ((9,),), {"excluded": 2})
    assert hide(answer, 5).counts == {"excluded": None}
    assert hide(answer, 5).hidden == {("count", "excluded")}


def test_an_answer_without_small_counts_stays_as_it_is() -> None:
    assert hide(ANSWER, 3) is ANSWER


def test_a_count_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        hide(Answer("Two", "2026", (Column("a", "A"),), ((9.5,),)), 5)


def test_nothing_heavy_is_loaded_for_tables_with_totals() -> None:
    code = f"""
import sys
from toolkit.datacentre.analyses.answers import Answer, Column
from {suppression.__name__} import hide
answer = Answer("Two", "2026", (Column("a", "A"),), ((9,), (2,)), {{"all": 11}}, ((("count", "all"), (("table", 0, 0), ("table", 1, 0))),))
assert len(hide(answer, 5).hidden) == 2
sys.exit(bool(sys.modules.keys() & {{"scipy", "numpy"}}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
