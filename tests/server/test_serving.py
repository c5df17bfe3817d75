"""The listening socket, before any application is behind it."""

import socket
from contextlib import closing

from server.serving import listen
from server.settings import Settings


def test_answers_leave_at_once():
    """No connection waits, by Nagle's algorithm, for an acknowledgement before it sends the rest of an answer."""
    with closing(listen(Settings(port=0))) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
