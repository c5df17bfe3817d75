"""Replays of adaptive rules over recorded norms."""

import math
import random

import pytest
import torch

from clipcore import Clipper, replay
from clipcore.replays import REPLAYABLE

NORMS = [random.Random(7).lognormvariate(0, 1) for _ in range(200)]
NORMS[50:53] = [math.inf, math.nan, 400.0]


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("autoclip", {}),
        ("autoclip", {"percentile": 60, "window": 20}),
        ("autoclip", {"window": 0, "max_norm": 1.5}),
        ("autoclip", {"window": 100_000, "percentile": 75}),
        ("zclip", {}),
        ("zclip", {"warmup": 5, "z": 1.0, "max_norm": math.inf}),
    ],
)
def test_a_replay_tells_what_a_clipper_did(mode, values):
    """To the last bit, non-finite steps among them: it is the same rule."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    clipper = Clipper([weight], mode=mode, **values)
    lived = []
    for norm in NORMS:
        weight.grad = torch.tensor([norm], dtype=torch.float64)
        lived.append(clipper.clip_())
    told = replay(NORMS, mode, **values)
    assert repr(told.threshold) == repr([stats.threshold.item() for stats in lived])
    clipped = [(coef, stats.coef.item()) for coef, stats in zip(told.coef, lived, strict=True)]
    assert all(coef == pytest.approx(was, abs=1e-15, nan_ok=True) for coef, was in clipped if was == was)


def test_what_can_be_replayed_follows_from_the_rules():
    """It is the modes whose bound moves with the global norm."""
    assert REPLAYABLE == ("autoclip", "zclip")


def test_no_steps_give_an_empty_replay():
    """There is nothing to tell."""
    assert replay([], "zclip").coef == []


@pytest.mark.parametrize(
    ("mode", "values", "sentence"),
    [
        ("adagc", {}, "mode must be one of autoclip, zclip to be replayed from norms alone, got 'adagc'"),
        ("zclip", {"percentile": 5}, "mode 'zclip' has no parameter 'percentile'"),
        ("autoclip", {"percentile": 101}, "percentile must be >= 0 and <= 100, got 101"),
    ],
)
def test_what_cannot_be_replayed_is_refused(mode, values, sentence):
    """A mode that needs more than norms, and wrong parameters, raise a ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=sentence):
        replay(NORMS, mode, **values)
