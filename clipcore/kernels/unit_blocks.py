"""The Triton kernel of unit-wise clipping (AGC): what one program does with some units of one gradient.

A unit is an output row of the gradient G and of the weight W that it belongs to. A program takes `ROWS` of them, all of
one tensor, and walks them `WIDTH` elements at a time. Partial sums are left as `clipcore.kernels.blocks` describes.
"""

# As in blocks.py:
# ruff: noqa: N803
# mypy: disable-error-code="import-untyped, untyped-decorator, call-overload"

import triton
import triton.language as tl

from clipcore.kernels.blocks import find, kernel, magnitude, not_finite, power, towards_one, wide


@triton.jit
def _unit_sums(x: tl.tensor) -> tl.tensor:
    """float64 sum of squares of each unit in a block; 24 roundings of 2^-24 at most, so norms are good to 7.2e-7."""
    if x.dtype == tl.float64:
        return tl.sum(x * x, 1)
    else:
        scale = towards_one(tl.max(magnitude(x), 1))
        y = x * scale[:, None]
        return tl.sum(y * y, 1).to(tl.float64) / power(scale.to(tl.float64), 2)


@triton.jit
def _measure_units(
    rows: tl.tensor, owned: tl.tensor, length: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Of units that start at (ROWS, 1) pointers: sums of squares (float64), largest magnitudes, non-finite elements."""
    sums = tl.zeros([ROWS], tl.float64)
    largest = magnitude(wide(tl.zeros([ROWS], rows.dtype.element_ty)))
    nonfinite = tl.zeros([ROWS], tl.int32)
    for start in range(0, length, WIDTH):
        offset = start + tl.arange(0, WIDTH)[None, :]
        x = wide(tl.load(rows + offset, mask=owned & (offset < length), other=0.0))
        sums += _unit_sums(x)
        largest = tl.maximum(largest, tl.max(magnitude(x), 1))
        nonfinite += tl.sum(not_finite(x).to(tl.int32), 1)
    return sums, largest, nonfinite


@triton.jit
def _scale_units(
    rows: tl.tensor, chosen: tl.tensor, factor: tl.tensor, length: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr
) -> tl.tensor:
    """Multiply the chosen units in place; their sums of squares as written, (ROWS,) float64, 0 for the others."""
    written = tl.zeros([ROWS], tl.float64)
    for start in range(0, length, WIDTH):
        offset = start + tl.arange(0, WIDTH)[None, :]
        inside = chosen & (offset < length)
        x = wide(tl.load(rows + offset, mask=inside, other=0.0))
        y = (x * factor.to(x.dtype)).to(rows.dtype.element_ty)
        tl.store(rows + offset, y, mask=inside)
        written += _unit_sums(wide(y))
    return written


@kernel
def clip_units(
    table: tl.tensor,
    tensors: tl.tensor,
    clipping: tl.tensor,
    eps: tl.tensor,
    partials: tl.tensor,
    blocks: tl.tensor,
    DTYPE: tl.constexpr,
    WEIGHT: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> None:
    """Clip unit-wise: G_u <- G_u min(1, clipping max(|W_u|, eps) / |G_u|). Bytes: G and W read, clipped units written.

    A block is ROWS units, walked WIDTH elements at a time: once for the norms and, where one is beyond its bound, once
    more to scale (those reads meet the L2 cache). ALIGNED: every unit of the launch starts at a multiple of 16 bytes
    and has a multiple of 16 elements, so that accesses are wide under their mask.
    """
    block = tl.program_id(0)
    tensor = find(table, tensors, block)
    column = table + tensors + 1 + tensor
    grad = tl.load(column + tensors).to(tl.pointer_type(DTYPE))
    weight = tl.load(column + 2 * tensors).to(tl.pointer_type(WEIGHT))
    length = tl.load(column + 4 * tensors)
    if ALIGNED:
        grad = tl.multiple_of(grad, 16)
        weight = tl.multiple_of(weight, 16)
        length = tl.multiple_of(length, 16)
    unit = (block - tl.load(table + tensor)) * ROWS + tl.arange(0, ROWS)[:, None]
    owned = unit < tl.load(column + 3 * tensors)
    sums, largest, nonfinite = _measure_units(grad + unit * length, owned, length, ROWS, WIDTH)
    weight_sums, _, _ = _measure_units(weight + unit * length, owned, length, ROWS, WIDTH)

    norms = tl.sqrt(sums)
    weight_norms = tl.sqrt(weight_sums)
    floor = tl.load(eps).to(tl.float64)
    bound = tl.load(clipping).to(tl.float64) * tl.where(weight_norms < floor, floor, weight_norms)
    beyond = norms > bound
    count = tl.sum(beyond.to(tl.int32), 0)
    written = sums
    if count > 0:
        factor = bound / tl.where(norms < 1e-6, 1e-6, norms)
        scaled = _scale_units(grad + unit * length, beyond[:, None], factor[:, None], length, ROWS, WIDTH)
        written = tl.where(beyond, scaled, sums)

    partial = partials + block
    max_abs = tl.max(largest, 0).to(wide(tl.zeros([1], DTYPE)).dtype, bitcast=True)
    tl.store(partial, tl.sum(sums, 0))
    tl.store(partial + blocks, max_abs)
    tl.store(partial + 2 * blocks, tl.sum(nonfinite, 0))
    tl.store(partial + 3 * blocks, tl.sum(written, 0))
    tl.store(partial + 4 * blocks, count)
