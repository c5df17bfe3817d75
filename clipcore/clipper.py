"""The Clipper: measure -> rule -> apply -> ClipStats, with a configuration that any thread may change while it runs."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from clipcore.collect import collect
from clipcore.controls import Controls
from clipcore.exponents import Exponents
from clipcore.gradients import Gradients
from clipcore.knobs import Knob, knobs_by_name
from clipcore.lockstep import Lockstep
from clipcore.model import Model, Parameters
from clipcore.notices import Notices
from clipcore.rules import NAMES, RULES, Rule
from clipcore.settings import Settings, Update
from clipcore.skip import StepSkipper
from clipcore.stats import ClipStats
from clipcore.step import Outcome, take_step
from clipcore.table import numbers_of, numbers_of_nothing
from clipcore.untraced import untraced

#: What a saved Clipper consists of.
STATE = frozenset({"step", "mode", "nonfinite", "values", "knobs", "rule"})


class Clipper:
    """Clips the gradients of a model in place, step after step, and says what it did.

    Args:
        parameters: a module, tensors, or (name, tensor) pairs. The names become the layers; tensors are numbered.
        mode: off, norm, value, layer, agc, autoclip, zclip or adagc; see `clipcore.rules`.
        optimizer: lets `nonfinite="skip"` skip its steps, and the Clipper notice steps without `clip_()`.
        scaler: the GradScaler in use, if any, so that a `clip_()` before `unscale_` is noticed.
        nonfinite: what to do about gradients that hold NaN or infinity. "propagate" clips by them, as torch does;
            "raise" names the parameters and leaves the gradients; "skip" leaves the gradients, and the `optimizer`, if
            it was given, does not step; "zero" sets all gradients to zero. "raise", and "skip" with an optimizer that
            is not fused, wait for the device once a step; nothing else here does.
        group: ranks that must clip alike, such as those of DistributedDataParallel. What the first rank's `update` asks
            for then holds on all of them from the same step on, one step later than it would alone. All of them must
            call `clip_()` equally often; each call broadcasts 8 bytes, which nobody waits for. The group's backend must
            work on host memory (gloo).
        knobs: numbers of the training, such as its learning rate, that `update` changes too; see `clipcore.Knob`.
        exponents: twice a second, count the exponents of one block of elements in this many (small models: more, large
            ones: fewer); 1 counts all, 0 none. See `ClipStats.exponents`.
        **values: the mode's own parameters.

    Raises:
        ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds, a name given twice, or agc
            for rows that are split over ranks.
        TypeError: a value of the wrong kind.

    In a CUDA graph: call `clip_()` once before capturing it, and `sync_params()` before each replay. A captured
    `clip_()` cannot change its mode.

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(2))
        >>> clipper = Clipper([w], mode="norm", max_norm=1.0)
        >>> w.grad = torch.tensor([3.0, 4.0])
        >>> stats = clipper.clip_()
        >>> stats.norm.item(), round(stats.clipped_norm.item(), 6)
        (5.0, 1.0)
        >>> change = clipper.update(mode="value", clip_value=0.1)
        >>> w.grad = torch.tensor([3.0, 0.05])
        >>> clipper.clip_().clamped.item(), change.step
        (1.0, 2)
    """

    # No others: what is assigned to clipper.max_norm would change nothing.
    __slots__ = (
        "__weakref__",
        "_captured",
        "_controls",
        "_exponents",
        "_model",
        "_notices",
        "_rule",
        "_skipper",
        "_step",
    )

    def __init__(
        self,
        parameters: Parameters,
        mode: str = "norm",
        *,
        optimizer: torch.optim.Optimizer | None = None,
        scaler: torch.amp.GradScaler | None = None,
        nonfinite: str = "propagate",
        group: dist.ProcessGroup | None = None,
        knobs: Iterable[Knob] = (),
        exponents: int = 64,
        **values: Any,
    ) -> None:
        _require_hooks(optimizer)
        if not isinstance(scaler, torch.amp.GradScaler | None):
            raise TypeError(f"scaler must be a torch.amp.GradScaler, got {scaler!r}")
        self._exponents = Exponents(exponents)
        self._model = Model.of(parameters)
        lockstep = Lockstep(group) if group is not None else None
        defaults = Settings(knobs=knobs_by_name(knobs))
        self._controls = Controls(self._model, defaults, {"mode": mode, "nonfinite": nonfinite, **values}, lockstep)
        self._step = 0
        self._rule: Rule | None = None
        self._captured: ClipStats | None = None  # what a CUDA graph fills in on each replay
        self._notices = Notices(self._model.parameters, optimizer, scaler, group)
        self._skipper = StepSkipper(optimizer) if optimizer is not None else None

    if not TYPE_CHECKING:  # which would then allow any name

        def __setattr__(self, name: str, value: object) -> None:
            if name in NAMES:
                raise AttributeError(f"{name} is set with clipper.update({name}={value!r:.50})")
            super().__setattr__(name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, which are the layers."""
        return self._model.names

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many elements each parameter has."""
        return tuple(parameter.numel() for parameter in self._model.parameters)

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration: mode, that mode's parameters, nonfinite, knobs.

        A copy: what is done to it changes nothing; `update` does. It is a plain dict rather than a read-only mapping,
        which neither json nor pickle would write down.
        """
        return self._controls.settings.config

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What was declared of the training's own numbers; their values are in `config`."""
        return tuple(self._controls.settings.knobs.values())

    @property
    def obeyed(self) -> deque[Update]:
        """The latest patches that took effect, oldest first; it grows with the steps. At most 1,024 are kept."""
        return self._controls.obeyed

    @property
    def exponents(self) -> int:
        """One block of elements in so many is counted by exponent; 0 for none."""
        return self._exponents.every

    def update(self, /, **patch: Any) -> Update:
        """Change the configuration from the next `clip_()` on; from any thread.

        A patch is atomic. It is checked against the configuration with all patches that still wait. A mode that comes
        back has its last values and fresh statistics; naming the mode in force changes neither.

        Args:
            **patch: `mode`, `nonfinite`, parameters of the (new) mode, and knobs.

        Returns:
            A handle that says when it took effect.

        Raises:
            ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds, agc for rows that are
                split over ranks, or a change that a captured CUDA graph cannot follow; or this is not the first rank of
                `group`; nothing changes.
            TypeError: a value of the wrong kind; nothing changes.
        """
        self._notices.before_update()
        return self._controls.submit(patch)

    @untraced
    def clip_(self) -> ClipStats:
        """Clip all gradients in place: after backward (and `scaler.unscale_`), before `optimizer.step()`.

        Returns:
            What was done; its numbers stay on the device until they are read. Without gradients the norm is 0.

        Raises:
            RuntimeError: `nonfinite` is "raise" and a gradient is not finite; gradients are unchanged. Or it is being
                captured in a CUDA graph and cannot be.
            ValueError: gradients overlap partly or cannot be written in place.
            TypeError: a gradient has a dtype, layout or device that cannot be clipped.
        """
        if self._skipper:
            self._skipper.judge(None)  # the last verdict was on other gradients
        with torch.no_grad():
            gradients = collect(self._model.parameters, self.names)
            if gradients is not None and _capturing(gradients):
                return self._capture(gradients)
            self._release()
            self._step += 1
            self._obey(self._step)
            sample = self._notices.before_clip(gradients.tensors if gradients else [])
            exponents = self._exponents.sample(gradients) if gradients else None
            outcome = self._clip_(gradients) if gradients else None
            self._notices.after_clip(sample)
            return self._record(outcome, gradients, exponents)

    @untraced
    def sync_params(self) -> ClipStats | None:
        """Copy waiting patches to the device now: before each replay of a CUDA graph that captured `clip_()`.

        Returns:
            The record of the coming replay, whose numbers are there once it ran; None when nothing is captured.
        """
        self._obey(self._step + 1)
        if self._captured is None:
            return None
        self._step += 1
        self._captured = replace(
            self._captured, step=self._step, time=time.time(), updates=self._controls.take_unrecorded()
        )
        return self._captured

    def state_dict(self) -> dict[str, Any]:
        """Configuration, step count and the rule's statistics; tensors are copies. Waiting patches are not in it."""
        settings = self._controls.settings
        return {
            "step": self._step,
            "mode": settings.mode,
            "nonfinite": settings.nonfinite,
            "values": {mode: dict(values) for mode, values in settings.values.items()},
            "knobs": dict(settings.turned),
            "rule": self._rule.state_dict() if self._rule else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; patches that still wait are forgotten.

        Where there is a `group`, all of its ranks load, between the same two calls of `clip_()`. A captured CUDA graph
        goes on from the state too.

        Raises:
            ValueError: the state holds values that are not allowed, or statistics of another number of parameters, or
                is not the state of a Clipper, or a captured CUDA graph cannot follow it; nothing changes.
        """
        try:
            step, settings, rule = self._saved(state)
        except (AttributeError, KeyError, TypeError) as error:  # a part is of another kind altogether
            raise ValueError(f"state must be what Clipper.state_dict() returned, got {state!r:.200}") from error
        captured = self._rule if self._controls.frozen else None
        if captured is not None and settings.program != self._controls.settings.program:
            raise ValueError(
                f"clip_() is captured in a CUDA graph with {self.config}, which cannot follow a state with "
                f"{settings.config}: call clip_() once outside the graph, load, and capture anew"
            )
        self._controls.restore(settings)
        self._step = step
        if captured is None:
            self._rule = rule
            return
        captured.set(settings.values[settings.mode])  # where the graph reads them
        captured.load_state_dict(rule.state)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Clipper belongs to live parameters and cannot be copied or pickled: save its state_dict(), and load "
            "that into a Clipper made for the other parameters"
        )

    def _saved(self, state: Mapping[str, Any]) -> tuple[int, Settings, Rule]:
        if missing := STATE - state.keys():
            raise ValueError(f"the state of a Clipper has {', '.join(sorted(STATE))}; this one lacks {sorted(missing)}")
        if (step := int(state["step"])) < 0:
            raise ValueError(f"step must be >= 0, got {step}")
        settings = self._controls.settings.restored(state["mode"], state["nonfinite"], state["values"], state["knobs"])
        rule = self._new_rule(settings)
        if state["rule"] is not None:
            rule.load_state_dict(state["rule"])
        return step, settings, rule

    def _obey(self, step: int) -> None:
        """Put the waiting patches into force; a rule whose operations they change gives way to another."""
        before = self._controls.settings
        for settings in self._controls.obey(step):
            former = self._rule
            if former is not None and settings.structure == before.structure:
                former.set(settings.values[settings.mode])
            elif former is not None:
                self._rule = None
                if settings.mode == before.mode:
                    self._rule = self._new_rule(settings, former.device)
                    self._rule.succeed(former)
            before = settings

    def _clip_(self, gradients: Gradients) -> Outcome:
        nonfinite = self._controls.settings.nonfinite
        outcome = take_step(self._model, gradients, self._ready_rule(gradients.device), nonfinite)
        if self._skipper and nonfinite == "skip":
            self._skipper.judge(outcome.skipped)
        return outcome

    def _capture(self, gradients: Gradients) -> ClipStats:
        """The record that replays of a CUDA graph fill in; nothing runs while it is captured."""
        rule, nonfinite = self._rule, self._controls.settings.nonfinite
        if rule is None or rule.device != gradients.device:
            raise RuntimeError("call clip_() once before capturing it, or each replay would make its state anew")
        waits = nonfinite == "raise" or (nonfinite == "skip" and self._skipper is not None and not self._skipper.fused)
        if waits or not rule.capturable:
            raise RuntimeError(
                f"a CUDA graph cannot capture clip_() with {self.config}: nonfinite='raise', nonfinite='skip' with an "
                "optimizer that is not fused, and autoclip with window=0 need the host at every step"
            )
        self._controls.freeze()
        self._captured = self._record(self._clip_(gradients), gradients, None)
        return self._captured

    def _release(self) -> None:
        """Python clips again, not a graph."""
        self._captured = None
        self._controls.frozen = False

    def _record(self, outcome: Outcome | None, gradients: Gradients | None, exponents: Tensor | None) -> ClipStats:
        numbers = numbers_of(outcome, gradients.elements) if outcome and gradients else numbers_of_nothing()
        owners = gradients.owners if gradients else ()
        mode, updates = self._controls.settings.mode, self._controls.take_unrecorded()
        return ClipStats(self._step, time.time(), mode, self.names, updates, numbers, outcome, owners, exponents)

    def _new_rule(self, settings: Settings, device: torch.device | str = "cpu") -> Rule:
        return RULES[settings.mode](settings.values[settings.mode], len(self.names), device)

    def _ready_rule(self, device: torch.device) -> Rule:
        """The mode's rule, with its statistics, on the gradients' device."""
        known, settings = self._rule, self._controls.settings
        if known is not None and known.device == device:
            return known
        self._rule = rule = self._new_rule(settings, device)
        if known is not None:
            rule.load_state_dict(known.state)
        return rule


def _require_hooks(optimizer: torch.optim.Optimizer | None) -> None:
    # a wrapper such as accelerate's inherits `register_step_pre_hook`, but not the place that it needs
    if not (optimizer is None or hasattr(optimizer, "_optimizer_step_pre_hooks")):
        raise TypeError(
            f"optimizer must be a torch.optim.Optimizer, or the one inside if it is wrapped, got {optimizer!r}"
        )


def _capturing(gradients: Gradients) -> bool:
    return gradients.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
