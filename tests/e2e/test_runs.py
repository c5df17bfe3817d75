"""All runs side by side, and one of them once more with another threshold."""

import re

import pytest

pytestmark = pytest.mark.e2e


def test_a_run_is_repeated_beside_itself_with_another_threshold(make_server, open_page):
    """The list measures each run; Again fills the form with the run's own options, of which one is changed."""
    server = make_server(autostart="")
    options = {"seed": 7, "max_norm": 0.01, "context": 8, "batch": 2, "steps": 1_000_000}
    first = server.post("/api/workers", {"workload": "rnn", "config": options})["id"]
    server.wait_until(lambda: server.run(first)["step"] > 20, "the first run's steps")
    page = open_page(server.url)
    page.keyboard.press("r")
    row = page.locator("#runs-list tr")
    page.wait_for_function("() => document.querySelector('#runs-list path')?.getAttribute('d')")
    assert re.search(r"rnn.*training.*norm 0\.01.*100 %", row.inner_text(), re.DOTALL)

    row.get_by_role("button", name="Again…").click()
    form = page.locator("#start-form section").filter(has=page.get_by_test_id("start-rnn"))
    assert form.locator("[name=seed]").input_value() == "7"
    form.locator("[name=max_norm]").fill("0.02")
    form.get_by_test_id("start-rnn").click()
    server.wait_until(lambda: server.run()["id"] != first and server.run()["step"] > 5, "the second run's steps")
    second = server.run()
    assert second["config"] == server.run(first)["config"] | {"max_norm": 0.02}
    assert server.run(first)["state"] == "running"
    page.wait_for_function("(id) => document.querySelector('[data-testid=run-select]').value === id", arg=second["id"])
