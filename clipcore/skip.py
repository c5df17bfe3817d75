"""Skip an optimizer's step when the gradients were not finite."""

import weakref
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from clipcore.hooks import hook


class StepSkipper:
    """Keeps an optimizer from stepping on gradients that `nonfinite="skip"` left alone.

    A fused optimizer gets the verdict as `found_inf`, its own way to skip on the device, beside those of a GradScaler
    and of other Clippers: it skips if one of them says so. For any other the verdict is read before the step, the one
    wait for the device that "skip" costs, and the step finds no gradients: neither parameters nor momenta nor step
    counts move. A `clip_()` inside a closure is obeyed by the step that called it; LBFGS then takes the gradient for
    zero, which ends its iterations.

    Args:
        optimizer: whose `step` is watched, through hooks.

    Attributes:
        fused: whether the optimizer skips on the device.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self._optimizer = weakref.ref(optimizer)
        self._stepping = False  # also after a step that raised, until the next one; nothing comes of that
        self._skipped: Tensor | None = None
        self._hidden: list[tuple[Tensor, Tensor]] = []
        hook(optimizer, optimizer.register_step_pre_hook, self._before_step)
        hook(optimizer, optimizer.register_step_post_hook, self._after_step)

    def judge(self, skipped: Tensor | None) -> None:
        """Take the verdict on the gradients of the coming step, 0-d: not 0 to skip it; None while there is none."""
        self._skipped = skipped
        if (optimizer := self._optimizer()) is None:
            return
        self._reveal()
        if not self._stepping:
            _restore_found_inf(optimizer)  # a step that raised never came to its end
        elif skipped is not None:
            self._obey(optimizer)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepping = True
        self._obey(optimizer)

    def _obey(self, optimizer: torch.optim.Optimizer) -> None:
        skipped, self._skipped = self._skipped, None
        if skipped is None:
            return
        if self.fused:
            _add_found_inf(optimizer, skipped.float())
        elif skipped:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            self._hidden = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
            for parameter in parameters:
                parameter.grad = None

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepping = False
        self._reveal()
        _restore_found_inf(optimizer)

    def _reveal(self) -> None:
        """Bring the hidden gradients back, unless newer ones have taken their place."""
        for parameter, gradient in self._hidden:
            if parameter.grad is None:
                parameter.grad = gradient
        self._hidden = []


_replaced: WeakKeyDictionary[torch.optim.Optimizer, Tensor | None] = WeakKeyDictionary()
"""What `found_inf` was before the first of our verdicts."""


def _add_found_inf(optimizer: torch.optim.Optimizer, verdict: Tensor) -> None:
    others: Tensor | None = getattr(optimizer, "found_inf", None)
    _replaced.setdefault(optimizer, others)
    if others is not None:
        verdict = torch.maximum(others, verdict.to(others.device, non_blocking=True))
    optimizer.found_inf = verdict  # type: ignore[attr-defined]  # as GradScaler does


def _restore_found_inf(optimizer: torch.optim.Optimizer) -> None:
    if optimizer not in _replaced:
        return
    optimizer.found_inf = _replaced.pop(optimizer)  # type: ignore[attr-defined]
    if optimizer.found_inf is None:  # type: ignore[attr-defined]
        del optimizer.found_inf  # type: ignore[attr-defined]  # as GradScaler does
