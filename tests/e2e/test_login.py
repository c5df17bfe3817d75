"""Logging in, as a person does it in Chromium."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e

TOKEN = "correct-horse"


def log_in(page):
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")


def test_watching_may_be_open_and_steering_needs_the_login(make_server, open_page):
    """A page that may only watch says so and offers the login, after which its knob turns."""
    server = make_server(token=TOKEN, public_view="1")
    with closing(TrainerWire(server.url, {"Authorization": f"Bearer {TOKEN}"})) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 20))
        page = open_page(f"{server.url}/?run=r1")
        knob = page.get_by_test_id("max-norm")
        page.get_by_text("read-only", exact=True).wait_for()
        assert knob.is_disabled()
        page.get_by_text("this page may only watch: log in to steer").wait_for()
        expect(page.get_by_test_id("train-pause")).to_have_attribute("title", re.compile("log in to steer"))

        page.get_by_role("link", name="Log in").click()
        log_in(page)
        page.wait_for_url(re.compile(r"\?run=r1"))
        page.locator("[data-testid=connection][data-state=live]").wait_for()
        assert knob.is_enabled()
        assert page.get_by_role("link", name="Log in").is_hidden()
        expect(page.get_by_test_id("train-pause")).to_have_attribute("title", re.compile("does not call run.proceed"))

    server.kill()
    server.start()
    page.get_by_text("read-only", exact=True).wait_for()
    page.get_by_role("link", name="Log in").wait_for()
    assert knob.is_disabled()


def test_a_closed_server_asks_again_when_the_session_is_over(make_server, open_page):
    """After a restart nobody is logged in: a page that was left open goes to the login, and from there back."""
    server = make_server(token=TOKEN)
    page = open_page(f"{server.url}/?smooth=on")
    log_in(page)
    page.locator("[data-testid=connection][data-state=live]").wait_for()
    server.kill()
    server.start()
    page.get_by_label("Token").wait_for()
    log_in(page)
    page.locator("[data-testid=connection][data-state=live]").wait_for()
    assert page.url == f"{server.url}/?smooth=on"


def test_a_link_from_elsewhere_does_not_ask_who_is_logged_in(make_server, open_page):
    """A strict cookie is not sent with a foreign link; the login page finds out by itself and goes on."""
    server = make_server(token=TOKEN)
    page = open_page(server.url)
    log_in(page)
    page.locator("[data-testid=connection][data-state=live]").wait_for()
    page.goto("data:text/html,<a href='" + server.url + "/?smooth=on'>look</a>")
    page.get_by_role("link").click()
    page.locator("[data-testid=connection][data-state=live]").wait_for()
    assert page.url == f"{server.url}/?smooth=on"


def test_a_server_that_only_shows_runs_offers_no_login(make_server, open_page):
    """It says what it is, rather than to log in where that changes nothing."""
    server = make_server(token=TOKEN, public_view="1", read_only="1")
    with closing(TrainerWire(server.url, {"Authorization": f"Bearer {TOKEN}"})) as trainer:
        trainer.start("r1")
        page = open_page(server.url)
        page.get_by_text("this server only shows runs").wait_for()
        assert page.get_by_role("link", name="Log in").is_hidden()
