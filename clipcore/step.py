"""One step over the gradients: measure, let the rule decide, apply, and say what was done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clipcore.gradients import Gradients, combine
from clipcore.kernels import Measured
from clipcore.model import Model
from clipcore.rules import AGC, ClipValue, Norms, Rule, ScalingRule
from clipcore.units import clip_units_


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did to n gradients.

    Attributes:
        before: the measurements before.
        total: global norm before, 0-d float64.
        written: (n,) float64, norms after.
        changed: (n,) bool, which gradients are not what they were; None for none.
        threshold: bound in force, 0-d float64.
        skipped: 1.0 when the gradients were left alone because they are not finite, 0-d float64.
        zero: 0.0, 0-d float64.
        norm_type: p of the norms.
        clamped: (n,) int64, elements that a clamp changed; None for a rule that does not clamp.
    """

    before: Measured
    total: Tensor
    written: Tensor
    changed: Tensor | None
    threshold: Tensor
    skipped: Tensor
    zero: Tensor
    norm_type: float = 2.0
    clamped: Tensor | None = None


class Guard(NamedTuple):
    """What becomes of gradients if they are not finite, by `nonfinite="skip"` or "zero"."""

    bad: Tensor  # 0-d bool, whether they are not finite
    zero: bool  # fill them with zeros; else leave them alone

    def coefficient(self, coef: Tensor) -> Tensor:
        """What to multiply by: a negative coefficient means zeros."""
        return torch.where(self.bad, -1.0 if self.zero else 1.0, coef)

    def bound(self, bound: Tensor) -> Tensor:
        """What to clamp to: nothing is clamped to inf."""
        return torch.where(self.bad, math.inf, bound)


def take_step(model: Model, gradients: Gradients, rule: Rule, nonfinite: str) -> Outcome:
    """Clip gradients in place by a rule.

    Args:
        model: the parameters, for their names and for rules that look at weights.
        gradients: theirs.
        rule: decides.
        nonfinite: what to do when an element or the global norm is not finite. "raise" waits for the device.

    Raises:
        RuntimeError: `nonfinite` is "raise" and a gradient is not finite; gradients and statistics are unchanged.
    """
    if isinstance(rule, ClipValue | AGC) and nonfinite == "propagate":
        return _bend_(model, gradients, rule, None)  # reads and writes in one pass
    before = gradients.measure(rule.norm_type)
    total = combine(before.norm, rule.norm_type)
    guard = _guard(nonfinite, before, total, gradients.owners, model.names)
    if isinstance(rule, ClipValue | AGC):
        return _bend_(model, gradients, rule, guard)
    changed: Tensor | None
    if isinstance(rule, ScalingRule):
        coef, threshold = rule.decide(Norms(gradients.spread(before.norm, 0.0), total, gradients.present))
        coef = gradients.gather(coef)
        coef = coef if guard is None else guard.coefficient(coef)
        written, changed = _scale_(gradients, coef, before.norm, rule.norm_type)
    else:
        threshold = rule.threshold
        written, changed = _fill_(gradients, before.norm, None, guard, rule)
    return Outcome(before, total, written, changed, threshold, _skipped(guard, rule), rule.zero, rule.norm_type)


def _bend_(model: Model, gradients: Gradients, rule: ClipValue | AGC, guard: Guard | None) -> Outcome:
    """Clamp, or clip unit-wise."""
    bound = rule.values[rule.bound] if guard is None else guard.bound(rule.values[rule.bound])
    if isinstance(rule, ClipValue):
        done = gradients.clamp_(bound)
    else:
        done = clip_units_(model, gradients, bound, rule.values["eps"], rule.structure["exclude"])
    written, changed = _fill_(gradients, done.norm, done.count > 0, guard, rule)
    return Outcome(
        before=done.before,
        total=combine(done.before.norm),
        written=written,
        changed=changed,
        threshold=rule.threshold,
        skipped=_skipped(guard, rule),
        zero=rule.zero,
        clamped=done.count if isinstance(rule, ClipValue) else None,
    )


def _scale_(gradients: Gradients, coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> tuple[Tensor, Tensor]:
    """Multiply in place; the norms as written, and which gradients that changed."""
    written = gradients.scale_(coef, norm, norm_type)
    return written, (coef != 1) & (written != norm)  # NaN differs from itself, 0 scaled is 0


def _fill_(
    gradients: Gradients, norm: Tensor, changed: Tensor | None, guard: Guard | None, rule: Rule
) -> tuple[Tensor, Tensor | None]:
    """Set gradients to zero if the guard says so; the norms as written, and which gradients have changed by now."""
    if guard is None or not guard.zero:
        return norm, changed
    written, filled = _scale_(gradients, guard.coefficient(rule.one), norm)
    return written, filled if changed is None else filled | changed


def _skipped(guard: Guard | None, rule: Rule) -> Tensor:
    return rule.zero if guard is None or guard.zero else guard.bad.double()


def guilty(nonfinite: Tensor, owners: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Names of the parameters whose gradients have non-finite elements, by their numbers; waits for the device."""
    return tuple(names[owner] for owner, count in zip(owners, nonfinite.tolist(), strict=True) if count)


def _guard(
    nonfinite: str, before: Measured, total: Tensor, owners: Sequence[int], names: Sequence[str]
) -> Guard | None:
    """Judge the gradients before they are touched, if somebody wants to know."""
    if nonfinite == "propagate":
        return None
    bad = (before.nonfinite.sum() > 0) | ~total.isfinite()
    if nonfinite != "raise":
        return Guard(bad, zero=nonfinite == "zero")
    if bad:  # the one wait for the device that "raise" costs
        where = guilty(before.nonfinite, owners, names)
        what = (
            f"the gradients of {', '.join(map(repr, where))} are"
            if where
            else "every gradient is finite, but their global norm is"
        )
        raise RuntimeError(
            f"{what} not finite; nothing was changed. Use nonfinite='skip', 'zero' or 'propagate' to continue past "
            "such steps"
        )
    return None
