"""Address tables: what one GPU launch needs to walk any number of tensors.

A table is a single int64 tensor on the device: `first[n + 1]`, the prefix sums of the blocks that each of n tensors is
cut into, followed by columns of n numbers (addresses, sizes, ...). A program finds its tensor by a binary search in
`first`, so a table takes 8 bytes per column and tensor, however large the tensors are.

Tables are cached by what they hold, which is only addresses and sizes: gradients that stay where they are cost no
upload. When they move, the new table is one copy from pinned memory that nobody waits for; torch's host allocator keeps
the pinned block until the copy is done. A cached table belongs to one stream, whose readers are queued behind the copy.

While a CUDA graph is captured nothing runs, so a table made now is filled by every replay and not before, and one from
the cache could be evicted under the graph. Each pass of a capture therefore gets tables of its own, whose copy becomes
part of the graph (some 40 bytes a tensor on each replay) and reads host memory that must outlive the graph, hence
`_captured`. That memory is not pinned, because torch before 2.11 cannot pin while it captures.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, wraps
from itertools import accumulate, chain
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_captured: list[Tensor] = []  # host tables that CUDA graphs copy from; a graph does not say when it dies


class Table(NamedTuple):
    """n tensors cut into blocks, as the device sees them."""

    data: Tensor  # (n + 1 + n * columns,) int64: first[n + 1], then the columns
    tensors: int
    blocks: int


def upload(device: torch.device, blocks: Sequence[int], *columns: Sequence[int]) -> Table:
    """Make the table of tensors cut into so many *blocks* each, without waiting for the device.

    >>> upload(torch.device("cpu"), [2, 1], [0, 1], [4096, 8192]).data.tolist()
    [0, 2, 3, 0, 1, 4096, 8192]
    """
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    numbers = [*accumulate(blocks, initial=0), *chain(*columns)]
    host = torch.tensor(numbers, dtype=torch.int64, pin_memory=device.type == "cuda" and not capturing)
    if capturing:
        _captured.append(host)
    return Table(host.to(device, non_blocking=True), tensors=len(blocks), blocks=sum(blocks))


def cached_on_device(build: Callable[..., T]) -> Callable[..., T]:
    """Cache what *build*(device, *key) uploads, for the device's current stream; but not while it captures."""

    @lru_cache(maxsize=32)
    def on_stream(_stream: int, device: torch.device, *key: Hashable) -> T:
        return build(device, *key)

    @wraps(build)
    def look_up(device: torch.device, *key: Hashable) -> T:
        if device.type != "cuda":
            return on_stream(0, device, *key)
        with torch.cuda.device(device):
            if torch.cuda.is_current_stream_capturing():
                return build(device, *key)
            return on_stream(torch.cuda.current_stream().cuda_stream, device, *key)

    return look_up
