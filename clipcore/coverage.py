"""Whether the Clippers of an optimizer know all the parameters that it updates."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor


class Coverage:
    """What the Clippers that were given one optimizer clip between them."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[object, frozenset[int]] = WeakKeyDictionary()
        self._seen = (0, 0)

    def add(self, clipper: object, parameters: Sequence[Tensor]) -> None:
        """Take what a Clipper knows, as long as it, or whatever stands for it, is there."""
        self._known[clipper] = frozenset(map(id, parameters))

    def gaps(self, optimizer: torch.optim.Optimizer) -> list[str]:
        """The parameters that none of them knows; looked for once, and again when there are others."""
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        if self._seen == (count, len(self._known)):
            return []
        self._seen = count, len(self._known)
        known = frozenset().union(*self._known.values())
        return [
            _described(group, number, position)
            for number, group in enumerate(optimizer.param_groups)
            for position, parameter in enumerate(group["params"])
            if parameter.requires_grad and id(parameter) not in known
        ]


def coverage_of(optimizer: torch.optim.Optimizer) -> Coverage:
    """The one that all Clippers of an optimizer share."""
    return _coverages.setdefault(optimizer, Coverage())


_coverages: WeakKeyDictionary[torch.optim.Optimizer, Coverage] = WeakKeyDictionary()


def _described(group: dict[str, Any], number: int, position: int) -> str:
    """By name, if the optimizer was given names."""
    if names := group.get("param_names"):
        return repr(names[position])
    return f"number {position} of its group {number}, of shape {tuple(group['params'][position].shape)}"
