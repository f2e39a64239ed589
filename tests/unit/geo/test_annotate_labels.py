import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.geo.annotate.labels import place_labels

GAP, MARGIN = 5.0, 8.0


def overlap(a, b, gap=0.0):
    """Whether boxes (left, top, right, bottom) come nearer than `gap`."""
    return a[0] < b[2] + gap and b[0] - gap < a[2] and a[1] < b[3] + gap and b[1] - gap < a[3]


def box(label):
    return label.left, label.top, label.right, label.bottom


def leader(label):
    return label.x, min(label.y0, label.y1), label.x, max(label.y0, label.y1)


def check(labels, anchors, sizes, width, height):
    for label in labels:
        assert label.left >= MARGIN and label.right <= width - MARGIN and label.top >= MARGIN and label.bottom <= height - MARGIN
        assert (label.right - label.left, label.bottom - label.top) == pytest.approx(tuple(sizes[label.index]))
        assert (label.x, label.y0) == tuple(anchors[label.index])
        assert label.left - 1e-6 <= label.x <= label.right + 1e-6
        assert label.y1 in (label.top, label.bottom) and abs(label.y1 - label.y0) >= 2 * GAP - 1e-6
        assert not overlap(box(label), leader(label), -1e-6)  # the peak is beside its label, not under it
    for i, one in enumerate(labels):
        for other in labels[i + 1 :]:
            assert not overlap(box(one), box(other), GAP - 1e-6)
            assert not overlap(leader(one), box(other)) and not overlap(leader(other), box(one))
            assert not overlap(leader(one), leader(other), GAP - 1e-6)


@st.composite
def crowds(draw):
    count = draw(st.integers(0, 60))
    seed, spread = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1.0, 0.3, 0.05, 0.0]))
    width, height = draw(st.integers(50, 1600)), draw(st.integers(50, 1200))
    random = np.random.default_rng(seed)
    anchors = np.stack([random.uniform(0, width, count), height * (0.4 + spread * random.uniform(-0.4, 0.6, count))], axis=1)
    return anchors, np.stack([random.uniform(20, 200, count), random.uniform(12, 40, count)], axis=1), width, height


@given(crowds())
@settings(max_examples=150)
def test_nothing_overlaps(crowd):
    anchors, sizes, width, height = crowd
    labels = place_labels(anchors, sizes, (width, height), gap=GAP, margin=MARGIN)
    check(labels, anchors, sizes, width, height)


@given(crowds(), st.integers(1, 59))
@settings(max_examples=60)
def test_less_important_peaks_push_out_nobody(crowd, first):
    """The first labels of a crowd are those of its first peaks alone; where they go may change to leave others room."""
    anchors, sizes, width, height = crowd
    alone = place_labels(anchors[:1], sizes[:1], (width, height), gap=GAP, margin=MARGIN)
    among = place_labels(anchors, sizes, (width, height), gap=GAP, margin=MARGIN)
    assert [label.index for label in alone] == [label.index for label in among[: len(alone)]]
    few = place_labels(anchors, sizes, (width, height), gap=GAP, margin=MARGIN, most=first)
    assert few == among[:first]


def test_labels_alone_are_right_above():
    (label,) = place_labels(np.array([[300.0, 200.0]]), np.array([[100.0, 30.0]]), (600, 400), gap=GAP, margin=MARGIN)
    assert box(label) == (250.0, 160.0, 350.0, 190.0)
    assert leader(label) == (300.0, 190.0, 300.0, 200.0)


@pytest.mark.parametrize(("x", "left"), [(10.0, MARGIN), (590.0, 492.0)])
def test_at_the_border_they_move_aside(x, left):
    (label,) = place_labels(np.array([[x, 200.0]]), np.array([[100.0, 30.0]]), (600, 400), gap=GAP, margin=MARGIN)
    assert label.bottom == 190.0
    assert label.left == pytest.approx(left, abs=7.0)


def test_without_room_above_they_are_below():
    (label,) = place_labels(np.array([[300.0, 20.0]]), np.array([[100.0, 30.0]]), (600, 400), gap=GAP, margin=MARGIN)
    assert (label.top, label.y0, label.y1) == (30.0, 20.0, 30.0)


def test_a_row_of_peaks_is_labelled_at_several_heights():
    anchors = np.array([[100.0 + 40 * step, 300.0] for step in range(8)])
    labels = place_labels(anchors, np.full((8, 2), (100.0, 30.0)), (600, 400), gap=GAP, margin=MARGIN)
    assert len(labels) >= 7
    assert sum(label.bottom < 300 for label in labels) >= 6
    assert len({label.top for label in labels}) > 2


def test_a_crowd_gets_few_labels_the_first_among_them():
    anchors = np.array([[300.0 + 0.5 * step, 200.0] for step in range(50)])
    labels = place_labels(anchors, np.full((50, 2), (100.0, 30.0)), (600, 400), gap=GAP, margin=MARGIN)
    assert 1 <= len(labels) <= 8
    assert labels[0].index == 0


def test_what_is_outside_or_too_large_gets_none():
    anchors, sizes = np.array([[-5.0, 100.0], [300.0, 500.0], [300.0, 200.0]]), np.array([[50.0, 20.0], [50.0, 20.0], [700.0, 20.0]])
    assert place_labels(anchors, sizes, (600, 400), gap=GAP, margin=MARGIN) == []
    assert place_labels(np.zeros((0, 2)), np.zeros((0, 2)), (600, 400), gap=GAP, margin=MARGIN) == []
