"""One small class per mode: from measured norms to coefficients or a limit."""

from typing import Any

from clipcore.rules.adagc import AdaGC
from clipcore.rules.agc import AGC
from clipcore.rules.autoclip import AutoClip
from clipcore.rules.layer import Layer
from clipcore.rules.norm import Norm
from clipcore.rules.off import Off
from clipcore.rules.parameter import Parameter, Value
from clipcore.rules.rule import Decision, Norms, Rule, ScalingRule
from clipcore.rules.value import ClipValue
from clipcore.rules.zclip import ZClip

__all__ = [
    "AGC",
    "NAMES",
    "RULES",
    "ClipValue",
    "Decision",
    "Norms",
    "Parameter",
    "Rule",
    "ScalingRule",
    "Value",
    "schema",
]

RULES: dict[str, type[Rule]] = {rule.mode: rule for rule in (Off, Norm, ClipValue, Layer, AGC, AutoClip, ZClip, AdaGC)}

#: What the clipping's own settings are called, in whichever mode; a knob must be called otherwise.
NAMES = frozenset({"mode", "nonfinite", *(parameter.name for rule in RULES.values() for parameter in rule.parameters)})


def schema() -> dict[str, dict[str, Any]]:
    """Every mode's parameters as JSON Schema, for forms and validation elsewhere.

    Returns:
        mode -> {"title", "help", "source", "bound": the parameter that is the mode's knob or None, "bounds": what it
        bounds ("global norm", "parameter", "output unit", "element") or None, "adaptive": whether the bound follows the
        norms that were seen, "type": "object", "properties": JSON Schema of each parameter,
        "additionalProperties": False}.

    >>> schema()["norm"]["bound"], schema()["norm"]["properties"]["max_norm"]["minimum"]
    ('max_norm', 0.0)
    """
    return {
        mode: {
            "title": rule.title,
            "help": rule.help,
            "source": rule.source,
            "bound": rule.bound,
            "bounds": rule.bounds,
            "adaptive": rule.adaptive,
            "type": "object",
            "properties": {parameter.name: parameter.schema() for parameter in rule.parameters},
            "additionalProperties": False,
        }
        for mode, rule in RULES.items()
    }
