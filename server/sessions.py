"""Who is logged in: random values that stand for the token in a browser's cookie."""

import secrets
import time
from collections.abc import Callable

LIFETIME_S = 7 * 24 * 3600
#: Beyond that, the oldest login ends.
MOST_SESSIONS = 1000


class Sessions:
    """Logins of this server process; none outlives it.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}  # oldest first

    def start(self) -> str:
        """A new session's value, for the cookie."""
        value = secrets.token_urlsafe(32)
        self._ends[value] = self._clock() + LIFETIME_S
        if len(self._ends) > MOST_SESSIONS:
            del self._ends[next(iter(self._ends))]
        return value

    def holds(self, value: str) -> bool:
        """Whether somebody is logged in with this value."""
        return self._clock() < self._ends.get(value, 0)

    def end(self, value: str) -> None:
        """Log out."""
        self._ends.pop(value, None)
