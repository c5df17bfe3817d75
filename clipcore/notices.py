"""Mistakes in the training loop that are easy to make and hard to see: each is named once, with the fix."""

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.amp.grad_scaler import OptState

from clipcore.coverage import coverage_of
from clipcore.hooks import hook
from clipcore.warn import ClipWarning, tell

WITNESSES = 16  # gradients looked at to tell whether a backward ran

# A gradient is known again by an attribute: `module.to` cannot swap a tensor that has a weak reference.
_marks = itertools.count(1)


class Notices:
    """Watches the order of backward, `unscale_`, `clip_` and `step`, and warns once of each mistake.

    Args:
        parameters: whose gradients are clipped.
        optimizer: whose steps are watched, if it is known.
        scaler: the GradScaler in use, if any.
        group: the ranks that share updates, if any do.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        optimizer: torch.optim.Optimizer | None,
        scaler: torch.amp.GradScaler | None,
        group: dist.ProcessGroup | None,
    ) -> None:
        self._parameters = parameters
        self._optimizer = optimizer
        self._scaler = scaler
        self._group = group
        self._said: set[str] = set()
        self._clipped_since_step = False
        self._trained = _sample([parameter for parameter in parameters if parameter.requires_grad])
        self._trained_versions: list[int] = []
        self._witnesses: list[int] = []  # their versions
        self._mark = 0
        if optimizer is not None:
            hook(optimizer, optimizer.register_step_post_hook, self._after_step)  # a closure clips during the step
            coverage_of(optimizer).add(self, parameters)

    def before_update(self) -> None:
        """Look at who will obey a patch: a script may patch all ranks alike, another thread steers this one only."""
        alone = self._group is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if alone and threading.current_thread() is not threading.main_thread():
            self._say(
                "update() from another thread changes the clipping of this rank only, and ranks that clip differently "
                "drift apart: make the Clipper with group=torch.distributed.new_group(backend='gloo'), and update on "
                "its first rank"
            )

    def before_clip(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Look at the gradients that are about to be clipped; returns those that `after_clip` is to look at."""
        sample = _sample(gradients)
        self._look_for_missing(gradients)
        self._look_for_scaled()
        self._look_for_repeated(sample)
        if any(getattr(parameter, "_fsdp_flattened", False) for parameter in self._parameters[:1]):
            self._say(
                "these parameters are sharded by FullyShardedDataParallel, so clip_() sees only the norm of this "
                "rank's part: use the module's own clip_grad_norm_, or shard with torch.distributed.fsdp.fully_shard"
            )
        return sample

    def after_clip(self, sample: Sequence[Tensor]) -> None:
        """Remember how the gradients were left."""
        self._clipped_since_step = True
        self._trained_versions = [parameter._version for parameter in self._trained]
        self._witnesses = [tensor._version for tensor in sample]
        self._mark = mark = next(_marks)
        for tensor in sample:
            tensor._clipcore_mark = mark  # type: ignore[attr-defined]

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not self._clipped_since_step:
            self._say(
                "optimizer.step() ran without clip_() since the step before, so it used gradients that were not "
                "clipped: call clip_() after backward and before optimizer.step()"
            )
        self._clipped_since_step = False
        if gaps := coverage_of(optimizer).gaps(optimizer):
            self._say(
                "the optimizer updates parameters that no Clipper of it knows, so their gradients are not clipped; "
                f"the first of {len(gaps)} is {gaps[0]}: give the Clipper all that the optimizer updates, or the rest "
                "a Clipper of its own"
            )

    def _look_for_missing(self, gradients: Sequence[Tensor]) -> None:
        if not gradients:
            self._say(
                "clip_() found no gradient at all: it ran before backward or after zero_grad(). The order is backward, "
                "clip_, optimizer.step, zero_grad"
            )

    def _look_for_scaled(self) -> None:
        scaler = self._scaler
        if scaler is None or not scaler.is_enabled() or scaler._scale is None:
            return
        states = scaler._per_optimizer_states  # GradScaler has no public way to ask whether unscale_ ran
        known = [states[id(self._optimizer)]] if id(self._optimizer) in states else list(states.values())
        if not any(state["stage"] is OptState.UNSCALED for state in known):
            self._say(
                "clip_() ran before scaler.unscale_(optimizer), so it saw gradients multiplied by the loss scale: call "
                "scaler.unscale_(optimizer) first, then clip_(), scaler.step(optimizer), scaler.update()"
            )

    def _look_for_repeated(self, sample: Sequence[Tensor]) -> None:
        """Whether these are the gradients of the last `clip_()`, written since by one operation or seemingly by none.

        A loop may write gradients where nobody sees it (`.data`, a replayed CUDA graph) or by one operation (`copy_`),
        but then it also steps: as long as the parameters stay, it is a mistake. Of a loop without an optimizer, which
        writes parameters where nobody sees it either, only the first is said: `grad.data.zero_()` and backward are one.
        """
        if self._trained_versions != [parameter._version for parameter in self._trained]:
            return
        marks = [getattr(tensor, "_clipcore_mark", 0) for tensor in sample]
        if marks != [self._mark] * len(self._witnesses):
            return
        since = {tensor._version - version for version, tensor in zip(self._witnesses, sample, strict=True)}
        if since == {0}:
            self._say("clip_() ran twice on the gradients of one backward: call it once, before optimizer.step()")
        elif since == {1} and self._optimizer is not None:  # zero_grad(set_to_none=False) and backward are two
            self._say(
                "gradients were accumulated onto clipped ones: when a step has several micro-batches, call clip_() "
                "once, after the last backward"
            )

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            tell(text, ClipWarning)


def _sample(gradients: Sequence[Tensor]) -> list[Tensor]:
    sample = [gradients[position] for position in range(0, len(gradients), len(gradients) // WITNESSES + 1)]
    return [tensor for tensor in sample if not tensor.is_inference()]  # those have no version
