"""Where tensors lie in memory: dense or not, shared or not. Nothing here reads an element."""

import math
import sys
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one stretch of memory without gaps, in whatever order of dimensions.

    >>> is_dense(torch.zeros(2, 3).t()), is_dense(torch.zeros(4, 4)[:, :2])
    (True, False)
    """
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def is_expanded(tensor: Tensor) -> bool:
    """Whether several elements are one place in memory (stride 0), so that writing in place is ill-defined.

    >>> is_expanded(torch.zeros(1).expand(3))
    True
    """
    return tensor.numel() > 0 and any(
        stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def has_memory(tensor: Tensor) -> bool:
    """Whether the elements are anywhere: a tensor on device meta has none, and a fake one says that it is elsewhere.

    >>> has_memory(torch.zeros(1)), has_memory(torch.zeros(1, device="meta"))
    (True, False)
    """
    module = sys.modules.get("torch._subclasses.fake_tensor")  # before somebody imported it there was no fake tensor
    return not (tensor.is_meta or (module is not None and isinstance(tensor, module.FakeTensor)))


def span_bytes(tensor: Tensor) -> int:
    """Bytes from the first element's address to the end of the last element's; 0 for an empty tensor."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def find_overlap(tensors: Sequence[Tensor]) -> tuple[int, int] | None:
    """The positions of two tensors of one device that share an address, or None.

    Disjoint views of one storage are no overlap, not even interleaved ones such as the columns of a matrix.

    >>> x = torch.zeros(4)
    >>> find_overlap([x[:2], x[2:]]), find_overlap([x[::2], x[1::2]]), find_overlap([x[:3], x[2:]])
    (None, None, (0, 1))
    """
    stretches = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + span_bytes(tensor), position)
        for position, tensor in enumerate(tensors)
        if tensor.numel() and has_memory(tensor)
    )
    for cluster in _clusters(stretches):
        if len(cluster) > 1 and (pair := _sharing(tensors, cluster)):
            return pair
    return None


Stretch = tuple[int, int, int]  # first address, address after the last, position of the tensor


def _clusters(stretches: Iterable[Stretch]) -> Iterable[list[Stretch]]:
    """Runs of stretches that reach into each other."""
    cluster: list[Stretch] = []
    end = 0
    for stretch in stretches:
        if stretch[0] >= end:
            yield cluster
            cluster = []
        cluster.append(stretch)
        end = max(end, stretch[1])
    yield cluster


def _sharing(tensors: Sequence[Tensor], cluster: Sequence[Stretch]) -> tuple[int, int] | None:
    """Paint one tensor after the other on a map of the cluster: exact for any strides, met only by interleaved views.

    A place on the map is as many bytes as divide all distances and sizes: one element, as a rule.
    """
    first, end = cluster[0][0], max(end for _, end, _ in cluster)
    unit = math.gcd(*(start - first for start, _, _ in cluster), *(tensors[p].element_size() for _, _, p in cluster))
    painted = torch.zeros((end - first) // unit, dtype=torch.bool, device="cpu")
    for number, stretch in enumerate(cluster):
        start, _, position = stretch
        size = tensors[position].element_size() // unit
        strides = (*(stride * size for stride in tensors[position].stride()), 1)
        place = painted.as_strided((*tensors[position].shape, size), strides, (start - first) // unit)
        if place.any():
            if number == 1:
                return min(position, cluster[0][2]), max(position, cluster[0][2])
            return next(pair for other in cluster[:number] if (pair := _sharing(tensors, [other, stretch])))
        place.fill_(True)
    return None
