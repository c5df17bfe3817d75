"""Tensors cut into pieces, and these into batches, which bounds what temporaries take."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clipcore.kernels import Measured
from clipcore.memory import is_dense

PIECE = 1 << 16  # elements


def cut(tensor: Tensor) -> list[Tensor]:
    """Views of at most PIECE elements that together are the tensor; of the flat memory where it is dense."""
    if tensor.numel() <= PIECE:
        return [tensor] if tensor.numel() else []
    if is_dense(tensor):
        return list(torch.split(tensor.as_strided((tensor.numel(),), (1,)), PIECE))
    longest = max(range(tensor.dim()), key=tensor.size)
    parts = torch.split(tensor, max(1, tensor.size(longest) * PIECE // tensor.numel()), longest)
    return [piece for part in parts for piece in cut(part)]


def batches(pieces: Sequence[Tensor], enough: int) -> Iterator[list[Tensor]]:
    """Runs of pieces of one dtype, each of `enough` elements or little more."""
    batch: list[Tensor] = []
    elements = 0
    for piece in pieces:
        if batch and (elements >= enough or piece.dtype != batch[0].dtype):
            yield batch
            batch, elements = [], 0
        batch.append(piece)
        elements += piece.numel()
    yield batch


def combine(values: Tensor, counts: Sequence[int], norm_type: float) -> Tensor:
    """The p-norm of each run of `counts[i]` values: (sum of counts,) -> (n,)."""
    if len(values) == len(counts):
        return values
    return torch.stack(torch._foreach_norm(torch.split(values, list(counts)), norm_type))


def whole(parts: Sequence[Measured], counts: Sequence[int], norm_type: float) -> Measured:
    """What was measured of pieces, a batch in each part, as of whole tensors, of `counts[i]` pieces each."""
    norm, max_abs, nonfinite = (torch.cat(column) for column in zip(*parts, strict=True))
    return Measured(
        norm=combine(norm, counts, norm_type or 1.0),  # the p = 0 "norm" is a count, and counts add up
        max_abs=combine(max_abs, counts, float("inf")),
        nonfinite=combine(nonfinite.double(), counts, 1.0).long(),
    )
