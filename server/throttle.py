"""How often a client may do something: a few times at once, then at a steady rate."""

import time
from collections import OrderedDict
from collections.abc import Callable

#: Clients remembered; beyond that, the one that was quiet longest is forgotten.
MOST_CLIENTS = 4096


class Throttle:
    """A leaky bucket for each client.

    A bucket is one number, the moment at which it will be empty: the generic cell rate algorithm of ATM networks.

    Args:
        per_s: how often it may be done for good.
        burst: how often at once.
        clock: seconds that never run backwards.
    """

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._clock = clock
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """How long until the client may do it once more; 0 if it may now."""
        filled_s = self._empty_at.get(client, 0) - self._clock()
        return max(0.0, filled_s + self._interval_s - self._burst_s)

    def count(self, client: str) -> None:
        """The client does it now."""
        now = self._clock()
        self._empty_at[client] = max(self._empty_at.get(client, now), now) + self._interval_s
        self._empty_at.move_to_end(client)
        if len(self._empty_at) > MOST_CLIENTS:
            self._empty_at.popitem(last=False)
