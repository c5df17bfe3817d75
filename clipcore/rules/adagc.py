"""Mode adagc: clip each gradient against the moving average of its own norm."""

import torch
from torch import Tensor

from clipcore.rules.parameter import MAX_STEPS, Parameter
from clipcore.rules.rule import Decision, Norms, ScalingRule, coefficient


class AdaGC(ScalingRule):
    """c_i = min(1, lambda_rel gamma_i / ||g_i||), gamma_i the moving average of the clipped norm of gradient i.

    During warm-up all gradients are clipped together to lambda_abs, and gamma_i is the least clipped norm. A gradient
    that was all zero until now has no gamma (inf) and is not clipped until it has one.
    """

    mode = "adagc"
    title = "Adaptive, by layer (AdaGC)"
    help = "Clips each parameter's gradient against the moving average of its own norm."
    source = "Wang et al. 2025, https://arxiv.org/abs/2502.11034"
    parameters = (
        Parameter("lambda_rel", 1.05, "Bound on norm / moving average of the norm.", unit="fraction of the average"),
        Parameter("lambda_abs", 1.0, "Upper bound on the global norm during warm-up.", unit="gradient norm"),
        Parameter("beta", 0.98, "How much of the moving average is kept at each step.", unit="fraction", maximum=1.0),
        Parameter(
            "warmup",
            100,
            "Steps that clip to lambda_abs.",
            kind="integer",
            unit="steps",
            maximum=MAX_STEPS,
        ),
    )
    bound = "lambda_rel"
    bounds = "parameter"
    adaptive = True

    def initial_state(self) -> dict[str, Tensor]:
        """No averages."""
        return {
            "gamma": torch.full((self.count,), torch.inf, dtype=torch.float64, device=self.device),
            "count": torch.zeros((), dtype=torch.float64, device=self.device),
        }

    def decide(self, norms: Norms) -> Decision:
        """One coefficient for each, or one for all during warm-up."""
        warming = self.state["count"] < self.values["warmup"]
        unknown = self.state["gamma"] == torch.inf
        bound = self.values["lambda_rel"] * self.state["gamma"]
        own = torch.where(unknown | (norms.each <= bound), self.one, bound / norms.each)
        coef = torch.where(warming, coefficient(self.values["lambda_abs"], norms.total), own)
        self._remember(coef * norms.each, unknown, warming, norms)
        return Decision(coef, self.nan)

    def _remember(self, clipped: Tensor, unknown: Tensor, warming: Tensor, norms: Norms) -> None:
        gamma = self.state["gamma"]
        first = torch.where(norms.each > 0, clipped, self.inf)
        average = torch.where(unknown, first, torch.lerp(clipped, gamma, self.values["beta"]))
        updated = torch.where(warming, torch.minimum(gamma, first), average)
        finite = norms.total < torch.inf
        seen = finite if norms.present is None else finite & norms.present
        torch.where(seen, updated, gamma, out=gamma)
        self.state["count"].add_(finite)
