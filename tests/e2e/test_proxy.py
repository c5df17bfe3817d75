"""The page behind nginx, below a path and under another name, as the README shows it."""

import re
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from server.cli import main
from tests.e2e.proxy import Nginx
from tests.server.site import TrainerWire, steps, until

pytestmark = pytest.mark.e2e

README = (Path(__file__).parents[2] / "README.md").read_text()
TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def proxied(make_server, tmp_path):
    """A server behind the README's nginx, set up as the README says, and the port that nginx listens on."""
    server = make_server(token=TOKEN, allowed_hosts="train.localhost", trusted_proxies="127.0.0.1")
    (snippet,) = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)
    port = free_port()
    for there, here in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "train.example.com": "train.localhost",
        "127.0.0.1:8420": server.url.removeprefix("http://"),
    }.items():
        assert snippet.count(there) == 1
        snippet = snippet.replace(there, here)
    with closing(Nginx(tmp_path, snippet)):
        until(lambda: answers(port))
        yield server, port


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/clipcore/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_the_page_works_below_a_path(proxied, open_page):
    """Login, charts, steering and logout go through the proxy, and nothing is asked for outside the path."""
    _, port = proxied
    with closing(TrainerWire(f"http://127.0.0.1:{port}/clipcore", BEARER)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 50))
        prefix = f"http://train.localhost:{port}/clipcore/"
        page = open_page(f"{prefix}?run=r1")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda websocket: asked.append(websocket.url.replace("ws", "http", 1)))
        assert page.url == f"{prefix}login?run=r1"

        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("this is not the server's token").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_function("() => document.querySelector('[data-testid=step]')?.textContent === '50'")
        assert page.url.startswith(f"{prefix}?run=r1")
        (cookie,) = page.context.cookies()
        assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/clipcore", True, "Strict")

        page.get_by_test_id("max-norm").fill("0.5")
        page.get_by_test_id("apply").click()
        control = trainer.obey(1, 51, {"mode": "norm", "max_norm": 0.5}, {"max_norm": [1.0, 0.5]})
        assert control["patch"] == {"max_norm": 0.5}
        page.locator('[data-testid=applied-step][data-step="51"]').wait_for()

        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{prefix}login*")
        assert page.context.cookies() == []
        assert [url for url in asked if not url.startswith(prefix)] == []
        assert any(url.endswith("/ws/view") for url in asked)


def test_commands_work_through_a_proxy(proxied):
    """The command line takes the URL with its path."""
    _, port = proxied
    url = f"http://127.0.0.1:{port}/clipcore"
    with closing(TrainerWire(url, BEARER)) as trainer:
        trainer.start("r1")
        result = CliRunner().invoke(main, ["runs", "--url", url, "--token", TOKEN])
    assert (result.exit_code, result.stdout[:2]) == (0, "r1")


def test_clients_are_told_apart_behind_a_proxy(proxied):
    """Who guesses from one address is slowed down there; the others behind the same proxy are not."""
    _, port = proxied
    guesser = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"))
    url = f"http://127.0.0.1:{port}/clipcore/api/runs"
    with guesser, httpx.Client(trust_env=False) as other:
        forged = {"X-Forwarded-For": "192.0.2.7"}  # nginx says who it is, not the client
        guesses = [
            guesser.get(url, headers=forged | {"Authorization": f"Bearer guess {n}"}).status_code for n in range(12)
        ]
        assert guesses[-1] == 429
        assert other.get(url, headers=BEARER).status_code == 200
