"""What an adaptive rule would have done to norms that were recorded under any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from clipcore.rules import RULES, Norms, ScalingRule
from clipcore.settings import Settings

#: The modes whose memory and threshold come from the global norm alone.
REPLAYABLE = tuple(mode for mode, rule in RULES.items() if rule.adaptive and rule.bounds == "global norm")


@dataclass(frozen=True)
class Replay:
    """What each step would have met, in order.

    Attributes:
        threshold: the bound in force, inf while there is none.
        coef: what the gradients would have been multiplied by; NaN or 0 where the norm is not finite, as in `Clipper`.
    """

    threshold: list[float]
    coef: list[float]


def replay(norms: Sequence[float], mode: str, **values: Any) -> Replay:
    """Run a mode's rule, the very one that clips, over recorded global norms, from fresh statistics.

    It tells what the rule would have done to these gradients; under it, later gradients would have been others.

    Args:
        norms: of the gradients before clipping, step after step.
        mode: autoclip or zclip, which need nothing else.
        **values: the mode's parameters, where they leave their defaults.

    Raises:
        ValueError: another mode, a parameter that the mode lacks, a value out of bounds.
        TypeError: a value of the wrong kind.

    >>> replay([1.0] * 30 + [100.0], "zclip", max_norm=float("inf")).coef[-1] < 0.02
    True
    """
    if mode not in REPLAYABLE:
        raise ValueError(f"mode must be one of {', '.join(REPLAYABLE)} to be replayed from norms alone, got {mode!r}")
    checked = Settings().patched({"mode": mode, **values}).values[mode]
    if isinstance(window := checked.get("window"), int) and window >= len(norms):
        checked = {**checked, "window": 0}  # all of the history either way, and thus it is not sorted anew at each step
    rule = RULES[mode](checked)
    assert isinstance(rule, ScalingRule)
    with torch.no_grad():
        recorded = torch.tensor(norms, dtype=torch.float64, device="cpu")
        decisions = [rule.decide(Norms(norm.view(1), norm)) for norm in recorded]
    return Replay(
        threshold=[decision.threshold.item() for decision in decisions],
        coef=[decision.coef.item() for decision in decisions],
    )
