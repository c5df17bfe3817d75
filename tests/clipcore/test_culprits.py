"""What the change log is told of NaN and infinity."""

import pytest

from clipcore import culprits
from clipcore.culprits import MOST, Culprits
from clipcore.recorder import Record


def record(step, *layers):
    return Record(step, float(step), "norm", {}, None, None, layers)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(culprits.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def told():
    return []


@pytest.fixture
def found(told):
    return Culprits(lambda record, text, data: told.append((record.step, text, data)))


@pytest.mark.parametrize(
    ("layers", "words"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and 1 more"), ("a" * 1234, "a, a and 1,232 more")],
)
def test_the_first_layers_are_named(found, told, layers, words):
    """Two at most, and how many there are."""
    found.look([record(1), record(2, *layers), record(3)])
    data = {"nonfinite_in": list(layers[:2]), "layers": len(layers)}
    assert told == [(2, f"NaN or infinity in the gradient of {words}", data)]


@pytest.mark.usefixtures("clock")
def test_what_goes_on_is_told_once(found, told):
    """NaN in the weights makes every later step non-finite, which is no news."""
    for step in range(1, 2000):
        found.look([record(step, "a")])
    assert [step for step, *_ in told] == [1]


def test_it_is_told_once_a_second(found, told, clock):
    """However often the gradients go bad and recover."""
    for step in range(1, 1001):
        clock[0] += 0.01
        found.look([record(step, "a") if step % 2 else record(step)])
    assert [step for step, *_ in told] == [*range(1, 1001, 100)]


def test_it_is_not_told_without_end(found, told, clock):
    """The last line says that it is."""
    for step in range(1, 10 * MOST):
        clock[0] += 10.0
        found.look([record(step, "a") if step % 2 else record(step)])
    assert len(told) == MOST
    assert told[-1][1] == f"NaN or infinity in the gradient of a (the last of {MOST} such lines)"
