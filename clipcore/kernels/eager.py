"""The passes in torch's own operations: the reference, and the way wherever the native kernels cannot go.

Norms are taken over pieces of 64 Ki elements in float32, each scaled by the power of two that brings its largest
element near 1, and combined in float64. So nothing overflows or underflows, and no value is read on the host to decide
it. Powers are added by `sum`, which cascades and so is good to 1e-6, where `vector_norm` adds one after the other and
errs by 1e-5. float64 is left as it is: 2e200 overflows at p = 2, as in torch.

Complex tensors are welcome here, and only here: their modulus counts.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from clipcore.kernels import Clipped, Measured
from clipcore.kernels.pieces import batches, cut, whole

name = "eager"

BATCH = 1 << 20  # elements; bounds what temporaries take
BLOCK = 1 << 10  # elements; what count_exponents looks at or leaves
ROUNDINGS = 4  # of a sine, a cosine, their products and a modulus: a clamped one shall not come out above the limit


def measure(tensors: Sequence[Tensor], norm_type: float = 2.0) -> Measured:
    """Read every element once; see `Kernels.measure`."""
    cuts = [cut(tensor if tensor.numel() else tensor.new_zeros(1)) for tensor in tensors]
    parts = [_measure_pieces(batch, norm_type) for batch in batches(list(chain(*cuts)), BATCH)]
    return whole(parts, list(map(len, cuts)), norm_type)


def scale_(tensors: Sequence[Tensor], coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
    """Multiply in place; see `Kernels.scale_`. Not knowing whether a coefficient is 1, it writes the same bits."""
    coef = coef.expand(len(tensors))
    fill = coef < 0
    for tensor, factor, zero in zip(tensors, coef.unbind(), fill.unbind(), strict=True):
        for piece in cut(tensor):
            piece.copy_(torch.where(zero, 0.0, _wide(piece) * factor))
    return torch.where(coef == 1, norm, measure(tensors, norm_type).norm)


def clamp_(tensors: Sequence[Tensor], limit: Tensor, norm_type: float = 2.0) -> Clipped:
    """Clamp in place; see `Kernels.clamp_`."""
    before = measure(tensors, norm_type)
    counts = [sum((_clamp_piece(piece, limit) for piece in cut(tensor)), limit.new_zeros(())) for tensor in tensors]
    return Clipped(before, measure(tensors, norm_type).norm, torch.stack(counts).long())


def clip_units_(tensors: Sequence[Tensor], weights: Sequence[Tensor], clipping: Tensor, eps: Tensor) -> Clipped:
    """Unit-wise clipping in place; see `Kernels.clip_units_`."""
    before = measure(tensors)
    counts = []
    for tensor, weight in zip(tensors, weights, strict=True):
        if tensor.dim() <= 1:
            tensor, weight = tensor.reshape(1, -1), weight.reshape(1, -1)  # views: the whole is the unit
        rows = max(1, BATCH // max(1, tensor[:1].numel()))
        parts = zip(torch.split(tensor, rows), torch.split(weight, rows), strict=True)
        none = clipping.new_zeros(())
        counts.append(sum((_clip_rows(*part, clipping, eps) for part in parts), none) if tensor.numel() else none)
    return Clipped(before, measure(tensors).norm, torch.stack(counts).long())


def count_exponents(tensors: Sequence[Tensor], every: int = 64) -> Tensor:
    """Count float32 exponent bytes and zeros; see `Kernels.count_exponents`."""
    counts = torch.zeros(257, dtype=torch.int64, device=tensors[0].device)
    block = 0  # numbered through all tensors, so that small ones weigh no more than large ones
    for tensor in tensors:
        for piece in cut(tensor):
            blocks = torch.split(piece.reshape(-1), BLOCK)
            for seen in blocks[-block % every :: every]:
                bits = seen.abs().float().view(torch.int32)
                bins = torch.where(bits == 0, 256, bits >> 23)
                counts.scatter_add_(0, bins.long(), torch.ones_like(bins, dtype=torch.int64))
            block += len(blocks)
    return counts


def _wide(piece: Tensor) -> Tensor:
    """The piece in the precision to compute in: float32 at least."""
    return piece.float() if piece.dtype in (torch.float16, torch.bfloat16) else piece


def _measure_pieces(pieces: Sequence[Tensor], norm_type: float) -> Measured:
    """The same of k pieces, (k,) float64."""
    wide = [piece.abs() if piece.is_complex() else _wide(piece) for piece in pieces]
    extremes = [torch.aminmax(piece) for piece in wide]
    peak = torch.stack([extreme.max for extreme in extremes])
    peak = torch.maximum(peak, -torch.stack([extreme.min for extreme in extremes]))
    if 0 < norm_type < float("inf") and peak.dtype == torch.float32:
        scale = _towards_one(peak)
        scaled = torch._foreach_mul(wide, scale.unbind())
        norm = torch.stack([_powers_(piece, norm_type).sum() for piece in scaled]).double() ** (1 / norm_type) / scale
    else:
        norm = torch.stack(torch._foreach_norm(wide, norm_type)).double()
    nonfinite = torch.stack([(piece * 0).count_nonzero() for piece in wide])  # 0 * inf and 0 * NaN are NaN
    return Measured(norm, peak.double(), nonfinite.double())


def _powers_(piece: Tensor, norm_type: float) -> Tensor:
    """|x|^p of float32 elements, in place of them."""
    return piece.square_() if norm_type == 2 else piece.abs_() if norm_type == 1 else piece.abs_().pow_(norm_type)


def _towards_one(peak: Tensor) -> Tensor:
    """The power of two that brings each peak, (k,) float32, near 1; 1 where it is not finite."""
    exponent = torch.where(peak.isfinite(), torch.frexp(peak).exponent, 0)
    return torch.ldexp(torch.ones_like(peak), -exponent.clamp(-126, 126))


def _clamp_piece(piece: Tensor, limit: Tensor) -> Tensor:
    """Clamp in place; the number of elements it changed, 0-d."""
    if piece.is_complex():
        bound = limit.to(piece.real.dtype)
        over = piece.abs() > bound
        within = bound * (1 - ROUNDINGS * torch.finfo(bound.dtype).eps)
        piece.copy_(torch.where(over, torch.polar(within.expand_as(over), piece.angle()), piece))
    else:
        bound = limit.to(piece.dtype)  # rounded as an element would be: what equals it is not changed
        over = piece.abs() > bound
        piece.clamp_(-bound, bound)
    return over.count_nonzero()


def _clip_rows(rows: Tensor, weights: Tensor, clipping: Tensor, eps: Tensor) -> Tensor:
    """Scale rows in place to their bound; the number of rows it scaled, 0-d."""
    norm = _row_norms(rows)
    bound = clipping * _row_norms(weights).clamp(min=eps)
    over = norm > bound
    coef = torch.where(over, bound / norm.clamp(min=1e-6), 1.0)
    wide = _wide(rows)
    rows.copy_(wide * coef.to(wide.real.dtype))
    return over.count_nonzero()


def _row_norms(rows: Tensor) -> Tensor:
    """2-norm over all dimensions but the first, kept as size 1: float64, safe from overflow."""
    wide = rows.abs() if rows.is_complex() else _wide(rows)
    inner = tuple(range(1, rows.dim()))
    peak = torch.linalg.vector_norm(wide, float("inf"), inner, keepdim=True)
    scale = _towards_one(peak.float()).to(wide.dtype)
    return (wide * scale).square_().sum(inner, keepdim=True).double().sqrt() / scale
