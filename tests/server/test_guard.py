"""Foreign pages stay out: DNS rebinding and cross-site requests end at 403, on HTTP and on websockets."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server.guard import Authority

FOREIGN = "http://evil.example"


@pytest.fixture(scope="module")
def guarded(serve_once):
    return serve_once(allowed_hosts="clip.example.com, lab.example.com:9000")


def answer(site, **headers):
    return site.http.get("/api/runs", headers=headers)


def handshake(site, path, origin=None):
    """Status of a websocket handshake, and what the answer says."""
    try:
        with connect(site.url.replace("http", "ws") + path, origin=origin, proxy=None):
            return 101, ""
    except InvalidStatus as refusal:
        return refusal.response.status_code, refusal.response.body.decode()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", None),
        ("LocalHost:8420", "localhost", 8420),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:8420", "::1", 8420),
        ("a-b.example.com", "a-b.example.com", None),
    ],
)
def test_an_authority_is_a_host_and_a_port(text, host, port):
    """Names are compared in lower case; brackets belong to the notation, not to the address."""
    assert Authority.parse(text) == Authority(host, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "user@localhost", "localhost:", "localhost:http", "::1", "a b", "a/b", "[::1"]
)
def test_what_is_no_authority_is_none(text):
    """Nothing is guessed: what does not parse is nobody."""
    assert Authority.parse(text) is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1:8420", "[::1]:99", "LOCALHOST:1", "clip.example.com:1", "lab.example.com:9000"],
)
def test_own_names_are_answered(guarded, host):
    """The loopback interface's names at any port, and the allowed ones."""
    assert answer(guarded, Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "192.168.0.7:8420",
        "lab.example.com",
        "lab.example.com:9001",
        "user@localhost",
        "",
    ],
)
def test_foreign_names_are_refused(guarded, host):
    """A page whose name was made to resolve to this machine gets nothing but the setting's name."""
    refusal = answer(guarded, Host=host)
    assert refusal.status_code == 403
    assert "CLIPCORE_ALLOWED_HOSTS" in refusal.json()["detail"]


@pytest.mark.parametrize(
    "origin", [FOREIGN, "http://localhost:1", "https://127.0.0.1:1", "null", "file://", "http://clip.example.com.evil"]
)
def test_foreign_pages_are_refused(guarded, origin):
    """A page of another host or port may neither read nor steer, with any method."""
    host = guarded.url.removeprefix("http://")
    for method in ("GET", "POST"):
        refusal = guarded.http.request(method, "/api/runs", headers={"Host": host, "Origin": origin})
        assert refusal.status_code == 403
        assert "CLIPCORE_ALLOWED_HOSTS" in refusal.json()["detail"]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8420", "http://localhost:8420"),
        ("[::1]:8420", "http://[::1]:8420"),
        ("localhost", "http://localhost"),
        ("clip.example.com", "https://clip.example.com"),
        ("127.0.0.1:8420", "https://clip.example.com"),
        ("127.0.0.1:8420", "https://lab.example.com:9000"),
    ],
)
def test_own_pages_are_answered(guarded, host, origin):
    """The page itself, and one that a proxy shows under an allowed name."""
    assert answer(guarded, Host=host, Origin=origin).status_code == 200


@pytest.mark.parametrize("path", ["/ws/view", "/ws/train"])
def test_websockets_of_foreign_pages_are_refused(guarded, path):
    """Browsers let any page open a websocket to anywhere, so the handshake is where it ends."""
    status, text = handshake(guarded, path, origin=FOREIGN)
    assert status == 403
    assert "CLIPCORE_ALLOWED_HOSTS" in text
    assert handshake(guarded, path, origin=guarded.url)[0] == 101
    assert handshake(guarded, path)[0] == 101


def test_a_body_is_bounded(guarded):
    """More than a request ever needs is refused before it is read, and so is a body of unknown length."""
    large = guarded.http.post("/api/workers", content=b" " * (2**20 + 1))
    assert (large.status_code, large.json()) == (413, {"detail": "a body may have at most 1,048,576 bytes"})
    endless = guarded.http.post("/api/workers", content=iter([b"{}"]))
    assert endless.status_code == 411


def test_every_answer_has_the_security_headers(guarded):
    """The page may load only its own files and run no inline script; nobody may frame it or guess types."""
    for path in ("/", "/api/runs", "/api/runs/none", "/healthz"):
        headers = guarded.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-cache"
    assert "access-control-allow-origin" not in guarded.http.get("/api/runs").headers
