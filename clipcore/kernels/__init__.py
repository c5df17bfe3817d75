"""The passes over gradient memory, written three times: `eager` (torch ops, the reference), `cpu` (C), `triton` (GPU).

Every implementation is a module-like object with the five functions of `Kernels`. Tensors given to one call live on
one device, are strided, real and floating point, do not share memory, and need not be contiguous; `clipcore.gradients`
sees to that. Results are new tensors on that device; nothing here reads a device value on the host.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class Measured(NamedTuple):
    """What one reading pass says of n tensors."""

    norm: Tensor  # (n,) float64, p-norm of each tensor, accumulated in float64; NaN or inf when the elements are
    max_abs: Tensor  # (n,) float64, largest |g|; inf or NaN when there is one; 0 for an empty tensor
    nonfinite: Tensor  # (n,) int64, elements that are NaN or infinite


class Clipped(NamedTuple):
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
        1 is neither read nor written: its norm is the measured one, `norm` (n,) float64. A negative coefficient means:
        fill with zeros (multiplying would keep NaN).
        """

    def clamp_(self, tensors: Sequence[Tensor], limit: Tensor, norm_type: float = 2.0) -> Clipped:
        """Clamp every element to +-limit (0-d) in place; NaN stays NaN, +-inf becomes +-limit."""

    def clip_units_(self, tensors: Sequence[Tensor], weights: Sequence[Tensor], clipping: Tensor, eps: Tensor) -> Clipped:
        """Unit-wise (AGC) clipping in place: unit u is scaled to at most clipping * max(||W_u||, eps) (0-d each)."""

    def count_exponents(self, tensors: Sequence[Tensor], every: int = 64) -> Tensor:
        """(257,) int64: elements by float32 exponent byte (bin 0: subnormals, 255: non-finite), then the zeros.

        Looks at one block of elements in `every`; 1 counts them all.
        """
