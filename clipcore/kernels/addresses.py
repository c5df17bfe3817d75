"""Address tables: what one GPU launch needs to walk any number of tensors.

A table is a single int64 tensor on the device: `first[n + 1]`, the prefix sums of the blocks that each of n tensors is
cut into, followed by columns of n numbers (addresses, sizes, ...). A program finds its tensor by a binary search in
`first`, so a table takes 8 bytes per column and tensor, however large the tensors are.

Tables hold only addresses and sizes, and are kept by what they hold (`clipcore.upload`): gradients that stay where they
are cost no upload, and when they move the new table is one copy that nobody waits for. A CUDA graph has tables of its
own, some 40 bytes a tensor for each pass, which every replay copies again.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import torch
from torch import Tensor

from clipcore.upload import upload


class Table(NamedTuple):
    """n tensors cut into blocks, as the device sees them."""

    data: Tensor  # (n + 1 + n * columns,) int64: first[n + 1], then the columns
    tensors: int
    blocks: int


def address_table(device: torch.device, blocks: Sequence[int], *columns: Sequence[int]) -> Table:
    """Upload the table of tensors that are cut into so many *blocks* each.

    >>> address_table(torch.device("cpu"), [2, 1], [0, 1], [4096, 8192]).data.tolist()
    [0, 2, 3, 0, 1, 4096, 8192]
    """
    numbers = [*accumulate(blocks, initial=0), *chain(*columns)]
    return Table(upload(device, numbers), tensors=len(blocks), blocks=sum(blocks))
