"""Triton kernels: what one program does with one block of one tensor.

A block is 8192 consecutive elements in rows of 4 KiB, so that each of 256 threads reads 16 bytes of a row and holds
the same columns of every row: summing over rows needs no communication. With two programs or more on a multiprocessor
at a time, 32 to 128 KiB are in flight there, where an H200 needs 25 KiB to saturate its memory (4.8 TB/s x 0.7 us of
latency / 132). Sizes are reasoned, and checked in the compiled code (tests/clipcore/kernels/test_blocks.py), rather
than autotuned, which would run in-place kernels over and over on live gradients.

Blocks start at cache lines of the memory, not at a tensor's first element: views aligned to their element only (the
parameters of a bucket) are read in 16-byte accesses all the same, and just the first and the last block of a tensor
are masked. A masked access is as narrow as an element, hence the branch without a mask.

float32 squares overflow above 1.8e19 and lose bits below 1e-19. So each block is scaled by the power of two that brings
its largest element near 1, which rounds nothing. Then 4 or 8 rows are added in float32 and the rest in float64: at most
8 roundings of 2^-24, so a 2-norm is off by less than 2.4e-7. (float64 throughout would do on an H200, but costs 64
times float32 on the GPUs most people have.)

Partial sums are float64, a column for each block. Rows: 0 the sum of |g|^p (or the largest, p = inf), 1 the largest
|g|, 2 the number of non-finite elements, 3 the sum of |g|^p as written, 4 how many were clipped. `fold` adds them up in
a fixed order; without float atomics a run repeats to the bit.

`NORM` is 1, 2, or 0 for infinity; `DTYPE` is the gradients'.
"""

# Triton writes compile-time constants in capitals, has no types, and its range() takes tensors:
# ruff: noqa: N803, N806, SIM300
# mypy: disable-error-code="import-untyped, untyped-decorator, call-overload"

import triton
import triton.language as tl

BLOCK = tl.constexpr(8192)  # elements
ROW = tl.constexpr(4096)  # bytes, of 256 threads
LINE = tl.constexpr(128)  # bytes of a cache line
FOLD = tl.constexpr(1024)  # partial sums that are folded at a time
LOOK = tl.constexpr(1024)  # elements of a block that is counted or left

# Numbers, and scalars read through a pointer: their value or alignment must not compile another variant.
kernel = triton.jit(
    do_not_specialize=["tensors", "blocks", "n", "every", "coef", "stride", "norm", "limit", "clipping", "eps"]
)


@triton.jit
def find(table: tl.tensor, tensors: tl.tensor, block: tl.tensor) -> tl.tensor:
    """The tensor that a block belongs to: the last whose first block is not beyond it."""
    low = 0
    high = tensors - 1
    while low < high:
        middle = (low + high + 1) // 2
        here = tl.load(table + middle) <= block
        low = tl.where(here, middle, low)
        high = tl.where(here, high, middle - 1)
    return low


@triton.jit
def _block(
    table: tl.tensor, tensors: tl.tensor, DTYPE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """This program's block: a pointer to it, where in it the tensor begins and ends; the tensor's slot."""
    block = tl.program_id(0)
    tensor = find(table, tensors, block)
    column = table + tensors + 1 + tensor
    address = tl.load(column + tensors)
    past_line = address & (LINE - 1)
    line = tl.multiple_of((address - past_line).to(tl.pointer_type(DTYPE)), LINE)
    start = (block - tl.load(table + tensor)) * BLOCK  # int64: tensors may pass 2^31 elements
    before = past_line // (DTYPE.primitive_bitwidth // 8) - start  # elements of the block ahead of the tensor
    begin = tl.maximum(before, 0).to(tl.int32)
    end = tl.minimum(before + tl.load(column + 2 * tensors), BLOCK).to(tl.int32)
    return line + start, begin, end, tl.load(column)


@triton.jit
def _offsets(DTYPE: tl.constexpr) -> tl.tensor:
    """The elements of a block, (rows, lanes)."""
    LANES: tl.constexpr = ROW // (DTYPE.primitive_bitwidth // 8)
    return tl.arange(0, BLOCK // LANES)[:, None] * LANES + tl.arange(0, LANES)[None, :]


@triton.jit
def wide(x: tl.tensor) -> tl.tensor:
    """In the precision to compute in: float64 stays, the rest is float32."""
    return x if x.dtype == tl.float64 else x.to(tl.float32)


@triton.jit
def _load(block: tl.tensor, begin: tl.tensor, end: tl.tensor) -> tl.tensor:
    """Wide elements of a block, 0 where they are not the tensor's."""
    offset = _offsets(block.dtype.element_ty)
    if end - begin == BLOCK:
        x = tl.load(block + offset)
    else:
        x = tl.load(block + offset, mask=(offset >= begin) & (offset < end), other=0.0)
    return wide(x)


@triton.jit
def _store(block: tl.tensor, x: tl.tensor, begin: tl.tensor, end: tl.tensor) -> None:
    """Write a block, but nothing that is not the tensor's."""
    offset = _offsets(block.dtype.element_ty)
    if end - begin == BLOCK:
        tl.store(block + offset, x)
    else:
        tl.store(block + offset, x, mask=(offset >= begin) & (offset < end))


@triton.jit
def magnitude(x: tl.tensor) -> tl.tensor:
    """The bits of |x| as integers, which are ordered as |x| is, with NaN above infinity."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
    else:
        return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def towards_one(bits: tl.tensor) -> tl.tensor:
    """The power of two that brings a float32 of this magnitude into [1, 2), or as near as float32 has one."""
    exponent = tl.minimum(tl.maximum(254 - (bits >> 23), 1), 254)
    return (exponent << 23).to(tl.float32, bitcast=True)


@triton.jit
def power(x: tl.tensor, NORM: tl.constexpr) -> tl.tensor:
    """What a p-norm sums."""
    return tl.abs(x) if NORM == 1 else x * x


@triton.jit
def _norm_sum(x: tl.tensor, largest: tl.tensor, NORM: tl.constexpr) -> tl.tensor:
    """float64 sum of |x|^p over a block of this largest magnitude; for p = inf, the largest itself."""
    if NORM == 0:
        return largest.to(x.dtype, bitcast=True).to(tl.float64)
    elif x.dtype == tl.float64:
        return tl.sum(tl.sum(power(x, NORM), 0), 0)
    else:
        scale = towards_one(largest)
        lanes = tl.sum(power(x * scale, NORM), 0)
        return tl.sum(lanes.to(tl.float64), 0) / power(scale.to(tl.float64), NORM)


@triton.jit
def _count(chosen: tl.tensor) -> tl.tensor:
    return tl.sum(tl.sum(chosen.to(tl.int32), 0), 0)


@triton.jit
def not_finite(x: tl.tensor) -> tl.tensor:
    """Where elements are NaN or infinite."""
    return (tl.abs(x) < float("inf")) == 0


@triton.jit
def _measure(x: tl.tensor, partials: tl.tensor, blocks: tl.tensor, NORM: tl.constexpr) -> None:
    """Leave rows 0 to 2 of this block's partial sums."""
    largest = tl.max(tl.max(magnitude(x), 0), 0)
    max_abs = largest.to(x.dtype, bitcast=True).to(tl.float64)
    nonfinite = 0
    if not_finite(max_abs):
        nonfinite = _count(not_finite(x))
    column = partials + tl.program_id(0)
    tl.store(column, _norm_sum(x, largest, NORM))
    tl.store(column + blocks, max_abs)
    tl.store(column + 2 * blocks, nonfinite)


@triton.jit
def _measure_written(y: tl.tensor, sums: tl.tensor, NORM: tl.constexpr) -> None:
    """Leave the sum of |g|^p of the elements as they were rounded to be written."""
    largest = tl.max(tl.max(magnitude(wide(y)), 0), 0)
    tl.store(sums + tl.program_id(0), _norm_sum(wide(y), largest, NORM))


@triton.jit
def _factor(coef: tl.tensor, index: tl.tensor, DTYPE: tl.constexpr) -> tl.tensor:
    """A coefficient in the precision that elements are multiplied in."""
    return tl.load(coef + index).to(tl.float64 if DTYPE == tl.float64 else tl.float32)


@kernel
def measure(
    table: tl.tensor,
    tensors: tl.tensor,
    partials: tl.tensor,
    blocks: tl.tensor,
    DTYPE: tl.constexpr,
    NORM: tl.constexpr,
) -> None:
    """Sum of |g|^p, max |g| and the number of non-finite elements. Bytes: G read."""
    block, begin, end, _ = _block(table, tensors, DTYPE)
    _measure(_load(block, begin, end), partials, blocks, NORM)


@kernel
def scale(
    table: tl.tensor,
    tensors: tl.tensor,
    coef: tl.tensor,
    stride: tl.tensor,
    sums: tl.tensor,
    DTYPE: tl.constexpr,
    NORM: tl.constexpr,
) -> None:
    """Scale: g <- coef g, or 0 where coef < 0. Bytes: G read, G written; none where coef is 1, as the device finds."""
    block, begin, end, slot = _block(table, tensors, DTYPE)
    factor = _factor(coef, slot * stride, DTYPE)
    if factor != 1:
        x = _load(block, begin, end)
        y = tl.where(factor < 0, 0.0, x * factor).to(DTYPE)
        _store(block, y, begin, end)
        _measure_written(y, sums, NORM)


@kernel
def clamp(
    table: tl.tensor,
    tensors: tl.tensor,
    limit: tl.tensor,
    partials: tl.tensor,
    blocks: tl.tensor,
    DTYPE: tl.constexpr,
    NORM: tl.constexpr,
) -> None:
    """Clamp: g <- min(max(g, -limit), limit), NaN kept. Bytes: G read; blocks with an element beyond are written."""
    block, begin, end, _ = _block(table, tensors, DTYPE)
    x = _load(block, begin, end)
    _measure(x, partials, blocks, NORM)
    bound = wide(tl.load(limit))
    beyond = tl.abs(x) > bound
    count = _count(beyond)
    y = tl.where(beyond, tl.where(x < 0, -bound, bound), x).to(DTYPE)
    if count > 0:
        _store(block, y, begin, end)
    _measure_written(y, partials + 3 * blocks, NORM)
    tl.store(partials + 4 * blocks + tl.program_id(0), count)


@triton.jit
def _fold_in(so_far: tl.tensor, values: tl.tensor, inside: tl.tensor, NORM: tl.constexpr) -> tl.tensor:
    """Partial sums added to those so far, lane by lane; for p = inf the larger, as bits so that NaN wins."""
    value = tl.load(values, mask=inside, other=0.0)
    if NORM == 0:
        return tl.maximum(magnitude(so_far), magnitude(value)).to(tl.float64, bitcast=True)
    else:
        return so_far + value


@triton.jit
def _root(sums: tl.tensor, NORM: tl.constexpr) -> tl.tensor:
    """The p-norm of a tensor from its folded partial sums, (FOLD,) float64."""
    if NORM == 0:
        return tl.max(magnitude(sums), 0).to(tl.float64, bitcast=True)
    elif NORM == 1:
        return tl.sum(sums, 0)
    else:
        return tl.sqrt(tl.sum(sums, 0))


@kernel
def fold(
    table: tl.tensor,
    tensors: tl.tensor,
    partials: tl.tensor,
    blocks: tl.tensor,
    floats: tl.tensor,
    counts: tl.tensor,
    n: tl.tensor,
    NORM: tl.constexpr,
    CLIPPED: tl.constexpr,
) -> None:
    """One tensor's partial sums into floats (3, n): norm, max |g|, norm as written; counts (2, n): non-finite, clipped.

    CLIPPED: rows 3 and 4 are there too. Bytes: 24 or 40 for each block.
    """
    tensor = tl.program_id(0)
    zeros = tl.zeros([FOLD], tl.float64)
    sums = zeros
    largest = zeros
    nonfinite = zeros
    written = zeros
    clipped = zeros
    last = tl.load(table + tensor + 1)
    for start in range(tl.load(table + tensor), last, FOLD):
        block = start + tl.arange(0, FOLD)
        inside = block < last
        sums = _fold_in(sums, partials + block, inside, NORM)
        largest = _fold_in(largest, partials + blocks + block, inside, 0)
        nonfinite = _fold_in(nonfinite, partials + 2 * blocks + block, inside, 1)
        if CLIPPED:
            written = _fold_in(written, partials + 3 * blocks + block, inside, NORM)
            clipped = _fold_in(clipped, partials + 4 * blocks + block, inside, 1)
    slot = tl.load(table + tensors + 1 + tensor)
    tl.store(floats + slot, _root(sums, NORM))
    tl.store(floats + n + slot, _root(largest, 0))
    tl.store(counts + slot, tl.sum(nonfinite, 0))
    if CLIPPED:
        tl.store(floats + 2 * n + slot, _root(written, NORM))
        tl.store(counts + n + slot, tl.sum(clipped, 0))


@kernel
def fold_scaled(
    table: tl.tensor,
    tensors: tl.tensor,
    coef: tl.tensor,
    stride: tl.tensor,
    norm: tl.tensor,
    sums: tl.tensor,
    written: tl.tensor,
    DTYPE: tl.constexpr,
    NORM: tl.constexpr,
) -> None:
    """One tensor's norm as `scale` wrote it, or the measured one where it wrote nothing. Bytes: 8 for each block."""
    tensor = tl.program_id(0)
    slot = tl.load(table + tensors + 1 + tensor)
    value = tl.load(norm + slot)
    if _factor(coef, slot * stride, DTYPE) != 1:
        folded = tl.zeros([FOLD], tl.float64)
        last = tl.load(table + tensor + 1)
        for start in range(tl.load(table + tensor), last, FOLD):
            block = start + tl.arange(0, FOLD)
            folded = _fold_in(folded, sums + block, block < last, NORM)
        value = _root(folded, NORM)
    tl.store(written + slot, value)


@kernel
def count_exponents(
    table: tl.tensor, tensors: tl.tensor, counts: tl.tensor, every: tl.tensor, DTYPE: tl.constexpr
) -> None:
    """Histogram of the float32 exponent byte, and of zeros in bin 256. Bytes: G / every read.

    Integer atomics: whatever their order, the counts are the same. Elements outside the tensor fall in bin 511.
    """
    block = tl.program_id(0) * every
    tensor = find(table, tensors, block)
    column = table + tensors + 1 + tensor
    offset = (block - tl.load(table + tensor)) * LOOK + tl.arange(0, LOOK)
    inside = offset < tl.load(column + 2 * tensors)
    pointers = tl.load(column + tensors).to(tl.pointer_type(DTYPE)) + offset
    bits = magnitude(tl.load(pointers, mask=inside, other=0.0).to(tl.float32))
    bins = tl.where(inside, tl.where(bits == 0, 256, bits >> 23), 511)
    seen = tl.histogram(bins, 512)
    index = tl.arange(0, 512)
    tl.atomic_add(counts + index, seen.to(tl.int64), mask=(seen > 0) & (index < 257), sem="relaxed")
