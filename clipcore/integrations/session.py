"""What a framework's callback holds while training runs: a Clipper on every rank, and its run on the first."""

import inspect
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from clipcore.clipper import Clipper
from clipcore.knobs import knobs_by_name
from clipcore.model import Parameters
from clipcore.run import End, Run, connect
from clipcore.settings import Settings, difference
from clipcore.stats import ClipStats

log = logging.getLogger("clipcore")

LONGEST_PAUSE = timedelta(days=30)  # while the first rank is paused, the others wait for its word

BROKEN_OFF: tuple[End, str] = ("failed", "training ended before it was complete")


#: Arguments of `Clipper` that are no settings.
_OTHERS = {
    name for name, argument in inspect.signature(Clipper).parameters.items() if argument.kind is argument.KEYWORD_ONLY
} - {"nonfinite"}


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a Clipper that is made later, if they are right for one; raises like it.

    What only the model tells, such as the names that `exclude` may have, is left to the Clipper.
    """
    knobs = knobs_by_name(settings.get("knobs", ()))
    Settings(knobs=knobs).patched({name: value for name, value in settings.items() if name not in _OTHERS})
    return {**settings, "knobs": list(knobs.values())} if knobs else dict(settings)


class Session:
    """A Clipper and perhaps its run; all ranks make it, and call its methods equally often.

    Args:
        parameters: whose gradients are clipped.
        run: the name under which a clipcore server shows the training; None to clip without a server.
        **settings: arguments of `Clipper`.
    """

    def __init__(self, parameters: Parameters, run: str | None, **settings: Any) -> None:
        shared = run is not None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self._group = dist.new_group(backend="gloo", timeout=LONGEST_PAUSE) if shared else None
        self.clipper = Clipper(parameters, group=self._group, **settings)
        leads = self._group is None or dist.get_rank() == 0
        self._run: Run | None = connect(self.clipper, name=run) if run is not None and leads else None
        if self._run is not None:
            self._run.unless_finished(*BROKEN_OFF)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a Clipper's state, and log which of the given settings gave way to saved ones."""
        given = self.clipper.config
        self.clipper.load_state_dict(state)
        changes = difference(given, self.clipper.config).items()
        told = [f"{name} {before!r} -> {after!r}" for name, (before, after) in changes if None not in (before, after)]
        if told:
            log.info("clipping goes on with the checkpoint's settings, not those given: %s", ", ".join(told))

    def log(self, stats: ClipStats, **metrics: Any) -> None:
        """Record a step, if anybody watches."""
        if self._run is not None:
            self._run.log(stats, **metrics)

    def proceed(self) -> bool:
        """Wait while the page has paused the training; False on all ranks once it asked to stop."""
        goes_on = self._run is None or self._run.proceed()
        if self._group is None:
            return goes_on
        word = torch.tensor([goes_on], device="cpu")
        dist.broadcast(word, group=self._group, group_src=0)
        return bool(word)

    def break_off(self) -> None:
        """End the run of a training that stopped before it was complete; nobody told why."""
        if self._run is not None:
            self._run.finish(*BROKEN_OFF)

    def finish(self, error: BaseException | None = None) -> None:
        """The training is over, by an error or not."""
        if self._run is not None:
            self._run.__exit__(None if error is None else type(error), error, None)
