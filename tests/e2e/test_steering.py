"""A person opens the page, watches, and turns the knob; what was recorded agrees with what the page said."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e


def shown_step(page):
    """The step that the page says the last change holds from."""
    text = page.get_by_test_id("applied-step").inner_text()
    return int(re.search(r"[\d,]+", text)[0].replace(",", ""))


def apply_bound(page, value):
    """Type a bound, apply it, and return the step that the page names."""
    before = page.get_by_test_id("applied-step").inner_text()
    page.get_by_test_id("max-norm").fill(value)
    page.get_by_test_id("apply").click()
    page.wait_for_function(
        """([before]) => {
            const text = document.querySelector('[data-testid=applied-step]').innerText;
            return text !== before && /applied at step/.test(text);
        }""",
        arg=[before],
        timeout=10_000,
    )
    return shown_step(page)


def wait_for_step(page, step):
    """Wait until the status bar has passed this step."""
    page.wait_for_function(
        """(step) => {
            const found = document.body.innerText.match(/step\\s+([\\d,]+)/i);
            return found && Number(found[1].replaceAll(',', '')) >= step;
        }""",
        arg=step,
        timeout=60_000,
    )


def last_drawn_step(page, chart):
    """The largest step that this chart's traces reach."""
    return page.evaluate(
        """(id) => {
            const plot = document.querySelector(`[data-testid=${id}]`);
            const graph = plot.matches('.js-plotly-plot') ? plot : plot.querySelector('.js-plotly-plot');
            return Math.max(0, ...graph.data.flatMap((trace) => Array.from(trace.x ?? [])).filter(Number.isFinite));
        }""",
        chart,
    )


def test_charts_move_and_the_recorded_steps_agree_with_the_page(make_server, open_page):
    """Live charts; a typed bound and a mode switch hold from exactly the step that the page names."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 20)

    drawn = last_drawn_step(page, "chart-norm")
    page.wait_for_function("() => true")
    wait_for_step(page, drawn + 30)
    for chart in ("chart-norm", "chart-coef", "chart-loss"):
        assert last_drawn_step(page, chart) > drawn

    run_id = server.run()["id"]
    first_bound = server.run()["control"]["max_norm"]
    typed_at = apply_bound(page, "0.125")
    wait_for_step(page, typed_at + 10)

    page.get_by_test_id("mode").select_option("value")
    switched_at = apply_bound(page, "0.002")
    wait_for_step(page, switched_at + 10)

    columns = server.series(run_id, "threshold", "clipped_norm", "clamped")["columns"]
    recorded = dict(zip(columns["step"], zip(columns["mode"], columns["threshold"], strict=True), strict=True))
    assert recorded[typed_at - 1] == ("norm", first_bound)
    assert recorded[typed_at] == ("norm", 0.125)
    assert recorded[switched_at - 1] == ("norm", 0.125)
    assert recorded[switched_at] == ("value", 0.002)
    changes = {typed_at: ("norm", 0.125), switched_at: ("value", 0.002)}
    expected = ("norm", first_bound)
    for step in sorted(recorded):
        expected = changes.get(step, expected)
        assert recorded[step] == expected
    clipped = dict(zip(columns["step"], columns["clipped_norm"], strict=True))
    assert all(clipped[step] <= 0.125 * (1 + 1e-6) for step in range(typed_at, switched_at))
    clamped = dict(zip(columns["step"], columns["clamped"], strict=True))
    assert sum(clamped[step] for step in clamped if step >= switched_at) > 0
    assert sum(clamped[step] for step in clamped if step < switched_at) == 0


@pytest.mark.parametrize("typed", ["-1", "NaN", "abc", ""])
def test_a_bad_bound_is_refused_with_a_reason_and_nothing_changes(make_server, open_page, typed):
    """The page says what is allowed; the configuration stays."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 3)
    before = server.run()["control"]
    page.get_by_test_id("max-norm").fill(typed)
    if page.get_by_test_id("apply").is_enabled():
        page.get_by_test_id("apply").click()
    page.get_by_text(re.compile("must be")).first.wait_for(timeout=10_000)
    wait_for_step(page, server.run()["step"] + 5)
    assert server.run()["control"] == before


def test_two_browsers_see_the_same_change(make_server, open_page):
    """A change made in one browser shows in the other as the value in force and as a line of the log."""
    server = make_server(autostart="charlm")
    one, other = open_page(server.url), open_page(server.url)
    wait_for_step(one, 3)
    wait_for_step(other, 3)
    apply_bound(one, "0.25")
    other.wait_for_function("() => document.querySelector('[data-testid=max-norm]').value === '0.25'")
    other.get_by_test_id("events").get_by_text("0.25").first.wait_for()


def test_the_page_comes_back_by_itself_and_fills_what_it_missed(make_server, open_page):
    """The server is killed and restarted: the page says so, reconnects, and its rows have no hole."""
    server = make_server(autostart="")
    trainer = server.post("/api/workers", {"workload": "charlm", "config": {"steps": 100_000}})
    page = open_page(server.url)
    wait_for_step(page, 10)
    server.kill()
    page.get_by_text(re.compile("reconnecting")).first.wait_for()
    server.start()
    page.wait_for_function(
        "() => !/reconnecting/.test(document.querySelector('[data-testid=connection]').innerText)", timeout=20_000
    )
    run = server.run(trainer["id"])
    assert run["state"] in ("disconnected", "stopped")
    stored = server.series(trainer["id"], "norm")["columns"]["step"]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) >= 10


def test_pausing_the_charts_loses_nothing(make_server, open_page):
    """While the charts are paused the steps go on arriving; resumed, they show them all."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 10)
    page.get_by_test_id("pause").click()
    page.wait_for_timeout(300)
    frozen = last_drawn_step(page, "chart-norm")
    wait_for_step(page, frozen + 20)
    assert last_drawn_step(page, "chart-norm") == frozen
    page.get_by_test_id("pause").click()
    page.wait_for_timeout(500)
    assert last_drawn_step(page, "chart-norm") >= frozen + 20


def test_training_pauses_steps_resumes_and_stops_from_the_page(make_server, open_page):
    """Each button does to the loop what it says; what was stopped can be begun anew with the same options."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 5)
    page.get_by_test_id("train-pause").click()
    server.wait_until(lambda: server.run()["state"] == "paused", "the run to pause")
    paused_at = server.run()["step"]
    page.wait_for_timeout(500)
    assert server.run()["step"] == paused_at
    page.get_by_test_id("train-step").click()
    server.wait_until(lambda: server.run()["step"] == paused_at + 1, "one step")
    page.wait_for_timeout(500)
    assert server.run()["step"] == paused_at + 1
    page.get_by_test_id("train-resume").click()
    server.wait_until(lambda: server.run()["step"] > paused_at + 10, "training to go on")
    page.get_by_test_id("train-stop").click()
    server.wait_until(lambda: server.run()["state"] == "stopped", "the run to stop")
    page.get_by_role("button", name="Again…").click()
    form = page.locator("#start-form section").filter(has=page.get_by_test_id("start-charlm"))
    expect(form.get_by_text("beside charlm")).to_be_visible()


def test_a_training_that_was_asked_to_stop_takes_no_more_commands(make_server, open_page):
    """Until it has ended the buttons say that it is stopping; a script without proceed() cannot be asked at all."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1")
        trainer.commit(steps(1, 3))
        page = open_page(server.url)
        pause = page.get_by_test_id("train-pause")
        expect(pause).to_have_attribute("title", re.compile("does not call run.proceed"))
        event = {"type": "event", "step": 3, "time": 1.0, "kind": "state"}
        trainer.commit({**event, "n": 1, "text": "", "data": {"state": "running", "commands": True}})
        expect(pause).to_be_enabled()
        trainer.commit({**event, "n": 2, "text": "stopping", "data": {"state": "running", "commands": False}})
        expect(pause).to_have_attribute("title", "the training is stopping")
