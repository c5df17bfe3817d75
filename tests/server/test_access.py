"""Who may watch, feed and steer, by token, by login, and by how often they ask; over real HTTP and websockets."""

from contextlib import closing
from http.cookies import SimpleCookie

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from server import access, guesses
from tests.server.site import ViewerWire, steps, until

TOKEN = "correct horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def closed(serve):
    """A server that asks for its token before it shows anything."""
    return serve(token=TOKEN)


@pytest.fixture
def open_(serve):
    """A server that lets everybody watch."""
    return serve(token=TOKEN, public_view=True)


def log_in(site, given=TOKEN, query="", **headers):
    return site.http.post(f"/login{query}", data={"username": "clipcore", "password": given}, headers=headers)


def cookie_of(answer):
    """The cookie that an answer sets."""
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return cookie


def handshake(site, path, **headers):
    """Status of a websocket handshake."""
    try:
        with connect(site.url.replace("http", "ws") + path, additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


def may_steer(site, **headers):
    """Whether a change is let through, to the 404 of a worker that is not there, or else its status."""
    status = site.http.delete("/api/workers/none", headers=headers).status_code
    return status == 404 or status


# --- what is shown to whom ---

DATA = ("/api/runs", "/api/runs/r1", "/api/rules", "/api/workloads", "/openapi.json", "/main.js", "/nothing")


@pytest.mark.parametrize("path", DATA)
def test_a_closed_server_shows_nothing_without_the_token(closed, path):
    """Every path asks for the token, also one that leads nowhere; with it, there is the usual answer."""
    refusal = closed.http.get(path)
    assert refusal.status_code == 401
    assert "CLIPCORE_TOKEN" in refusal.json()["detail"]
    assert closed.http.get(path, headers=BEARER).status_code in (200, 404)


@pytest.mark.parametrize("path", ["/ws/view", "/ws/train"])
def test_a_closed_server_lets_no_websocket_in_without_the_token(closed, path):
    """Watching and feeding need it in the handshake."""
    assert handshake(closed, path) == 401
    assert handshake(closed, path, **BEARER) == 101


def test_a_closed_server_takes_people_to_the_login(closed):
    """The page leads to the form, which keeps what the link named; all that the form is made of is there."""
    for page in ("/", "/index.html"):
        away = closed.http.get(f"{page}?run=r1")
        assert (away.status_code, away.headers["location"]) == (303, "login?run=r1")
    assert closed.http.get("/login").status_code == 200
    for path in access.OPEN_PATHS:
        assert closed.http.get(path).status_code == 200


def test_an_open_server_shows_runs_but_wants_the_token_to_steer(open_):
    """With CLIPCORE_PUBLIC_VIEW anybody may watch, and only watch."""
    assert open_.http.get("/api/runs").status_code == 200
    assert open_.viewer().subscribe()["read_only"]
    assert handshake(open_, "/ws/train") == 401
    assert may_steer(open_) == 401
    assert may_steer(open_, **BEARER) is True
    assert may_steer(open_, Authorization=f"Basic {TOKEN}") == 401


def test_without_a_token_there_is_no_login(site):
    """The form leads on to the page, and nothing is asked of anybody."""
    for answer in (site.http.get("/login?run=a"), log_in(site, query="?run=a"), log_in(site, "guess", query="?run=a")):
        assert (answer.status_code, answer.headers["location"]) == (303, "./?run=a")
        assert "set-cookie" not in answer.headers
    assert site.http.get("/api/session").json() == {"logged_in": False, "login": "nothing"}


@pytest.mark.parametrize(
    ("settings", "login"),
    [
        ({}, "nothing"),
        ({"token": "s"}, "viewing"),
        ({"token": "s", "read_only": True}, "viewing"),
        ({"token": "s", "public_view": True}, "steering"),
        ({"token": "s", "public_view": True, "read_only": True}, "nothing"),
    ],
)
def test_the_page_can_learn_what_a_login_is_for(serve, settings, login):
    """It offers a login only where that changes something."""
    assert serve(**settings).http.get("/api/session").json() == {"logged_in": False, "login": login}


# --- the login ---


def test_the_login_opens_everything(closed):
    """The cookie is as good as the token: for the page, for REST and on the page's websocket."""
    answer = log_in(closed, query="?run=r1")
    assert (answer.status_code, answer.headers["location"]) == (303, "./?run=r1")
    assert closed.http.get("/").status_code == 200
    assert closed.http.get("/api/session").json()["logged_in"] is True
    assert closed.http.get("/login").headers["location"] == "./"
    assert may_steer(closed) is True
    with closing(ViewerWire(closed.url, {"Cookie": answer.headers["set-cookie"].partition(";")[0]})) as viewer:
        assert not viewer.subscribe()["read_only"]


def test_the_cookie_is_no_secret_to_keep_elsewhere(closed):
    """It is a random value, hidden from scripts, sent by our own pages only, and by default only beside the form."""
    cookie = cookie_of(log_in(closed))
    assert cookie.key == f"clipcore-{closed.url.rpartition(':')[2]}"
    assert TOKEN not in cookie.value
    assert len(cookie.value) >= 32
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == cookie["domain"] == ""
    assert cookie.value != cookie_of(log_in(closed)).value


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_behind_tls_the_cookie_stays_there(serve, scheme, secure):
    """A form that came over https gets a Secure cookie, although the proxy speaks http to the server."""
    site = serve(token=TOKEN, allowed_hosts="train.example.com")
    answer = log_in(site, Host="train.example.com", Origin=f"{scheme}://train.example.com")
    assert bool(cookie_of(answer)["secure"]) is secure


def test_logout_ends_the_session(closed):
    """The browser forgets the cookie, and to the server its value is worth nothing any more."""
    value = cookie_of(log_in(closed)).value
    name = next(iter(closed.http.cookies))
    assert closed.http.post("/logout").headers["location"] == "./"
    assert not closed.http.cookies
    assert closed.http.get("/api/runs", headers={"Cookie": f"{name}={value}"}).status_code == 401


def test_a_viewer_that_logged_out_may_not_steer_any_more(open_):
    """A page left open on another tab asks with what its session is worth now, not with what it was worth once."""
    cookie = log_in(open_).headers["set-cookie"].partition(";")[0]
    with closing(ViewerWire(open_.url, {"Cookie": cookie})) as viewer:
        assert not viewer.subscribe()["read_only"]
        open_.http.post("/logout")
        viewer.send({"type": "control", "run": "none", "id": "1", "patch": {"max_norm": 1}})
        assert "CLIPCORE_TOKEN" in viewer.wait("rejected")["reason"]


def test_a_viewer_that_logged_out_is_shown_nothing_more(closed):
    """Where watching needs the login, the next news end its connection instead of reaching it; a script's goes on."""
    trainer = closed.trainer(**BEARER)
    trainer.start("r1")
    script = closed.viewer(**BEARER)
    script.subscribe("r1")
    cookie = log_in(closed).headers["set-cookie"].partition(";")[0]
    with closing(ViewerWire(closed.url, {"Cookie": cookie})) as viewer:
        viewer.subscribe("r1")
        trainer.commit(steps(1, 1))
        assert viewer.rows_until(1) == [1]
        closed.http.post("/logout")
        trainer.commit(steps(2, 2))
        assert "logged out" in viewer.wait("error")["reason"]
        with pytest.raises(ConnectionClosed):
            viewer.receive()
    assert script.rows_until(2) == [1, 2]


@pytest.mark.parametrize("path", ["/login", "/logout", "/api/runs/none/control", "/api/workers"])
def test_a_foreign_page_gains_nothing_from_a_login(closed, path):
    """Whatever a browser with the cookie is made to post by a foreign page, the Origin gives it away."""
    log_in(closed)
    assert closed.http.post(path, json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert closed.http.post(path, json={}, headers={"Origin": "null"}).status_code == 403
    cookie = "; ".join(f"{name}={value}" for name, value in closed.http.cookies.items())
    assert handshake(closed, "/ws/view", Cookie=cookie, Origin="http://evil.example") == 403
    assert handshake(closed, "/ws/view", Cookie=cookie, Origin=closed.url) == 101


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"password=",
        b"password=wrong",
        b"password=correct++horse",
        b"password=%ff%00",
        b"password=<script>",
        b"\xff",
    ],
)
def test_a_wrong_token_gets_the_form_again(closed, body):
    """With the reason in it, without what was given, and without a cookie."""
    answer = closed.http.post("/login", content=body)
    assert answer.status_code == 401
    assert "this is not the server&#x27;s token" in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


# --- guesses ---


def test_guessing_is_slowed_down(closed):
    """After ten wrong tokens, by form or header, there is no answer to a guess for seconds: not even to a right one."""
    for n in range(10):
        assert (
            log_in(closed, f"guess {n}") if n % 2 else closed.http.get("/api/runs", headers=bearer(n))
        ).status_code == 401
    late = log_in(closed)
    assert late.status_code == 429
    assert 1 <= int(late.headers["retry-after"]) <= 10
    assert "too many wrong tokens" in late.text
    assert closed.http.get("/api/runs", headers=BEARER).status_code == 429


def bearer(guess):
    return {"Authorization": f"Bearer guess {guess}"}


def test_guesses_do_not_lock_out_who_has_given_the_token_before(closed):
    """From an address that has shown it, the right one is taken at any time, and wrong ones are slowed down as ever."""
    assert closed.http.get("/api/runs", headers=BEARER).status_code == 200
    wrong = [closed.http.get("/api/runs", headers=bearer(n)).status_code for n in range(20)]
    assert wrong[-1] == 429
    assert closed.http.get("/api/runs", headers=BEARER).status_code == 200
    assert closed.http.get("/api/runs", headers=bearer(99)).status_code == 429


def test_guesses_without_end_hide_the_right_one_also_where_it_has_come_from(serve, monkeypatch):
    """Who shares an address with its owner, as behind a proxy, learns nothing by trying at any rate."""
    monkeypatch.setattr(guesses, "KNOWN_GUESSES", (1, 15))
    site = serve(token=TOKEN)
    assert site.http.get("/api/runs", headers=BEARER).status_code == 200
    for n in range(20):
        site.http.get("/api/runs", headers=bearer(n))
    right, wrong = (site.http.get("/api/runs", headers=headers) for headers in (BEARER, bearer(99)))
    assert right.status_code == 429
    assert (right.status_code, right.json()) == (wrong.status_code, wrong.json())
    until(lambda: site.http.get("/api/runs", headers=BEARER).status_code == 200)


def test_a_worker_says_nothing_about_who_else_is_on_its_machine(serve):
    """It feeds its run with a secret of its own, after which guesses from there are slowed down like any others."""
    site = serve(token=TOKEN, autostart="rnn")
    until(lambda: site.hub.trainers, timeout_s=60)
    for n in range(10):
        site.http.get("/api/runs", headers=bearer(n))
    assert site.http.get("/api/runs", headers=BEARER).status_code == 429


def test_the_same_mistake_again_is_no_new_guess(closed):
    """A script that keeps coming back with an old token locks nobody out."""
    for _ in range(30):
        assert closed.http.get("/api/runs", headers=bearer("old")).status_code == 401
    assert log_in(closed).status_code == 303


def test_who_is_logged_in_is_not_locked_out(closed):
    """The cookie goes on being good while somebody at the same address guesses."""
    log_in(closed)
    with httpx.Client(base_url=closed.url, trust_env=False) as guesser:
        assert {guesser.get("/api/runs", headers=bearer(n)).status_code for n in range(20)} == {401, 429}
    assert closed.http.get("/api/runs").status_code == 200


# --- rates ---


def test_changes_have_a_rate(serve, monkeypatch):
    """A client that asks for changes without end is told to wait, by REST and on the websocket; watching goes on."""
    monkeypatch.setattr(access, "CHANGES", (0.5, 3))
    site = serve()
    answers = [site.http.delete("/api/workers/none") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert "too many changes from 127.0.0.1" in answers[-1].json()["detail"]
    assert answers[-1].headers["retry-after"] in ("1", "2")
    viewer = site.viewer()
    viewer.subscribe()
    viewer.send({"type": "control", "run": "none", "id": "1", "patch": {}})
    assert "too many changes" in viewer.wait("rejected")["reason"]
    assert site.http.get("/api/runs").status_code == 200


def test_new_trainers_have_a_rate(serve, monkeypatch):
    """A machine that connects trainers without end, each with a run of its own, is told to wait in the handshake."""
    monkeypatch.setattr(access, "TRAINERS", (0.1, 3))
    site = serve()
    assert [handshake(site, "/ws/train") for _ in range(4)] == [101, 101, 101, 429]
    assert handshake(site, "/ws/view") == 101


def test_viewers_have_a_number_of_places(serve):
    """A page beyond CLIPCORE_MAX_VIEWERS is told so in the handshake; one that leaves makes room for it."""
    site = serve(max_viewers=2)
    staying, leaving = site.viewer(), site.viewer()
    assert staying.subscribe()["runs"] == []
    with pytest.raises(InvalidStatus) as refusal:
        site.viewer()
    assert (refusal.value.response.status_code, refusal.value.response.headers["retry-after"]) == (503, "30")
    assert b"as many pages are connected as CLIPCORE_MAX_VIEWERS (=2) lets in" in refusal.value.response.body
    assert handshake(site, "/ws/train") == 101
    leaving.close()
    until(lambda: handshake(site, "/ws/view") == 101)
