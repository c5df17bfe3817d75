"""Mode autoclip: clip to a percentile of the norms seen so far."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clipcore.rules.parameter import Parameter
from clipcore.rules.rule import Decision, Norms, Rule, ScalingRule, keep_within

FIRST_CAPACITY = 1024
MAX_WINDOW = 100_000  # each step sorts it


class AutoClip(ScalingRule):
    """The threshold is a percentile of the last `window` norms, this one included, interpolated linearly.

    A norm N within the threshold T stays exactly as it is, N = T included, which is common here; a larger one is
    multiplied by T / (N + 1e-6).

    With window 0 the history is kept whole, sorted, and grows: a step then costs time in proportion to its length.
    Another window keeps the newest norms that it has room for; but of a sorted history nothing, as nothing tells which
    those are.
    """

    mode = "autoclip"
    title = "Percentile of history (AutoClip)"
    help = "Clips the global norm to a percentile of the norms seen so far."
    source = "Seetharaman et al. 2020, https://arxiv.org/abs/2007.14469"
    parameters = (
        Parameter("percentile", 10.0, "Percentile of the history that becomes the threshold.", unit="%", maximum=100.0),
        Parameter(
            "window",
            1000,
            "Norms remembered; 0 remembers all. Another window keeps the newest.",
            kind="integer",
            unit="steps",
            maximum=MAX_WINDOW,
            structural=True,
        ),
        Parameter("max_norm", float("inf"), "The threshold is never above this.", unit="gradient norm"),
    )
    bound = "percentile"
    bounds = "global norm"
    adaptive = True

    def initial_state(self) -> dict[str, Tensor]:
        """No norms: places that wait for one hold inf."""
        self._calls = 0
        history = torch.full((self._window or FIRST_CAPACITY,), torch.inf, dtype=torch.float64, device=self.device)
        return {"history": history, "count": torch.zeros((), dtype=torch.int64, device=self.device)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a history; one that is kept whole may have any length, and its empty places are left behind."""
        if self._window == 0:
            history = state["history"]
            filled = history[history < torch.inf]
            self._calls = len(filled)
            room = filled.new_full((max(FIRST_CAPACITY, len(filled)),), torch.inf)
            room[: len(filled)] = filled
            state = {**state, "history": room}
            self.state["history"] = torch.empty_like(room, device=self.device)
        super().load_state_dict(state)

    def succeed(self, former: Rule) -> None:
        """Take over the newest norms."""
        if not isinstance(former, AutoClip) or former._window == 0:
            return
        norms, count = former._newest(self._window or former._window)
        if self._window == 0:
            self._calls = len(norms)
            self._make_room(len(norms))
            norms = norms.sort().values
        self.state["history"][: len(norms)] = norms
        self.state["count"].copy_(count)

    def decide(self, norms: Norms) -> Decision:
        """Remember the norm, then clip to the percentile."""
        self._remember(norms.total)
        threshold = torch.fmin(self._percentile(), self.values["max_norm"])  # of a NaN the other bound holds
        return Decision(keep_within(threshold, norms.total), threshold)

    @property
    def capturable(self) -> bool:
        """A history that grows is no fixed memory."""
        return self._window > 0

    @property
    def _window(self) -> int:
        return int(self.structure["window"])

    def _newest(self, most: int) -> tuple[Tensor, Tensor]:
        """The newest norms of a window, oldest first and then as many inf as there is room left; how many they are."""
        history, count = self.state["history"], self.state["count"]
        room = min(most, self._window)
        kept = count.clamp(max=room)
        places = torch.arange(room, device=history.device)
        newest = history[(places + count - kept) % self._window]
        return torch.where(places < kept, newest, torch.inf), kept

    def _remember(self, norm: Tensor) -> None:
        history, count = self.state["history"], self.state["count"]
        finite = norm < torch.inf
        if self._window:
            slot = (count % self._window).view(1)
            history.scatter_(0, slot, torch.where(finite, norm, history.gather(0, slot)))
        else:
            self._calls += 1
            self._make_room(self._calls)
            history = self.state["history"]
            history.copy_(_inserted(history, torch.where(finite, norm, torch.inf)))
        count.add_(finite)

    def _make_room(self, norms: int) -> None:
        """Double the history until it has room: the host counts calls, each of which may have been a finite one."""
        while norms > len(history := self.state["history"]):
            self.state["history"] = torch.cat([history, torch.full_like(history, torch.inf)])

    def _percentile(self) -> Tensor:
        """Interpolated linearly between the two nearest ranks; NaN without a history."""
        history = self.state["history"]
        ordered = history.sort().values if self._window else history
        last = self.state["count"].clamp(max=len(history)) - 1
        rank = last * self.values["percentile"] / 100
        below, above = ordered.take(torch.stack([rank, rank.ceil()]).long()).unbind()
        return torch.lerp(below, above, rank.frac())


def _inserted(ordered: Tensor, value: Tensor) -> Tensor:
    """An ascending vector that ends in inf, with the value in its place instead of the last inf."""
    place = torch.searchsorted(ordered, value.view(1))
    index = torch.arange(len(ordered), device=ordered.device)
    return torch.where(index < place, ordered, torch.where(index == place, value, ordered.roll(1)))
