"""Address tables hold what device code reads, in its order."""

import torch

from clipcore.kernels.addresses import address_table


def test_a_table_says_where_each_tensors_blocks_begin():
    """First come the prefix sums of the blocks, one more than there are tensors, then the columns one by one."""
    table = address_table(torch.device("cpu"), [3, 0, 2], [7, 8, 9], [2**40, 2**41, 2**42])
    assert table.data.tolist() == [0, 3, 3, 5, 7, 8, 9, 2**40, 2**41, 2**42]
    assert (table.tensors, table.blocks, table.data.dtype) == (3, 5, torch.int64)
