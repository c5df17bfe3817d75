"""What the page is in each of its states: said in words, and fit for everybody by axe-core's rules."""

import re
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect

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


def test_a_line_that_died_without_a_word_is_found_out(make_server, open_page):
    """When nothing has come for a while the page asks, and without an answer it locks the knob and connects anew."""
    server = make_server(autostart="")
    page = open_page("about:blank")
    page.clock.install()
    lines = []

    def forward(line):
        """Between page and server, until it is told to pass nothing on any more."""
        line.dead, line.pings = False, 0
        lines.append(line)
        onward = line.connect_to_server()
        line.on_message(lambda text: (onward.send(text), setattr(line, "pings", line.pings + ('"ping"' in text))))
        onward.on_message(lambda text: line.dead or line.send(text))

    page.route_web_socket("**/ws/view", forward)
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 20))
        page.goto(server.url)
        knob = page.get_by_test_id("max-norm")
        expect(knob).to_be_enabled()
        page.clock.fast_forward(6000)
        expect(page.get_by_test_id("connection")).to_have_text("live")
        page.wait_for_timeout(300)
        page.clock.fast_forward(11000)
        expect(page.get_by_test_id("connection")).to_have_text("live")
        assert (len(lines), lines[0].pings) == (1, 2)  # the first was answered, so that it was asked again

        page.wait_for_timeout(300)
        lines[0].dead = True
        page.clock.fast_forward(6000)
        page.clock.fast_forward(11000)
        page.get_by_text(re.compile("reconnecting")).wait_for()
        assert knob.is_disabled()
        page.clock.fast_forward(1000)
        expect(knob).to_be_enabled()
        assert len(lines) == 2


def test_a_browser_that_goes_offline_knows_it_at_once(make_server, open_page):
    """The network is gone: the page says so within seconds, and is back as soon as the network is."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        page = open_page(server.url)
        knob = page.get_by_test_id("max-norm")
        expect(knob).to_be_enabled()
        page.context.set_offline(True)
        page.get_by_text(re.compile("reconnecting")).wait_for(timeout=10_000)
        expect(knob).to_be_disabled()
        page.context.set_offline(False)
        expect(knob).to_be_enabled()


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


#: The page says that a training starts, and shows nothing that belongs to another.
STARTING = """() => document.querySelector('#norm .note').textContent === 'rnn is starting: loading torch and the data'
    && document.querySelector('#bound').value === '' && document.querySelector('#mode').value === 'off'
    && getComputedStyle(document.querySelector('#hist .plot')).visibility === 'hidden'
    && [...document.querySelectorAll('.chart:not(.hero) .note')].every((note) => !note.checkVisibility())"""


def test_a_training_that_starts_shows_nothing_of_the_one_before(make_server, open_page):
    """Until its first step one sentence says what it does, and the knob shows what it was asked to start with."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 200))
        page = open_page(server.url)
        page.locator("[data-testid=chart-hist] .bars path").first.wait_for()
        started = server.post("/api/workers", {"workload": "rnn", "config": {"mode": "off"}})["id"]
        page.get_by_test_id("run-select").select_option(started)
        page.wait_for_function(STARTING)
        page.locator("[data-testid=chart-hist] .bars path").first.wait_for()


def test_a_silent_trainer_is_told_with_what_to_do(make_server, open_page):
    """Since when, whether to wait, and in the tab's title; all of it goes when the trainer is back."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1")
        page = open_page(server.url)
        expect(page.get_by_test_id("max-norm")).to_be_enabled()
    page.get_by_text(
        re.compile(r"No contact with the trainer since \d\d:\d\d:\d\d\. If it is still running")
    ).wait_for()
    expect(page).to_have_title("trainer silent · test · clipcore")
    assert page.get_by_role("button", name="Start a training").is_hidden()
    assert violations(page) == []
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page).to_have_title("test · clipcore")


def test_without_plotly_the_page_says_so_and_steers_all_the_same(make_server, open_page):
    """A script that did not come costs the charts, not the knob."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 20))
        page = open_page("about:blank")
        page.route("**/plotly.min.js", lambda route: route.abort())
        page.goto(server.url)
        page.get_by_text("Plotly could not be loaded").wait_for()
        page.get_by_test_id("max-norm").fill("0.5")
        page.get_by_test_id("apply").click()
        assert trainer.wait("control")["patch"] == {"max_norm": 0.5}


def test_what_could_not_be_loaded_at_first_comes_later(make_server, open_page):
    """The modes and the built-in trainings are asked for again; meanwhile the page says what is missing."""
    server = make_server(autostart="")
    page = open_page("about:blank")
    for path in ("rules", "workloads"):
        page.route(f"**/api/{path}", lambda route: route.abort(), times=1)
    page.goto(server.url)
    page.get_by_text(re.compile("could not be loaded")).first.wait_for()
    page.get_by_test_id("start-rnn").wait_for(timeout=15_000)
    server.wait_until(lambda: page.locator("#mode option").count() == 8, "the modes")
