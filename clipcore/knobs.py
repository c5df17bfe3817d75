"""Numbers of the training itself, such as the learning rate, that are changed the way the clipping is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from clipcore.rules import NAMES, Parameter

MAX_KNOBS = 32

_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)


@dataclass(frozen=True)
class Knob(Parameter):
    """A number of your training that may be changed while it runs.

    It is declared to a `Clipper`, which checks it, puts it into force with the step that obeys, on all ranks alike, and
    has it in `Clipper.config`; your loop reads it there after `clip_()`. Attributes as a rule's parameter has them:
    name, default, help, kind ("number" or "integer"), unit, minimum (0 unless told), maximum, above_minimum.

    Raises:
        ValueError: the name is no identifier or is taken by the clipping, the kind is another, or the default is out of
            bounds.
        TypeError: the default is no number.

    >>> import clipcore
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = torch.optim.SGD([w], lr=0.1)
    >>> clipper = clipcore.Clipper([w], knobs=[clipcore.Knob("lr", 0.1, "learning rate", above_minimum=True)])
    >>> change = clipper.update(lr=0.05)
    >>> w.grad = torch.ones(2)
    >>> stats = clipper.clip_()
    >>> optimizer.param_groups[0]["lr"] = clipper.config["lr"]
    >>> optimizer.param_groups[0]["lr"], change.step
    (0.05, 1)
    """

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a knob's name must be an identifier of at most 64 characters, got {self.name!r}")
        if self.name in NAMES:
            raise ValueError(f"a knob's name must not be one of the clipping's own, got {self.name!r}")
        if self.kind == "names":
            raise ValueError("a knob's kind must be number or integer, got 'names'")
        object.__setattr__(self, "default", self.check(self.default))


def knobs_by_name(knobs: Iterable[Knob]) -> dict[str, Knob]:
    """The knobs, each once.

    Raises:
        ValueError: two have one name, or there are too many.
        TypeError: one is no knob.
    """
    found: dict[str, Knob] = {}
    declared = list(knobs) if isinstance(knobs, Iterable) else [knobs]
    if not (isinstance(knobs, Iterable) and all(isinstance(knob, Knob) for knob in declared)):
        raise TypeError(f"knobs must be a list of clipcore.Knob, got {knobs!r}")
    for knob in declared:
        if knob.name in found:
            raise ValueError(f"knobs has two named {knob.name!r}")
        found[knob.name] = knob
    if len(found) > MAX_KNOBS:
        raise ValueError(f"knobs must be at most {MAX_KNOBS}, got {len(found)}")
    return found
