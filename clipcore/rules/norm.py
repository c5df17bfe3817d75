"""Mode norm: clip by global norm."""

from clipcore.rules.parameter import Parameter
from clipcore.rules.rule import Decision, Norms, ScalingRule, coefficient


class Norm(ScalingRule):
    """c = min(1, max_norm / (N + 1e-6)) for all gradients."""

    mode = "norm"
    title = "Global norm"
    help = "Scales all gradients together so that their global norm is at most max_norm."
    source = "Pascanu et al. 2013, https://arxiv.org/abs/1211.5063"
    parameters = (
        Parameter("max_norm", 1.0, "Upper bound on the global norm of all gradients.", unit="gradient norm"),
        Parameter(
            "norm_type",
            2.0,
            "p of the p-norm; inf: the largest element.",
            above_minimum=True,
            structural=True,
            spelt_inf=True,
        ),
    )
    bound = "max_norm"
    bounds = "global norm"

    def decide(self, norms: Norms) -> Decision:
        """One coefficient for all."""
        return Decision(coefficient(self.values["max_norm"], norms.total), self.values["max_norm"])

    @property
    def norm_type(self) -> float:
        """The p of max_norm's p-norm."""
        return float(self.structure["norm_type"])
