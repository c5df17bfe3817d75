"""How large gradients are, element by element: now and then a histogram of their exponents."""

import time

from torch import Tensor

from clipcore.gradients import Gradients

INTERVAL_S = 0.5


class Exponents:
    """Counts gradients by exponent now and then.

    Args:
        every: looks at one block of elements in so many; 0 never.
    """

    def __init__(self, every: int) -> None:
        if every < 0:
            raise ValueError(f"exponents must be >= 0, got {every}")
        self.every = every
        self._due = 0.0

    def sample(self, gradients: Gradients) -> Tensor | None:
        """The counts, at most every INTERVAL_S."""
        now = time.monotonic()
        if not self.every or now < self._due:
            return None
        self._due = now + INTERVAL_S
        return gradients.count_exponents(self.every)
