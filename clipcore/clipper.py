"""The Clipper: measure -> rule -> apply -> ClipStats, with a configuration that any thread may change while it runs."""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clipcore.gradients import collect
from clipcore.passes import clip_
from clipcore.rules import RULES, Rule
from clipcore.settings import Settings
from clipcore.settings import Update as Update
from clipcore.stats import ClipStats
from clipcore.table import tabulate, tabulate_nothing

Parameters = nn.Module | Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]


class Clipper:
    """Clips the gradients of a model in place, step after step, and says what it did.

    Args:
        parameters: a module, tensors, or (name, tensor) pairs. The names become the layers; tensors are numbered.
        mode: off, norm, value, layer, ...; see `clipcore.rules`.
        nonfinite: what to do about NaN and infinite gradients: "propagate" as torch does, "raise", "skip" or "zero".
        **values: the mode's own parameters.

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
        self, parameters: Parameters, mode: str = "norm", *, nonfinite: str = "propagate", **values: Any
    ) -> None:
        named = _named(parameters)
        self._names = tuple(named)
        self._parameters = list(named.values())
        self._settings = Settings().patched({"mode": mode, "nonfinite": nonfinite, **values})
        self._newest = self._settings  # with every patch that still waits
        self._waiting: list[tuple[Update, Settings]] = []
        self._lock = threading.Lock()
        self._step = 0
        self._rule: Rule | None = None
        self._rule_state: Mapping[str, Tensor] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, which are the layers."""
        return self._names

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
            self._newest = self._newest.patched(patch)
            self._waiting.append((update, self._newest))
        return update

    @torch.no_grad()
    def clip_(self) -> ClipStats:
        """Clip all gradients in place: after backward (and `scaler.unscale_`), before `optimizer.step()`."""
        self._step += 1
        updates = self._obey()
        mode = self._settings.mode
        gradients = collect(self._parameters, self._names)
        if gradients is None:
            numbers, layers = tabulate_nothing(len(self._names))
        else:
            rule = self._ready_rule(gradients.device)
            numbers, layers = tabulate(clip_(gradients, rule), rule.norm_type, gradients.owners, len(self._names))
        return ClipStats(self._step, time.time(), mode, self._names, updates, numbers, layers)

    def sync_params(self) -> None:
        """Copy waiting patches to the device now; before replaying a CUDA graph that captured `clip_()`."""
        self._obey()

    def state_dict(self) -> dict[str, Any]:
        """Configuration, steps and statistics; tensors are copies."""
        settings = self._newest
        return {
            "step": self._step,
            "mode": settings.mode,
            "nonfinite": settings.nonfinite,
            "values": {mode: dict(values) for mode, values in settings.values.items()},
            "rule": self._rule.state_dict() if self._rule else dict(self._rule_state or {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; patches that still wait are forgotten.

        Raises:
            ValueError: the state holds values that are not allowed, or statistics of another number of parameters.
        """
        settings = Settings().restored(state["mode"], state["nonfinite"], state["values"])
        with self._lock:
            self._settings = self._newest = settings
            self._waiting.clear()
        self._step = int(state["step"])
        self._rule, self._rule_state = None, dict(state["rule"])

    def _obey(self) -> tuple[Update, ...]:
        """Put the waiting patches into force."""
        if not self._waiting:
            return ()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for update, settings in waiting:
            update.apply(self._step, self._settings.config, settings.config)
            if settings.mode != self._settings.mode:
                self._rule = self._rule_state = None
            self._settings = settings
        if self._rule:
            self._rule.set(self._settings.values[self._settings.mode])
        return tuple(update for update, _ in waiting)

    def _ready_rule(self, device: torch.device) -> Rule:
        """The mode's rule, with its statistics, on the gradients' device."""
        if self._rule is None or self._rule.device != device:
            mode = self._settings.mode
            state = self._rule.state_dict() if self._rule else self._rule_state
            self._rule = RULES[mode](self._settings.values[mode], len(self._names), device)
            if state:
                self._rule.load_state_dict(state)
        return self._rule


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
