import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.rollup import LEVELS, Stretch, bin_of, completed, cover, grid, size, union

VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32), st.sampled_from([0.0, 1.0]))


def test_bins_grow_eightfold():
    """Bins hold 16, 128, 1024, ... seqs."""
    assert [size(level) for level in range(1, LEVELS + 1)] == [16, 128, 1024, 8192, 65536, 524288]


@given(st.lists(VALUES, min_size=1, max_size=40))
def test_a_bin_names_its_extremes(values):
    """Low and high are the finite minimum and maximum at their first seqs; NaN and the infinities come first there."""
    seqs = list(range(10, 10 + len(values)))
    found = bin_of(seqs, values)
    logged = [(value, seq) for seq, value in zip(seqs, values, strict=True) if value is not None]
    finite = [(value, seq) for value, seq in logged if math.isfinite(value)]
    assert (found.low, found.low_seq) == (min(finite) if finite else (None, None))
    assert found.high == (max(finite)[0] if finite else None)
    assert found.high_seq == (min(seq for value, seq in finite if value == found.high) if finite else None)
    for kind, seq in (("nan", found.nan_seq), ("inf", found.positive_seq), ("-inf", found.negative_seq)):
        assert seq == next((seq for value, seq in logged if str(value) == kind), None)


@given(st.lists(VALUES, min_size=2, max_size=40), st.data())
def test_a_union_is_the_bin_of_all(values, data):
    """Cutting values anywhere and joining the bins gives the bin of the whole."""
    cut = data.draw(st.integers(1, len(values) - 1))
    seqs = list(range(len(values)))
    parts = [bin_of(seqs[:cut], values[:cut]), bin_of(seqs[cut:], values[cut:])]
    assert union(parts) == bin_of(seqs, values)


@given(st.lists(st.integers(0, 3000), max_size=20))
def test_completed_rolls_every_bin_up_once(growth):
    """However a run grows, each bin that is whole at the end was completed exactly once, and no other."""
    last, rolled = 0, []
    for rows in growth:
        for stretch in completed(last, last + rows):
            rolled += [(stretch.level, first) for first in range(stretch.first, stretch.last + 1, size(stretch.level))]
        last += rows
    whole = [
        (level, first) for level in range(1, LEVELS + 1) for first in range(0, last + 2 - size(level), size(level))
    ]
    assert sorted(rolled) == sorted(whole)


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000), st.integers(0, LEVELS))
def test_cover_is_gapless_and_aligned(first, length, level):
    """Stretches follow one another from first to last, and bins begin and end at multiples of their size."""
    last = first + length
    stretches = list(cover(first, last, level))
    assert stretches[0].first == first
    assert stretches[-1].last == last
    assert all(left.last + 1 == right.first for left, right in pairwise(stretches))
    for stretch in stretches:
        if stretch.level:
            assert stretch.first % size(stretch.level) == (stretch.last + 1) % size(stretch.level) == 0
    rows = sum(stretch.last + 1 - stretch.first for stretch in stretches if stretch.level == 0)
    assert level == 0 or rows < 2 * size(1)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 2000))
def test_grid_cuts_into_about_as_many_bins_as_asked(first, length, bins):
    """The width is whole bins of the level, and the range is cut into at most `bins` of it, half if it can."""
    level, width = grid(first, first + length, bins)
    count = math.ceil((length + 1) / width)
    assert width % (size(level) if level else 1) == 0
    assert count <= bins
    assert count >= min(bins, length + 1) // 2


def test_cover_of_a_range_within_one_bin_is_its_rows():
    """A range too short for any bin is read row by row."""
    assert list(cover(3, 9, LEVELS)) == [Stretch(0, 3, 9)]
