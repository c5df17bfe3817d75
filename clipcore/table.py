"""From what a step did to the numbers of its record: all on the device, none of them read."""

import math

import torch
from torch import Tensor

from clipcore.gradients import Gradients, combine
from clipcore.step import Outcome


def tabulate(outcome: Outcome, gradients: Gradients) -> tuple[Tensor, Tensor]:
    """`ClipStats.numbers` and `ClipStats.layers` of what was done to n gradients."""
    before, n = outcome.before, len(outcome.written)
    norms = torch.cat([before.norm, outcome.total.view(1)])
    written = torch.cat([outcome.written, combine(outcome.written, outcome.norm_type).view(1)])
    coef = torch.where(norms == 0, 1.0, written / norms + 0 * norms)  # 0 * norms: NaN where a norm is not finite
    clamped = torch.zeros_like(before.nonfinite) if outcome.clamped is None else outcome.clamped
    counted = outcome.units if outcome.clamped is None else outcome.clamped
    changed = coef[:n] < 1 if counted is None else counted > 0
    all_clamped = clamped.sum()
    nonfinite = gradients.spread(before.nonfinite, 0)
    affected = nonfinite > 0
    numbers = [
        outcome.threshold,
        norms[n],
        written[n],
        coef[n],
        all_clamped,
        all_clamped / max(1, gradients.elements),
        changed.sum(),
        nonfinite.sum(),
        before.max_abs.max(),
        outcome.skipped,
        torch.where(affected.any(), affected.int().argmax(), -1),
    ]
    layers = [gradients.spread(before.norm, 0.0), gradients.spread(coef[:n], 1.0), gradients.spread(clamped, 0)]
    return torch.stack([number.double() for number in numbers]), torch.stack([layer.double() for layer in layers])


def tabulate_nothing(count: int) -> tuple[Tensor, Tensor]:
    """The same for a step without any gradient."""
    numbers = torch.tensor([math.nan, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1], dtype=torch.float64)
    return numbers, torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64).repeat(1, count)
