"""A Clipper's configuration: immutable, changed only by patches that are checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from reprlib import repr as quoted
from typing import Any, Self

from clipcore.knobs import Knob
from clipcore.rules import RULES, Value

NONFINITE = ("propagate", "raise", "skip", "zero")


def shared_schema() -> dict[str, dict[str, Any]]:
    """What can be set in every mode, as JSON Schema properties like those of `clipcore.rules.schema`.

    >>> shared_schema()["nonfinite"]["default"]
    'propagate'
    """
    help_ = (
        "what to do when a gradient has a NaN or an infinity: let it pass, raise an error, skip the step, "
        "or set the gradients to zero"
    )
    return {
        "nonfinite": {
            "title": "nonfinite",
            "description": help_,
            "unit": "",
            "type": "string",
            "enum": list(NONFINITE),
            "default": NONFINITE[0],
        }
    }


@dataclass(frozen=True, slots=True)
class Settings:
    """Mode, every mode's own parameters, and what to do about non-finite gradients.

    Attributes:
        mode: the rule in force.
        nonfinite: "propagate", "raise", "skip" or "zero".
        values: mode -> parameter -> value, so that a mode that comes back finds its last values.
        knobs: numbers of the training that are changed the same way, by name.
        turned: the values of those knobs that have left their defaults.
    """

    mode: str = "norm"
    nonfinite: str = NONFINITE[0]
    values: dict[str, dict[str, Value]] = field(
        default_factory=lambda: {mode: {p.name: p.default for p in rule.parameters} for mode, rule in RULES.items()}
    )
    knobs: dict[str, Knob] = field(default_factory=dict)
    turned: dict[str, Value] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration: mode, that mode's parameters, nonfinite, knobs."""
        knobs = {name: self.turned.get(name, knob.default) for name, knob in self.knobs.items()}
        return {"mode": self.mode, **self.values[self.mode], "nonfinite": self.nonfinite, **knobs}

    @property
    def structure(self) -> tuple[object, ...]:
        """Mode and structural parameters: while these stay, it is the same rule."""
        values = self.values[self.mode]
        return self.mode, *(values[p.name] for p in RULES[self.mode].parameters if p.structural)

    @property
    def program(self) -> tuple[object, ...]:
        """What decides which operations a step consists of; the rest are numbers."""
        return *self.structure, self.nonfinite

    def patched(self, patch: dict[str, Any]) -> Self:
        """These settings with a patch applied.

        Raises:
            ValueError: an unknown mode or `nonfinite`, a parameter that the mode lacks, a value out of bounds.
            TypeError: a value of the wrong kind.

        >>> Settings().patched({"mode": "value", "clip_value": 0.1}).config
        {'mode': 'value', 'clip_value': 0.1, 'nonfinite': 'propagate'}
        >>> Settings().patched({"clip_value": 0.1})
        Traceback (most recent call last):
        ValueError: mode 'norm' has no parameter 'clip_value'; it has max_norm, norm_type
        """
        parameters = dict(patch)
        mode = _one_of("mode", parameters.pop("mode", self.mode), tuple(RULES))
        nonfinite = _one_of("nonfinite", parameters.pop("nonfinite", self.nonfinite), NONFINITE)
        declared = {parameter.name: parameter for parameter in RULES[mode].parameters}
        for name in sorted(parameters.keys() - declared.keys() - self.knobs.keys()):
            own = f"it has {', '.join(declared)}" if declared else "it has none"
            knobs = f", and the knobs are {', '.join(self.knobs)}" if self.knobs else ""
            raise ValueError(f"mode {mode!r} has no parameter {quoted(name)}; {own}{knobs}")
        checked = {name: (declared | self.knobs)[name].check(value) for name, value in parameters.items()}
        turned = {**self.turned, **{name: checked.pop(name) for name in checked.keys() & self.knobs.keys()}}
        values = {**self.values, mode: {**self.values[mode], **checked}}
        return replace(self, mode=mode, nonfinite=nonfinite, values=values, turned=turned)

    def restored(
        self, mode: str, nonfinite: str, values: Mapping[str, Mapping[str, Any]], turned: Mapping[str, Any]
    ) -> Self:
        """Settings with these knobs that were saved; raises like `patched`, and for a knob that is gone.

        It is not left out: the training would go on with another learning rate, say, than the one it was given.
        """
        if gone := sorted(turned.keys() - self.knobs.keys()):
            raise ValueError(
                f"the state has a knob {gone[0]!r} (={turned[gone[0]]!r}) that this Clipper lacks: declare it"
            )
        settings = type(self)(knobs=self.knobs)
        for saved_mode, saved in values.items():
            settings = settings.patched({"mode": saved_mode, **saved})
        return settings.patched({"mode": mode, "nonfinite": nonfinite, **turned})


class Update:
    """A patch on its way: handed out by `Clipper.update`, filled in when a `clip_()` first obeys it.

    Attributes:
        patch: what was asked for.
    """

    def __init__(self, patch: dict[str, Any]) -> None:
        self.patch = patch
        self._applied: tuple[int, dict[str, Any], dict[str, tuple[Any, Any]]] | None = None

    @property
    def step(self) -> int | None:
        """The first step that obeyed; None while no step has."""
        applied = self._applied
        return applied[0] if applied else None

    @property
    def config(self) -> dict[str, Any] | None:
        """The whole effective configuration from that step on."""
        applied = self._applied
        return applied[1] if applied else None

    @property
    def changes(self) -> dict[str, tuple[Any, Any]] | None:
        """What changed: name -> (before, after); None stands for a parameter that the other mode lacks."""
        applied = self._applied
        return applied[2] if applied else None

    def apply(self, step: int, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Fill in when it took effect, all at once for readers on other threads."""
        self._applied = (step, after, difference(before, after))

    def __repr__(self) -> str:
        return f"Update({self.patch}, step={self.step})"


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What changed from one configuration to another: name -> (before, after), None where one of them lacks it.

    >>> difference({"mode": "norm", "max_norm": 1.0}, {"mode": "off"})
    {'mode': ('norm', 'off'), 'max_norm': (1.0, None)}
    """
    names = [*after, *(name for name in before if name not in after)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not (isinstance(value, str) and value in allowed):
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {quoted(value)}")
    return str(value)
