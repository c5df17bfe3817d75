"""From what a step did to the numbers of its record: all on the device, none of them read."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clipcore.gradients import combine, index_on
from clipcore.step import Outcome


def numbers_of(outcome: Outcome, elements: int) -> Tensor:
    """`ClipStats.numbers` of what was done to so many elements.

    In as few operations as it takes, because each costs as much as clipping a small tensor.
    """
    before, total, zero = outcome.before, outcome.total, outcome.zero
    written = combine(outcome.written, outcome.norm_type)
    clamped = zero if outcome.clamped is None else outcome.clamped.sum(dtype=torch.float64)
    columns = (
        outcome.threshold,
        total,
        written,
        ratio(written, total),
        clamped,
        zero if outcome.clamped is None else clamped / max(1, elements),
        zero if outcome.changed is None else outcome.changed.sum(dtype=torch.float64),
        before.nonfinite.sum(dtype=torch.float64),
        before.max_abs.max(),
        outcome.skipped,
    )
    return torch.stack(columns)


def numbers_of_nothing() -> Tensor:
    """The same for a step without any gradient."""
    return torch.tensor([math.nan, 0, 0, 1, 0, 0, 0, 0, 0, 0], dtype=torch.float64, device="cpu")


def layers_of(outcome: Outcome | None, owners: Sequence[int], count: int) -> Tensor:
    """`ClipStats.layers` of what was done to the gradients of `owners` among so many parameters."""
    if outcome is None:
        return torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64, device="cpu").expand(3, count)
    norm = outcome.before.norm
    clamped = torch.zeros_like(norm) if outcome.clamped is None else outcome.clamped.double()
    layers = torch.stack([norm, ratio(outcome.written, norm), clamped])
    if len(owners) == count:
        return layers
    spread = norm.new_zeros(3, count)
    spread[1].fill_(1.0)
    return spread.index_copy_(1, index_on(norm.device, owners), layers)


def ratio(written: Tensor, norm: Tensor) -> Tensor:
    """The coefficient that a norm shows: 1 if it was 0, NaN if it is not finite."""
    return torch.addcdiv(norm - norm, written, norm).masked_fill_(norm == 0, 1.0)
