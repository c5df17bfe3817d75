"""Where tensors lie."""

import pytest
import torch

from clipcore.memory import find_overlap, is_dense, is_expanded, span_bytes


@pytest.mark.parametrize(
    ("tensor", "dense"),
    [
        (torch.zeros(()), True),
        (torch.zeros(0, 3), True),
        (torch.zeros(2, 3, 4).permute(1, 2, 0), True),
        (torch.zeros(2, 1, 4).permute(1, 2, 0), True),
        (torch.zeros(4, 4)[::2], False),
        (torch.zeros(4, 4)[:, :2], False),
        (torch.zeros(1).expand(4), False),
    ],
)
def test_dense_memory_has_no_gaps_in_some_order_of_dimensions(tensor, dense):
    """Permuted dimensions are dense; slices with gaps and expanded tensors are not."""
    assert is_dense(tensor) is dense


def test_expanded_means_that_elements_share_a_place():
    """A dimension of size 1, or a tensor without elements, shares nothing."""
    assert is_expanded(torch.zeros(3, 1).expand(3, 4))
    assert not is_expanded(torch.zeros(3, 1).expand(3, 1))
    assert not is_expanded(torch.zeros(0, 1).expand(0, 4))


def test_span_reaches_to_the_end_of_the_last_element():
    """The gaps between elements count, that after the last one does not; no elements span nothing."""
    assert span_bytes(torch.zeros(4, 4)[::2]) == 48
    assert span_bytes(torch.zeros(3, dtype=torch.float64)) == 24
    assert span_bytes(torch.zeros(0)) == 0


@pytest.mark.parametrize(
    ("cut", "pair"),
    [
        (lambda x: [x[:8], x[8:]], None),
        (lambda x: [x[::2], x[1::2]], None),
        (lambda x: [x.view(8, 2)[:, 0], x.view(8, 2)[:, 1]], None),
        (lambda x: [x[:0], x, x[3:3]], None),
        (lambda x: [x[8:], x[:9]], (0, 1)),
        (lambda x: [x, x[3:4]], (0, 1)),
        (lambda x: [x[::2], x[1::2], x[14:15]], (0, 2)),
        (lambda x: [x[:4], x[3:].view(torch.int32)], (0, 1)),
        (lambda x: [x[::2], x.view(torch.float16)[2::4], x.view(torch.float16)[3::4]], None),
        (lambda x: [x[::2], x[1::2].view(torch.int32), x.view(torch.uint8)[63:]], (1, 2)),
        (lambda x: [x.view(torch.uint8)[1:5].view(4, 1), x.view(torch.uint8)[::5]], None),
    ],
)
def test_overlap_is_found_to_the_byte(cut, pair):
    """Interleaved views overlap only if they share an element."""
    assert find_overlap(cut(torch.zeros(16))) == pair
