"""The passes on a GPU, as Triton kernels: one launch a pass and dtype, whatever the number of tensors.

Each pass runs one program for every block of every tensor (`clipcore.kernels.blocks`), which finds its tensor in a
table of addresses (`clipcore.kernels.addresses`), and then a small launch that folds the blocks' partial sums. Nothing
is read on the host and all memory comes from torch's allocator, so a pass can be captured in a CUDA graph once an
ordinary call has compiled it.

Dense memory in any permutation is flat memory. Tensors with gaps, and norm types but 1, 2 and inf, go to `eager`.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from typing import Any, TypeVar

import torch
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from clipcore.inplace import mark_written
from clipcore.kernels import Clipped, Measured, blocks, eager, unit_blocks
from clipcore.kernels.addresses import Table, address_table
from clipcore.memory import is_dense
from clipcore.upload import kept_on_device

name = "triton"

NORMS = {1.0: 1, 2.0: 2, float("inf"): 0}  # norm types, as the kernels call them
DTYPES = {torch.float32: tl.float32, torch.float64: tl.float64, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
WIDTHS = (16, 64, 256, 1024, 4096)  # elements of a unit that a program takes at a time; few, as each is a launch

Kind = TypeVar("Kind", bound=Hashable)


def measure(tensors: Sequence[Tensor], norm_type: float = 2.0) -> Measured:
    """Read every element once; see `Kernels.measure`."""
    if norm_type not in NORMS:
        return eager.measure(tensors, norm_type)
    result = _Result(tensors)
    tables, others = _flat_tables(tensors)
    for dtype, table in tables:
        partials = _partials(table)
        kinds = {"DTYPE": DTYPES[dtype], "NORM": NORMS[norm_type]}
        _launch(blocks.measure, table.blocks, *_of(table), partials, table.blocks, **kinds)
        result.fold(table, partials, norm_type, clipped=False)
    for slot in others:
        result.put(slot, eager.measure([tensors[slot]], norm_type))
    return result.clipped().before


def scale_(tensors: Sequence[Tensor], coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
    """Multiply in place; see `Kernels.scale_`."""
    if norm_type not in NORMS:
        return eager.scale_(tensors, coef, norm, norm_type)
    coef = coef.expand(len(tensors))
    norm = norm.contiguous()
    written = torch.empty_like(norm)
    tables, others = _flat_tables(tensors)
    for dtype, table in tables:
        sums = _partials(table)[0]
        factors = coef, coef.stride(0)
        kinds = {"DTYPE": DTYPES[dtype], "NORM": NORMS[norm_type]}
        _launch(blocks.scale, table.blocks, *_of(table), *factors, sums, **kinds)
        _launch(blocks.fold_scaled, table.tensors, *_of(table), *factors, norm, sums, written, num_warps=4, **kinds)
    for slot in others:
        written[slot] = eager.scale_([tensors[slot]], coef[slot], norm[slot : slot + 1], norm_type)[0]
    mark_written(tensors)
    return written


def clamp_(tensors: Sequence[Tensor], limit: Tensor, norm_type: float = 2.0) -> Clipped:
    """Clamp in place; see `Kernels.clamp_`."""
    if norm_type not in NORMS:
        return eager.clamp_(tensors, limit, norm_type)
    result = _Result(tensors)
    tables, others = _flat_tables(tensors)
    for dtype, table in tables:
        partials = _partials(table)
        kinds = {"DTYPE": DTYPES[dtype], "NORM": NORMS[norm_type]}
        _launch(blocks.clamp, table.blocks, *_of(table), limit.to(dtype), partials, table.blocks, **kinds)
        result.fold(table, partials, norm_type, clipped=True)
    for slot in others:
        result.put(slot, eager.clamp_([tensors[slot]], limit, norm_type))
    mark_written(tensors)
    return result.clipped()


def clip_units_(tensors: Sequence[Tensor], weights: Sequence[Tensor], clipping: Tensor, eps: Tensor) -> Clipped:
    """Unit-wise clipping in place; see `Kernels.clip_units_`."""
    result = _Result(tensors)
    tables, others = _upload_units(tensors[0].device, tuple(map(_describe_units, tensors, weights)))
    for (dtype, weight_dtype, width, aligned), table in tables:
        partials = _partials(table)
        kinds = {"DTYPE": DTYPES[dtype], "WEIGHT": DTYPES[weight_dtype], "WIDTH": width, "ALIGNED": aligned}
        arguments = *_of(table), clipping, eps, partials, table.blocks
        _launch(unit_blocks.clip_units, table.blocks, *arguments, ROWS=_rows(width), **kinds)
        result.fold(table, partials, 2.0, clipped=True)
    for slot in others:
        result.put(slot, eager.clip_units_([tensors[slot]], [weights[slot]], clipping, eps))
    mark_written(tensors)
    return result.clipped()


def count_exponents(tensors: Sequence[Tensor], every: int = 64) -> Tensor:
    """Count float32 exponent bytes and zeros; see `Kernels.count_exponents`."""
    counts = torch.zeros(257, dtype=torch.int64, device=tensors[0].device)
    tables, others = _flat_tables(tensors, block=blocks.LOOK.value, line=1)
    for dtype, table in tables:
        looks = -(-table.blocks // every)
        _launch(blocks.count_exponents, looks, *_of(table), counts, every, DTYPE=DTYPES[dtype], num_warps=4)
    if others:
        counts += eager.count_exponents([tensors[slot] for slot in others], every)
    return counts


class _Result:
    """The numbers of n tensors, as `blocks.fold` leaves them: norm, max |g|, norm as written; non-finite, clipped."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        n, device = len(tensors), tensors[0].device
        self.floats = torch.empty(3, n, dtype=torch.float64, device=device)
        self.counts = torch.empty(2, n, dtype=torch.int64, device=device)

    def fold(self, table: Table, partials: Tensor, norm_type: float, *, clipped: bool) -> None:
        """Fold the partial sums of a table's tensors into their slots."""
        arguments = *_of(table), partials, table.blocks, self.floats, self.counts, self.floats.shape[1]
        _launch(blocks.fold, table.tensors, *arguments, NORM=NORMS[norm_type], CLIPPED=clipped, num_warps=4)

    def put(self, slot: int, alone: Measured | Clipped) -> None:
        """Fill one slot with what `eager` says of that tensor alone."""
        if isinstance(alone, Clipped):
            self.put(slot, alone.before)
            self.floats[2, slot], self.counts[1, slot] = alone.norm[0], alone.count[0]
        else:
            self.floats[0, slot], self.floats[1, slot], self.counts[0, slot] = (number[0] for number in alone)

    def clipped(self) -> Clipped:
        """All of it."""
        norm, max_abs, written = self.floats
        nonfinite, count = self.counts
        return Clipped(Measured(norm, max_abs, nonfinite), written, count)


def _launch(kernel: Any, programs: int, *arguments: Any, num_warps: int = 8, **constants: Any) -> None:
    """Queue a kernel on the current stream of the table's device."""
    with torch.cuda.device_of(arguments[0]):
        # Fusion is asked for outright because its default depends on Triton's version.
        kernel[(programs,)](*arguments, **constants, num_warps=num_warps, enable_fp_fusion=True)


def _of(table: Table) -> tuple[Tensor, int]:
    return table.data, table.tensors


def _partials(table: Table) -> Tensor:
    """Room for the partial sums of each block, written before they are read."""
    return torch.empty(5, table.blocks, dtype=torch.float64, device=table.data.device)


def _group(kinds: Iterable[Kind | None]) -> tuple[dict[Kind, list[int]], list[int]]:
    """Slots by kind, and those without one."""
    slots: dict[Kind, list[int]] = defaultdict(list)
    others: list[int] = []
    for slot, kind in enumerate(kinds):
        (others if kind is None else slots[kind]).append(slot)
    return slots, others


Tables = tuple[tuple[Kind, Table], ...]
Slots = Sequence[int]


def _flat_tables(
    tensors: Sequence[Tensor], block: int = blocks.BLOCK.value, line: int = blocks.LINE.value
) -> tuple[Tables[torch.dtype], Slots]:
    """Tables of the tensors that are flat memory, one for each dtype; the slots of the others."""
    # map() over torch's own methods: with a thousand tensors, a line of Python for each would cost a millisecond.
    dense = repeat(True) if all(map(Tensor.is_contiguous, tensors)) else map(is_dense, tensors)
    dtypes = tuple(tensor.dtype if flat else None for tensor, flat in zip(tensors, dense, strict=False))
    addresses, sizes = tuple(map(Tensor.data_ptr, tensors)), tuple(map(Tensor.numel, tensors))
    return _upload_flat(tensors[0].device, dtypes, addresses, sizes, block, line)


@kept_on_device
def _upload_flat(
    device: torch.device,
    dtypes: Sequence[torch.dtype | None],
    addresses: Sequence[int],
    sizes: Sequence[int],
    block: int,
    line: int,
) -> tuple[Tables[torch.dtype], Slots]:
    """Columns: slot, address, elements. Blocks are counted from the *line* of memory that a tensor starts in."""
    slots, others = _group(dtype if dtype in DTYPES else None for dtype in dtypes)
    tables = []
    for dtype, chosen in slots.items():
        starts, counts = [addresses[slot] for slot in chosen], [sizes[slot] for slot in chosen]
        spans = (n and start % line // dtype.itemsize + n for start, n in zip(starts, counts, strict=True))
        tables.append((dtype, address_table(device, [-(-span // block) for span in spans], chosen, starts, counts)))
    return tuple(tables), others


UnitKind = tuple[torch.dtype, torch.dtype, int, bool]  # of gradient, of weight, WIDTH, ALIGNED
Units = tuple[UnitKind | None, int, int, int, int]  # kind if it is known here, both addresses, units, elements of each


def _rows(width: int) -> int:
    """How many units a program takes; more than 64 of the smallest would not fit its registers."""
    return min(WIDTHS[-1] // width, 64)


def _describe_units(tensor: Tensor, weight: Tensor) -> Units:
    """Units are output rows; the whole below two dimensions."""
    units = tensor.size(0) if tensor.dim() > 1 else 1
    length = tensor.numel() // max(units, 1)
    addresses = tensor.data_ptr(), weight.data_ptr()
    kind = None
    if {tensor.dtype, weight.dtype} <= DTYPES.keys() and all(_is_flat(x, units, length) for x in (tensor, weight)):
        width = next((width for width in WIDTHS if width >= length), WIDTHS[-1])
        kind = tensor.dtype, weight.dtype, width, (addresses[0] | addresses[1] | length) % 16 == 0
    return kind, *addresses, units, length


def _is_flat(tensor: Tensor, units: int, length: int) -> bool:
    """Whether unit after unit is one stretch of memory; the order inside a unit does not matter."""
    return is_dense(tensor) and (units <= 1 or length == 0 or tensor.stride(0) == length)


@kept_on_device
def _upload_units(device: torch.device, described: Sequence[Units]) -> tuple[Tables[UnitKind], Slots]:
    """Columns: slot, the gradient's and the weight's address, units, elements of a unit."""
    slots, others = _group(kind for kind, *_ in described)
    tables = []
    for kind, chosen in slots.items():
        _, *columns = zip(*(described[slot] for slot in chosen), strict=True)
        units, lengths = columns[2:]
        rows = _rows(kind[2])
        spans = (n if length else 0 for n, length in zip(units, lengths, strict=True))
        tables.append((kind, address_table(device, [-(-span // rows) for span in spans], chosen, *columns)))
    return tuple(tables), others
