"""From parameters to the memory that passes go over: each gradient once, grouped by device.

Tied weights, a parameter listed twice and two parameters with one gradient count once. Sparse gradients are coalesced
and stand for their values. Whatever a kernel could trip over is refused here, with a sentence that says what to do.
"""

import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clipcore.inplace import refuse_unwritable
from clipcore.kernels import Clipped, Kernels, Measured, choose, eager
from clipcore.memory import find_overlap

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.complex128)
DOUBLE = (torch.float64, torch.complex128)


class Group(NamedTuple):
    """The gradients that one call of one set of kernels takes."""

    kernels: Kernels
    device: torch.device
    tensors: list[Tensor]
    positions: list[int]  # of each tensor among the distinct gradients


class Gradients:
    """Distinct gradients and the passes over them; results are in their order, on the first one's device.

    Args:
        tensors: the memory of each gradient; for a sparse one its values.
        owners: for each, the position of the parameter that it belongs to.
        count: how many parameters there are, with a gradient or without.

    Attributes:
        device: where results are.
        elements: how many numbers there are, a complex one counting once.
    """

    def __init__(self, tensors: Sequence[Tensor], owners: Sequence[int], count: int) -> None:
        self.tensors = tensors
        self.owners = owners
        self.count = count
        self.groups = _groups(tensors)
        self.device = tensors[0].device
        self.elements = sum(map(Tensor.numel, tensors))
        self._place: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """In which precision a norm is reported: float64 if a gradient has it, else float32."""
        return torch.float64 if any(tensor.dtype in DOUBLE for tensor in self.tensors) else torch.float32

    def measure(self, norm_type: float = 2.0) -> Measured:
        """Read every element once; see `Kernels.measure`."""
        return Measured(*self._gather([group.kernels.measure(group.tensors, norm_type) for group in self.groups]))

    def scale_(self, coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
        """Multiply in place, return the norms as written; see `Kernels.scale_`."""
        written = [
            (group.kernels.scale_(group.tensors, self._share(coef, group), self._share(norm, group), norm_type),)
            for group in self.groups
        ]
        return self._gather(written)[0]

    def clamp_(self, limit: Tensor, norm_type: float = 2.0) -> Clipped:
        """Clamp in place; see `Kernels.clamp_`."""
        done = [
            group.kernels.clamp_(group.tensors, limit.to(group.device, non_blocking=True), norm_type)
            for group in self.groups
        ]
        return self._gather_clipped(done)

    def clip_units_(self, weights: Sequence[Tensor | None], clipping: Tensor, eps: Tensor) -> Clipped:
        """Clip unit-wise in place; see `Kernels.clip_units_`. A gradient without weights is only measured."""
        done: list[Clipped] = []
        order: list[int] = []
        for group in self.groups:
            bounds = clipping.to(group.device, non_blocking=True), eps.to(group.device, non_blocking=True)
            if clipped := [(p, weight) for p in group.positions if (weight := weights[p]) is not None]:
                positions, chosen = zip(*clipped, strict=True)
                done.append(group.kernels.clip_units_([self.tensors[p] for p in positions], chosen, *bounds))
                order += positions
            if left := [p for p in group.positions if weights[p] is None]:
                before = group.kernels.measure([self.tensors[p] for p in left])
                done.append(Clipped(before, before.norm, torch.zeros_like(before.nonfinite)))
                order += left
        return self._gather_clipped(done, order)

    def count_exponents(self, every: int = 64) -> Tensor:
        """Count elements by exponent; see `Kernels.count_exponents`."""
        counts = [group.kernels.count_exponents(group.tensors, every) for group in self.groups]
        return counts[0] if len(counts) == 1 else torch.stack([part.to(self.device) for part in counts]).sum(0)

    def spread(self, values: Tensor, filling: float) -> Tensor:
        """One value per gradient as one per parameter, (n,) -> (count,); `filling` where there is no gradient."""
        if len(self.owners) == self.count:
            return values
        return torch.full((self.count,), filling, dtype=values.dtype, device=values.device).index_copy_(
            0, self._places, values
        )

    def gather(self, values: Tensor) -> Tensor:
        """The inverse: of one value per parameter those that have a gradient; a 0-d value holds for all."""
        return values if values.dim() == 0 or len(self.owners) == self.count else values[self._places]

    @property
    def present(self) -> Tensor | None:
        """Which parameters have a gradient, (count,) bool; None for all."""
        if len(self.owners) == self.count:
            return None
        return self.spread(torch.ones(len(self.owners), dtype=torch.bool, device=self.device), False)

    @property
    def _places(self) -> Tensor:
        if self._place is None:
            self._place = _index(self.owners, self.device)
        return self._place

    def _share(self, values: Tensor, group: Group) -> Tensor:
        """A group's share of per-gradient values, on its device; a 0-d value holds for all."""
        if values.dim() and len(self.groups) > 1:
            values = values[_index(group.positions, values.device)]
        return values.to(group.device, non_blocking=True)

    def _gather(self, parts: Sequence[Sequence[Tensor]], order: Sequence[int] | None = None) -> list[Tensor]:
        """The parts' columns as columns over all gradients; `order` says whose they are, by default the groups'."""
        if len(parts) == 1:
            return list(parts[0])
        order = order or [position for group in self.groups for position in group.positions]
        inverse = _index(sorted(range(len(order)), key=order.__getitem__), self.device)
        columns = zip(*parts, strict=True)
        return [torch.cat([part.to(self.device, non_blocking=True) for part in column])[inverse] for column in columns]

    def _gather_clipped(self, parts: Sequence[Clipped], order: Sequence[int] | None = None) -> Clipped:
        columns = [(*part.before, part.norm, part.count) for part in parts]
        norm, max_abs, nonfinite, written, count = self._gather(columns, order)
        return Clipped(Measured(norm, max_abs, nonfinite), written, count)


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
    return _distinct(found, owners, len(parameters), name_of)


def collect_tensors(tensors: Sequence[Tensor]) -> Gradients | None:
    """The same over tensors that are themselves to be measured, and are not changed."""
    name_of = _namer(None)
    found = [_readable(tensor, name_of(position)) for position, tensor in enumerate(tensors)]
    return _distinct(found, range(len(found)), len(found), name_of)


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


def _distinct(
    found: Sequence[Tensor], owners: Sequence[int], count: int, name_of: Callable[[int], str]
) -> Gradients | None:
    """Each piece of memory once."""
    if not found:
        return None
    unique: dict[tuple[object, ...], int] = {}
    for position, tensor in enumerate(found):
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (id(tensor),)
        unique.setdefault(key, position)
    gradients = Gradients([found[p] for p in unique.values()], [owners[p] for p in unique.values()], count)
    for group in gradients.groups:
        if pair := find_overlap(group.tensors):
            one, other = (name_of(gradients.owners[group.positions[i]]) for i in pair)
            raise ValueError(f"the gradients of {one!r} and {other!r} overlap in memory: clone one of them first")
    return gradients


def _groups(tensors: Sequence[Tensor]) -> list[Group]:
    groups: dict[tuple[torch.device, bool], Group] = {}
    for position, tensor in enumerate(tensors):
        key = (tensor.device, tensor.is_complex())
        if key not in groups:
            device, is_complex = key
            groups[key] = Group(eager if is_complex else choose(device).kernels, device, [], [])
        groups[key].tensors.append(tensor)
        groups[key].positions.append(position)
    return list(groups.values())


def _index(positions: Sequence[int], device: torch.device) -> Tensor:
    """Positions on a device, (n,) int64; a CUDA device is not waited for."""
    index = torch.tensor(positions)
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)
