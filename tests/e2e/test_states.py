"""What the page is in each of its states: said in words, and fit for everybody by axe-core's rules."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.test_login import TOKEN, log_in
from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e

AXE = (Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js").read_text()
VIOLATIONS = """async () => (await axe.run()).violations
    .flatMap(({ id, impact, nodes }) => nodes.map(({ target }) => `${id} (${impact}): ${target}`))"""


def violations(page):
    """What axe-core finds wrong with the page as it is."""
    page.evaluate(AXE)
    return page.evaluate(VIOLATIONS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_accessible(make_server, open_page, scheme):
    """Log in, start form, live charts, value mode, runs, help and a failed run break none of axe-core's rules."""
    server = make_server(token=TOKEN, autostart="")
    page = open_page(server.url, color_scheme=scheme)
    assert violations(page) == []
    log_in(page)
    page.get_by_text("No training yet").wait_for()
    page.get_by_test_id("start-charlm").wait_for()
    assert violations(page) == []

    with closing(TrainerWire(server.url, {"Authorization": f"Bearer {TOKEN}"})) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 200))
        page.locator("[data-testid=chart-hist] .bars path").first.wait_for(state="attached")
        assert violations(page) == []
        for key in ("r", "?"):
            page.keyboard.press(key)
            page.locator("dialog[open]").wait_for()
            assert violations(page) == []
            page.keyboard.press("Escape")
            page.locator("dialog[open]").wait_for(state="detached")
        trainer.send({"type": "finish", "n": 1, "time": 1.0, "state": "failed", "reason": "Traceback\nOops: no"})
        page.get_by_text("Run failed at step 200: Oops: no").wait_for()
        assert violations(page) == []


def test_a_page_says_what_it_waits_for(make_server, open_page):
    """While nothing has come it is loading; where nobody answers it says so, and goes on by itself."""
    server = make_server(autostart="")
    page = open_page("about:blank")
    held = []

    def hold_the_first(socket):
        """A server that takes the connection and says nothing."""
        if held:
            socket.connect_to_server()
        held.append(socket)

    page.route_web_socket("**/ws/view", hold_the_first)
    page.goto(server.url)
    page.get_by_role("heading", name="Loading").wait_for()
    assert violations(page) == []
    server.kill()
    held[0].close()
    page.get_by_role("heading", name="The server does not answer").wait_for()
    page.get_by_text(re.compile("tries again by itself .*Is clipcore serve running")).wait_for()
    assert violations(page) == []
    server.start()
    page.get_by_text("No training yet").wait_for()
    assert page.locator("#waiting").is_hidden()
