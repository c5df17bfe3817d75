from hypothesis import given
from hypothesis import strategies as st

from server.pictures import most_pictures, spaced

steps_of_a_run = st.lists(st.integers(0, 10_000), min_size=1, max_size=300, unique=True).map(sorted)


def test_what_is_kept_is_bounded_in_numbers():
    """Some hundred steps of an ordinary model, some dozen of one with thousands of layers."""
    assert [most_pictures(layers) for layers in (0, 50, 1_000, 4_000, 10_000)] == [400, 400, 400, 100, 40]


@given(steps_of_a_run, st.integers(1, 50))
def test_at_most_so_many_steps_stay_and_the_newest_is_among_them(steps, count):
    """They are some of the given ones, rising; all of them when they are few enough."""
    kept = spaced(steps, count)
    assert len(kept) <= count
    assert kept == sorted(set(kept) & set(steps))
    assert kept[-1] == steps[-1]
    assert len(steps) > count or kept == steps


@given(steps_of_a_run, st.integers(1, 50))
def test_no_stretch_of_a_run_goes_empty(steps, count):
    """Every step that goes has one near it that stays: at most a part of the run's length away."""
    kept = spaced(steps, count)
    width = (steps[-1] - steps[0] + 1) / count
    assert all(min(abs(step - other) for other in kept) <= width for step in steps)


def test_no_steps_are_no_steps():
    """A run without pictures has none to choose from."""
    assert spaced([], 10) == []
