"""accelerate: clip where `accelerator.clip_grad_norm_` would be called."""

from accelerate import Accelerator  # type: ignore[import-untyped]  # it has no types

from clipcore.clipper import Clipper
from clipcore.stats import ClipStats


def clip_(accelerator: Accelerator, clipper: Clipper) -> ClipStats | None:
    """Unscale and clip all gradients in place once they are whole: after `accelerator.backward`, before the step.

    Args:
        accelerator: knows whether gradients still accumulate, and how they are scaled.
        clipper: made of the prepared model. If it is to know the optimizer, give it the one inside of what `prepare`
            returned, `optimizer.optimizer`.

    Returns:
        What was done; None while gradients accumulate, when nothing was.

    Raises:
        RuntimeError, ValueError, TypeError: as `Clipper.clip_`.

    Example:
        accelerator.backward(loss)
        stats = clip_(accelerator, clipper)
        optimizer.step()
    """
    if not accelerator.sync_gradients:
        return None
    accelerator.unscale_gradients()
    return clipper.clip_()
