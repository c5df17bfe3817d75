"""Gradients that are spread over ranks: their norms are those of the whole, the same float everywhere.

A DTensor (FSDP2, tensor parallel) is measured and clipped where it is, by its local part; what the parts measured is
then reduced over the mesh dimensions along which the tensor is sharded: n float64 numbers a collective, queued on the
device like everything else. All ranks must clip the same parameters in the same order.
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from clipcore.kernels import Clipped, Measured
from clipcore.upload import upload

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def as_dtensor(tensor: Tensor) -> "DTensor | None":
    """The tensor if it is a DTensor. None existed before somebody imported the module, which is slow to import."""
    module = sys.modules.get("torch.distributed.tensor")
    return tensor if module is not None and isinstance(tensor, module.DTensor) else None


def local_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a DTensor; any other tensor itself."""
    spread = as_dtensor(tensor)
    return tensor if spread is None else spread._local_tensor


def whole_sum(gradient: "DTensor") -> "DTensor":
    """The gradient with pending sums over ranks carried out; itself when there are none.

    A norm is not linear, and neither is a clamp: both need the sum, not its terms.
    """
    from torch.distributed.tensor import Replicate  # slow to import, but loaded where a DTensor exists

    placements = [Replicate() if placement.is_partial() else placement for placement in gradient.placements]
    return gradient if placements == list(gradient.placements) else gradient.redistribute(placements=placements)


def splits_units(tensor: Tensor) -> bool:
    """Whether output rows of a tensor (a vector is one row) are split over ranks."""
    spread = as_dtensor(tensor)
    return spread is not None and any(
        not placement.is_replicate() and (spread.dim() < 2 or not placement.is_shard(0))
        for placement in spread.placements
    )


class Shards:
    """Over which process groups the measurements of each of n gradients are reduced.

    Args:
        gradients: each gradient as it came; those that are no DTensor are on this rank as a whole.
        tensors: the memory of each on this rank.

    Attributes:
        elements: how many numbers there are on all ranks.
    """

    def __init__(self, gradients: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
        self._count = len(gradients)
        pairs = zip(gradients, tensors, strict=True)
        self.elements = sum((gradient if as_dtensor(gradient) is not None else own).numel() for gradient, own in pairs)
        groups: dict[dist.ProcessGroup, list[int]] = {}
        self._split: set[int] = set()
        for position, gradient in enumerate(gradients):
            if (spread := as_dtensor(gradient)) is not None:
                for dim, placement in enumerate(spread.placements):
                    if not placement.is_replicate():
                        groups.setdefault(spread.device_mesh.get_group(dim), []).append(position)
                if splits_units(spread):
                    self._split.add(position)
        self._groups = groups

    def __bool__(self) -> bool:
        return bool(self._groups)

    def splits_units(self, position: int) -> bool:
        """Whether output rows of a gradient (a vector is one row) are split over ranks."""
        return position in self._split

    def measured(self, local: Measured, norm_type: float) -> Measured:
        """The measurements of the whole gradients."""
        norm, nonfinite = self._sum(local.norm, local.nonfinite, norm_type)
        return Measured(norm, self._extreme(local.max_abs, dist.ReduceOp.MAX), nonfinite)

    def clipped(self, local: Clipped, norm_type: float) -> Clipped:
        """What was done to the whole gradients."""
        norm, count = self._sum(local.norm, local.count, norm_type)
        return Clipped(self.measured(local.before, norm_type), norm, count)

    def norm(self, local: Tensor, norm_type: float) -> Tensor:
        """The norms of the whole gradients, (n,) float64."""
        return self._sum(local, torch.zeros_like(local), norm_type)[0]

    def _sum(self, norm: Tensor, count: Tensor, norm_type: float) -> tuple[Tensor, Tensor]:
        """p-norms of disjoint parts, and counts in them, put together in one collective a group."""
        if math.isinf(norm_type):
            extreme = dist.ReduceOp.MAX if norm_type > 0 else dist.ReduceOp.MIN
            return self._extreme(norm, extreme), self._reduce(count.double()[None], dist.ReduceOp.SUM)[0].to(
                count.dtype
            )
        power = norm_type or 1.0  # the p = 0 "norm" is a count
        powers, counts = self._reduce(torch.stack([norm**power, count.double()]), dist.ReduceOp.SUM)
        return powers ** (1 / power), counts.to(count.dtype)

    def _extreme(self, values: Tensor, operation: "dist.ReduceOp.RedOpType") -> Tensor:
        """NaN travels as inf: backends disagree about the larger of NaN and a number."""
        return self._reduce(values.nan_to_num(nan=torch.inf, posinf=torch.inf)[None], operation)[0]

    def _reduce(self, rows: Tensor, operation: "dist.ReduceOp.RedOpType") -> Tensor:
        """(k, n) float64, column i reduced over the groups of gradient i."""
        rows = rows.clone()
        for group, positions in self._groups.items():
            if len(positions) == self._count:
                dist.all_reduce(rows, operation, group)
            else:
                index = upload(rows.device, positions)
                part = rows[:, index]
                dist.all_reduce(part, operation, group)
                rows[:, index] = part
        return rows
