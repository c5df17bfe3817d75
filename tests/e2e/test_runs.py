"""All runs side by side, and one of them once more with another threshold."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.e2e.test_states import violations
from tests.server.site import TrainerWire, steps

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

#: Whether the layers' chart draws so many lines.
LAYER_LINES = """(count) => {
    const { data } = document.querySelector('[data-testid=chart-layers]');
    return (data ?? []).filter(({ name, mode }) => mode === 'lines' && !/change/.test(name)).length === count;
}"""


def test_a_run_is_repeated_beside_itself_with_another_threshold(make_server, open_page):
    """The list measures each run; Again fills the form with the run's own options, of which one is changed."""
    server = make_server(autostart="")
    options = {"seed": 7, "max_norm": 0.01, "context": 8, "batch": 2, "steps": 1_000_000}
    first = server.post("/api/workers", {"workload": "rnn", "config": options})["id"]
    server.wait_until(lambda: server.run(first)["step"] > 20, "the first run's steps")
    page = open_page(server.url)
    page.keyboard.press("r")
    page.get_by_role("button", name="Start a training").click()
    expect(page.get_by_test_id("start-rnn")).to_be_visible()
    page.get_by_role("button", name="Back to the charts").click()
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


def test_a_run_that_has_no_step_on_show_says_so(make_server, open_page):
    """Its numbers are those of the step that the key names, its last one."""
    server = make_server(autostart="")
    lengths = (60, 260)
    short, long = (
        server.post("/api/workers", {"workload": "rnn", "config": {"context": 8, "batch": 2, "steps": steps}})["id"]
        for steps in lengths
    )
    for run in (short, long):
        server.wait_until(lambda run=run: server.run(run)["state"] == "finished", "a run to finish")
    page = open_page(f"{server.url}/?run={long}&with={short}")
    steps = page.locator("#overlay tbody td:nth-child(3)")
    expect(steps).to_have_text(["260", "60"])
    page.goto(f"{server.url}/?run={long}&with={short}&steps=100-200")
    expect(steps).to_have_text(["260", "60, not on show"])


def test_another_run_is_compared_on_every_chart_and_only_what_is_on_show_is_asked_for(make_server, open_page):
    """Other losses, one layer and the share clipped are told of each run; unseen, they cost no request."""
    server = make_server(autostart="")
    options = {"seed": 7, "context": 8, "batch": 2, "steps": 260}
    bounds = (0.5, 0.2)
    first, second = (
        server.post("/api/workers", {"workload": "rnn", "config": options | {"max_norm": bound}})["id"]
        for bound in bounds
    )
    for run in (first, second):
        server.wait_until(lambda run=run: server.run(run)["state"] == "finished", "a run to finish")
    link = f"{server.url}/?run={second}&with={first}"

    page = open_page(link)
    page.wait_for_function(DRAWN_RUNS, arg=[["run1", "run0"], "lines+markers"])
    chart, key = page.get_by_test_id("chart-loss"), page.locator("#overlay tbody tr")
    crosshair = page.locator("#norm .crosshair")
    chart.hover(position={"x": 200, "y": 60})
    expect(crosshair).to_have_text(re.compile(r"step \d+"))
    step = int(crosshair.inner_text().removeprefix("step "))
    for row, run in ((0, second), (1, first)):
        columns = server.series(run, "threshold", "norm", "coef", "clamped", "loss")["columns"]
        told = [step, *(columns[name][step - 1] for name in ("threshold", "norm", "coef", "clamped", "loss"))]
        assert [float(text) for text in key.nth(row).locator("td").all_inner_texts()[1:7]] == pytest.approx(told, 0.01)

    norms = server.series(first, "norm")["columns"]["norm"]
    share = f"{sum(norm > bounds[1] for norm in norms) / len(norms):.1%}".replace("100.0", "100").replace("%", " %")
    page.locator("#shares span").nth(1).get_by_text(share).wait_for()

    asked = []
    page.on("request", lambda request: asked.append(request.url))
    layers = page.get_by_test_id("chart-layers")
    page.get_by_text(f"Of rnn {second[:4]}. Click a row").wait_for()
    layers.click(position={"x": 200, "y": 10})
    name = server.run()["layers"][0]
    page.locator("#overlay thead").get_by_text(name).wait_for()
    page.wait_for_function(LAYER_LINES, arg=2)
    assert [url for url in asked if f"{first}/layers" in url] == [f"{server.url}/api/runs/{first}/layers?points=300"]
    expect(key.nth(1).locator("td").nth(-2)).to_have_text(re.compile(r"^[\d.e-]+$"))
    assert violations(page) == []

    phone = open_page("about:blank", viewport={"width": 390, "height": 844})
    unseen = []
    phone.on("request", lambda request: unseen.append(request.url))
    phone.goto(link)
    phone.locator("#overlay tbody tr").nth(1).get_by_text("0.500").wait_for()
    phone.wait_for_timeout(1500)
    assert not [url for url in unseen if f"{first}/whatif" in url or f"{first}/layers" in url]
    phone.get_by_test_id("chart-hist").scroll_into_view_if_needed()
    phone.wait_for_function("() => document.querySelectorAll('#shares b').length === 2")


def test_why_a_run_was_not_deleted_stays_to_be_read(make_server, open_page):
    """The answer outlasts the list's own looking after the runs."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1")
        trainer.commit(steps(1, 5))
        page = open_page(server.url)
        page.keyboard.press("r")
        looks = []
        page.on("response", lambda response: looks.append(response.url) if "/series" in response.url else None)
        page.get_by_role("button", name="Delete").click()
        page.locator("#runs-answer").get_by_text(re.compile("was not deleted: ")).wait_for()
        server.wait_until(lambda: page.wait_for_timeout(50) or len(looks) >= 2, "the list to look after the runs twice")
        page.wait_for_timeout(200)
        assert "was not deleted: " in page.locator("#runs-answer").inner_text()


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


def test_a_name_of_any_kind_hides_nothing(make_server, open_page):
    """However long it is and whatever it holds, state and buttons stay in place and read forwards; steps are fresh."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", name="exp_" + "x" * 120)
        trainer.commit(steps(1, 7))
        page = open_page(server.url)
        assert re.fullmatch(r"exp_x+… r1 · training", page.locator("#run-select option").inner_text())
        trainer.commit(steps(8, 20))
        page.keyboard.press("r")
        row = page.locator("#runs-list tr")
        expect(row.locator("td").nth(4)).to_have_text("20")
        expect(row.locator("td").nth(3)).to_have_attribute("title", re.compile(r"\d{4} at \d\d:\d\d:\d\d"))
        expect(row.get_by_role("button", name="Delete")).to_be_in_viewport(ratio=1)
        page.request.patch(f"{server.url}/api/runs/r1", data={"name": "a\u202eb"})
        expect(row.locator(".title button").first).to_have_text("ab r1")
