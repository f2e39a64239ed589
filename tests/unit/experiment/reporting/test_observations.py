"""What one record says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.experiment.reporting.records import command
from toolkit.experiment.reporting.observations import FIELDS, MOST_POINTS, bands, curve, program, resolution, rows


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/opt/bin/scc", "f.npy"], "scc"),
        (["python3", "/opt/bin/scc", "f.npy"], "scc"),
        (["/usr/bin/python3.11", "-u", "tools/scc.py"], "scc.py"),
        (["python", "-m", "toolkit.scc", "x"], "toolkit.scc"),
        (["python3", "-c", "print(1)"], "python3"),
        (["python3"], "python3"),
        (["./a b"], "a b"),
        ([], "?"),
    ],
)
def test_program(argv, name):
    assert program(argv) == name


@pytest.mark.parametrize(
    ("text", "value"), [("64", 64), ("64.0", 64), ("0.5", 0.5), ("1e3", 1000), ("0", None), ("-2", None), ("nan", None), ("inf", None)]
    + [("big", None), ("", None), (None, None)],
)  # fmt: skip
def test_resolution(text, value):
    assert resolution(text) == value


def own(*stages, wall=100):
    got = rows(command("scc", wall, 5, stages=stages))
    return {name: values[FIELDS.index("own_ns")] for name, values in got.items()}


def test_a_moment_belongs_to_the_innermost_stage():
    # outer 10-90 holds inner 30-50 and inner 60-70; 20 ns are outside
    assert own(("outer", 10, 90), ("inner", 30, 50), ("inner", 60, 70)) == {"outer": 50, "inner": 30, "": 20}


def test_of_stages_that_run_side_by_side_the_later_begun_counts():
    assert own(("a", 0, 60), ("b", 40, 100)) == {"a": 40, "b": 60, "": 0}
    assert own(("a", 0, 60), ("a", 20, 80)) == {"a": 80, "": 20}


def test_a_stages_row():
    got = rows(command("scc", 100, 1000, stages=[("s", 10, 30), ("s", 20, 60), ("s", 80, 90)]))
    # covered 10-60 and 80-90; user times are half of 20, 40 and 10; peaks half of the command's; 10 bytes read and 20 written each time
    assert dict(zip(FIELDS, got["s"], strict=True)) == {
        "wall_ns": 60, "user_ns": 35, "system_ns": 0, "peak_bytes": 500, "tree_bytes": 507, "read_bytes": 30, "written_bytes": 60,
        "own_ns": 60,
    }  # fmt: skip
    assert dict(zip(FIELDS, got[""], strict=True)) == {
        "wall_ns": 100, "user_ns": 50, "system_ns": 10, "peak_bytes": 1000, "tree_bytes": 2000, "read_bytes": 4000, "written_bytes": 5000,
        "own_ns": 40,
    }  # fmt: skip


def test_a_command_without_end_says_nothing():
    lost = command("scc", 1, 1)
    lost.exit = None
    assert rows(lost) == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(0, 50)).map(lambda s: (s[0], s[1], s[1] + s[2]))))
def test_own_times_add_up_to_what_stages_cover(stages):
    got = own(*stages, wall=1000)
    covered = {moment for _, begin, end in stages for moment in range(begin, end)}
    assert sum(got.values()) == 1000
    assert got[""] == 1000 - len(covered)


def test_a_long_curve_keeps_its_summits():
    points = [(time, 7 if time == 12_345 else 1 + time % 3) for time in range(50_000)]
    got = curve(command("scc", 50_000, 7, samples=points))
    assert len(got) == MOST_POINTS
    assert [12_345, 7] in got
    assert got == sorted(got)
    assert all(size == 3 for _, size in got if size != 7)


def test_bands():
    assert bands(command("scc", 9, 1, stages=[("b", 3, 4), ("a", 1, 2), ("b", 5, 8)])) == [["a", 1, 2], ["b", 3, 8]]
