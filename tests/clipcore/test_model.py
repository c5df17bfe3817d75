"""Whose gradients are clipped, and by what names they are known."""

import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.model import Model, _matching


def test_patterns_fit_together():
    """A name fits itself and shell-style patterns; what none fits is not there."""
    model = Model.of([(name, nn.Parameter(torch.zeros(1))) for name in ("a.bias", "a.weight", "b[0]", "c")])
    assert model.matching(["*.bias", "b[0]"]) == {"a.bias", "b[0]"}
    assert model.matching(()) == set()


@pytest.mark.parametrize("count", [1, 100])
def test_patterns_are_compared_once(count):
    """However many there are, a step looks up what the step before did."""
    pairs = [(f"layer{number}", nn.Parameter(torch.ones(2))) for number in range(count + 1)]
    clipper = Clipper(pairs, "agc", exclude=[name for name, _ in pairs[:count]])
    misses = []
    for _ in range(3):
        for _, parameter in pairs:
            parameter.grad = torch.ones(2)
        clipper.clip_()
        misses.append(_matching.cache_info().misses)
    assert misses[1] == misses[2]
