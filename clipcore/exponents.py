"""How large gradients are, element by element: now and then a histogram of their exponents."""

import time
from typing import SupportsIndex

from torch import Tensor

from clipcore.gradients import Gradients

INTERVAL_S = 0.5
SPARSEST = 1_000_000_000  # one block in so many: the kernels count in 32 bits
LEAST = 1 << 16  # elements: of fewer, in two or three blocks, some layer would be all that is seen
ENOUGH = 1 << 19  # elements: they tell a share of 1 in 1,000 to 5 %, and more of them would cost large models more


class Exponents:
    """Counts gradients by exponent now and then.

    Args:
        every: looks at one block of elements in so many; 1 at all, 0 never. A sample of fewer than `LEAST` elements is
            made denser, one of more than `ENOUGH` sparser.

    Attributes:
        every: one block in so many was looked at.

    Raises:
        ValueError: `every` is negative, more than `SPARSEST` or no whole number.
    """

    def __init__(self, every: int) -> None:
        if isinstance(every, bool) or not isinstance(every, SupportsIndex) or not 0 <= every.__index__() <= SPARSEST:
            raise ValueError(f"exponents must be a whole number >= 0, at most {SPARSEST:,}, got {every!r}")
        self.every = self._asked = int(every)
        self._due = 0.0

    def sample(self, gradients: Gradients) -> Tensor | None:
        """The counts, at most every INTERVAL_S."""
        now = time.monotonic()
        if not self.every or now < self._due:
            return None
        self._due = now + INTERVAL_S
        if self._asked > 1:
            elements = sum(map(Tensor.numel, gradients.tensors))
            self.every = max(1, min(self._asked, elements // LEAST), elements // ENOUGH)
        return gradients.count_exponents(self.every)
