"""What hooks into an optimizer is not kept alive by it."""

import gc
import weakref

import torch
from torch import nn

from clipcore import Clipper


def test_a_forgotten_clipper_watches_no_step(recwarn):
    """An optimizer's hooks do not keep a Clipper alive: in a notebook the next one takes over."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    clipper = Clipper([parameter], optimizer=optimizer, nonfinite="skip")
    forgotten = weakref.ref(clipper)
    del clipper
    gc.collect()
    assert forgotten() is None
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert len(recwarn) == 0


def test_the_next_clipper_removes_the_hooks_of_those_that_are_gone():
    """They do not pile up on the optimizer of a search for hyperparameters."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    counts = []
    for _ in range(5):
        clipper = Clipper([parameter], optimizer=optimizer, nonfinite="skip")
        gc.collect()
        counts.append((len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)))
        del clipper
    assert len(set(counts)) == 1
