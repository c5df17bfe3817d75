"""Mode agc: adaptive gradient clipping, unit by unit."""

from clipcore.rules.parameter import Parameter
from clipcore.rules.rule import Rule


class AGC(Rule):
    """Unit u is scaled to ||G_u|| <= clipping * max(||W_u||, eps).

    A unit is an output row: all dimensions of a tensor but the first; the whole tensor when it has one or none.
    """

    mode = "agc"
    title = "Adaptive, by unit (AGC)"
    help = "Bounds each output unit's gradient by a fraction of the norm of its weights."
    source = "Brock et al. 2021, https://arxiv.org/abs/2102.06171"
    parameters = (
        Parameter("clipping", 0.01, "Bound on gradient norm / weight norm of a unit.", unit="fraction of weight norm"),
        Parameter("eps", 1e-3, "Weight norm that units are given at least.", unit="weight norm", above_minimum=True),
        Parameter("exclude", (), "Parameters to leave alone, such as the last layer's.", kind="names", structural=True),
    )
    bound = "clipping"
    bounds = "output unit"
