"""Mode value: clamp each element."""

from torch import Tensor

from clipcore.rules.parameter import Parameter
from clipcore.rules.rule import Rule


class ClipValue(Rule):
    """Each element is clamped to +-clip_value."""

    mode = "value"
    title = "Element value"
    help = "Clamps each gradient element to +-clip_value, which bends the gradient's direction."
    source = "torch.nn.utils.clip_grad_value_"
    parameters = (Parameter("clip_value", 1.0, "Largest magnitude an element may keep.", unit="gradient"),)
    bound = "clip_value"
    bounds = "element"

    @property
    def threshold(self) -> Tensor:
        """The limit on each element."""
        return self.values["clip_value"]
