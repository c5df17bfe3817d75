"""CPU tensors with gaps, by dense copies of a batch of pieces at a time, which the kernels in C then go over.

Copying there and back is a few times faster than torch's own operations on each tensor. Tensors are plain and not
empty. The first argument of each pass is the same pass over dense tensors.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from clipcore.kernels import Clipped, Measured
from clipcore.kernels.pieces import batches, combine, cut, whole

BATCH = 1 << 17  # elements; copies stay in the cache until they are read, and written back


def measure(
    measure_dense: Callable[[Sequence[Tensor], float], Measured], tensors: Sequence[Tensor], norm_type: float
) -> Measured:
    """Read every element once; see `Kernels.measure`."""
    cuts = list(map(cut, tensors))
    parts = [measure_dense(copies, norm_type) for _, copies in _copied(cuts)]
    return whole(parts, list(map(len, cuts)), norm_type)


def scale_(
    scale_dense_: Callable[[Sequence[Tensor], Tensor, Tensor, float], Tensor],
    tensors: Sequence[Tensor],
    coef: Tensor,
    norm_type: float,
) -> Tensor:
    """Multiply in place; see `Kernels.scale_`. The coefficients, (n,), are none of them 1."""
    cuts = list(map(cut, tensors))
    left = coef[[position for position, pieces in enumerate(cuts) for _ in pieces]]
    norms = []
    for pieces, copies in _copied(cuts):
        share, left = left[: len(pieces)], left[len(pieces) :]
        norms.append(scale_dense_(copies, share, torch.zeros_like(share, dtype=torch.float64), norm_type))
        torch._foreach_copy_(pieces, copies)
    return combine(torch.cat(norms), list(map(len, cuts)), norm_type)


def clamp_(
    clamp_dense_: Callable[[Sequence[Tensor], Tensor, float], Clipped],
    tensors: Sequence[Tensor],
    limit: Tensor,
    norm_type: float,
) -> Clipped:
    """Clamp in place; see `Kernels.clamp_`. A batch with nothing to clamp is not written."""
    cuts = list(map(cut, tensors))
    parts = []
    for pieces, copies in _copied(cuts):
        parts.append(clamp_dense_(copies, limit, norm_type))
        if parts[-1].count.any():
            torch._foreach_copy_(pieces, copies)
    counts = list(map(len, cuts))
    return Clipped(
        before=whole([part.before for part in parts], counts, norm_type),
        norm=combine(torch.cat([part.norm for part in parts]), counts, norm_type),
        count=combine(torch.cat([part.count for part in parts]).double(), counts, 1.0).long(),
    )


def _copied(cuts: Sequence[Sequence[Tensor]]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Pieces a batch at a time, and dense copies of them."""
    for pieces in batches(list(chain(*cuts)), BATCH):
        copies = [torch.empty_like(piece, memory_format=torch.contiguous_format) for piece in pieces]
        torch._foreach_copy_(copies, pieces)
        yield pieces, copies
