"""What an optimizer updates and nobody clips is named."""

import gc

import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.warn import ClipWarning


def step(model, optimizer, *clippers):
    optimizer.zero_grad()
    model(torch.ones(3, 4)).square().mean().backward()
    for clipper in clippers:
        clipper.clip_()
    optimizer.step()


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def test_parameters_that_the_clipper_was_not_given_are_named(model):
    """Once, by number and shape, which is all that the optimizer knows."""
    optimizer = torch.optim.SGD(model.parameters())
    clipper = Clipper(model[0], optimizer=optimizer)
    with pytest.warns(ClipWarning, match=r"the first of 2 is number 2 of its group 0, of shape \(4, 4\): give"):
        step(model, optimizer, clipper)
    step(model, optimizer, clipper)


def test_an_optimizer_with_names_names_them(model):
    """As those that were given named_parameters()."""
    optimizer = torch.optim.SGD(model.named_parameters())
    clipper = Clipper(model[0], optimizer=optimizer)
    with pytest.warns(ClipWarning, match="the first of 2 is '1.weight': give"):
        step(model, optimizer, clipper)


def test_a_group_that_is_added_later_is_noticed(model):
    """When fine-tuning unfreezes a layer."""
    optimizer = torch.optim.SGD(model[0].parameters())
    clipper = Clipper(model[0], optimizer=optimizer)
    step(model, optimizer, clipper)
    optimizer.add_param_group({"params": model[1].parameters()})
    with pytest.warns(ClipWarning, match="the first of 2 is number 0 of its group 1"):
        step(model, optimizer, clipper)


def test_several_clippers_of_one_optimizer_know_them_together(model):
    """And one that is gone knows nothing."""
    optimizer = torch.optim.SGD(model.parameters())
    clippers = [Clipper(layer, optimizer=optimizer) for layer in model]
    step(model, optimizer, *clippers)
    del clippers[1]
    gc.collect()
    with pytest.warns(ClipWarning, match="no Clipper of it knows"):
        step(model, optimizer, *clippers)


def test_what_is_frozen_needs_no_clipper(model, recwarn):
    """A parameter without requires_grad has no gradient, so an optimizer may hold it without a warning."""
    model[1].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters())
    step(model, optimizer, Clipper(model[0], optimizer=optimizer))
    assert not recwarn.list
