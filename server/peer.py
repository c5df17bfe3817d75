"""The other end of a websocket, for whom a failure to read or to listen ends the conversation."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server.metrics import DROPPED
from server.protocol import Error, Message
from server.shared_timeout import SharedTimeout
from server.wording import first_error_line

T = TypeVar("T")
log = logging.getLogger("clipcore.server")

#: A peer that takes nothing for so long is given up.
SEND_TIMEOUT_S = 30.0
#: A last word may take so long; the peer may be stuck.
FAREWELL_TIMEOUT_S = 1.0

# Close codes of RFC 6455; those from 4000 on are our own.
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
TAKEN_OVER = 4409


class GoneError(Exception):
    """The peer is not there any more, or does not take what it is sent."""


class BadMessageError(Exception):
    """The peer sent what is no message of the wire; the sentence says what is wrong with it."""


class Peer:
    """Text frames to and from one websocket; sending is safe from several tasks."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._timeout = SharedTimeout(SEND_TIMEOUT_S)
        self.name = f"{socket.client.host}:{socket.client.port}" if socket.client else "somebody"

    async def send(self, message: Message | str) -> None:
        """Send a message, encoded or not; waits while the peer is slow.

        Raises:
            GoneError: the peer has left, or has read nothing for 30 s.
        """
        text = message if isinstance(message, str) else message.model_dump_json()
        try:
            await self._timeout.wait(self._send(text))
        except TimeoutError:
            DROPPED.inc()
            log.warning("%s has read nothing for %.0f s and is given up", self.name, SEND_TIMEOUT_S)
            raise GoneError(f"{self.name} does not read") from None

    async def receive(self, parse: Callable[[str], T]) -> T:
        """The next message.

        Raises:
            GoneError: the peer has left.
            BadMessageError: what it sent cannot be parsed.
        """
        event = await self._socket.receive()
        if event["type"] == "websocket.disconnect":
            raise GoneError(f"{self.name} has left")
        text = event.get("text")
        if text is None:
            raise BadMessageError("expected a text frame with JSON, got a binary frame")
        try:
            return parse(text)
        except ValidationError as error:
            raise BadMessageError(first_error_line(error.errors())) from error

    async def close(self, code: int, reason: str) -> None:
        """Say why, then close; a peer that does not listen is left to itself."""
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                await self._send(Error(reason=reason).model_dump_json())
                await self._socket.close(code)
        except (GoneError, TimeoutError, WebSocketDisconnect, RuntimeError):
            log.debug("%s left before it was told: %s", self.name, reason)

    async def _send(self, text: str) -> None:
        if self._socket.application_state is not WebSocketState.CONNECTED:
            raise GoneError(f"{self.name} has left")
        try:
            await self._socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError):  # uvicorn's RuntimeError: it has closed, for want of a pong
            raise GoneError(f"{self.name} has left") from None
