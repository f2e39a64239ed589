"""Fitted laws whose values were worked out by hand."""

import math

import pytest

from tests.unit.experiment.reporting.records import command, study, written
from toolkit.core.errors import UsageError
from toolkit.core.mapreduce.running import Runner
from toolkit.experiment.reporting.collected import Step
from toolkit.experiment.reporting.laws import seed_value
from toolkit.experiment.reporting.report import Request, make_report

SCC = Step("scc", "", ())


def report_of(tmp_path, commands, **settings):
    path = tmp_path / "run.jsonl"
    path.write_bytes(written(commands))
    return make_report(Request((str(path),), Runner(), **settings))


def law_of(report, quantity="time", program="scc"):
    return next((law for law in report.laws if law.quantity == quantity and law.step == Step(program, "", ())), None)


def timed(seconds, resolution, **more):
    tags = {"input": "512", "output": str(resolution)}
    return command("scc", round(seconds * 1e9), 10**6, **{"tags": tags, **more})


def by_hand(host="anvil", factor=1.0):
    """log2(r) = 1, 2, 3, 4 and log10(s) = 1, 3, 2, 5."""
    return [timed(factor * 10**y, 2**x, host=host) for x, y in zip((1, 2, 3, 4), (1, 3, 2, 5), strict=True)]


def test_by_hand(tmp_path):
    # a = 5.5 / 5 = 1.1, b = 2.75 - 1.1 * 2.5 = 0; residuals -0.1, 0.8, -1.3, 0.6, their squares 2.7, on 2 degrees of freedom;
    # Student's t of 97.5 % on 2 degrees is 4.302653; squares about the mean of y are 8.75
    law = law_of(report_of(tmp_path, by_hand()))
    spread = math.sqrt(1.35)
    assert (law.scale, law.points, law.freedom, law.least, law.most) == ("output", 4, 2, 2, 16)
    assert law.a == pytest.approx(1.1)
    assert law.spread == pytest.approx(spread)
    assert law.error == pytest.approx(spread / math.sqrt(5))
    assert (law.low, law.high) == pytest.approx((1.1 - 4.302653 * law.error, 1.1 + 4.302653 * law.error))
    assert law.r_squared == pytest.approx(1 - 2.7 / 8.75)
    (offset,) = law.offsets
    assert offset.b == pytest.approx(0, abs=1e-12)
    assert offset.error == pytest.approx(spread * math.sqrt(1 / 4 + 2.5**2 / 5))
    assert law.at(32, "anvil") == pytest.approx(10**5.5)
    reach = 4.302653 * spread * math.sqrt(1 + 1 / 4 + 2.5**2 / 5)
    assert law.interval(32, "anvil") == pytest.approx((10 ** (5.5 - reach), 10 ** (5.5 + reach)), rel=1e-5)
    assert "few points (4)" in law.note


def test_a_slower_machine_has_the_same_a_and_another_b(tmp_path):
    law = law_of(report_of(tmp_path, [*by_hand(), *by_hand("bellows", 100.0)]))
    assert law.a == pytest.approx(1.1)
    assert [one.b for one in law.offsets] == pytest.approx([0, 2], abs=1e-9)
    assert law.freedom == 8 - 2 - 1
    assert law.spread == pytest.approx(math.sqrt(5.4 / 5))
    assert law.at(32, "bellows") == pytest.approx(10**7.5)


def test_the_median_of_a_pair_is_its_point(tmp_path):
    runs = [timed(seconds, r) for r, some in ((64, (1, 2, 900)), (128, (8, 7, 0.1)), (256, (28, 28, 28))) for seconds in some]
    law = law_of(report_of(tmp_path, runs))
    assert law.points == 3
    assert law.a == pytest.approx(math.log10(28 / 2) / 2)


def test_two_points_have_no_uncertainty(tmp_path):
    report = report_of(tmp_path, [timed(1, 64), timed(10, 128)])
    law = law_of(report)
    assert law.a == pytest.approx(1)
    assert (law.error, law.low, law.spread, law.offsets[0].error, law.interval(256, "anvil")) == (None,) * 5
    assert law.note.startswith("2 points determine the line")
    assert law.r_squared is None
    report = report_of(tmp_path, [timed(1, 64), timed(10, 128)], forecast=(1024.0, 2048.0))
    near, far = (row for row in report.tables["forecast"] if row["quantity"] == "time")
    assert (near["resolution"], near["low"], near["high"], near["beyond"]) == (1024, None, None, 8)
    assert near["value"] == pytest.approx(10**4)
    assert (far["value"], far["beyond"], far["note"]) == (None, 16, "too far: measured up to 128 only")


def test_points_that_bend_are_noted(tmp_path):
    def runs(start):
        return [timed(start + (r / 64) ** 3 * (1 + 0.01 * (r % 7)), r) for r in (32, 64, 128, 256, 512)]

    straight, bent = (law_of(report_of(tmp_path, runs(start))) for start in (0.0, 5.0))
    assert straight.note == "few points (5): the intervals are wide"
    assert bent.note.endswith("the points bend upwards: forecasts are too low")
    several = [run for host in ("anvil", "bellows") for run in (timed(5 + (r / 64) ** 3, r, host=host) for r in (32, 64, 128, 256, 512))]
    assert "upwards" in law_of(report_of(tmp_path, several)).note


def test_one_resolution_has_no_law(tmp_path):
    report = report_of(tmp_path, [timed(1, 64), timed(10, 64)])
    assert report.laws == []
    assert report.tables["forecast"] == []
    assert len(report.tables["statistics"]) > 0


def test_runs_without_resolutions_are_in_the_tables(tmp_path):
    report = report_of(tmp_path, [command("scc", 10**9, 10**6), timed(1, "large")])
    assert report.laws == []
    assert [(row["input"], row["output"], row["n"]) for row in report.tables["statistics"] if row["quantity"] == "time"] == [
        (512, None, 1),
        (None, None, 1),
    ]


def test_each_step_is_fitted_against_the_resolution_that_it_depends_on(tmp_path):
    report = report_of(tmp_path, study(repetitions=1))
    assert {law.step.program: law.scale for law in report.laws if law.quantity == "time"} == {
        "cylmap": "input", "projmap": "input", "scc": "output", "rank-candidates": "output"
    }  # fmt: skip
    forced = report_of(tmp_path, study(repetitions=1), resolution="output")
    assert {law.scale for law in forced.laws} == {"output"}


def test_what_the_seed_has_a_law_of_is_fitted_against_the_same_resolution(tmp_path):
    def runs(name):
        pairs = ((64, 32), (128, 32), (128, 64), (256, 64))
        return [command(name, first * 10**7, 10**8, tags={"input": str(first), "output": str(second)}) for first, second in pairs]

    report = report_of(tmp_path, [*runs("scc"), *runs("cylmap")])
    assert {law.step.program: law.scale for law in report.laws if law.quantity == "time"} == {"scc": "output", "cylmap": "input"}
    seeds = {row["output"]: row["seed"] for row in report.tables["statistics"] if row["quantity"] == "time" and row["command"] == "scc"}
    assert seeds == {32: pytest.approx(10 ** (1.078 * 5 - 6.875)), 64: pytest.approx(10 ** (1.078 * 6 - 6.875))}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"by": ("photo",)}, "--by photo: no run has this tag; there are: input, output, width"),
        ({"resolution": "width"}, "--resolution width: no run has a number under this"),
    ],
)
def test_tags_that_no_run_has(tmp_path, wanted, message):
    with pytest.raises(UsageError, match=message):
        report_of(tmp_path, [timed(1, 64), timed(1, 128, tags={"width": "wide"})], **wanted)


def test_another_tag_as_resolution(tmp_path):
    runs = [command("blur", int(1e9 * r**2), 10**6, tags={"width": str(r)}) for r in (10, 100, 1000)]
    law = law_of(report_of(tmp_path, runs, resolution="width"), program="blur")
    assert law.scale == "width"
    assert law.a == pytest.approx(2 * math.log10(2))
    assert law.spread == pytest.approx(0, abs=1e-9)


def test_steps_are_told_apart_by_tags(tmp_path):
    runs = [timed(r / 64 * times, r, tags={"output": str(r), "photo": name}) for r in (64, 128) for name, times in (("a", 1), ("b", 9))]
    report = report_of(tmp_path, runs, by=("photo",))
    times = [law for law in report.laws if law.quantity == "time"]
    assert [law.step.title for law in times] == ["scc (a)", "scc (b)"]
    assert times[1].at(64, "anvil") == pytest.approx(9)


def test_the_laws_are_found_again(tmp_path):
    law = law_of(report_of(tmp_path, study(repetitions=1, noise=0.01, hosts=(("anvil", 1.0), ("bellows", 2.0)))))
    assert law.low < 0.95 < law.high
    assert law.a == pytest.approx(0.95, abs=0.01)
    assert law.at(128, "bellows") / law.at(128, "anvil") == pytest.approx(2.0, rel=0.02)
    low, high = law.interval(2048, "anvil")
    assert low < 10 ** (0.95 * 11 - 6.2) < high


def test_memory_that_a_machine_does_not_have(tmp_path):
    runs = [command("scc", 10**9, r * 10**8, tags={"output": str(r)}) for r in (16, 32, 64)]
    report = report_of(tmp_path, runs, forecast=(128.0, 512.0))
    fits = {row["resolution"]: row["fits"] for row in report.tables["forecast"] if row["quantity"] == "memory"}
    assert fits == {128: True, 512: False}  # 12.8 and 51.2 GB of 32


def test_the_seeds_laws_give_what_the_seed_says():
    assert seed_value(SCC, "memory", 512) == pytest.approx(16_400, rel=0.001)
    assert seed_value(SCC, "time", 512) == pytest.approx(674, rel=0.005)
    assert seed_value(SCC, "time", 2048) / 3600 == pytest.approx(27, rel=0.02)
    assert seed_value(SCC, "memory", 2048) == pytest.approx(1e6, rel=0.05)
    assert seed_value(Step("scc", "sweep", ()), "time", 512) is None
    assert seed_value(Step("cylmap", "", ()), "time", 512) is None
