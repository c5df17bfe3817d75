"""Which patches that took effect the server still has to hear of."""

import threading
from collections import deque
from collections.abc import Callable

from clipcore.settings import Update


class Announcements:
    """Tells, once for each patch that took effect, under which control's id it came; None: the script's own patch.

    Either thread may be the first to see that a patch holds: the training thread when it logs the step, the link's
    thread when the script does not log every step.
    """

    def __init__(self, tell: Callable[[str | None, Update], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._expected: list[tuple[str, Update]] = []
        self._told: deque[Update] = deque(maxlen=256)

    def expect(self, control_id: str, submit: Callable[[], Update]) -> None:
        """Submit a patch under a control's id, so that nobody sees it applied before its id is known."""
        with self._lock:
            self._expected.append((control_id, submit()))

    def announce(self, update: Update) -> None:
        """Tell that `update` holds, unless it was told already."""
        with self._lock:
            if any(told is update for told in self._told):
                return
            self._told.append(update)
            control_id = next((id_ for id_, expected in self._expected if expected is update), None)
            self._expected = [entry for entry in self._expected if entry[1] is not update]
        self._tell(control_id, update)

    def announce_applied(self) -> None:
        """Tell of every expected patch that holds by now."""
        for _, update in list(self._expected):
            if update.step is not None:
                self.announce(update)
