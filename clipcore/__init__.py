"""Gradient clipping for PyTorch that is exact, fast, and says what it does.

`torch.nn.utils`'s functions with the same arguments, and `Clipper`, whose mode and bounds change while training runs;
`connect` shows its steps on a page, which steers it.

>>> import clipcore
>>> model = torch.nn.Linear(2, 1)
>>> model(torch.ones(2)).backward()
>>> norm = clipcore.clip_grad_norm_(model.parameters(), 1.0)

>>> clipper = clipcore.Clipper(model, mode="norm", max_norm=1.0)
>>> stats = clipper.clip_()  # after backward, before optimizer.step()
>>> stats.norm.item() <= 1
True
>>> change = clipper.update(max_norm=0.5)  # from any thread; the next clip_() obeys
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
from clipcore.replays import replay
from clipcore.run import Run, connect
from clipcore.stats import ClipStats
from clipcore.warn import ClipWarning

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
