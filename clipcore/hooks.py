"""Hooks of an optimizer that do not keep alive what they call."""

import weakref
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.hooks import RemovableHandle


def hook(
    optimizer: torch.optim.Optimizer, register: Callable[..., RemovableHandle], method: Callable[..., None]
) -> None:
    """Hook a method into an optimizer while its object lives: a forgotten Clipper is not kept at work.

    What a dead object leaves there goes with the next hook, not at once: that could be while the optimizer calls it.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        if (alive := reference()) is not None:
            alive(*arguments)

    hooks = _hooks.setdefault(optimizer, [])
    for dead, handle in hooks:
        if dead() is None:
            handle.remove()
    hooks[:] = [(alive, handle) for alive, handle in hooks if alive() is not None]
    hooks.append((reference, register(call)))


_hooks: WeakKeyDictionary[torch.optim.Optimizer, list[tuple[weakref.WeakMethod[Any], RemovableHandle]]]
_hooks = WeakKeyDictionary()
