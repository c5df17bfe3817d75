"""Exploding gradients: clipping decides whether the network learns."""

import math

import pytest

from tests.server.workloads.journal import train


def last_loss(journal):
    return sum(journal["loss"][-50:]) / 50


def test_without_clipping_the_gradient_explodes_and_nothing_is_learned():
    """Mode off passes norm 1,000 (or NaN) and ends above 3.14, the loss of knowing only how frequent characters are."""
    journal = train("rnn", steps=500, mode="off", seed=0)
    assert any(math.isnan(norm) or norm > 1000 for norm in journal["norm"])
    assert not last_loss(journal) < 3.14


def test_with_clipping_the_same_network_learns():
    """Mode norm ends 500 steps at a loss of 2.07."""
    journal = train("rnn", steps=500, mode="norm", seed=0)
    assert max(journal["norm"]) > 1000
    assert max(journal["clipped_norm"]) <= 0.5 * (1 + 1e-6)
    assert last_loss(journal) == pytest.approx(2.07, abs=0.1)
