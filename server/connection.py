"""An HTTP connection that does not wait for ever for the rest of a request."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: For a whole request to arrive; after an answer, uvicorn's own shorter timeout holds until the next one begins.
REQUEST_TIMEOUT_S = 10.0


class Connection(H11Protocol):
    """Closes itself when a request, once it could begin, is not complete after `REQUEST_TIMEOUT_S`."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for a first request."""
        super().connection_made(transport)
        self._wait_or_not()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and wait for the rest if there is more to come."""
        super().data_received(data)
        self._wait_or_not()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._wait_no_more()

    def _wait_or_not(self) -> None:
        is_whole = self.cycle and not (self.cycle.more_body or self.cycle.response_complete)
        if is_whole or self.transport.get_protocol() is not self:  # it has become a websocket
            self._wait_no_more()
        elif self._closing is None:
            self._closing = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
