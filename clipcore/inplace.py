"""Is it really in place, and what does autograd know of it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from clipcore.memory import is_expanded


def mark_written(tensors: Iterable[Tensor]) -> None:
    """Tell autograd that these were changed: raises their version counters.

    Native kernels write behind autograd's back; with `create_graph=True` a gradient may be saved for a second backward,
    which then notices the change, as it does for torch's own in-place operations.

    >>> x = torch.zeros(3)
    >>> mark_written([x]); x._version
    1
    """
    if not torch.is_inference_mode_enabled():  # inference tensors have no counter
        torch.autograd.graph.increment_version(tensors)


def refuse_unwritable(gradient: Tensor, name: str) -> None:
    """Raise when a gradient cannot be changed in place, saying what to do.

    Raises:
        ValueError: several of its elements are one place in memory, or it was made in inference mode.
    """
    if is_expanded(gradient):
        raise ValueError(
            f"the gradient of {name} is expanded (shape {tuple(gradient.shape)}, strides {gradient.stride()}): "
            "several of its elements are one place in memory; assign `p.grad = p.grad.clone()` before clipping"
        )
    if gradient.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError(
            f"the gradient of {name} was made in inference mode and cannot be changed outside it; "
            "make it under torch.no_grad() instead, or assign `p.grad = p.grad.clone()` before clipping"
        )
