"""In place, and known to autograd."""

import pytest
import torch

from clipcore.inplace import mark_written, refuse_unwritable


def test_marking_raises_version_counters():
    """So that autograd notices what a native kernel wrote."""
    saved = torch.ones(3, requires_grad=True)
    product = (saved * saved).sum()
    mark_written([saved])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_inference_tensors_have_no_version_to_raise():
    """In inference mode they may be written all the same."""
    with torch.inference_mode():
        mark_written([torch.ones(3)])


def test_ordinary_memory_is_not_refused():
    """Views and strided memory are fine."""
    refuse_unwritable(torch.ones(4, 4)[:, ::2].t(), "'w'")
