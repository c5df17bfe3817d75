"""A client may do something a few times at once, then at a steady rate; who is forgotten starts anew."""

import pytest

from server import throttle
from server.throttle import Throttle


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def done_within(limited, clock, seconds, client="a"):
    """How often a client that tries ten times a second gets through."""
    times = 0
    for _ in range(10 * seconds):
        if not limited.wait_s(client):
            limited.count(client)
            times += 1
        clock.now += 0.1
    return times


def test_a_burst_goes_through_then_the_rate_holds(clock):
    """Of an endless try, the burst and then the rate; another client is none the worse for it."""
    limited = Throttle(per_s=0.5, burst=5, clock=clock)
    assert done_within(limited, clock, 1) == 5
    assert done_within(limited, clock, 60) == 30
    assert limited.wait_s("a") > 0
    assert limited.wait_s("b") == 0


def test_the_wait_is_exact(clock):
    """Just before it is over the client still waits; then it may, and having rested it has its burst again."""
    limited = Throttle(per_s=0.1, burst=2, clock=clock)
    limited.count("a")
    limited.count("a")
    assert limited.wait_s("a") == pytest.approx(10)
    clock.now += 9.5
    assert limited.wait_s("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert limited.wait_s("a") == pytest.approx(0)
    clock.now += 1000
    assert done_within(limited, clock, 1) == 2


def test_memory_is_bounded(clock, monkeypatch):
    """However many clients come, only so many are remembered: those that came last."""
    monkeypatch.setattr(throttle, "MOST_CLIENTS", 10)
    limited = Throttle(per_s=0.1, burst=1, clock=clock)
    for n in range(1000):
        limited.count(str(n))
    assert [n for n in range(1000) if limited.wait_s(str(n))] == list(range(990, 1000))
