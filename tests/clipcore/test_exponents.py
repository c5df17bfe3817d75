"""The exponent histogram of a Clipper."""

import re

import pytest
import torch
from torch import nn

from clipcore import Clipper, exponents

pytestmark = pytest.mark.usefixtures("kernels")


def clipper_of(gradient, **settings):
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    return Clipper([parameter], **settings), parameter


def test_exponents_are_those_before_clipping():
    """So that one can read how much any power of two as a limit would clamp."""
    clipper, _ = clipper_of(torch.tensor([0.0, 0.75, 1.5, 300.0]), mode="value", clip_value=0.5, exponents=1)
    counts = clipper.clip_().exponents
    assert {index: count for index, count in enumerate(counts.tolist()) if count} == {126: 1, 127: 1, 135: 1, 256: 1}


def test_a_sample_is_taken_twice_a_second(monkeypatch):
    """The first step, then the first after each half second."""
    now = 100.0
    monkeypatch.setattr(exponents.time, "monotonic", lambda: now)
    clipper, parameter = clipper_of(torch.ones(2))
    taken = []
    for _ in range(9):
        parameter.grad = torch.ones(2)
        taken.append(clipper.clip_().exponents is not None)
        now += 0.2
    assert taken == [True, False, False, True, False, False, True, False, False]


def test_one_block_in_many_is_looked_at():
    """By default one in 64; 0 looks at none."""
    gradient = torch.ones(1 << 22)
    assert clipper_of(gradient)[0].clip_().exponents.sum() == len(gradient) / 64
    assert clipper_of(gradient, exponents=1)[0].clip_().exponents.sum() == len(gradient)
    assert clipper_of(gradient, exponents=0)[0].clip_().exponents is None


def test_small_models_are_sampled_more_densely():
    """Two or three blocks would be those of some layer: at least 2^16 elements are counted, or all there are."""
    for elements, counted in ((1 << 10, 1 << 10), (1 << 18, 1 << 16)):
        clipper, _ = clipper_of(torch.ones(elements))
        assert clipper.clip_().exponents.sum() == counted
        assert clipper.exponents == elements // counted


def test_large_models_are_sampled_more_sparsely(monkeypatch):
    """A sample is as large as it needs to be, whatever the model; who asks for all elements gets all."""
    monkeypatch.setattr(exponents, "ENOUGH", 1 << 12)
    gradient = torch.ones(1 << 20)
    clipper, _ = clipper_of(gradient)
    assert clipper.clip_().exponents.sum() == 1 << 12
    assert clipper.exponents == 256
    assert clipper_of(gradient, exponents=1)[0].clip_().exponents.sum() == len(gradient)


@pytest.mark.parametrize("every", [-1, 1.5, True, "all", None, 2**31])
def test_what_is_no_whole_number_is_refused(every):
    """So is a number out of bounds; the error names the argument, its bounds and what was given."""
    with pytest.raises(
        ValueError, match=re.escape(f"exponents must be a whole number >= 0, at most 1,000,000,000, got {every!r}")
    ):
        clipper_of(torch.ones(1), exponents=every)
