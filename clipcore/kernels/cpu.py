"""The passes in C, for float32, float64, bfloat16 and float16 on the CPU.

Dense memory, in whatever order of dimensions, is read and written as it lies. Tensors with gaps go through dense copies
(`gaps`), subclasses of Tensor through `eager` one by one, and norms other than p = 1, 2 and inf altogether. The work is
cut into chunks that torch's own threads take (`torch.set_num_threads` holds), without the GIL; results do not depend on
how many there are. Floats are added up by eights in float32 and from there in float64, so a norm is good to 3e-7 at
worst and to 1e-9 over a million elements; float32 norms neither overflow nor underflow, and float64 ones overflow as
torch's do.
"""

import math
from collections.abc import Sequence
from itertools import compress
from operator import not_

import torch
from torch import Tensor

from clipcore.inplace import mark_written
from clipcore.kernels import Clipped, Measured, eager, gaps

try:
    from clipcore.kernels import _cpu
except ImportError as error:
    raise ImportError("the C extension is not built; reinstall clipcore with a C compiler at hand") from error

name = "cpu"


def _bind() -> tuple[bool, bool]:
    with torch.inference_mode():
        inference = torch.empty(0)
    with torch.inference_mode(False):
        parameter, gradient = torch.nn.Parameter(torch.empty(0)), torch.empty(0)
    parameter.grad = gradient
    return _cpu.bind(torch._C.__file__, parameter, gradient, inference)


pooled, direct = _bind()
"""Whether torch's thread pool was found, without which the passes run on the calling thread; and whether its C++
functions tell which gradients there are, without which attributes do, more slowly."""

POWERS = {math.inf: 0, 1.0: 1, 2.0: 2}  # p -> the number that C knows it by


def measure(tensors: Sequence[Tensor], norm_type: float = 2.0) -> Measured:
    """Read every element once; see `Kernels.measure`."""
    if norm_type not in POWERS:
        return eager.measure(tensors, norm_type)
    rows = torch.empty(3, len(tensors), dtype=torch.float64, device="cpu")
    left, _ = _cpu.measure(tensors, POWERS[norm_type], rows)
    measured = _measured(rows)
    if left:
        gapped, odd = _parted(tensors, left)
        if gapped:
            _merge(measured, gapped, gaps.measure(measure, _pick(tensors, gapped), norm_type))
        if odd:
            _merge(measured, odd, eager.measure(_pick(tensors, odd), norm_type))
    return measured


def scale_(tensors: Sequence[Tensor], coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
    """Multiply in place; see `Kernels.scale_`. A tensor whose coefficient is 1 costs nothing, and neither do all."""
    if norm_type not in POWERS:
        return eager.scale_(tensors, coef, norm, norm_type)
    if coef.dim() == 0 and coef.item() == 1:
        return norm
    written_norm = torch.empty(len(tensors), dtype=torch.float64, device="cpu")
    coef, norm = coef.double().contiguous(), norm.contiguous()
    left, written = _cpu.scale(tensors, coef, norm, POWERS[norm_type], written_norm)
    mark_written(written)
    if left:
        written_norm[left] = norm[left]
        coefs = coef.expand(len(tensors))
        known = coefs.tolist()
        gapped, odd = _parted(tensors, [i for i in left if known[i] != 1])  # those that are 1 stay unwritten
        if gapped:
            written_norm[gapped] = gaps.scale_(scale_, _pick(tensors, gapped), coefs[gapped], norm_type)
        if odd:
            written_norm[odd] = eager.scale_(_pick(tensors, odd), coefs[odd], norm[odd], norm_type)
    return written_norm


def clamp_(tensors: Sequence[Tensor], limit: Tensor, norm_type: float = 2.0) -> Clipped:
    """Clamp, count and measure in one pass; see `Kernels.clamp_`. A tensor with nothing to clamp is not written."""
    if norm_type not in POWERS:
        return eager.clamp_(tensors, limit, norm_type)
    rows = torch.empty(5, len(tensors), dtype=torch.float64, device="cpu")
    left, written = _cpu.clamp(tensors, limit.double(), POWERS[norm_type], rows)
    mark_written(written)
    clipped = _clipped(rows)
    if left:
        gapped, odd = _parted(tensors, left)
        if gapped:
            _merge_clipped(clipped, gapped, gaps.clamp_(clamp_, _pick(tensors, gapped), limit, norm_type))
        if odd:
            _merge_clipped(clipped, odd, eager.clamp_(_pick(tensors, odd), limit, norm_type))
    return clipped


def clip_units_(tensors: Sequence[Tensor], weights: Sequence[Tensor], clipping: Tensor, eps: Tensor) -> Clipped:
    """Unit-wise clipping in one pass over gradients and weights; see `Kernels.clip_units_`.

    A tensor goes the eager way when its units are not runs of memory, as the rows of a transposed matrix.
    """
    rows = torch.empty(5, len(tensors), dtype=torch.float64, device="cpu")
    left, written = _cpu.clip_units(tensors, weights, clipping.double(), eps.double(), rows)
    mark_written(written)
    clipped = _clipped(rows)
    if left:
        _merge_clipped(clipped, left, eager.clip_units_(_pick(tensors, left), _pick(weights, left), clipping, eps))
    return clipped


def count_exponents(tensors: Sequence[Tensor], every: int = 64) -> Tensor:
    """Count float32 exponent bytes and zeros; see `Kernels.count_exponents`."""
    counts = torch.empty(257, dtype=torch.float64, device="cpu")
    left, _ = _cpu.count_exponents(tensors, every, counts)
    counts = counts.view(torch.int64)
    return counts + eager.count_exponents(_pick(tensors, left), every) if left else counts


def gather(tensors: Sequence[Tensor], *, gradients: bool) -> tuple[Sequence[Tensor], Sequence[int], int, bool] | None:
    """Tensors or their gradients, if each is plain memory and no two share any.

    Returns:
        The tensors or gradients, the positions of those that have one, how many elements that is, and whether one is
        float64; None when it takes a closer look.
    """
    return _cpu.gather(tensors, gradients)


def _parted(tensors: Sequence[Tensor], left: list[int]) -> tuple[list[int], list[int]]:
    """Of what C has left: the positions of plain tensors, which have gaps, and of others."""
    plain = [type(tensors[i]) in (Tensor, torch.nn.Parameter) for i in left]
    return list(compress(left, plain)), list(compress(left, map(not_, plain)))


def _pick(tensors: Sequence[Tensor], positions: Sequence[int]) -> list[Tensor]:
    return [tensors[i] for i in positions]


def _measured(rows: Tensor) -> Measured:
    """(3, n) float64 as C filled it; the third row holds int64."""
    norm, max_abs, nonfinite = rows.unbind()  # each operation costs 10 us on a cold cache
    return Measured(norm, max_abs, nonfinite.view(torch.int64))


def _clipped(rows: Tensor) -> Clipped:
    """(5, n) float64 as C filled it; the third and the last row hold int64."""
    norm, max_abs, nonfinite, written_norm, count = rows.unbind()
    return Clipped(Measured(norm, max_abs, nonfinite.view(torch.int64)), written_norm, count.view(torch.int64))


def _merge(into: Measured, positions: list[int], measured: Measured) -> None:
    for column, values in zip(into, measured, strict=True):
        column[positions] = values


def _merge_clipped(into: Clipped, positions: list[int], clipped: Clipped) -> None:
    _merge(into.before, positions, clipped.before)
    into.norm[positions] = clipped.norm
    into.count[positions] = clipped.count
