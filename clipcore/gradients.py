"""Distinct gradients, grouped by device, and the kernels' passes over all of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clipcore.distributed import Shards
from clipcore.kernels import Clipped, Kernels, Measured
from clipcore.upload import kept_on_device, upload


class Group(NamedTuple):
    """The gradients that one call of one set of kernels takes."""

    kernels: Kernels
    device: torch.device
    tensors: Sequence[Tensor]
    positions: Sequence[int]  # of each tensor among the distinct gradients


class Gradients:
    """Distinct gradients; results are in their order, on the first one's device.

    Args:
        tensors: the memory of each gradient; for a sparse one its values, for a DTensor its local part.
        owners: for each, the position of the parameter that it belongs to.
        count: how many parameters there are, with a gradient or without.
        groups: the same tensors by device and kernels.
        double: one of them is float64 or complex128.
        elements: how many numbers there are on all ranks; a complex one counts once.
        shards: over which ranks they are spread, if any is.
        plain: each is the parameter's `.grad` itself: none is sparse, none a DTensor.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        owners: Sequence[int],
        count: int,
        groups: Sequence[Group],
        *,
        double: bool,
        elements: int,
        shards: Shards | None = None,
        plain: bool = False,
    ) -> None:
        self.tensors = tensors
        self.owners = owners
        self.count = count
        self.groups = groups
        self.elements = elements
        self.shards = shards
        self.plain = plain
        self.device = groups[0].device
        self.dtype = torch.float64 if double else torch.float32  # in which a norm is reported

    def measure(self, norm_type: float = 2.0) -> Measured:
        """Read every element once; see `Kernels.measure`."""
        measured = Measured(*self._join([group.kernels.measure(group.tensors, norm_type) for group in self.groups]))
        return self.shards.measured(measured, norm_type) if self.shards else measured

    def scale_(self, coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
        """Multiply in place, return the norms as written; see `Kernels.scale_`."""
        parts = [
            group.kernels.scale_(group.tensors, self._share(coef, group), self._share(norm, group), norm_type)
            for group in self.groups
        ]
        written = self._join([(part,) for part in parts])[0]
        # where a coefficient is 1 the kernel returned the norm it was given, which is that of the whole already
        return torch.where(coef == 1, norm, self.shards.norm(written, norm_type)) if self.shards else written

    def clamp_(self, limit: Tensor, norm_type: float = 2.0) -> Clipped:
        """Clamp in place; see `Kernels.clamp_`."""
        parts = [
            group.kernels.clamp_(group.tensors, limit.to(group.device, non_blocking=True), norm_type)
            for group in self.groups
        ]
        return self._join_clipped(parts, norm_type=norm_type)

    def clip_units_(self, weights: Sequence[Tensor | None], clipping: Tensor, eps: Tensor) -> Clipped:
        """Clip unit-wise in place; see `Kernels.clip_units_`. A gradient without weights is only measured."""
        parts: list[Clipped] = []
        order: list[int] = []
        for group in self.groups:
            bounds = clipping.to(group.device, non_blocking=True), eps.to(group.device, non_blocking=True)
            left = [position for position in group.positions if weights[position] is None]
            chosen = [position for position in group.positions if weights[position] is not None]
            own = [weight for position in chosen if (weight := weights[position]) is not None]
            if chosen:
                tensors = [self.tensors[position] for position in chosen] if left else group.tensors
                parts.append(group.kernels.clip_units_(tensors, own, *bounds))
            if left:
                before = group.kernels.measure([self.tensors[position] for position in left])
                parts.append(Clipped(before, before.norm, torch.zeros_like(before.nonfinite)))
            order += [*chosen, *left]
        return self._join_clipped(parts, order)

    def count_exponents(self, every: int = 64) -> Tensor:
        """Count this rank's elements by exponent; see `Kernels.count_exponents`."""
        counts = [group.kernels.count_exponents(group.tensors, every) for group in self.groups]
        return counts[0] if len(counts) == 1 else torch.stack([part.to(self.device) for part in counts]).sum(0)

    @property
    def present(self) -> Tensor | None:
        """Which parameters have a gradient, (count,) bool; None for all."""
        if len(self.owners) == self.count:
            return None
        return self.spread(torch.ones(len(self.owners), dtype=torch.bool, device=self.device), False)

    def spread(self, values: Tensor, filling: float) -> Tensor:
        """One value per gradient as one per parameter, (n,) -> (count,); `filling` where there is no gradient."""
        if len(self.owners) == self.count:
            return values
        spread = torch.full((self.count,), filling, dtype=values.dtype, device=values.device)
        return spread.index_copy_(0, self._places, values)

    def gather(self, values: Tensor) -> Tensor:
        """The inverse: of one value per parameter those that have a gradient; a 0-d value holds for all."""
        return values if values.dim() == 0 or len(self.owners) == self.count else values[self._places]

    @property
    def _places(self) -> Tensor:
        return index_on(self.device, self.owners)

    def _share(self, values: Tensor, group: Group) -> Tensor:
        """A group's share of per-gradient values, on its device; a 0-d value holds for all."""
        if len(self.groups) == 1:
            return values
        if values.dim():
            values = values[index_on(values.device, group.positions)]
        return values.to(group.device, non_blocking=True)

    def _join(self, parts: Sequence[Sequence[Tensor]], order: Sequence[int] | None = None) -> list[Tensor]:
        """The parts' columns as columns over all gradients; `order` says whose they are, by default the groups'."""
        if len(parts) == 1:
            return list(parts[0])
        order = order or [position for group in self.groups for position in group.positions]
        inverse = index_on(self.device, sorted(range(len(order)), key=order.__getitem__))
        columns = zip(*parts, strict=True)
        return [torch.cat([part.to(self.device, non_blocking=True) for part in column])[inverse] for column in columns]

    def _join_clipped(
        self, parts: Sequence[Clipped], order: Sequence[int] | None = None, norm_type: float = 2.0
    ) -> Clipped:
        columns = [(*part.before, part.norm, part.count) for part in parts]
        norm, max_abs, nonfinite, written, count = self._join(columns, order)
        clipped = Clipped(Measured(norm, max_abs, nonfinite), written, count)
        return self.shards.clipped(clipped, norm_type) if self.shards else clipped


def combine(norm: Tensor, norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients as one vector, 0-d, from the norm of each, (n,)."""
    total: Tensor = torch.linalg.vector_norm(norm, norm_type)
    return total


def index_on(device: torch.device, positions: Sequence[int]) -> Tensor:
    """Positions as an index, (n,) int64."""
    return _index_on(device, tuple(positions))


_index_on = kept_on_device(upload)
