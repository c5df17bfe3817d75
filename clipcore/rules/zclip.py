"""Mode zclip: clip norms that are outliers by their z-score."""

import torch
from torch import Tensor

from clipcore.rules.parameter import MAX_STEPS, Parameter
from clipcore.rules.rule import Decision, Norms, ScalingRule, keep_within


class ZClip(ScalingRule):
    """z_t = (N - mu) / (sigma + 1e-6); a norm with z_t > z is clipped to mu + z^2 sigma / z_t.

    For any other norm N the threshold T is N itself, or max_norm if that is less. Within T, N = T included, gradients
    stay exactly as they are; beyond it they are multiplied by T / (N + 1e-6).

    mu and the population variance are those of the first `warmup` norms, during which only max_norm acts, then moving
    averages in which an outlier counts as what it was clipped to.
    """

    mode = "zclip"
    title = "Outliers by z-score (ZClip)"
    help = "Clips the global norm when it is an outlier among the norms before it."
    source = "Kumar et al. 2025, https://arxiv.org/abs/2504.02507"
    parameters = (
        Parameter("alpha", 0.97, "How much of mean and variance is kept at each step.", unit="fraction", maximum=1.0),
        Parameter(
            "z", 2.5, "z-score above which a norm is an outlier.", unit="standard deviations", above_minimum=True
        ),
        Parameter(
            "warmup",
            25,
            "Steps that only collect statistics.",
            kind="integer",
            unit="steps",
            minimum=1,
            maximum=MAX_STEPS,
        ),
        Parameter("max_norm", 1.0, "Upper bound on the global norm at any time.", unit="gradient norm"),
    )
    bound = "z"
    bounds = "global norm"
    adaptive = True

    def initial_state(self) -> dict[str, Tensor]:
        """No norms seen."""
        return {name: torch.zeros((), dtype=torch.float64, device=self.device) for name in ("count", "mean", "var")}

    def decide(self, norms: Norms) -> Decision:
        """Clip an outlier, then remember the norm as it was clipped."""
        norm, mean, sigma = norms.total, self.state["mean"], self.state["var"].sqrt()
        warming = self.state["count"] < self.values["warmup"]
        score = (norm - mean) / (sigma + 1e-6)
        limit = torch.where(warming, self.inf, self.values["z"])
        target = torch.where(score > limit, torch.addcmul(mean, limit, limit * sigma / score), norm)
        # fmin: of a NaN norm the other bound holds
        threshold = torch.fmin(torch.where(warming, self.inf, target), self.values["max_norm"])
        self._remember(target, norm < torch.inf, warming)
        return Decision(keep_within(threshold, norm), threshold)

    def _remember(self, value: Tensor, finite: Tensor, warming: Tensor) -> None:
        """One step of Welford's mean and variance while warming up, of their moving averages afterwards."""
        count, mean, var = self.state["count"], self.state["mean"], self.state["var"]
        count.add_(finite)
        weight = torch.where(finite, torch.where(warming, count.reciprocal(), 1 - self.values["alpha"]), self.zero)
        value = torch.where(finite, value, mean)
        before = value - mean
        mean.lerp_(value, weight)
        after = value - mean
        var.lerp_(after * torch.where(warming, before, after), weight)
