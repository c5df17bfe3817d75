"""Whose gradients are clipped."""

import re
import types
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Self

from torch import Tensor, nn

from clipcore.warn import tell

# How torch's wrappers call the module inside; what is called `module` may also be a user's.
_WRAPPER = re.compile(r"(?<![^.])(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")

Parameters = nn.Module | Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Model:
    """Parameters and their names, each once, in order."""

    names: tuple[str, ...]
    parameters: list[Tensor]

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """The parameters of a module, or tensors (which get numbers as names), or (name, tensor) pairs.

        What wraps a module is no part of the names: they are those that it has without DistributedDataParallel,
        `torch.compile` or checkpointing.

        Raises:
            TypeError: something else.
            ValueError: two tensors have one name, or one an empty name.
        """
        named: dict[str, Tensor] = {}
        known: set[int] = set()
        for name, tensor in _pairs(parameters):
            if not name:
                raise ValueError("`parameters` has a tensor whose name is empty")
            if named.get(name, tensor) is not tensor:
                raise ValueError(f"`parameters` has two tensors named {name!r}")
            if id(tensor) not in known:
                known.add(id(tensor))
                named[name] = tensor
        return cls(tuple(named), list(named.values()))

    def matching(self, patterns: Iterable[str]) -> frozenset[str]:
        """The names that one of the shell-style patterns fits; a name fits itself."""
        return _matching(self.names, tuple(patterns))


def listed(parameters: Tensor | Iterable[Any]) -> list[Any]:
    """The parameters as a list; a generator is used up here, once.

    Warns as torch does when a generator has nothing left, which usually means that somebody else used it up.
    """
    if isinstance(parameters, Tensor):
        return [parameters]
    found = list(parameters)
    if not found and isinstance(parameters, types.GeneratorType):
        tell("`parameters` is an empty generator, no gradient clipping will occur.", UserWarning)
    return found


@lru_cache(maxsize=64)  # a mode asks at every step, for all of its patterns
def _matching(names: tuple[str, ...], patterns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in names for pattern in patterns if name == pattern or fnmatchcase(name, pattern))


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of those that only pass on to it."""
    while isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel) or "_orig_mod" in model._modules:
        model = model.get_submodule("_orig_mod" if "_orig_mod" in model._modules else "module")
    return model


def _pairs(parameters: Parameters) -> Iterable[tuple[str, Tensor]]:
    if isinstance(parameters, nn.Module):
        yield from ((_WRAPPER.sub("", name), tensor) for name, tensor in _unwrapped(parameters).named_parameters())
        return
    for number, parameter in enumerate(listed(parameters) if isinstance(parameters, Iterable) else [parameters]):
        match parameter if isinstance(parameter, tuple) else (str(number), parameter):
            case (str() as name, Tensor() as tensor):
                yield _WRAPPER.sub("", name), tensor
            case _:
                raise TypeError(f"`parameters` must be a module, tensors or (name, tensor) pairs, got {parameter!r}")
