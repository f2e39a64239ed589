"""What each measure does to the confidence, where verdicts change, and what is said of them."""

from dataclasses import astuple, fields, replace

import pytest

from toolkit.geo.confidence import ACCEPT_FROM, LEAST_SKYLINE, MOST_ERROR, REJECT_BELOW, Measures, confidence, verdict

# A clear picture of a ridge that leaves no doubt, and lines that fit chance.
GOOD = Measures(fine_score=0.7, margin=0.4, skyline=0.95, shown=0.9, length=0.8, crossings=0.1, residual=0.05, error=0.05)
BAD = Measures(fine_score=0.05, margin=0.0, skyline=0.3, shown=0.3, length=0.2, crossings=3.0, residual=0.6, error=1.5)
BETTER = {"fine_score": 1, "margin": 1, "skyline": 1, "shown": 1, "length": 1, "crossings": -1, "residual": -1, "error": -1}
# Greater where the verdict is the better one.
ORDER = {"rejected": 0, "doubtful": 1, "accepted": 2}


def between(share: float) -> Measures:
    """On the line from BAD to GOOD."""
    return Measures(*(low + share * (high - low) for low, high in zip(astuple(BAD), astuple(GOOD), strict=True)))


def with_confidence(wanted: float, **held: float) -> Measures:
    """The place on that line, or beyond, where the confidence is so while some measures are held, by bisection."""
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if confidence(replace(between(middle), **held)) < wanted else (low, middle)
    found = replace(between(high), **held)
    assert abs(confidence(found) - wanted) < 1e-6
    return found


@pytest.mark.parametrize("name", [entry.name for entry in fields(Measures)])
def test_more_evidence_never_lowers_the_confidence_or_the_verdict(name: str) -> None:
    for share in (0.0, 0.3, 0.5, 0.7, 1.0):
        here = between(share)
        better = replace(here, **{name: getattr(here, name) + 0.02 * BETTER[name]})
        assert confidence(better) >= confidence(here)
        assert ORDER[verdict(better)[0]] >= ORDER[verdict(here)[0]]


def test_the_lead_over_rivals_and_exact_angles_count() -> None:
    middle = with_confidence(0.7)
    assert confidence(replace(middle, margin=middle.margin + 0.05)) > 0.9
    assert confidence(replace(middle, error=middle.error + 1.0)) < 0.68


def test_probabilities_of_extremes_are_near_none_and_all() -> None:
    assert confidence(BAD) < 0.05
    assert confidence(GOOD) > ACCEPT_FROM
    assert 0.0 <= confidence(replace(BAD, error=1e6)) < 1e-9  # no overflow
    assert 1.0 - 1e-9 < confidence(replace(GOOD, margin=1e6)) <= 1.0


def test_verdicts_change_where_the_probability_says_so() -> None:
    def found(probability: float) -> str:
        return verdict(with_confidence(probability, error=0.3, length=0.5))[0]

    assert (found(REJECT_BELOW - 1e-4), found(REJECT_BELOW + 1e-4)) == ("rejected", "doubtful")
    assert (found(ACCEPT_FROM - 1e-4), found(ACCEPT_FROM + 1e-4)) == ("doubtful", "accepted")


def test_little_skyline_and_uncertain_angles_are_never_accepted() -> None:
    sure = replace(GOOD, margin=2.0)  # whatever else speaks for it
    assert verdict(sure)[0] == "accepted"
    assert verdict(replace(sure, length=LEAST_SKYLINE - 1e-6)) == ("doubtful", "only 6.0 degrees of skyline fit")
    assert verdict(replace(sure, error=MOST_ERROR + 0.1)) == ("doubtful", "its angles are uncertain by 0.6 degrees")
    assert verdict(replace(sure, length=0.2 * LEAST_SKYLINE)) == ("rejected", "no skyline of the photograph follows the terrain's")


def test_reasons_name_what_is_wrong() -> None:
    assert verdict(BAD) == ("rejected", "other poses fit as well")
    assert verdict(replace(BAD, margin=0.04)) == ("rejected", "only 30 % of the photograph's skyline follows the terrain's")
    assert verdict(replace(BAD, margin=0.04, skyline=0.6)) == ("rejected", "the photograph's lines fit the terrain badly (fine score 0.05)")
    assert verdict(replace(GOOD, margin=0.09)) == ("doubtful", "another pose fits almost as well")
    assert verdict(replace(GOOD, margin=0.12)) == ("doubtful", "its lines follow the terrain's only in part")
