"""From parameters to the memory that passes go over: each gradient once.

Tied weights, a parameter listed twice and two parameters with one gradient count once. Sparse gradients are coalesced
and stand for their values. Whatever a kernel could trip over is refused here, with a sentence that says what to do.
"""

import operator
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch._C import _functorch as functorch

from clipcore.distributed import Shards, as_dtensor, whole_sum
from clipcore.gradients import Gradients, Group
from clipcore.inplace import refuse_unwritable
from clipcore.kernels import Kernels, choose, eager
from clipcore.memory import find_overlap, has_memory, is_expanded, span_bytes

REAL = {torch.float32, torch.bfloat16, torch.float16, torch.float64}
COMPLEX = {torch.complex64, torch.complex128}
CPU = torch.device("cpu")
WITHOUT_FLOAT64 = {"mps"}  # types of device; every norm is float64


def collect(parameters: Sequence[Tensor], names: Sequence[str] | None = None) -> Gradients | None:
    """The distinct gradients of the parameters, to be clipped in place; None when there are none.

    Raises:
        TypeError: a gradient is neither real nor complex floating point, or has a layout or device that cannot be
            clipped.
        ValueError: gradients overlap partly or cannot be written in place, or a parameter is no leaf and keeps none.
    """
    if (gradients := _at_once(parameters, gradients=True)) is not None:
        return gradients
    return _collect_any(parameters, (lambda position: repr(names[position])) if names else _number)


def collect_tensors(tensors: Sequence[Tensor]) -> Gradients | None:
    """The same over tensors that are themselves to be measured, and are not changed."""
    if (measured := _at_once(tensors, gradients=False)) is not None:
        return measured
    tensors = [tensor if (whole := as_dtensor(tensor)) is None else whole_sum(whole) for tensor in tensors]
    found = [_readable(tensor, f"tensor {_number(position)}") for position, tensor in enumerate(tensors)]
    return _distinct(tensors, found, range(len(tensors)), len(tensors))


def _at_once(tensors: Sequence[Tensor], *, gradients: bool) -> Gradients | None:
    """Tensors or their gradients as one group; None when one needs a closer look, or there are none."""
    if (plain := _plain(tensors, gradients=gradients)) is not None:
        return plain
    _require_tensors("parameters" if gradients else "tensors", tensors)
    if gradients and not all(parameter.is_leaf for parameter in tensors):
        return None
    candidates = [parameter.grad for parameter in tensors] if gradients else tensors
    owners = [position for position, candidate in enumerate(candidates) if candidate is not None]
    found = [candidate for candidate in candidates if candidate is not None]
    _refuse_transformed("gradients" if gradients else "tensors", found)
    return _ordinary(found, owners, len(tensors))


def _plain(tensors: Sequence[Tensor], *, gradients: bool) -> Gradients | None:
    """Tensors or their gradients as one group, if C finds that each is plain memory; None too when there are none."""
    if not (tensors and isinstance(tensors[0], Tensor) and tensors[0].is_cpu):  # the CPU's kernels are not asked for
        return None
    kernels = choose(CPU).kernels
    gather = getattr(kernels, "gather", None)  # only C looks at all tensors faster than Python
    gathered = gather(tensors, gradients=gradients) if gather else None
    if gathered is None or not gathered[0]:
        return None
    found, owners, elements, double = gathered
    return _one_group(kernels, CPU, found, owners, len(tensors), double=double, elements=elements)


def _require_tensors(argument: str, values: Sequence[object]) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise TypeError(f"{argument} must be tensors, got {value!r:.100}")
    _refuse_transformed(argument, cast("Sequence[Tensor]", values))


def _refuse_transformed(argument: str, tensors: Sequence[Tensor]) -> None:
    if functorch.peek_interpreter_stack() is not None and any(map(functorch.is_functorch_wrapped_tensor, tensors)):
        raise TypeError(
            f"{argument} are inside of torch.func.vmap, grad or jvp, where they have no memory: return the gradients, "
            "and clip or measure them outside"
        )


def _ordinary(tensors: Sequence[Tensor], owners: Sequence[int], count: int) -> Gradients | None:
    """The tensors as one group, if every one is ordinary; None when one needs a closer look.

    Ordinary: no subclass, strided, real, writable, on the same device, and no two reach into each other's memory. That
    is every step of most models, so each attribute is read of all tensors at once, which is several times faster. It is
    what `gather` finds out in C, for the devices that C does not see and for gradients with gaps.
    """
    if {type(tensor) for tensor in tensors} != {Tensor} or len({tensor.device for tensor in tensors}) > 1:
        return None
    if tensors[0].device.type in WITHOUT_FLOAT64:
        return None
    dtypes = {tensor.dtype for tensor in tensors}
    if not dtypes <= REAL or {tensor.layout for tensor in tensors} != {torch.strided}:
        return None
    if any(map(Tensor.is_inference, tensors)):
        return None
    if all(map(Tensor.is_contiguous, tensors)):
        spans = [tensor.nbytes for tensor in tensors]
    elif any(map(is_expanded, tensors)):
        return None
    else:
        spans = list(map(span_bytes, tensors))
    starts = list(map(Tensor.data_ptr, tensors))
    ends = sorted(map(operator.add, starts, spans))
    starts.sort()
    if not all(map(operator.le, ends, starts[1:])):  # each but the last ends before the next one starts
        return None
    device, double = tensors[0].device, torch.float64 in dtypes
    elements = sum(map(Tensor.numel, tensors))
    return _one_group(choose(device).kernels, device, tensors, owners, count, double=double, elements=elements)


def _one_group(
    kernels: Kernels,
    device: torch.device,
    tensors: Sequence[Tensor],
    owners: Sequence[int],
    count: int,
    *,
    double: bool,
    elements: int,
) -> Gradients:
    group = Group(kernels, device, tensors, range(len(tensors)))
    return Gradients(tensors, owners, count, [group], double=double, elements=elements, plain=True)


def _collect_any(parameters: Sequence[Tensor], name_of: Callable[[int], str]) -> Gradients | None:
    """One parameter at a time, whatever it is."""
    sources: list[Tensor] = []
    found: list[Tensor] = []
    owners: list[int] = []
    for position, parameter in enumerate(parameters):
        source = _gradient(parameter, name_of(position))
        if source is not None:
            sources.append(source)
            found.append(_writable(source, name_of(position)))
            owners.append(position)
    gradients = _distinct(sources, found, owners, len(parameters))
    if gradients is not None:
        _refuse_overlap(gradients, name_of)
    return gradients


def _gradient(parameter: Tensor, name: str) -> Tensor | None:
    if not (parameter.is_leaf or parameter.retains_grad):
        raise ValueError(
            f"parameter {name} is not a leaf and keeps no gradient: pass the leaf tensors that the optimizer "
            "updates, or call `.retain_grad()` on it before backward"
        )
    gradient = parameter.grad
    spread = as_dtensor(gradient) if gradient is not None else None
    if spread is not None and (whole := whole_sum(spread)) is not spread:
        parameter.grad = gradient = whole
    return gradient


def _writable(source: Tensor, name: str) -> Tensor:
    """The memory of a gradient that is to be changed."""
    if source.layout is torch.sparse_coo and not source.is_coalesced():
        source.copy_(source.coalesce())  # in place: p.grad stays the same object
    memory = _readable(source, f"the gradient of {name}")
    refuse_unwritable(memory, name)
    return memory


def _readable(source: Tensor, what: str) -> Tensor:
    """The memory of a gradient: the strided tensor itself, a sparse one's values, a DTensor's local part."""
    if (spread := as_dtensor(source)) is not None:
        source = whole_sum(spread)._local_tensor
    if source.layout is torch.sparse_coo:
        source = source.detach().coalesce()._values()
    if source.device.type in WITHOUT_FLOAT64:
        raise TypeError(f"{what} is on {source.device}, which has no float64: clipcore clips on CPU and CUDA")
    if source.layout is not torch.strided:
        raise TypeError(f"{what} has layout {source.layout}; strided and sparse COO can be clipped")
    if source.dtype not in REAL | COMPLEX:
        raise TypeError(
            f"{what} is {source.dtype}; it must be float32, bfloat16, float16, float64, complex64 or "
            "complex128: convert it first"
        )
    return source


def _refuse_overlap(gradients: Gradients, name_of: Callable[[int], str]) -> None:
    for group in gradients.groups:
        if pair := find_overlap(group.tensors):
            one, other = (name_of(gradients.owners[group.positions[i]]) for i in pair)
            raise ValueError(f"the gradients of {one} and {other} overlap in memory: clone one of them first")


def _distinct(
    sources: Sequence[Tensor], found: Sequence[Tensor], owners: Sequence[int], count: int
) -> Gradients | None:
    """Each piece of memory once; None without any."""
    if not found:
        return None
    unique: dict[tuple[object, ...], int] = {}
    for position, tensor in enumerate(found):
        unique.setdefault(_place(tensor), position)
    tensors, first_owners = [found[p] for p in unique.values()], [owners[p] for p in unique.values()]
    double = any(tensor.dtype in (torch.float64, torch.complex128) for tensor in tensors)
    shards = Shards([sources[p] for p in unique.values()], tensors)
    return Gradients(
        tensors, first_owners, count, _groups(tensors), double=double, elements=shards.elements, shards=shards or None
    )


def _place(tensor: Tensor) -> tuple[object, ...]:
    """What two tensors have in common that are one piece of memory."""
    if tensor.numel() == 0 or not has_memory(tensor):
        return (id(tensor),)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _groups(tensors: Sequence[Tensor]) -> list[Group]:
    """By device; complex tensors and those without memory apart, which only the eager kernels take."""
    positions: dict[tuple[torch.device, bool], list[int]] = {}
    for position, tensor in enumerate(tensors):
        odd = tensor.is_complex() or not has_memory(tensor)
        positions.setdefault((tensor.device, odd), []).append(position)
    return [
        Group(eager if odd else choose(device).kernels, device, [tensors[p] for p in chosen], chosen)
        for (device, odd), chosen in positions.items()
    ]


def _number(position: int) -> str:
    return f"number {position}"
