"""The listening socket, the garbage collector, and how the server ends."""

import gc
import socket
import sys
import time
import weakref
from contextlib import closing

import pytest
from websockets.exceptions import ConnectionClosed

from server.peer import SEND_TIMEOUT_S
from server.serving import listen, tune_garbage_collector
from server.settings import Settings
from tests.server.site import steps
from tests.server.test_viewer import stalled_viewer


def test_answers_leave_at_once():
    """No connection waits, by Nagle's algorithm, for an acknowledgement before it sends the rest of an answer."""
    with closing(listen(Settings(port=0))) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_collector_leaves_what_is_loaded_alone():
    """It looks only at what has come since, and what of that is garbage it still finds."""

    class Knot:
        def __init__(self):
            self.itself = self

    thresholds, loaded = gc.get_threshold(), gc.get_freeze_count()
    try:
        tune_garbage_collector()
        assert gc.get_freeze_count() > loaded
        assert gc.get_threshold()[0] > thresholds[0]
        knot = weakref.ref(Knot())
        assert knot() is not None
        gc.collect()
        assert knot() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def test_the_server_ends_within_5_s_whoever_is_attached(site):
    """Viewers that read nothing do not hold it up, and trainers are told."""
    site.shrink_buffers()
    trainer = site.trainer()
    trainer.start("r1")
    stalled = [stalled_viewer(site) for _ in range(20)]
    for first in range(1, 20_000, 1000):
        trainer.commit(steps(first, first + 999, loss=float, lr=float))
    started = time.monotonic()
    site.stop()
    assert time.monotonic() - started < 5
    with pytest.raises(ConnectionClosed) as told:
        trainer.receive()
    assert told.value.rcvd.code == 1012
    for raw in stalled:
        raw.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has TCP_USER_TIMEOUT")
def test_a_connection_that_nobody_reads_is_cut_off():
    """The system ends a connection whose other end takes nothing long after the server has given it up."""
    with closing(listen(Settings(port=0))) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2 * SEND_TIMEOUT_S * 1000
