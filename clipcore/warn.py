"""Warnings that point at the user's own line."""

import sys
import warnings


class ClipWarning(UserWarning):
    """The training loop and the Clipper do not fit together."""


def tell(text: str, category: type[Warning]) -> None:
    """Warn, pointing at the user's own line: the first that is neither this package's nor torch's."""
    level = 1
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("clipcore", "torch"):
        frame = frame.f_back
        level += 1
    warnings.warn(text, category, stacklevel=level)
