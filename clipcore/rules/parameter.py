"""What is declared about a parameter: the command line, the REST schema and the page's form follow from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from reprlib import repr as quoted
from typing import Any, Literal

Value = float | int | tuple[str, ...]

MAX_STEPS = 1_000_000_000

_LOW = {False: "minimum", True: "exclusiveMinimum"}  # in JSON Schema, by `above_minimum`


@dataclass(frozen=True)
class Parameter:
    """A parameter, of a rule or a knob of the training, with what is allowed.

    Attributes:
        name: as in `Clipper(**parameters)`.
        default: where the mode starts.
        help: one line for people.
        kind: number (inf allowed), integer, or names (of model parameters, or shell-style patterns of them).
        unit: of the value, "" for a pure number.
        minimum: smallest allowed value; see `above_minimum`.
        maximum: largest allowed value.
        above_minimum: the minimum itself is not allowed.
        structural: shapes the passes or the buffers, so it is a host value and cannot change in a captured CUDA graph.
        spelt_inf: "inf" stands for infinity, as in torch.
    """

    name: str
    default: Value
    help: str
    kind: Literal["number", "integer", "names"] = "number"
    unit: str = ""
    minimum: float = 0.0
    maximum: float = math.inf
    above_minimum: bool = False
    structural: bool = False
    spelt_inf: bool = False

    def check(self, value: Any) -> Value:
        """The value in the declared kind.

        Raises:
            TypeError: it is of another kind.
            ValueError: it is out of bounds or NaN.

        >>> Parameter("max_norm", 1.0, "").check(2)
        2.0
        >>> Parameter("max_norm", 1.0, "").check(-1)
        Traceback (most recent call last):
        ValueError: max_norm must be >= 0, got -1
        """
        if self.kind == "names":
            return self._check_names(value)
        if self.spelt_inf and isinstance(value, str) and value == "inf":
            value = math.inf
        if isinstance(value, bool) or not isinstance(value, Real):
            spelt = " or 'inf'" if self.spelt_inf else ""
            raise TypeError(f"{self.name} must be a number {self.allowed}{spelt}, got {quoted(value)}")
        number = _float64(value)
        above = number > self.minimum if self.above_minimum else number >= self.minimum
        if not (above and number <= self.maximum):
            raise ValueError(f"{self.name} must be {self.allowed}, got {quoted(value)}")
        if self.kind == "number":
            return number
        if not number.is_integer():
            raise ValueError(f"{self.name} must be a whole number, got {quoted(value)}")
        return int(number)

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        low = f"{'>' if self.above_minimum else '>='} {self.minimum:g}"
        return low if self.maximum == math.inf else f"{low} and <= {self.maximum:g}"

    def schema(self) -> dict[str, Any]:
        """This parameter as a JSON Schema property; an infinite default is written "Infinity", as on the wire."""
        described = {"title": self.name, "description": self.help, "unit": self.unit}
        if self.kind == "names":
            return {**described, "type": "array", "items": {"type": "string"}, "default": list(self._default_names)}
        low = {} if self.minimum == -math.inf else {_LOW[self.above_minimum]: self.minimum}
        high = {} if self.maximum == math.inf else {"maximum": self.maximum}
        default = "Infinity" if self.default == math.inf else self.default
        return {**described, "type": self.kind, **low, **high, "default": default}

    @property
    def _default_names(self) -> tuple[str, ...]:
        return self.default if isinstance(self.default, tuple) else ()

    def _check_names(self, value: Any) -> tuple[str, ...]:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not (listed and all(isinstance(name, str) for name in value)):
            raise TypeError(f"{self.name} must be a list of names or patterns, got {quoted(value)}")
        return tuple(value)


def _float64(value: Any) -> float:
    """The nearest float64; an integer beyond all of them counts as infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
