"""From what a step did to the numbers of its record: all on the device, none of them read."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clipcore.gradients import combine, indices
from clipcore.passes import Outcome


def tabulate(outcome: Outcome, norm_type: float, owners: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """`ClipStats.numbers` and `ClipStats.layers` of a step.

    Args:
        outcome: what was done to n gradients.
        norm_type: of the joint norm.
        owners: for each gradient, the position of its parameter.
        count: how many parameters there are, with a gradient or without.
    """
    before, clamped = outcome.before, outcome.clamped
    n = len(owners)
    norms = torch.cat([before.norm, outcome.total.view(1)])
    written = torch.cat([outcome.written, combine(outcome.written, norm_type).view(1)])
    coef = torch.where(norms == 0, 1.0, written / norms + 0 * norms)  # 0 * norms: NaN where a norm is not finite
    changed = coef[:n] < 1 if clamped is None else clamped > 0
    clamped = torch.zeros_like(before.nonfinite) if clamped is None else clamped

    spread = _spreader(owners, count, norms.device)
    nonfinite = spread(before.nonfinite, 0)
    affected = nonfinite > 0
    all_clamped = clamped.sum()
    numbers = [
        outcome.threshold,
        norms[n],
        written[n],
        coef[n],
        all_clamped,
        all_clamped / max(1, outcome.elements),
        changed.sum(),
        nonfinite.sum(),
        before.max_abs.max(),
        outcome.skipped,
        torch.where(affected.any(), affected.int().argmax(), -1),
    ]
    layers = [spread(before.norm, 0.0), spread(coef[:n], 1.0), spread(clamped, 0)]
    return torch.stack([number.double() for number in numbers]), torch.stack([layer.double() for layer in layers])


def tabulate_nothing(count: int) -> tuple[Tensor, Tensor]:
    """The same for a step without any gradient."""
    numbers = torch.tensor([math.nan, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1], dtype=torch.float64)
    return numbers, torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64).repeat(1, count)


def _spreader(owners: Sequence[int], count: int, device: torch.device) -> Callable[[Tensor, float], Tensor]:
    """Puts one value per gradient at its parameter's position, and a filling where there is no gradient."""
    if len(owners) == count:
        return lambda values, _: values
    index = indices(owners, device)
    return lambda values, filling: torch.full((count,), filling, dtype=values.dtype, device=device).index_copy_(
        0, index, values
    )
