"""The command line's requests, to servers that are none, or not to be trusted."""

import io
import socket
import threading
from contextlib import contextmanager

import pytest

from server.client import Client, RequestError

TOKEN = "sekrit"


@contextmanager
def peer(answer):
    """Something at a port that gives one answer to whatever comes; its URL, and what came."""
    seen = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                seen.append(connection.recv(4096))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def http(body, status="200 OK", length=None, **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "does not answer like a clipcore server"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer like a clipcore server"),
        (http("<html>"), "is not a clipcore server: it answered b'<html>'"),
        (http("[]"), r"is not a clipcore server: it answered b'\[\]'"),
        (http('{"runs": [', length=500), "was cut off"),
        (http("", "404 Not Found"), "answered 404 Not Found"),
    ],
)
def test_what_is_no_server_is_said_to_be_none(answer, sentence):
    """In one sentence, whatever it answers."""
    with peer(answer) as (url, _), pytest.raises(RequestError, match=sentence):
        Client(url, None).runs()


def test_half_an_export_is_no_export():
    """What has come is written, for there may be much of it; that it is not all is an error."""
    written = io.BytesIO()
    with peer(http("seq,step\n", length=500)) as (url, _), pytest.raises(RequestError, match="was cut off"):
        Client(url, None).export("r1", "csv", written)
    assert written.getvalue() == b"seq,step\n"


def test_a_redirection_takes_no_token_along():
    """It is refused, and says where it leads; nothing is sent there."""
    with peer(http("{}")) as (elsewhere, seen), peer(http("", "302 Found", Location=elsewhere)) as (url, _):
        with pytest.raises(RequestError, match=f"answered 302 Found, to '{elsewhere}'"):
            Client(url, TOKEN).runs()
        assert seen == []


def test_this_machine_is_reached_without_a_proxy(monkeypatch):
    """Which could not reach it anyway, and would see the token."""
    with peer(http("", "502 Bad Gateway")) as (proxy, seen), peer(http('{"runs": []}')) as (url, asked):
        monkeypatch.setenv("http_proxy", proxy)
        assert Client(url, TOKEN).runs() == []
        assert seen == []
        assert f"Bearer {TOKEN}".encode() in asked[0]


@pytest.mark.parametrize(
    ("url", "token", "sentence"),
    [
        ("127.0.0.1:8420", None, "url must be"),
        ("http://[bad", None, "url must be"),
        ("http://127.0.0.1:99999", None, "url must be"),
        ("http://exa mple", None, "url must be"),
        ("http://", None, "url must be"),
        ("http://127.0.0.1:1", "a\nb", "CLIPCORE_TOKEN: token must be printable ASCII"),
    ],
)
def test_what_cannot_be_asked_is_refused(url, token, sentence):
    """Before anything is sent."""
    with pytest.raises(RequestError, match=sentence):
        Client(url, token)
