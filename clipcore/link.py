"""The trainer's end of the wire: one background thread that carries an outbox to a clipcore server and controls back.

It reconnects with back-off, sends again what is not acknowledged, and never lets a failure reach the training thread.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from clipcore.outbox import Outbox
from clipcore.wire import encode

log = logging.getLogger("clipcore")
_websockets_log = logging.getLogger("clipcore.websockets")
# At DEBUG it would write every header down, the token's among them, and what it reports as errors `_complain` says too.
_websockets_log.setLevel(logging.CRITICAL)

BATCH_INTERVAL_S = 0.05
BACKOFF_S = (0.25, 5.0)  # first and longest wait between two tries
ANSWER_TIMEOUT_S = 10.0  # for the handshake and for the welcome
TAKEN_OVER = 4409  # the close code for a trainer whose run another one feeds now
FRAMES_AT_ONCE = 16  # between two looks at what came in: a long backlog must not let acknowledgements pile up
FRAMES_IN_FLIGHT = 16  # not acknowledged: with more of them on the way, rows gather in fewer, fuller frames

#: What a message of each type that a trainer takes must have.
NEEDED = {
    "welcome": ("acked", "n"),
    "ack": ("seq", "n"),
    "control": ("id", "patch"),
    "command": ("id", "command"),
    "error": ("reason",),
}

Message = dict[str, Any]


class RefusedError(Exception):
    """The server does not want this run; its sentence says why."""


def header_token(token: str | None) -> str | None:
    """The token as an HTTP header value, stripped of surrounding white space; None if empty.

    Raises:
        ValueError: it cannot; the error does not show it.
    """
    stripped = token.strip() if isinstance(token, str) else token
    if stripped and not (isinstance(stripped, str) and stripped.isascii() and stripped.isprintable()):
        raise ValueError("token must be printable ASCII, since it travels in a header (this one is not shown)")
    return stripped or None


class Link(threading.Thread):
    """Keeps a connection to `url` while the run lasts.

    Args:
        url: websocket URL of the server's /ws/train.
        token: sent as a bearer token when given.
        outbox: what to deliver.
        hello: introduces the run, with its configuration as it is now.
        collect: brings finished records to the outbox; returns the newest `layers` message if there is one.
        receive: takes a control or a command.

    All three are called on this thread.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        outbox: Outbox,
        *,
        hello: Callable[[], Message],
        collect: Callable[[], Message | None],
        receive: Callable[[Message], None],
    ) -> None:
        super().__init__(name="clipcore-link", daemon=True)
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._outbox = outbox
        self._hello = hello
        self._collect = collect
        self._receive = receive
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._complaint = ""
        self._layers: Message | None = None  # the newest that wait to be sent
        self._backoff_s = BACKOFF_S[0]

    def end(self) -> None:
        """Deliver what is left, then end; nobody waits."""
        self._closing.set()

    def close(self, timeout_s: float) -> bool:
        """The same, but give up after `timeout_s`; False when the server has not acknowledged all of it by then."""
        self.end()
        self.join(timeout_s)
        self._abandoned.set()
        return self._outbox.empty

    def run(self) -> None:
        """Connect, converse, wait, and again, until closed or replaced."""
        socket: ClientConnection | None = None
        while not self._done():
            try:
                with self._connect() as socket:
                    self._greet(socket)
                    self._converse(socket)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed, RefusedError) as error:
                self._complain(error)
            except Exception as error:  # noqa: BLE001  a fault of ours: say it whole, keep training and keep trying
                self._complain(error, whole=True)
            if socket is not None and socket.close_code == TAKEN_OVER:
                self._retire()
                return
            self._outbox.rewind()
            self._wait(
                self._backoff_s * random.uniform(0.75, 1.25)
            )  # a hundred trainers shall not return in one instant
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_S[1])

    def _retire(self) -> None:
        """Let the run to the process that has taken it over; coming back, each would take it from the other for ever.

        Nobody could resume a paused loop from now on, and nobody wants its steps, so it runs on and they are forgotten.
        """
        log.warning(
            "another process has taken over this run; training goes on here without being recorded "
            "(is CLIPCORE_RUN_ID set twice?)"
        )
        self._receive({"type": "command", "id": "replaced", "command": "resume"})
        while not self._abandoned.is_set():
            closing = self._closing.wait(BATCH_INTERVAL_S)
            self._collect()
            self._outbox.discard()
            if closing:
                return

    def _connect(self) -> ClientConnection:
        local = urlsplit(self._url).hostname in ("localhost", "127.0.0.1", "::1")
        return connect(
            self._url,
            additional_headers=self._headers,
            compression=None,
            logger=_websockets_log,
            open_timeout=ANSWER_TIMEOUT_S,
            close_timeout=1.0,
            proxy=None if local else True,
        )

    def _greet(self, socket: ClientConnection) -> None:
        socket.send(encode(self._hello()))
        welcome = _message(socket.recv(timeout=ANSWER_TIMEOUT_S))
        if welcome["type"] != "welcome":
            raise RefusedError(welcome.get("reason", f"expected welcome, got {welcome['type']}"))
        self._outbox.welcome(welcome["acked"], welcome["n"])
        if self._complaint:
            log.warning("connected to %s again; what was kept meanwhile is being sent", self._url)
        self._complaint = ""

    def _converse(self, socket: ClientConnection) -> None:
        began = time.monotonic()
        while not self._done():
            next_batch = time.monotonic() + BATCH_INTERVAL_S
            if next_batch - began > BACKOFF_S[1]:
                self._backoff_s = BACKOFF_S[0]
            self._send(socket)
            while (left_s := next_batch - time.monotonic()) > 0 and not self._done():
                try:
                    self._take(_message(socket.recv(timeout=left_s)))
                except TimeoutError:
                    break
        self._layers = self._collect() or self._layers  # those that came with the end
        self._send_layers(socket)

    def _send(self, socket: ClientConnection) -> None:
        """Send what is new, unless the server is behind: pings and answers would have to queue with what it gets."""
        self._layers = self._collect() or self._layers
        self._report_loss()
        if self._outbox.in_flight >= FRAMES_IN_FLIGHT:
            return
        for text in islice(self._outbox.unsent(), FRAMES_AT_ONCE):
            socket.send(text)
        self._send_layers(socket)

    def _send_layers(self, socket: ClientConnection) -> None:
        if self._layers is not None:
            socket.send(encode(self._layers))
            self._layers = None

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "ack":
                self._outbox.acknowledge(message["seq"], message["n"])
                self._backoff_s = BACKOFF_S[0]  # not at a welcome: a server without room greets, and sends away
            case "control" | "command":
                self._receive(message)
            case "error":
                raise RefusedError(message["reason"])
            case other:
                log.debug("ignoring a message of type %r, newer than this trainer", other)

    def _report_loss(self) -> None:
        """Say what the server can only see as a gap, or not at all."""
        if lost := self._outbox.take_lost_rows():
            log.warning(
                "steps were dropped while the server was unreachable, %s in all: memory and disk buffers are full",
                f"{lost:,}",
            )
        if foreign := self._outbox.take_foreign_rows():
            log.warning(
                "another process has sent steps of this run, %s in all: they stay, and as many of this one's are lost "
                "(is CLIPCORE_RUN_ID set twice?)",
                f"{foreign:,}",
            )

    def _done(self) -> bool:
        return self._abandoned.is_set() or (self._closing.is_set() and self._outbox.empty)

    def _wait(self, seconds: float) -> None:
        """Wait before the next try, emptying the recorder meanwhile; a closing link has no time to wait long."""
        until = time.monotonic() + min(seconds, BACKOFF_S[0] if self._closing.is_set() else seconds)
        while not self._done() and (left_s := until - time.monotonic()) > 0:
            self._collect()
            self._abandoned.wait(min(left_s, BATCH_INTERVAL_S))

    def _complain(self, error: Exception, *, whole: bool = False) -> None:
        """Say why there is no connection, once for each different reason; whole: with the traceback."""
        reason = _sentence(error)
        if reason != self._complaint and not self._done():
            text = "no connection to %s (%s); training goes on, steps are kept and sent later"
            log.warning(text, self._url, reason, exc_info=error if whole else None)
        self._complaint = reason


def _message(frame: str | bytes) -> Message:
    """A frame as a message of the wire, which has what its type needs."""
    try:
        message = json.loads(frame)
    except ValueError:
        message = None
    if not (isinstance(message, dict) and message.keys() >= {"type", *NEEDED.get(str(message.get("type")), ())}):
        raise RefusedError(f"this is not a clipcore server of this version: it sent {frame[:60]!r}")
    return message


def _sentence(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        body = error.response.body or b""
        return f"HTTP {error.response.status_code} {body.decode(errors='replace')[:300]}".strip()
    return f"{error}" or type(error).__name__
