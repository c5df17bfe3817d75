"""The application on a socket: started with one clear line, ended within 5 s with nothing lost."""

import errno
import gc
import signal
import socket
import sys
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from server.connection import Connection
from server.peer import SEND_TIMEOUT_S
from server.settings import Settings

MAX_MESSAGE_BYTES = 8 * 2**20
#: For connections to end after SIGTERM; workers have had their time before.
CLOSING_TIMEOUT_S = 2
#: New objects before the garbage collector looks at them; Python's default is 700.
YOUNG_OBJECTS = 10_000


class ListenError(Exception):
    """The address cannot be listened on; the sentence says why and what helps."""


def listen(settings: Settings) -> socket.socket:
    """A listening socket at the settings' address.

    Raises:
        ListenError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {settings.port} of {settings.host} is taken: choose another one with CLIPCORE_PORT"
        else:
            reason = f"cannot listen on {settings.host}, port {settings.port} ({error}): see CLIPCORE_HOST"
        raise ListenError(reason) from error
    # Connections inherit it. asyncio would set it, but not on those of a socket whose protocol number is 0, as it is
    # here; without it an answer's last packet waits 40 ms for the client to acknowledge the one before.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        # Who has been given up may still be owed megabytes; a connection that nobody reads would hold them for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2 * SEND_TIMEOUT_S * 1000))
    return listener


def tune_garbage_collector() -> None:
    """Let the garbage collector stop the server seldom: a full collection takes 0.2 s with a thousand viewers.

    What is loaded by now stays for good, so it is not looked at again. And nearly all that comes later is freed without
    the collector's help.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


class Server(uvicorn.Server):
    """Serves the application until SIGTERM or Ctrl-C.

    Args:
        app: made by `server.app.create_app`.
        settings: with the port that is listened on.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on",
                http=Connection,
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # compression costs a quarter of the message rate
                timeout_graceful_shutdown=CLOSING_TIMEOUT_S,
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
            )
        )
        self._app = app
        self._settings = settings

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  uvicorn's signature
        """Take a signal as the wish to end. uvicorn would also raise it again, before the store is closed."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say where."""
        await super().startup(sockets)
        click.echo(f"clipcore is at {self._settings.url}  (runs are kept in {self._settings.data_dir}; Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the workers while they can still say how they ended, then the connections, then the application."""
        await self._app.state.supervisor.close()
        await super().shutdown(sockets)
        for connection in self.server_state.connections:
            connection.transport.abort()  # it waits for a peer that does not read
