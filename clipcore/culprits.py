"""In which layers NaN and infinity were first seen, as lines of the change log: not many, whatever a training does."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from clipcore.recorder import Record
from clipcore.wire import MAX_NAME

INTERVAL_S = 1.0
MOST = 100
NAMED = 2


class Culprits:
    """Tells of a step with non-finite elements that follows one without: at most one a second, and MOST in all.

    Args:
        tell: called as `tell(record, text, data)`; `data` has the first layers' names and how many there are.
    """

    def __init__(self, tell: Callable[[Record, str, dict[str, Any]], None]) -> None:
        self._tell = tell
        self._told = 0
        self._due = -math.inf  # monotonic s
        self._within = False  # the step before had some, too

    def look(self, records: Iterable[Record]) -> None:
        """Look at all records, in order."""
        for record in records:
            is_first = bool(record.nonfinite_in) and not self._within
            self._within = bool(record.nonfinite_in)
            if is_first and self._told < MOST and (now := time.monotonic()) >= self._due:
                self._told, self._due = self._told + 1, now + INTERVAL_S
                self._tell(record, *_words(record.nonfinite_in, last=self._told == MOST))


def _words(layers: tuple[str, ...], *, last: bool) -> tuple[str, dict[str, Any]]:
    named = [name[:MAX_NAME] for name in layers[:NAMED]]
    more = f" and {len(layers) - NAMED:,} more" if layers[NAMED:] else ""
    where = f"{', '.join(named)}{more}" if more else " and ".join(named)
    end = f" (the last of {MOST} such lines)" if last else ""
    return f"NaN or infinity in the gradient of {where}{end}", {"nonfinite_in": named, "layers": len(layers)}
