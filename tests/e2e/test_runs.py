"""All runs side by side, and one of them once more with another threshold."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e

#: Whether the loss chart draws lines of these roles first, told by their colours, among those of a mode.
DRAWN_RUNS = """([roles, drawn]) => {
    const { data } = document.querySelector('[data-testid=chart-loss]');
    const probe = document.body.appendChild(document.createElement('i'));
    const colours = roles.map((role) => (probe.style.color = `var(--${role})`, getComputedStyle(probe).color));
    probe.remove();
    const lines = (data ?? []).filter(({ name, x, mode }) => mode === drawn && !/change/.test(name) && x.length);
    return colours.every((colour, i) => lines[i]?.line.color === colour);
}"""


def test_a_run_is_repeated_beside_itself_with_another_threshold(make_server, open_page):
    """The list measures each run; Again fills the form with the run's own options, of which one is changed."""
    server = make_server(autostart="")
    options = {"seed": 7, "max_norm": 0.01, "context": 8, "batch": 2, "steps": 1_000_000}
    first = server.post("/api/workers", {"workload": "rnn", "config": options})["id"]
    server.wait_until(lambda: server.run(first)["step"] > 20, "the first run's steps")
    page = open_page(server.url)
    page.keyboard.press("r")
    row = page.locator("#runs-list tr")
    page.wait_for_function("() => document.querySelector('#runs-list td > svg path')?.getAttribute('d')")
    assert re.search(r"rnn.*training.*norm 0\.01.*100 %", row.inner_text(), re.DOTALL)

    row.get_by_role("button", name="Again…").click()
    form = page.locator("#start-form section").filter(has=page.get_by_test_id("start-rnn"))
    expect(form.locator("[name=seed]")).to_have_value("7")
    form.locator("[name=max_norm]").fill("0.02")
    form.get_by_test_id("start-rnn").click()
    server.wait_until(lambda: server.run()["id"] != first and server.run()["step"] > 5, "the second run's steps")
    second = server.run()
    assert second["config"] == server.run(first)["config"] | {"max_norm": 0.02}
    assert server.run(first)["state"] == "running"
    page.wait_for_function("(id) => document.querySelector('[data-testid=run-select]').value === id", arg=second["id"])

    page.wait_for_function("() => document.querySelectorAll('#overlay tbody tr').length === 2")
    assert f"run={second['id']}&with={first}" in page.url
    link = open_page(page.url)
    for each in (page, link):
        each.wait_for_function(DRAWN_RUNS, arg=[["run1", "run0"], "lines"])
    page.locator("#overlay").get_by_role("button", name=re.compile("off the charts")).click()
    page.wait_for_function(DRAWN_RUNS, arg=[["loss"], "lines"])
    assert "with=" not in page.url


def test_a_run_is_renamed_deleted_and_brought_back_before_everybodys_eyes(make_server, open_page):
    """One page acts, the other follows; who looks at a run that is deleted is shown the newest one."""
    server = make_server(autostart="")
    options = {"context": 8, "batch": 2, "steps": 5}
    first, second = (server.post("/api/workers", {"workload": "rnn", "config": options})["id"] for _ in range(2))
    for run in (first, second):
        server.wait_until(lambda run=run: server.run(run)["state"] == "finished", "a run to finish")
    page, other = open_page(server.url), open_page(f"{server.url}/?run={first}")
    other.get_by_text("Run finished at step 5").wait_for()

    page.keyboard.press("r")
    rows = page.locator("#runs-list tr")
    rows.nth(1).get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("baseline")
    page.get_by_label("Note", exact=True).fill("the <b>first</b> one")
    page.keyboard.press("Enter")
    rows.nth(1).get_by_text("the <b>first</b> one").wait_for()
    other.wait_for_function("() => /^baseline/.test(document.querySelector('#run-select').selectedOptions[0].text)")
    assert server.run(first)["name"] == "baseline"

    rows.nth(1).get_by_role("button", name="Delete").click()
    rows.nth(1).get_by_text(re.compile("baseline .* is deleted")).wait_for()
    other.get_by_text("was deleted").wait_for()
    other.wait_for_function("(id) => document.querySelector('#run-select').value === id", arg=second)
    page.keyboard.press("Enter")  # the focus is on Undo
    rows.nth(1).get_by_role("button", name="Delete").wait_for()
    other.wait_for_function("() => document.querySelectorAll('#run-select option').length === 2")
    assert server.run(first)["step"] == 5
