"""From parameters to the memory that passes go over: each gradient once, grouped by device.

Tied weights, a parameter listed twice and two parameters with one gradient count once. Sparse gradients are coalesced
and stand for their values. Everything a kernel could trip over is refused here, with a sentence that says what to do.
"""

import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clipcore.inplace import refuse_unwritable
from clipcore.kernels import Clipped, Kernels, Measured, choose, eager
from clipcore.memory import find_overlap

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.complex128)


class Group(NamedTuple):
    """The gradients that one call of one set of kernels takes."""

    kernels: Kernels
    device: torch.device
    tensors: list[Tensor]
    positions: list[int]  # of each tensor among the distinct gradients


@dataclass(frozen=True, slots=True)
class Gradients:
    """Distinct gradients and the passes over them; results are in their order, on the first one's device.

    Attributes:
        groups: the same gradients by device and kernels.
        owners: for each, the position of the parameter that it belongs to.
        tensors: the memory of each; for a sparse gradient its values.
    """

    groups: list[Group]
    owners: list[int]
    tensors: list[Tensor]

    @property
    def device(self) -> torch.device:
        """Where results are."""
        return self.tensors[0].device

    @property
    def elements(self) -> int:
        """How many numbers there are, a complex one counting once."""
        return sum(tensor.numel() for tensor in self.tensors)

    @property
    def dtype(self) -> torch.dtype:
        """In which precision norms are reported: float64 if a gradient has it, else float32."""
        double = any(tensor.dtype in (torch.float64, torch.complex128) for tensor in self.tensors)
        return torch.float64 if double else torch.float32

    def measure(self, norm_type: float = 2.0) -> Measured:
        """Read every element once; see `Kernels.measure`."""
        return Measured(*self._gather([group.kernels.measure(group.tensors, norm_type) for group in self.groups]))

    def scale_(self, coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
        """Multiply in place, return the norms as written; see `Kernels.scale_`."""
        written = [
            group.kernels.scale_(group.tensors, self._part(coef, group), self._part(norm, group), norm_type)
            for group in self.groups
        ]
        return self._gather([(norm,) for norm in written])[0]

    def clamp_(self, limit: Tensor, norm_type: float = 2.0) -> Clipped:
        """Clamp in place; see `Kernels.clamp_`."""
        return self._gather_clipped(
            [group.kernels.clamp_(group.tensors, limit.to(group.device), norm_type) for group in self.groups]
        )

    def _part(self, values: Tensor, group: Group) -> Tensor:
        """A group's share of per-gradient values, on its device; a 0-d value holds for all."""
        if values.dim() and len(self.groups) > 1:
            values = values[indices(group.positions, values.device)]
        return values.to(group.device, non_blocking=True)

    def _gather(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Per-group columns as columns over all gradients."""
        if len(parts) == 1:
            return list(parts[0])
        positions = [position for group in self.groups for position in group.positions]
        order = indices(sorted(range(len(positions)), key=positions.__getitem__), self.device)
        columns = zip(*parts, strict=True)
        return [torch.cat([part.to(self.device, non_blocking=True) for part in column])[order] for column in columns]

    def _gather_clipped(self, parts: Sequence[Clipped]) -> Clipped:
        norm, max_abs, nonfinite, written, count = self._gather([(*p.before, p.norm, p.count) for p in parts])
        return Clipped(Measured(norm, max_abs, nonfinite), written, count)


def indices(positions: Sequence[int], device: torch.device) -> Tensor:
    """Positions as an index on a device, (n,) int64; a CUDA device is not waited for."""
    index = torch.tensor(positions)
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)


def combine(norm: Tensor, norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients as one vector, 0-d, from the norm of each, (n,)."""
    total: Tensor = torch.linalg.vector_norm(norm, norm_type)
    return total


def listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list; a generator is used up here, once.

    Warns as torch does when a generator has nothing left, which usually means that somebody else used it up.
    """
    if isinstance(parameters, Tensor):
        return [parameters]
    found = list(parameters)
    if not found and isinstance(parameters, types.GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    return found


def collect(parameters: Sequence[Tensor], names: Sequence[str] | None = None) -> Gradients | None:
    """The distinct gradients of the parameters, to be clipped in place; None when there are none.

    Raises:
        TypeError: a gradient is neither real nor complex floating point, or has a layout that cannot be clipped.
        ValueError: gradients overlap partly or cannot be written in place, or a parameter is no leaf and keeps none.
    """
    name_of = _namer(names)
    found: list[Tensor] = []
    owners: list[int] = []
    for position, parameter in enumerate(parameters):
        gradient = _gradient(parameter, position, name_of)
        if gradient is not None:
            found.append(_writable(gradient, name_of(position)))
            owners.append(position)
    return _distinct(found, owners, name_of)


def collect_tensors(tensors: Sequence[Tensor]) -> Gradients | None:
    """The same over tensors that are themselves to be measured, and are not changed."""
    name_of = _namer(None)
    found = [_readable(tensor, name_of(position)) for position, tensor in enumerate(tensors)]
    return _distinct(found, list(range(len(found))), name_of)


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return names.__getitem__ if names else "number {}".format


def _gradient(parameter: Tensor, position: int, name_of: Callable[[int], str]) -> Tensor | None:
    if parameter.is_leaf or parameter.retains_grad:
        return parameter.grad
    raise ValueError(
        f"parameter {name_of(position)!r} is not a leaf and keeps no gradient: pass the leaf tensors that the "
        "optimizer updates, or call `.retain_grad()` on it before backward"
    )


def _writable(gradient: Tensor, name: str) -> Tensor:
    """The memory of a gradient that is to be changed."""
    if gradient.layout is torch.sparse_coo and not gradient.is_coalesced():
        gradient.copy_(gradient.coalesce())  # in place: p.grad stays the same object
    memory = _readable(gradient, name)
    refuse_unwritable(memory, name)
    return memory


def _readable(gradient: Tensor, name: str) -> Tensor:
    """The memory of a gradient: the strided tensor itself, or a sparse one's values."""
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.detach().coalesce()._values()
    if gradient.layout is not torch.strided:
        raise TypeError(f"the gradient of {name!r} has layout {gradient.layout}; strided and sparse COO can be clipped")
    if gradient.dtype not in DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"the gradient of {name!r} is {gradient.dtype}; it must be one of {allowed}: convert it first")
    return gradient


def _distinct(found: list[Tensor], owners: list[int], name_of: Callable[[int], str]) -> Gradients | None:
    """Each piece of memory once."""
    if not found:
        return None
    tensors: list[Tensor] = []
    first_owners: list[int] = []
    seen: set[tuple[object, ...]] = set()
    for tensor, owner in zip(found, owners, strict=True):
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (id(tensor),)
        if key not in seen:
            seen.add(key)
            tensors.append(tensor)
            first_owners.append(owner)
    groups = _groups(tensors)
    for group in groups:
        if pair := find_overlap(group.tensors):
            one, other = (name_of(first_owners[group.positions[i]]) for i in pair)
            raise ValueError(f"the gradients of {one!r} and {other!r} overlap in memory: clone one of them first")
    return Gradients(groups, first_owners, tensors)


def _groups(tensors: Sequence[Tensor]) -> list[Group]:
    groups: dict[tuple[torch.device, bool], Group] = {}
    for position, tensor in enumerate(tensors):
        device, is_complex = tensor.device, tensor.is_complex()
        if (device, is_complex) not in groups:
            groups[device, is_complex] = Group(eager if is_complex else choose(device).kernels, device, [], [])
        group = groups[device, is_complex]
        group.tensors.append(tensor)
        group.positions.append(position)
    return list(groups.values())
