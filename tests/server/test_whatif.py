import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.whatif import (
    EPS,
    Curve,
    clamping_curve,
    finite_in_order,
    histogram,
    knee,
    quantile,
    scaling_curve,
    suggestions,
)

norms = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e9)), min_size=1, max_size=600).map(sorted)


def coefficient(norm, threshold):
    """What the engine multiplies a gradient of this norm by."""
    return min(1.0, threshold / (norm + EPS)) if norm > 0 else 1.0


def test_only_finite_logged_norms_count():
    """NaN, infinities and steps without a norm enter no statistic."""
    assert finite_in_order([3.0, math.nan, 1.0, math.inf, -math.inf, None, 2.0]) == [1.0, 2.0, 3.0]


@given(norms.filter(lambda ordered: ordered[-1] > 0))
def test_the_curve_is_what_clipping_would_have_done(ordered):
    """At every threshold, share and mean coefficient are those of clipping each step anew."""
    found = scaling_curve(ordered)
    for threshold, clipped, coef in zip(found.threshold, found.clipped, found.coef, strict=True):
        again = [coefficient(norm, threshold) for norm in ordered]
        assert clipped == sum(c < 1 for c in again) / len(ordered)
        assert coef == pytest.approx(sum(again) / len(ordered), rel=1e-9)


@given(norms.filter(lambda ordered: ordered[-1] > 0))
def test_the_curve_runs_from_the_smallest_norm_to_the_largest(ordered):
    """Thresholds rise, no step is clipped at the last one, and fewer steps and less of each at every next one."""
    found = scaling_curve(ordered)
    assert found.threshold == sorted(set(found.threshold))
    assert found.clipped == sorted(found.clipped, reverse=True)
    assert (found.clipped[-1], found.coef[-1]) == (0, 1)
    assert found.coef == pytest.approx(sorted(found.coef), rel=1e-12)


@given(norms.filter(lambda ordered: ordered[-1] > 0))
def test_a_clamp_touches_the_steps_with_a_larger_element(ordered):
    """The share is that of steps whose largest element lies beyond the threshold; no coefficient is claimed."""
    found = clamping_curve(ordered)
    assert found.coef is None
    for threshold, clipped in zip(found.threshold, found.clipped, strict=True):
        assert clipped == sum(largest > threshold for largest in ordered) / len(ordered)


def test_a_long_window_has_few_points_that_miss_little():
    """Between two points of the curve lie at most as many steps as the ranks between them."""
    ordered = [1 + i / 10_000 for i in range(10_000)]
    found = scaling_curve(ordered)
    assert len(found.threshold) == 1000
    assert max(a - b for a, b in pairwise(found.clipped)) <= 1 / 999 + 1e-4


def test_without_a_positive_norm_there_is_nothing_to_say():
    """No steps, or only zeros: an empty curve, no histogram, no suggestion, no knee."""
    for ordered in ([], [0.0, 0.0]):
        assert scaling_curve(ordered) == Curve([], [], [])
        assert clamping_curve(ordered) == Curve([], [], None)
        assert histogram(ordered) is None
        assert suggestions(ordered) == []
        assert knee(ordered) is None


@given(norms.filter(lambda ordered: ordered[-1] > 0))
def test_the_histogram_counts_every_norm_between_its_edges(ordered):
    """Zeros and what lies outside apart, each norm is in one bin, and there are at most sixty or so."""
    found = histogram(ordered)
    assert found.zeros + found.below + sum(found.counts) + found.beyond == len(ordered)
    assert len(found.edges) == len(found.counts) + 1 <= 62
    assert found.edges[0] <= ordered[found.zeros + found.below] * (1 + 1e-12)
    assert found.edges[-1] >= ordered[-1 - found.beyond] * (1 - 1e-12)
    for low, high, count in zip(found.edges[1:], found.edges[2:-1], found.counts[1:-1], strict=False):
        assert count == sum(low <= norm < high for norm in ordered)


@given(st.lists(st.floats(0.0, allow_infinity=False, allow_nan=False), min_size=1, max_size=50).map(sorted))
def test_norms_at_the_ends_of_what_a_float_holds_are_told_of(ordered):
    """Tiny or huge, whatever a run that has gone wrong may log: nothing overflows, and every norm is counted."""
    found = histogram(ordered)
    assert found is None or found.zeros + found.below + sum(found.counts) + found.beyond == len(ordered)
    assert all(math.isfinite(suggestion.threshold) for suggestion in suggestions(ordered))
    assert all(math.isfinite(coef) for coef in scaling_curve(ordered).coef or [])


def test_a_few_huge_norms_leave_the_others_their_room():
    """Up to three times what all but 5 % of the norms reach, all have a bin; what is farther out is only counted."""
    ordinary = [0.3 + i / 1000 for i in range(950)]
    found = histogram([*ordinary, *[3.0] * 25, *[1e6] * 25])
    assert (sum(found.counts), found.below, found.beyond) == (975, 0, 25)
    assert 3.0 < found.edges[-1] < 5.0
    assert histogram([*ordinary, 3.0]).beyond == 0


def test_a_norm_below_zero_is_as_good_as_none():
    """A hand-written trainer may send one; it is never clipped."""
    assert scaling_curve([-EPS, 1.0]) == scaling_curve([0.0, 1.0])


def test_quantiles_interpolate_linearly():
    """As numpy's default does."""
    assert quantile([0.0, 1.0, 2.0, 3.0], 0.5) == 1.5
    assert quantile([1.0, 2.0], 0.9) == pytest.approx(1.9)
    assert quantile([5.0], 0.99) == 5.0


def test_the_knee_is_where_the_tail_begins():
    """Norms near 1 with a few spikes up to 1,000: the knee parts them; even norms have none."""
    ordinary, spikes = [0.9 + i / 5000 for i in range(970)], [10.0 ** (1 + i / 15) for i in range(30)]
    assert 1.0 < knee(sorted(ordinary + spikes)) < 10.0
    assert knee([2.0] * 100) is None
    assert knee([10 ** (i / 100) for i in range(100)]) is None


def test_suggestions_clip_the_share_they_name():
    """From the hardest to the gentlest, each with its share and a sentence."""
    ordered = sorted([1 + i / 1000 for i in range(990)] + [100.0 + i for i in range(10)])
    found = {one.name: one for one in suggestions(ordered)}
    assert [found[name].clipped for name in ("p50", "p90", "p99")] == [0.5, 0.1, 0.01]
    assert found["knee"].clipped == 0.01
    thresholds = [one.threshold for one in suggestions(ordered)]
    assert thresholds == sorted(thresholds)
    assert all(one.sentence for one in found.values())


@pytest.mark.parametrize(
    ("norms", "said"),
    [
        (
            [1 + i / 1000 for i in range(1000)],
            {
                "p50": "50 % of the steps are clipped, not only the spikes",
                "p90": "10 % of the steps are clipped, ordinary ones are not",
                "p99": "1 % of the steps are clipped: a safety net",
            },
        ),
        ([2.0] * 500, dict.fromkeys(("p50", "p90", "p99"), "0 % of the steps are clipped")),
        (
            [1.0, 2.0],
            {"p50": "50 % of the steps are clipped, not only the spikes"}
            | dict.fromkeys(("p90", "p99"), "50 % of the steps are clipped"),
        ),
        (
            [1.9e-44] * 100 + [3.9e-44] * 100 + [5.8e-44] * 100,
            dict.fromkeys(("p90", "p99"), "0 % of the steps are clipped")
            | {"p50": "33.3 % of the steps are clipped, not only the spikes"},
        ),
    ],
    ids=["spread", "alike", "two", "three values"],
)
def test_a_suggestion_says_what_it_does(norms, said):
    """The share is the one it clips; what a threshold is called after is only told where it does that."""
    assert {one.name: one.sentence for one in suggestions(sorted(norms)) if one.name != "knee"} == said
    assert all(one.clipped <= 0.2 for one in suggestions(sorted(norms)) if one.name == "knee")
