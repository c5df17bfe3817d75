"""The link by itself: what it may say in a header, and to the log."""

import itertools
import json
import logging
import queue
import socket
import threading
from functools import partial

import pytest
from websockets.server import ServerProtocol
from websockets.sync.client import connect
from websockets.sync.server import serve

from clipcore.link import FRAMES_IN_FLIGHT, Link, header_token
from clipcore.outbox import Outbox
from clipcore.recorder import Record


@pytest.mark.parametrize(
    ("token", "expected"), [(None, None), ("", None), (" \n", None), ("s3cret\n", "s3cret"), ("\ta b ", "a b")]
)
def test_a_token_is_taken_without_the_space_around_it(token, expected):
    """Such as the end of the line that it was read from."""
    assert header_token(token) == expected


@pytest.mark.parametrize("token", ["s3cr\u00e9t", "s3cret\nX-Header: 1", "s3c\x00ret", b"s3cret"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(token):
    """The server would refuse it too."""
    with pytest.raises(ValueError, match=r"token must be printable ASCII, .* \(this one is not shown\)"):
        header_token(token)


def welcome_and_stall(listener):
    """A server that greets and is never heard of again, not even by an answer to a ping."""
    with listener.accept()[0] as stream:
        protocol = ServerProtocol()
        while not (requests := protocol.events_received()):
            protocol.receive_data(stream.recv(4096))
        protocol.send_response(protocol.accept(requests[0]))
        protocol.send_text(json.dumps({"type": "welcome", "acked": 0, "n": 0}).encode())
        stream.sendall(b"".join(protocol.data_to_send()))
        while stream.recv(4096):
            pass


def test_a_server_that_stalls_is_named_in_one_sentence(caplog, monkeypatch):
    """Websockets' own records, with their tracebacks, say nothing that the link's sentence does not."""
    monkeypatch.setattr("clipcore.link.connect", partial(connect, ping_interval=0.05, ping_timeout=0.1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=welcome_and_stall, args=(listener,))
        server.start()
        url, outbox = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws/train", Outbox()
        link = Link(url, None, outbox, hello=lambda: {"type": "hello"}, collect=lambda: None, receive=lambda _: None)
        with caplog.at_level(logging.INFO):
            link.start()
            server.join()
    outbox.add_note("event")
    link.close(0.1)
    (record,) = (record for record in caplog.records if record.name.startswith("clipcore"))
    assert "keepalive ping timeout" in record.getMessage()
    assert record.exc_info is None


def test_rows_gather_in_a_fuller_frame_while_the_server_is_behind(monkeypatch):
    """What is on the way stays bounded, however long an acknowledgement takes; then all the rest goes in one frame."""
    monkeypatch.setattr("clipcore.link.BATCH_INTERVAL_S", 0.002)
    outbox, received, steps = Outbox(), queue.SimpleQueue(), itertools.count(1)
    behind, goes_on = threading.Event(), threading.Event()

    def collect():
        step = next(steps)
        outbox.add_rows([Record(step, time=0.0, mode="norm", values={}, layers=None, exponents=None)])
        if step == 200:
            behind.set()
        return {"type": "layers", "step": step}

    def take(peer):
        peer.recv()
        peer.send(json.dumps({"type": "welcome", "acked": 0, "n": 0}))
        goes_on.wait(10)
        for text in peer:
            message = json.loads(text)
            received.put(message)
            if message["type"] == "steps":
                seq = message["seq"] + len(message["columns"]["step"]) - 1
                peer.send(json.dumps({"type": "ack", "seq": seq, "n": 0}))

    with serve(take, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws/train"
        link = Link(url, None, outbox, hello=lambda: {"type": "hello"}, collect=collect, receive=lambda _: None)
        link.start()
        assert behind.wait(10)
        goes_on.set()
        messages = [received.get(timeout=10) for _ in range(2 * FRAMES_IN_FLIGHT + 1)]
        link.close(0.1)
    rows = [len(message["columns"]["step"]) for message in messages if message["type"] == "steps"]
    assert rows[:-1] == [1] * FRAMES_IN_FLIGHT
    assert rows[-1] >= 200 - FRAMES_IN_FLIGHT


def test_a_server_that_greets_and_sends_away_is_left_alone_for_longer_and_longer(monkeypatch):
    """Such as one whose disk is full: only what it acknowledges shows that it can be of use again."""
    waits, outbox = [], Outbox()
    outbox.add_note("event")

    def greet(socket):
        socket.recv()
        socket.send(json.dumps({"type": "welcome", "acked": 0, "n": 0}))
        if len(waits) < 4:
            return
        socket.recv()
        socket.send(json.dumps({"type": "ack", "seq": 0, "n": 1}))
        for _ in socket:
            pass

    monkeypatch.setattr(Link, "_wait", lambda link, _: waits.append(link._backoff_s))
    with serve(greet, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws/train"
        link = Link(url, None, outbox, hello=lambda: {"type": "hello"}, collect=lambda: None, receive=lambda _: None)
        link.start()
        assert link.close(10.0)
        server.shutdown()
    assert waits == [0.25, 0.5, 1.0, 2.0, 0.25]
