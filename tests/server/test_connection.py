"""Clients that do not say all they have to say."""

import socket

import pytest

from server import connection
from tests.server.site import steps


@pytest.fixture
def raw(site):
    host, _, port = site.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as opened:
        opened.settimeout(20)  # uvicorn's own limit, between two requests, is 5 s
        yield opened


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.3)


HEAD = b"POST /api/runs/x/command HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET / HTTP/1.1\r\nHost: loc", HEAD + b"Content-Length: 100\r\n\r\n{", WHOLE + b"GET / HTTP/1.1\r\n"],
    ids=["nothing", "half a head", "half a body", "half a second request"],
)
def test_half_a_request_is_not_waited_for(raw, beginning):
    """The connection is closed, or else a few hundred clients would take all that a process may have open."""
    raw.sendall(beginning)
    answer = b""
    while piece := raw.recv(4096):
        answer += piece
    assert (b"200 OK" in answer) == beginning.startswith(WHOLE)


def test_who_says_all_is_answered_at_leisure(site, raw, monkeypatch):
    """However long the answer takes, and a websocket lives on."""
    monkeypatch.setattr("server.routes.runs.ANSWER_TIMEOUT_S", 1.0)
    trainer = site.trainer()
    trainer.start("x")
    body = b'{"command": "pause"}'
    raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert raw.recv(4096).startswith(b"HTTP/1.1 202")
    assert trainer.commit(steps(1, 1))["seq"] == 1
