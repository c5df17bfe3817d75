"""Places for so many pages at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.denial import Denial

#: Who finds no place is told to come back after so long.
FULL_S = 30


class Places:
    """Places among the viewers.

    All clients share them: behind a proxy that is not trusted, they all come from one address.

    Args:
        most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def take(self) -> Iterator[Denial | None]:
        """A place, taken while the context lasts; or why there is none."""
        if self._taken >= self._most:
            reason = f"as many pages are connected as CLIPCORE_MAX_VIEWERS (={self._most}) lets in: come back later"
            yield Denial(503, reason, FULL_S)
            return
        self._taken += 1
        try:
            yield None
        finally:
            self._taken -= 1
