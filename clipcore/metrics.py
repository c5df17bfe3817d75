"""Which metrics of a script's own a run takes."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from clipcore.stats import COLUMNS
from clipcore.wire import MAX_METRICS

OWN_METRICS = MAX_METRICS - len(COLUMNS)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,63}")
_RESERVED = frozenset({"seq", "step", "time", "mode", *COLUMNS})


class Admission:
    """Remembers the metrics of one run.

    Args:
        say: is told, in a sentence, which metric is left out and why; at every step again.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._known: set[str] = set()

    def admit(self, metrics: Mapping[str, float | Tensor]) -> Mapping[str, float | Tensor]:
        """Those whose names the wire can carry, new ones included."""
        if metrics.keys() <= self._known:
            return metrics
        for name in metrics:
            if name in self._known:
                continue
            if name in _RESERVED:
                self._say(f"run.log leaves out metric {name!r}: every step has a column of that name already")
            elif not _NAME.fullmatch(name):
                self._say(
                    f"run.log leaves out metric {name!r}: a name is a letter or _, then up to 63 of A-Z a-z 0-9 _ . / -"
                )
            elif len(self._known) >= OWN_METRICS:
                self._say(f"run.log leaves out metric {name!r}: a run has at most {OWN_METRICS} metrics of its own")
            else:
                self._known.add(name)
        return {name: value for name, value in metrics.items() if name in self._known}
