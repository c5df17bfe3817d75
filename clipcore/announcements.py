"""Which patches that took effect the server still has to hear of."""

import threading
from collections import deque
from collections.abc import Callable
from itertools import takewhile

from clipcore.settings import Update


class Announcements:
    """Tells of each patch that takes effect, once and in order, under which control's id it came; None: the script's.

    Either thread may be the first to see that a patch holds: the training thread when it logs the step, the link's
    thread when the script does not log every step.

    Args:
        obeyed: the latest patches that took effect, oldest first; it grows. Those there now are no news.
        tell: called as `tell(control_id, update)`.
    """

    def __init__(self, obeyed: deque[Update], tell: Callable[[str | None, Update], None]) -> None:
        self._obeyed = obeyed
        self._told = obeyed[-1] if obeyed else None  # the newest of those that were told
        self._tell = tell
        self._lock = threading.Lock()
        self._expected: list[tuple[str, Update]] = []

    def expect(self, control_id: str, submit: Callable[[], Update]) -> None:
        """Submit a patch under a control's id, so that nobody sees it applied before its id is known."""
        with self._lock:
            self._expected.append((control_id, submit()))

    def announce(self) -> None:
        """Tell of the patches that took effect since the last call."""
        if not self._obeyed or self._obeyed[-1] is self._told:
            return
        with self._lock:
            for update in self._untold():
                self._told = update
                control_id = next((id_ for id_, expected in self._expected if expected is update), None)
                self._expected = [entry for entry in self._expected if entry[1] is not update]
                self._tell(control_id, update)

    def end(self) -> None:
        """The same for the last time: what takes effect from now on is not told."""
        self.announce()
        with self._lock:
            self._obeyed = deque()

    def _untold(self) -> list[Update]:
        newest_first = reversed(self._obeyed.copy())  # at once: the training thread may add to it meanwhile
        return list(takewhile(lambda update: update is not self._told, newest_first))[::-1]
