"""The transformer looks only back, starts out knowing nothing, and learns."""

import math
from itertools import pairwise

import pytest
import torch

from server.workloads.charlm import CharTransformer
from tests.server.workloads.journal import train


@pytest.fixture(scope="module")
def journal():
    return train("charlm", steps=200)


def test_no_character_sees_those_after_it():
    """Changing a character changes the logits from there on, and none before."""
    torch.manual_seed(0)
    model = CharTransformer(context=8)
    seen = torch.randint(96, (1, 8))
    changed = seen.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 96
    before, after = model(seen), model(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all(dim=2).any()


def test_the_first_loss_is_that_of_guessing(journal):
    """About ln 96, for every character seems equally likely."""
    assert journal["loss"][0] == pytest.approx(math.log(96), abs=0.15)


def test_the_loss_falls(journal):
    """From 4.6 to below 2.75 within 200 steps, half of them still in the warm-up; 2.14 after 1,000."""
    assert sum(journal["loss"][-20:]) / 20 < 2.75


def test_clipping_is_felt(journal):
    """With the defaults every one of the first steps is clipped to the bound, and many of the first 200."""
    assert max(journal["coef"][:20]) < 1
    assert 0.2 < sum(coef < 1 for coef in journal["coef"]) / 200 < 0.9
    assert max(journal["clipped_norm"]) <= 1 + 1e-6


def test_the_learning_rate_warms_up(journal):
    """It rises with every step of the warm-up."""
    assert all(one < next_ for one, next_ in pairwise(journal["lr"]))
