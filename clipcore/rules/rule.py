"""What all rules share: declared parameters, values and state on the device, decisions from measurements."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from clipcore.rules.parameter import Parameter, Value


class Norms(NamedTuple):
    """What a rule sees of one step."""

    each: Tensor  # (n,) float64, the norm of each parameter's gradient; 0 where there is none
    total: Tensor  # 0-d float64, the norm of all; when it is not finite, nothing of the step is remembered
    present: Tensor | None = None  # (n,) bool, which parameters have a gradient; None for all


class Decision(NamedTuple):
    """What a rule makes of one step's norms."""

    coef: Tensor  # 0-d or (n,), what gradients are multiplied by
    threshold: Tensor  # 0-d float64, the norm bound in force; NaN where there is none


class Rule:
    """One mode of clipping: parameters, state, and how they turn measurements into a decision.

    Numbers live in 0-d float64 tensors on the device and state is updated in place, so that a captured CUDA graph obeys
    and goes on; nothing here reads a value on the host. A rule needs no gradients, only norms: it can be run over
    recorded ones.

    Args:
        values: one value for each declared parameter.
        count: how many parameters' gradients there are, n.
        device: where norms will be.
    """

    mode: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    source: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    bound: ClassVar[str | None] = None  # the parameter that is the mode's knob
    bounds: ClassVar[Literal["global norm", "parameter", "output unit", "element"] | None] = None  # what it bounds
    adaptive: ClassVar[bool] = False  # the bound follows the norms that were seen

    def __init__(self, values: Mapping[str, Value], count: int = 1, device: torch.device | str = "cpu") -> None:
        self.count = count
        self.device = torch.device(device)
        self.nan = torch.full((), torch.nan, dtype=torch.float64, device=self.device)
        self.zero = torch.zeros((), dtype=torch.float64, device=self.device)
        self.one = torch.ones((), dtype=torch.float64, device=self.device)
        self.inf = torch.full((), torch.inf, dtype=torch.float64, device=self.device)
        self.values: dict[str, Tensor] = {}
        self.structure: dict[str, Any] = {}  # host values, which Parameter.check has seen
        self.set(values)
        self.state: dict[str, Tensor] = self.initial_state()

    def set(self, values: Mapping[str, Value]) -> None:
        """Take new values for all parameters; queued on the device, without waiting for it."""
        for parameter in self.parameters:
            value = values[parameter.name]
            if parameter.structural or isinstance(value, tuple):
                self.structure[parameter.name] = value
            elif parameter.name in self.values:
                self.values[parameter.name].fill_(value)
            else:
                self.values[parameter.name] = torch.full((), value, dtype=torch.float64, device=self.device)

    def initial_state(self) -> dict[str, Tensor]:
        """Fresh statistics; a rule without memory has none."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the statistics."""
        return {name: tensor.clone() for name, tensor in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take statistics that `state_dict` returned.

        Raises:
            ValueError: they are not this rule's, or of another number of parameters.
        """
        wanted = {name: tuple(tensor.shape) for name, tensor in self.state.items()}
        given = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if wanted != given:
            raise ValueError(f"the state of mode {self.mode!r} must have the shapes {wanted}, got {given}")
        for name, tensor in state.items():
            self.state[name].copy_(tensor)

    def succeed(self, former: "Rule") -> None:
        """Go on where a rule of the same mode ended, which had other structural parameters; a rule may start anew."""

    @property
    def capturable(self) -> bool:
        """Whether its operations are the same at every step, so that a CUDA graph can hold them."""
        return True

    @property
    def norm_type(self) -> float:
        """Of which norms this rule speaks."""
        return 2.0

    @property
    def threshold(self) -> Tensor:
        """The bound that a rule without `decide` reports, 0-d float64."""
        return self.nan


class ScalingRule(Rule):
    """A rule that multiplies gradients by coefficients."""

    def decide(self, norms: Norms) -> Decision:
        """Judge one step, and remember what the rule needs of it."""
        raise NotImplementedError


def coefficient(bound: Tensor, norm: Tensor) -> Tensor:
    """min(1, bound / (norm + 1e-6)), torch's own formula; 1 for an infinite bound, whatever the norm.

    Both float64, 0-d or (n,). A NaN norm gives NaN, an infinite one 0.
    """
    return (bound / (norm + 1e-6)).clamp_(max=1.0).masked_fill_(bound == torch.inf, 1.0)


def keep_within(threshold: Tensor, norm: Tensor) -> Tensor:
    """The same for a threshold that may be the norm itself: what is within it stays exactly as it is.

    An adaptive threshold often equals the norm, and then torch's formula would still multiply by N / (N + 1e-6).
    """
    return (threshold / (norm + 1e-6)).masked_fill_(norm <= threshold, 1.0)
