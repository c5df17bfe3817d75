"""What one `clip_()` did: a step record whose numbers stay on the device until somebody reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from clipcore.settings import Update
from clipcore.step import Outcome, guilty
from clipcore.table import layers_of

#: The numeric columns of a step, in the order of `ClipStats.numbers`.
COLUMNS = (
    "threshold",
    "norm",
    "clipped_norm",
    "coef",
    "clamped",
    "clamped_fraction",
    "clipped_tensors",
    "nonfinite",
    "max_abs",
    "skipped",
)


@dataclass(frozen=True, slots=True, repr=False)
class ClipStats:
    """One step, in the units of the gradients. Reading a number waits for the device; having the record does not.

    Attributes:
        step: this Clipper's calls, from 1.
        time: unix time in seconds.
        mode: the rule that clipped.
        names: the parameters' names, which are the layers.
        updates: patches that took effect since the previous record; each has its own `step`.
        numbers: (len(COLUMNS),) float64, the columns.
        outcome: what was done to each gradient; None without gradients.
        owners: for each gradient, the position of its parameter.
        exponents: (257,) int64, see `Kernels.count_exponents`; None on steps that did not count.
    """

    step: int
    time: float
    mode: str
    names: tuple[str, ...]
    updates: tuple[Update, ...]
    numbers: Tensor
    outcome: Outcome | None
    owners: Sequence[int]
    exponents: Tensor | None = None

    @property
    def layers(self) -> Tensor:
        """(3, len(names)) float64: norm before, coefficient and clamped elements of each parameter's gradient."""
        return layers_of(self.outcome, self.owners, len(self.names))

    @property
    def threshold(self) -> Tensor:
        """The bound in force: on the norm, or in mode value on each element.

        NaN in modes that have none, and of a step without gradients, which no bound was asked about.
        """
        return self.numbers[0]

    @property
    def norm(self) -> Tensor:
        """The gradients' global norm before clipping."""
        return self.numbers[1]

    @property
    def clipped_norm(self) -> Tensor:
        """The gradients' global norm after clipping, as it really is."""
        return self.numbers[2]

    @property
    def coef(self) -> Tensor:
        """clipped_norm / norm; 1 if the norm is 0, NaN if it is not finite."""
        return self.numbers[3]

    @property
    def clamped(self) -> Tensor:
        """Elements that a clamp changed."""
        return self.numbers[4]

    @property
    def clamped_fraction(self) -> Tensor:
        """Elements that a clamp changed, of all."""
        return self.numbers[5]

    @property
    def clipped_tensors(self) -> Tensor:
        """Gradients that were changed."""
        return self.numbers[6]

    @property
    def nonfinite(self) -> Tensor:
        """Elements that were NaN or infinite."""
        return self.numbers[7]

    @property
    def max_abs(self) -> Tensor:
        """The largest magnitude of an element before clipping."""
        return self.numbers[8]

    @property
    def skipped(self) -> Tensor:
        """1 when the step's gradients were left alone because they were not finite."""
        return self.numbers[9]

    @property
    def first_nonfinite(self) -> str | None:
        """The name of the first parameter whose gradient held a NaN or an infinity."""
        where = guilty(self.outcome.before.nonfinite, self.owners, self.names) if self.outcome else ()
        return where[0] if where else None

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.6g}" for name, value in zip(COLUMNS, self.numbers.tolist(), strict=True))
        return f"ClipStats(step={self.step}, mode={self.mode!r}, {values})"
