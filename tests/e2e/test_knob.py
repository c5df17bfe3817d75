"""The knob before anything is applied: what is being edited, and until when."""

from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e


@contextmanager
def training(server):
    """A run of 20 steps in mode norm, whose trainer is attached."""
    trainer = TrainerWire(server.url)
    trainer.start("r1", control={"mode": "norm", "max_norm": 1.0})
    trainer.commit(steps(1, 20))
    try:
        yield trainer
    finally:
        trainer.close()


def test_another_mode_brings_its_knob_along(make_server, open_page):
    """It is filled in, so that it can be halved and doubled at once, as far as the parameter goes."""
    server = make_server(autostart="")
    with training(server):
        page = open_page(server.url)
        mode, knob = page.get_by_test_id("mode"), page.get_by_test_id("max-norm")
        expect(mode).to_be_enabled()
        mode.select_option("value")
        expect(knob).to_have_value("1")
        page.locator("#double").click()
        expect(knob).to_have_value("2")
        mode.select_option("autoclip")
        expect(knob).to_have_value("10")
        for _ in range(5):
            page.locator("#double").click()
        expect(knob).to_have_value("100")
        mode.select_option("norm")
        expect(knob).to_have_value("1")
        page.get_by_text("in force: norm, max_norm 1").wait_for()


def test_an_answer_is_not_left_beside_what_it_does_not_answer(make_server, open_page):
    """Editing clears it, a change from elsewhere replaces it, and with the run's end the draft is gone."""
    server = make_server(autostart="")
    with training(server) as trainer:
        page = open_page(server.url)
        knob, answer = page.get_by_test_id("max-norm"), page.get_by_test_id("applied-step")
        expect(knob).to_be_enabled()
        knob.fill("0.5")
        page.get_by_test_id("apply").click()
        trainer.obey(1, 21, {"mode": "norm", "max_norm": 0.5}, {"max_norm": [1.0, 0.5]})
        expect(answer).to_have_text("applied at step 21")
        knob.fill("0.7")
        expect(answer).to_have_text("")
        page.keyboard.press("Escape")
        expect(knob).to_have_value("0.5")

        trainer.commit({
            "type": "applied", "n": 2, "id": None, "step": 30, "time": 1.0,
            "config": {"mode": "norm", "max_norm": 0.25}, "changes": {"max_norm": [0.5, 0.25]},
        })  # fmt: skip
        expect(answer).to_have_text("changed at step 30 from elsewhere")
        expect(knob).to_have_value("0.25")

        knob.fill("0.9")
        trainer.commit({"type": "finish", "n": 3, "time": 1.0, "state": "finished", "reason": ""})
        expect(knob).to_be_disabled()
        expect(knob).to_have_value("0.25")


def test_what_another_page_waits_for_is_told(make_server, open_page):
    """Until the training obeys, every page says what it has been asked for; a page that is opened again does, too."""
    server = make_server(autostart="")
    with training(server) as trainer:
        trainer.commit({
            "type": "event", "n": 1, "step": 20, "time": 1.0, "kind": "state", "text": "",
            "data": {"state": "paused", "commands": True},
        })  # fmt: skip
        asking, watching = open_page(server.url), open_page(server.url)
        asking.get_by_test_id("max-norm").fill("0.5")
        asking.get_by_test_id("apply").click()
        expect(asking.get_by_test_id("applied-step")).to_have_text("pending: max_norm 0.5; training is paused")
        told = "pending from elsewhere: max_norm 0.5; training is paused"
        expect(watching.get_by_test_id("applied-step")).to_have_text(told)
        asking.reload()
        expect(asking.get_by_test_id("applied-step")).to_have_text(told)
        trainer.obey(2, 21, {"mode": "norm", "max_norm": 0.5}, {"max_norm": [1.0, 0.5]})
        for page in (asking, watching):
            expect(page.get_by_test_id("applied-step")).to_have_text("changed at step 21 from elsewhere")


def test_the_log_takes_the_charts_to_a_step(make_server, open_page):
    """Pressed, a step of the log is in the middle of the charts, under the crosshair."""
    server = make_server(autostart="")
    with training(server) as trainer:
        trainer.commit(steps(21, 1000))
        trainer.commit({
            "type": "applied", "n": 1, "id": None, "step": 400, "time": 1.0,
            "config": {"mode": "norm", "max_norm": 0.5}, "changes": {"max_norm": [1.0, 0.5]},
        })  # fmt: skip
        page = open_page(server.url)
        page.get_by_test_id("events").get_by_role("button", name="400").click()
        expect(page.locator("#norm .crosshair span")).to_have_text("step 400")
        assert "steps=350-450" in page.url
        expect(page.get_by_role("button", name="follow")).to_be_visible()


def test_the_threshold_is_dragged_from_where_it_is_taken(make_server, open_page):
    """A click changes nothing, nor does another button; a drag moves the threshold as far as the pointer moves."""
    server = make_server(autostart="")
    with training(server) as trainer:
        page = open_page(server.url)
        grip, answer, knob = page.locator(".grip"), page.get_by_test_id("applied-step"), page.get_by_test_id("max-norm")
        expect(grip).to_be_visible()
        expect(knob).to_be_enabled()
        box = grip.bounding_box()
        x, low = box["x"] + box["width"] / 2, box["y"] + box["height"] - 2
        knob.fill("7")
        knob.fill("1")  # as it was: nothing is edited
        page.mouse.move(x, low)
        page.mouse.down()
        page.mouse.move(x + 1, low + 1)
        page.mouse.up()
        page.mouse.down(button="right")
        page.mouse.move(x, low - 40, steps=4)
        page.mouse.up(button="right")
        expect(knob).to_have_value("1")
        expect(answer).to_have_text("")

        page.mouse.move(x, low)
        page.mouse.down()
        page.mouse.move(x, low + 20, steps=4)
        page.mouse.move(x, low + 4, steps=4)
        nearly = float(knob.input_value())
        page.mouse.move(x, low + 20, steps=4)
        far = float(knob.input_value())
        page.mouse.up()
        assert 0 < far < nearly < 1
        assert (1 - nearly) / (1 - far) == pytest.approx(4 / 20, rel=0.3)  # the axis is linear, or nearly so, so near
        asked = trainer.wait("control")
        assert asked["patch"]["max_norm"] == far
