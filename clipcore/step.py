"""One step over the gradients: measure, let the rule decide, apply, and say what was done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clipcore.gradients import Gradients, combine
from clipcore.kernels import Clipped, Measured
from clipcore.model import Model
from clipcore.rules import AGC, ClipValue, Norms, Rule, ScalingRule


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did to n gradients.

    Attributes:
        before: the measurements before.
        total: joint norm before, 0-d float64.
        written: (n,) float64, norms after.
        clamped: (n,) int64, elements that a clamp changed; None for a rule that does not clamp.
        units: (n,) int64, output rows that were scaled; None for a rule that scales no rows.
        threshold: bound in force, 0-d float64.
        skipped: 1.0 when the gradients were left alone because they are not finite, 0-d float64.
        nothing: 0.0, 0-d float64.
        norm_type: p of the norms.
    """

    before: Measured
    total: Tensor
    written: Tensor
    clamped: Tensor | None
    units: Tensor | None
    threshold: Tensor
    skipped: Tensor
    nothing: Tensor
    norm_type: float


def clip_(model: Model, gradients: Gradients, rule: Rule, nonfinite: str) -> Outcome:
    """Clip gradients in place by a rule.

    Args:
        model: the parameters, for their names and for rules that look at weights.
        gradients: theirs.
        rule: decides.
        nonfinite: what to do when an element or the joint norm is not finite. "raise" waits for the device.

    Raises:
        RuntimeError: `nonfinite` is "raise" and a gradient is not finite; gradients and statistics are unchanged.
    """
    done: Clipped | None = None
    if nonfinite == "propagate" and isinstance(rule, ClipValue | AGC):
        done = _bend_(model, gradients, rule, None)  # reads and writes in one pass
    before = done.before if done else gradients.measure(rule.norm_type)
    total = combine(before.norm, rule.norm_type)
    bad = _judge(nonfinite, before, total, [model.names[owner] for owner in gradients.owners])
    if done is None and isinstance(rule, ClipValue | AGC):
        done = _bend_(model, gradients, rule, bad)
    written = done.norm if done else before.norm
    threshold, coef = rule.threshold, None
    if isinstance(rule, ScalingRule):
        decision = rule.decide(Norms(gradients.spread(before.norm, 0.0), total, gradients.present))
        threshold, coef = decision.threshold, gradients.gather(decision.coef)
    if bad is not None and (coef is not None or nonfinite == "zero"):
        coef = torch.where(bad, -1.0 if nonfinite == "zero" else 1.0, rule.one if coef is None else coef)
    if coef is not None:
        written = gradients.scale_(coef, written, rule.norm_type)
    skipped = bad.double() if bad is not None and nonfinite == "skip" else rule.zero
    clamped = done.count if done and isinstance(rule, ClipValue) else None
    units = done.count if done and isinstance(rule, AGC) else None
    return Outcome(before, total, written, clamped, units, threshold, skipped, rule.zero, rule.norm_type)


def _judge(nonfinite: str, before: Measured, total: Tensor, names: Sequence[str]) -> Tensor | None:
    """Whether the gradients are not finite, 0-d bool, where somebody wants to know it before they are touched."""
    if nonfinite == "propagate":
        return None
    bad = (before.nonfinite.sum() > 0) | ~total.isfinite()
    if nonfinite != "raise":
        return bad
    if bad:  # the one wait for the device that "raise" costs
        guilty = [name for name, norm in zip(names, before.norm.tolist(), strict=True) if not math.isfinite(norm)]
        raise RuntimeError(
            f"the gradients of {', '.join(map(repr, guilty)) or 'all parameters together'} are not finite; they are "
            "unchanged. Choose nonfinite='skip', 'zero' or 'propagate' to go on with such steps"
        )
    return None


def _bend_(model: Model, gradients: Gradients, rule: ClipValue | AGC, bad: Tensor | None) -> Clipped:
    """Clamp, or clip unit-wise, but nothing when `bad`."""
    bound = rule.values[rule.bound]
    if bad is not None:
        bound = torch.where(bad, math.inf, bound)
    if isinstance(rule, ClipValue):
        return gradients.clamp_(bound)
    return gradients.clip_units_(_unit_weights(model, gradients.owners, rule.structure["exclude"]), bound, rule.eps)


def _unit_weights(model: Model, owners: Sequence[int], exclude: Sequence[str]) -> list[Tensor | None]:
    """The weights that belong to gradients, row by row (of a sparse gradient the rows it has); None where excluded."""
    left = {name for pattern in exclude for name in model.matching(pattern)}
    weights: list[Tensor | None] = []
    for owner in owners:
        name, parameter = model.names[owner], model.parameters[owner]
        gradient = parameter.grad
        if name in left:
            weights.append(None)
        elif gradient is None or gradient.layout is not torch.sparse_coo:
            weights.append(parameter)
        elif gradient.sparse_dim() == 1:
            weights.append(parameter.index_select(0, gradient._indices()[0]))
        else:
            raise ValueError(
                f"mode 'agc' needs whole rows, and the sparse gradient of {name!r} has {gradient.sparse_dim()} sparse "
                "dimensions: add it to `exclude`"
            )
    return weights
