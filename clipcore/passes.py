"""One step over the gradients: measure, let the rule decide, apply, and say what was done."""

from dataclasses import dataclass

from torch import Tensor

from clipcore.gradients import Gradients, combine
from clipcore.kernels import Measured
from clipcore.rules import ClampRule, Norms, Rule, ScalingRule


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did to n gradients.

    Attributes:
        before: the measurements before.
        total: joint norm before, 0-d float64.
        written: (n,) float64, norms after.
        clamped: (n,) int64, elements or units that were clamped; None for a rule that scales.
        threshold: bound in force, 0-d float64.
        skipped: 1.0 when the gradients were left alone for not being finite, 0-d float64.
        elements: how many there are in all.
    """

    before: Measured
    total: Tensor
    written: Tensor
    clamped: Tensor | None
    threshold: Tensor
    skipped: Tensor
    elements: int


def clip_(gradients: Gradients, rule: Rule) -> Outcome:
    """Clip gradients in place by a rule."""
    threshold, skipped = rule.threshold, rule.zero
    clamped: Tensor | None = None
    if isinstance(rule, ClampRule):
        done = gradients.clamp_(rule.threshold)
        before, written, clamped = done.before, done.norm, done.count
        total = combine(before.norm)
    else:
        before = gradients.measure(rule.norm_type)
        total, written = combine(before.norm, rule.norm_type), before.norm
    if isinstance(rule, ScalingRule):
        coef, threshold = rule.decide(Norms(before.norm, total))
        written = gradients.scale_(coef, before.norm, rule.norm_type)
    return Outcome(before, total, written, clamped, threshold, skipped, gradients.elements)
