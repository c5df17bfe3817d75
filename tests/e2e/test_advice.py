"""Advice, help and the change log's file: what the page says about a run, in the run's own numbers."""

import json
import re

import pytest

from tests.e2e.test_steering import apply_bound, wait_for_step

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(make_server):
    """A server whose one training is quick and clipped at every step."""
    started = make_server(autostart="")
    config = {"max_norm": 0.01, "context": 8, "batch": 2, "steps": 1_000_000}
    started.post("/api/workers", {"workload": "rnn", "config": config})
    return started


def test_advice_says_what_was_seen_and_stays_away_once_dismissed(server, open_page):
    """A line with numbers, what to do about it and whose word that is; dismissed, it is gone after a reload too."""
    page = open_page(server.url)
    advice = page.get_by_test_id("advice")
    seen = advice.get_by_text(re.compile(r"100 % of the last [\d,]+ steps were clipped"))
    seen.wait_for(timeout=60_000)
    seen.click()
    assert advice.get_by_role("link", name="Zhang et al. 2020").is_visible()
    advice.get_by_role("button", name="Dismiss").click()
    page.reload()
    wait_for_step(page, server.run()["step"] + 60)
    page.wait_for_timeout(2500)  # advice is looked for every 2 s
    assert seen.count() == 0


def test_the_help_answers_with_the_runs_own_numbers(server, open_page):
    """The numbers are there when the help is opened, and a question unfolds."""
    page = open_page(server.url)
    wait_for_step(page, 20)
    page.keyboard.press("?")
    page.get_by_text("How to choose the threshold?").click()
    assert page.get_by_text(re.compile(r"1\.0 would clip [\d.]+ %")).is_visible()


def test_the_change_log_is_exported_as_a_file(server, open_page):
    """One change made in the page is one change of the file, from the step that the page named."""
    page = open_page(server.url)
    wait_for_step(page, 3)
    step = apply_bound(page, "0.25")
    with page.expect_download() as download:
        page.get_by_role("link", name="changes").press("Enter")  # advice may move it from under a pointer
    document = json.loads(download.value.path().read_text())
    assert [(change["step"], change["changes"], change["by"]) for change in document["changes"]] == [
        (step, {"max_norm": [0.01, 0.25]}, "request")
    ]
    assert document["start"]["max_norm"] == 0.01
