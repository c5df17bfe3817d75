"""Mode off: look, do not touch."""

from clipcore.rules.rule import Rule


class Off(Rule):
    """Measures only and writes nothing."""

    mode = "off"
    title = "Off"
    help = "Measures the gradients and leaves them as they are."
