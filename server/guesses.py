"""Whether what somebody gives is the token, told only so many times that nobody finds it by trying."""

import hashlib
import hmac
import logging
from collections import deque

from server.denial import Denial, too_many
from server.throttle import Throttle

log = logging.getLogger("clipcore.server")

#: Wrong tokens remembered, as digests.
REMEMBERED_GUESSES = 256
#: Of one client: per second for good, and at once.
GUESSES = 0.1, 10
KNOWN_GUESSES = 10, 50  # from where the right token has come, before that is not taken either


class Guesses:
    """Compares with the token, and throttles those who give a wrong one.

    Args:
        token: the right one; empty: none is right.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._guesses = Throttle(*GUESSES)
        self._known_guesses = Throttle(*KNOWN_GUESSES)
        self._proven: set[str] = set()  # clients that have given the token
        self._guessed: deque[bytes] = deque(maxlen=REMEMBERED_GUESSES)

    def check(self, client: str, given: str) -> Denial | None:
        """Why this is not taken for the token; None if it is.

        An address that has shown the token before is still accepted while wrong tokens are throttled, so that guesses
        cannot lock its owner out. If wrong tokens come fast enough for a search, even the right one is throttled.
        """
        is_right = bool(self._token) and is_same(given, self._token)
        is_known = client in self._proven
        guess = _digest(given)
        # A trainer that comes back with its old token for hours learns nothing, and must not lock its machine out.
        is_news = not is_right and guess not in self._guessed
        if is_known and (denial := too_many(self._known_guesses, client, "wrong tokens")):
            return denial
        if is_known and is_news:
            self._known_guesses.count(client)
        if not (is_known and is_right) and (denial := too_many(self._guesses, client, "wrong tokens")):
            return denial
        if is_right:
            self._proven.add(client)
            return None
        if is_news:
            self._guesses.count(client)
            self._guessed.append(guess)
            log.warning("wrong token from %s", client)
        return Denial(401, "this is not the server's token (CLIPCORE_TOKEN)")


def is_same(given: str, token: str) -> bool:
    """Whether both are the same; how long it takes tells nothing."""
    return hmac.compare_digest(_digest(given), _digest(token))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
