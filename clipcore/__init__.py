"""Gradient clipping for PyTorch that is exact, fast, and says what it does.

Use it like this::

clipcore.clip_grad_norm_(model.parameters(), 1.0)          # torch.nn.utils's functions, same arguments

clipper = clipcore.Clipper(model, mode="norm", max_norm=1.0)
stats = clipper.clip_()                                    # after backward, before optimizer.step()
clipper.update(max_norm=0.5)                               # from any thread; the next clip_() obeys

run = clipcore.connect(clipper, name="my run")             # watch and steer it on a page
run.log(stats, loss=loss)
"""

from clipcore.clipper import Clipper
from clipcore.functional import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    gradient_clipping,
)
from clipcore.knobs import Knob
from clipcore.notices import ClipWarning
from clipcore.replays import replay
from clipcore.run import Run, connect
from clipcore.stats import ClipStats

__all__ = [
    "ClipStats",
    "ClipWarning",
    "Clipper",
    "Knob",
    "Run",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "connect",
    "get_total_norm",
    "gradient_clipping",
    "replay",
]
