"""Mode layer: clip each gradient by its own norm."""

from clipcore.rules.parameter import Parameter
from clipcore.rules.rule import Decision, Norms, ScalingRule, coefficient


class Layer(ScalingRule):
    """c_i = min(1, max_norm / (||g_i|| + 1e-6)) for each tensor."""

    mode = "layer"
    title = "Norm of each layer"
    help = "Scales each parameter's gradient by itself so that its norm is at most max_norm."
    source = "Keras `clipnorm`"
    parameters = (Parameter("max_norm", 1.0, "Upper bound on the norm of each gradient.", unit="gradient norm"),)
    bound = "max_norm"
    bounds = "parameter"

    def decide(self, norms: Norms) -> Decision:
        """One coefficient for each."""
        return Decision(coefficient(self.values["max_norm"], norms.each), self.values["max_norm"])
