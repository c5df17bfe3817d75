"""What another threshold would do: the page agrees with the recorded norms, and one click applies a suggestion."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.e2e.test_steering import shown_step, wait_for_step
from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e


def test_a_suggestion_explains_itself_and_one_click_applies_it(make_server, open_page):
    """Pointing at p90 says what it does; clicking it makes it the bound, which the headline then foretells."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 40)
    page.get_by_test_id("train-pause").click()
    server.wait_until(lambda: server.run()["state"] == "paused", "the run to pause")
    run = server.run()
    answer = server.get(f"/api/runs/{run['id']}/whatif?last={run['seq']}")
    suggested = next(one["threshold"] for one in answer["suggestions"] if one["name"] == "p90")
    button = page.locator("#suggestions").get_by_role("button", name=re.compile("^p90"))
    page.wait_for_function(
        "(text) => document.querySelector('#suggestions').innerText.includes(text)", arg=f"{suggested:.3g}"
    )
    button.hover()
    assert "of the steps are clipped" in page.locator("#whatif-detail").inner_text()
    button.click()
    page.get_by_test_id("train-step").click()
    page.get_by_text(re.compile("applied at step")).first.wait_for(timeout=10_000)
    assert shown_step(page) == run["step"] + 1
    assert server.run()["control"]["max_norm"] == pytest.approx(suggested, rel=5e-3)
    page.get_by_text(re.compile(r"would clip (9|10|11|12|13)\.\d %")).wait_for(timeout=5_000)


def test_a_question_that_was_not_answered_is_asked_again(make_server, open_page):
    """One failure costs the panel of a run that is over some seconds, no more; the page says what failed."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
        trainer.commit(steps(1, 200))
        trainer.commit({"type": "finish", "n": 1, "time": 1.0, "state": "finished", "reason": ""})
    page = open_page("about:blank")
    page.route("**/whatif?*", lambda route: route.abort(), times=1)
    page.goto(server.url)
    page.get_by_text("What other thresholds would do could not be loaded").wait_for()
    page.get_by_text(re.compile(r"would clip \d")).wait_for(timeout=15_000)


def test_a_threshold_is_compared_only_with_norms_of_its_type_and_with_steps_on_show(make_server, open_page):
    """After a change of norm_type the steps before it do not count, nor do those on either side of a range."""
    server = make_server(autostart="")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start("r1", control={"mode": "norm", "max_norm": 1.0, "norm_type": 2.0})
        trainer.commit(steps(1, 200, norm=lambda _: 10.0))
        changed = {"norm_type": [2.0, "Infinity"]}
        control = {"mode": "norm", "max_norm": 1.0, "norm_type": "Infinity"}
        note = {"type": "applied", "n": 1, "id": None, "step": 201, "time": 1.0, "config": control, "changes": changed}
        trainer.commit(note)
        trainer.commit(steps(201, 300, norm=lambda seq: 0.1 if seq < 300 else 2.0))
        page = open_page(server.url)
        headline = page.locator("#would-clip")
        expect(headline).to_have_text("1.00 would clip 1.0 % of the last 100")
        page.goto(f"{server.url}?run=r1&steps=250-299")
        expect(headline).to_have_text("1.00 would clip 0 % of the 50 on show")
        page.goto(f"{server.url}?run=r1&steps=400-500")
        expect(headline).to_have_text("No steps on show")
        page.get_by_text("No step lies here: the run has steps 1 to 300").wait_for()
