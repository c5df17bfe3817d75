"""The Clipper: measure -> rule -> apply -> ClipStats, with a configuration that any thread may change while it runs."""

import threading
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from clipcore.collect import collect
from clipcore.gradients import Gradients
from clipcore.notices import Notices
from clipcore.rules import RULES, Rule
from clipcore.settings import Settings
from clipcore.settings import Update as Update
from clipcore.skip import StepSkipper
from clipcore.stats import ClipStats
from clipcore.step import Model, clip_
from clipcore.table import tabulate, tabulate_nothing

Parameters = nn.Module | Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]


class Clipper:
    """Clips the gradients of a model in place, step after step, and says what it did.

    Args:
        parameters: a module, tensors, or (name, tensor) pairs. The names become the layers; tensors are numbered.
        mode: off, norm, value, layer, agc, autoclip, zclip or adagc; see `clipcore.rules`.
        optimizer: lets `nonfinite="skip"` skip its steps, and the Clipper notice steps without `clip_()`.
        scaler: the GradScaler in use, if any, so that a `clip_()` before `unscale_` is noticed.
        nonfinite: what to do about gradients that hold NaN or infinity. "propagate" clips by them, as torch does;
            "raise" names the parameters and leaves the gradients; "skip" leaves the gradients, and the optimizer does
            not step; "zero" sets all gradients to zero. "raise", and "skip" with an optimizer that is not fused, wait
            for the device once a step; nothing else here does.
        **values: the mode's own parameters; see RULES in `clipcore.rules`.

    Raises:
        ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds, a name given twice.
        TypeError: a value of the wrong kind.

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

    def __init__(
        self,
        parameters: Parameters,
        mode: str = "norm",
        *,
        optimizer: torch.optim.Optimizer | None = None,
        scaler: torch.amp.GradScaler | None = None,
        nonfinite: str = "propagate",
        **values: Any,
    ) -> None:
        named = _named(parameters)
        self._model = Model(tuple(named), list(named.values()))
        self._notices = Notices(self._model.parameters, optimizer, scaler)
        self._skipper = StepSkipper(optimizer) if optimizer is not None else None
        self._settings = self._patched(Settings(), {"mode": mode, "nonfinite": nonfinite, **values})
        self._newest = self._settings  # with every patch that still waits
        self._waiting: list[tuple[Update, Settings]] = []
        self._lock = threading.Lock()
        self._obeyed: list[Update] = []  # in force, not yet in a record
        self._step = 0
        self._rule: Rule | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, which are the layers."""
        return self._model.names

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration: mode, that mode's parameters, nonfinite."""
        return self._settings.config

    def update(self, **patch: Any) -> Update:
        """Change the configuration from the next `clip_()` on; from any thread.

        A patch is atomic. It is checked against the configuration with all patches that still wait, so `update(mode=m)`
        brings back m's last values, and m's statistics start anew.

        Args:
            **patch: `mode`, `nonfinite` and parameters of the (new) mode.

        Returns:
            A handle that says when it took effect.

        Raises:
            ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds; nothing changes.
            TypeError: a value of the wrong kind; nothing changes.
        """
        update = Update(patch)
        with self._lock:
            self._newest = self._patched(self._newest, patch)
            self._waiting.append((update, self._newest))
        return update

    def clip_(self) -> ClipStats:
        """Clip all gradients in place: after backward (and `scaler.unscale_`), before `optimizer.step()`.

        Returns:
            What was done; its numbers stay on the device until they are read. Without gradients the norm is 0.

        Raises:
            RuntimeError: `nonfinite` is "raise" and a gradient is not finite; gradients are unchanged.
            ValueError: gradients overlap partly or cannot be written in place.
            TypeError: a gradient has a dtype or layout that cannot be clipped.
        """
        self._step += 1
        self._obey()
        with torch.no_grad():
            gradients = collect(self._model.parameters, self.names)
            self._notices.before_clip(gradients.tensors if gradients else [])
            numbers, layers = self._clip_(gradients) if gradients else tabulate_nothing(len(self.names))
            self._notices.after_clip(gradients.tensors if gradients else [])
        updates, self._obeyed = tuple(self._obeyed), []
        return ClipStats(self._step, time.time(), self._settings.mode, self.names, updates, numbers, layers)

    def _clip_(self, gradients: Gradients) -> tuple[Tensor, Tensor]:
        nonfinite = self._settings.nonfinite
        outcome = clip_(self._model, gradients, self._ready_rule(gradients.device), nonfinite)
        if self._skipper and nonfinite == "skip":
            self._skipper.judge(outcome.skipped)
        return tabulate(outcome, gradients)

    def sync_params(self) -> None:
        """Copy waiting patches to the device now; before replaying a CUDA graph that captured `clip_()`."""
        self._obey()

    def state_dict(self) -> dict[str, Any]:
        """Configuration, step count and the rule's statistics; tensors are copies. Waiting patches are not in it."""
        settings = self._settings
        return {
            "step": self._step,
            "mode": settings.mode,
            "nonfinite": settings.nonfinite,
            "values": {mode: dict(values) for mode, values in settings.values.items()},
            "rule": self._rule.state_dict() if self._rule else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; patches that still wait are forgotten.

        Raises:
            ValueError: the state holds values that are not allowed, or statistics of another number of parameters;
                nothing changes.
        """
        settings = Settings().restored(state["mode"], state["nonfinite"], state["values"])
        rule = RULES[settings.mode](settings.values[settings.mode], len(self.names))
        if state["rule"] is not None:
            rule.load_state_dict(state["rule"])
        with self._lock:
            self._settings = self._newest = settings
            self._waiting.clear()
        self._step, self._rule = int(state["step"]), rule

    def _patched(self, settings: Settings, patch: dict[str, Any]) -> Settings:
        """Settings with a checked patch; patterns of names must fit a parameter."""
        patched = settings.patched(patch)
        for pattern in patched.config.get("exclude", ()):
            if not any(fnmatchcase(name, pattern) for name in self.names):
                raise ValueError(f"exclude has {pattern!r}, which is the name of no parameter; see `clipper.names`")
        return patched

    def _obey(self) -> None:
        """Put the waiting patches into force."""
        if not self._waiting:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for update, settings in waiting:
            update.apply(self._step, self._settings.config, settings.config)
            if settings.structure != self._settings.structure:
                self._rule = None
            self._settings = settings
            self._obeyed.append(update)
        if self._rule:
            self._rule.set(self._settings.values[self._settings.mode])

    def _ready_rule(self, device: torch.device) -> Rule:
        """The mode's rule, with its statistics, on the gradients' device."""
        known = self._rule
        if known is not None and known.device == device:
            return known
        mode = self._settings.mode
        self._rule = rule = RULES[mode](self._settings.values[mode], len(self.names), device)
        if known is not None:
            rule.load_state_dict(known.state)
        return rule


def _named(parameters: Parameters) -> dict[str, Tensor]:
    """Parameters by name, in order, each once."""
    if isinstance(parameters, nn.Module):
        return dict(parameters.named_parameters())
    named: dict[str, Tensor] = {}
    known: set[int] = set()
    for number, parameter in enumerate([parameters] if isinstance(parameters, Tensor) else parameters):
        name, tensor = parameter if isinstance(parameter, tuple) else (str(number), parameter)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"`parameters` must be a module, tensors or (name, tensor) pairs, got {parameter!r}")
        if name in named:
            raise ValueError(f"`parameters` has two tensors named {name!r}")
        if id(tensor) not in known:
            known.add(id(tensor))
            named[name] = tensor
    return named
