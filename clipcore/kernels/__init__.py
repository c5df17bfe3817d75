"""The passes over gradient memory, written three times: `eager` (torch ops, the reference), `cpu` (C), `triton` (GPU).

Every implementation is a module with the five functions of `Kernels`. Tensors given to one call are at least one, live
on one device, are strided, real and floating point, do not share memory, and need not be contiguous;
`clipcore.gradients` sees to that. Results are tensors on that device that nobody writes to; nothing here reads a device
value on the host. What native kernels wrote they report to `clipcore.inplace.mark_written`.
"""

import functools
import importlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

log = logging.getLogger("clipcore")

NATIVE = {"cpu": "cpu", "cuda": "triton"}  # device type -> module


class Measured(NamedTuple):
    """What one reading pass says of n tensors."""

    norm: Tensor  # (n,) float64, p-norm of each tensor, accumulated in float64; NaN or inf when the elements are
    max_abs: Tensor  # (n,) float64, largest |g|; inf or NaN when there is one; 0 for an empty tensor
    nonfinite: Tensor  # (n,) int64, elements that are NaN or infinite


@dataclass(frozen=True, slots=True)
class Clipped:
    """What a clamping or unit-wise pass did to n tensors."""

    before: Measured
    norm: Tensor  # (n,) float64, p-norm of each tensor as written
    count: Tensor  # (n,) int64, elements the clamp changed, or units (rows) that were scaled


class Kernels(Protocol):
    """Four passes that clip, and one that counts exponents."""

    name: str

    def measure(self, tensors: Sequence[Tensor], norm_type: float = 2.0) -> Measured:
        """Read every element once."""

    def scale_(self, tensors: Sequence[Tensor], coef: Tensor, norm: Tensor, norm_type: float = 2.0) -> Tensor:
        """Multiply tensor i by coef[i] in place and return the (n,) float64 norms as written.

        `coef` is (n,) or 0-d (the same for all), floating point, on the tensors' device. A tensor whose coefficient is
        1 is neither read nor written: its norm is the measured one, `norm` (n,) float64; on the CPU that may be the
        very tensor that is returned. A negative coefficient means: fill with zeros (multiplying would keep NaN).
        """

    def clamp_(self, tensors: Sequence[Tensor], limit: Tensor, norm_type: float = 2.0) -> Clipped:
        """Clamp every element to +-limit (0-d) in place; NaN stays NaN, +-inf becomes +-limit.

        The limit is first rounded to the tensor's dtype: an element equal to that is not changed and not counted.
        """

    def clip_units_(
        self, tensors: Sequence[Tensor], weights: Sequence[Tensor], clipping: Tensor, eps: Tensor
    ) -> Clipped:
        """Unit-wise (AGC) clipping in place: unit u is scaled to at most clipping * max(||W_u||, eps) (0-d each)."""

    def count_exponents(self, tensors: Sequence[Tensor], every: int = 64) -> Tensor:
        """(257,) int64: elements by float32 exponent byte (bin 0: subnormals, 255: non-finite), then the zeros.

        Looks at one block of elements in `every`; 1 counts them all.
        """


class Choice(NamedTuple):
    """Which kernels clip on a device, and why these."""

    kernels: Kernels
    reason: str


def choose(device: torch.device) -> Choice:
    """Pick the kernels for a device: native ones where they load, else eager.

    The environment's CLIPCORE_KERNELS (`eager`, `cpu` or `triton`) decides instead when it is set.

    >>> choose(torch.device("meta")).reason
    'there are no native kernels for meta'
    """
    return _choose(device.type, os.environ.get("CLIPCORE_KERNELS", ""))


@functools.cache  # so that a reason is logged once
def _choose(device_type: str, forced: str) -> Choice:
    if forced:
        if forced not in ("eager", *NATIVE.values()):
            raise ValueError(f"CLIPCORE_KERNELS must be eager, cpu or triton, got {forced!r}")
        return Choice(_load(forced), f"CLIPCORE_KERNELS={forced}")
    if device_type not in NATIVE:
        return Choice(_load("eager"), f"there are no native kernels for {device_type}")
    try:
        return Choice(_load(NATIVE[device_type]), f"native kernels for {device_type}")
    except ImportError as error:
        reason = f"the native kernels for {device_type} do not load: {error}"
        log.warning("clipcore clips with torch's own operations, which is slower: %s", reason)
        return Choice(_load("eager"), reason)


def _load(name: str) -> Kernels:
    # A module's constants are the host's and real, whatever torch.set_default_device or a FakeTensorMode says.
    with _disable_current_modes(), torch.device("cpu"):
        return cast("Kernels", importlib.import_module(f"clipcore.kernels.{name}"))
