"""Address tables on a host; what they do on a GPU is in test_cuda.py."""

import torch

from clipcore.kernels.addresses import Table, cached_on_device, upload

CPU = torch.device("cpu")


def test_a_table_says_where_each_tensors_blocks_begin():
    """First come the prefix sums of the blocks, one more than there are tensors, then the columns one by one."""
    table = upload(CPU, [3, 0, 2], [7, 8, 9], [2**40, 2**41, 2**42])
    assert table.data.tolist() == [0, 3, 3, 5, 7, 8, 9, 2**40, 2**41, 2**42]
    assert (table.tensors, table.blocks, table.data.dtype) == (3, 5, torch.int64)


def test_what_stays_where_it_is_is_uploaded_once():
    """The same addresses give the very same table; a moved tensor gives another."""
    uploads = []

    @cached_on_device
    def build(device: torch.device, addresses: tuple[int, ...]) -> Table:
        uploads.append(addresses)
        return upload(device, [1] * len(addresses), addresses)

    assert build(CPU, (64, 128)) is build(CPU, (64, 128))
    assert build(CPU, (64, 256)).data.tolist()[-1] == 256
    assert uploads == [(64, 128), (64, 256)]
