"""The charts as an instrument: what they show, how a person moves in them, and what a link and an image keep."""

import re
from contextlib import closing

import pytest

from tests.e2e.test_steering import apply_bound, wait_for_step
from tests.server.site import TrainerWire, steps

pytestmark = pytest.mark.e2e

HEAT = """() => {
    const plot = document.querySelector('[data-testid=chart-layers]');
    const heat = (plot.data ?? []).find(({type}) => type === 'heatmap');
    return heat && {rows: heat.z.length, first: heat.x[0], bands: plot.layout.annotations?.map(({text}) => text) ?? []};
}"""


def in_force(server, name):
    """A parameter's value in force, as the server has it."""
    return server.run()["control"][name]


def test_a_link_shows_exponents_over_time_and_what_formats_would_lose(make_server, open_page):
    """The link chooses heatmap and axis; the page says the fractions, sampled; choices go into the link."""
    server = make_server(autostart="charlm")
    page = open_page(f"{server.url}/?layers=exponents&x=time")
    page.get_by_text(re.compile(r"fp8 e4m3 .*sampled: 1 block in \d+")).wait_for()
    server.wait_until(lambda: (page.evaluate(HEAT) or {}).get("rows", 0) > 5, "the exponents")
    heat = page.evaluate(HEAT)
    assert heat["first"] > server.run()["created"] - 60
    assert "fp8 e4m3: zero" in heat["bands"]

    page.locator("#layers-subject").select_option("shares")
    page.locator("#layers").get_by_text("Nothing is clamped in norm mode").wait_for()
    page.locator("#layers-subject").select_option("coefs")
    page.locator("#layers-search").fill("perceptron")
    page.get_by_role("button", name="time").click()
    page.reload()
    server.wait_until(lambda: page.evaluate(HEAT) and page.evaluate(HEAT)["first"] < 1e6, "the layers by step")
    assert page.locator("#layers-subject").input_value() == "coefs"
    assert page.locator("#layers-search").input_value() == "perceptron"
    names = server.run()["layers"]
    assert page.evaluate(HEAT)["rows"] == sum("perceptron" in name for name in names)


def test_undo_goes_back_change_by_change_and_knobs_are_among_them(make_server, open_page):
    """A bound and a declared knob are applied alike; the key u takes back the newest change, then the one before it."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 10)
    bound, rate = in_force(server, "max_norm"), in_force(server, "lr")
    apply_bound(page, "0.25")
    page.locator("#more summary").click()
    page.locator("#parameters [name=lr]").fill("0.002")
    page.get_by_test_id("apply").click()
    server.wait_until(lambda: in_force(server, "lr") == 0.002, "the knob")
    page.get_by_title(re.compile("Take back: lr")).wait_for()

    page.locator("h1").click()
    page.keyboard.press("u")
    server.wait_until(lambda: in_force(server, "lr") == rate, "the knob as before")
    assert in_force(server, "max_norm") == 0.25
    page.get_by_title(re.compile("Take back: max_norm")).wait_for()
    page.keyboard.press("u")
    server.wait_until(lambda: in_force(server, "max_norm") == bound, "the bound as before")
    page.get_by_title("Nothing to take back").wait_for()


def test_a_zoom_is_in_the_address_a_double_click_ends_it_and_a_chart_becomes_an_image(make_server, open_page):
    """Dragging zooms all charts; the saved image says run, chart and steps."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 120)
    page.get_by_test_id("train-pause").click()
    plot = page.get_by_test_id("chart-norm").bounding_box()
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + 200, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + 400, middle, steps=4)
    page.mouse.up()
    page.wait_for_function("() => /steps=\\d+-\\d+/.test(location.search)")
    first, last = (int(step) for step in re.search(r"steps=(\d+)-(\d+)", page.url).groups())

    page.locator("#loss .save summary").click()
    with page.expect_download() as saved:
        page.locator("#loss .save").get_by_role("button", name="SVG").click()
    drawing = saved.value.path().read_text()
    assert f"charlm {server.run()['id'][:4]}: Loss, steps {first} to {last}" in drawing
    page.locator("#loss .save summary").click()
    with page.expect_download() as saved:
        page.locator("#loss .save").get_by_role("button", name="PNG").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")

    page.get_by_test_id("chart-norm").dblclick(position={"x": 300, "y": 60})
    page.wait_for_function("() => !location.search.includes('steps=')")


def test_on_a_phone_a_tap_reads_a_step_and_the_value_in_force_and_more_are_in_reach(make_server, open_page):
    """A tap pins the crosshair and the readout, one beside the charts frees them; the strip says what is in force."""
    server = make_server(autostart="charlm")
    page = open_page(server.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    wait_for_step(page, 20)
    page.get_by_text(re.compile(r"^in force: norm, max_norm")).wait_for()
    bound = in_force(server, "max_norm")
    assert page.locator("#slider").get_attribute("aria-valuetext") == f"max_norm {bound:g}"
    assert page.locator("#bound").evaluate("(field) => getComputedStyle(field).fontSize") == "16px"
    page.locator("#more summary").tap()
    page.locator("#parameters [name=norm_type]").wait_for()
    page.locator("#more summary").tap()

    page.get_by_test_id("chart-norm").tap(position={"x": 60, "y": 80})
    label = page.locator("#norm .crosshair span")
    label.wait_for()
    pinned = label.inner_text()
    wait_for_step(page, server.run()["step"] + 5)
    assert label.inner_text() == pinned
    page.locator("#norm h2").tap()
    label.wait_for(state="hidden")


def test_nothing_of_a_run_stays_on_the_charts_of_the_next(make_server, open_page):
    """After a run that was clipped, one of zero gradients shows no cut, no histogram, and 0 % for its threshold."""
    server = make_server(autostart="")
    zero = [0.0] * 300
    for run, bound, metrics in (
        ("r1", 0.01, {"clipped_norm": [0.01] * 300}),
        ("r2", 1.0, {"norm": zero, "clipped_norm": zero}),
    ):
        with closing(TrainerWire(server.url)) as trainer:
            trainer.start(run, control={"mode": "norm", "max_norm": bound})
            trainer.commit(steps(1, 300, **metrics))
    page = open_page(f"{server.url}/?run=r1")
    drawn = page.locator("[data-testid=chart-norm] .shapelayer path, [data-testid=chart-hist] .bars .point")
    server.wait_until(lambda: drawn.count() > 1, "the cut and the histogram")
    page.get_by_test_id("run-select").select_option("r2")
    page.get_by_text("1.00 would clip 0 % of the last 300").wait_for()
    server.wait_until(lambda: drawn.count() == 0, "them to go")
