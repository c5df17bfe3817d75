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
    """In inference mode they are passed over without an error, and stay as they are."""
    with torch.inference_mode():
        tensor = torch.ones(3)
        assert mark_written([tensor]) is None
        assert tensor.is_inference()
        assert torch.equal(tensor, torch.ones(3))


def test_ordinary_memory_is_not_refused():
    """Transposed views with gaps can be written in place, so nothing is raised."""
    assert refuse_unwritable(torch.ones(4, 4)[:, ::2].t(), "'w'") is None
