"""The layers of a run: a page opened late shows them all from early on, finds them by name, and shows one alone."""

import re

import pytest

from tests.e2e.test_steering import wait_for_step

pytestmark = pytest.mark.e2e

DRAWN = """() => {
    const traces = document.querySelector('[data-testid=chart-layers]').data ?? [];
    const [trace] = traces.filter(({type, mode, x}) => x?.length && (type === 'heatmap' || mode === 'lines'));
    return trace && [trace.type, trace.x[0], trace.z?.length ?? 1];
}"""

CUT = """() => [...document.querySelectorAll('html, .bar, figcaption, .tools, .readout, .panel')]
    .filter((each) => each.scrollWidth > each.clientWidth).map(({id, className}) => `${id} ${className}`)"""


def drawn(page):
    """The main trace of the layers' chart: its type, its first step, how many rows it has."""
    return page.evaluate(DRAWN)


def test_a_late_page_shows_the_layers_from_early_on_and_one_alone(make_server, open_page):
    """What passed before the page was opened is there; words narrow the rows; a click or Enter shows one layer."""
    server = make_server(autostart="charlm")
    server.wait_until(lambda: server.run() and server.run()["step"] >= 40, "40 steps")
    page = open_page(server.url)
    wait_for_step(page, 40)
    names = server.run()["layers"]
    server.wait_until(lambda: drawn(page) and drawn(page)[1] <= 20, "the older layers")
    page.get_by_test_id("train-pause").click()
    chart, search = page.get_by_test_id("chart-layers"), page.locator("#layers-search")

    search.fill(names[3])
    found = [name for name in names if names[3] in name]
    server.wait_until(lambda: drawn(page)[2] == len(found), "the found layers alone")
    search.press("Enter")
    server.wait_until(lambda: drawn(page)[0] == "scatter", "the layer's curve")
    page.locator("#layers .readout").get_by_text(names[3]).wait_for()
    page.get_by_role("button", name="all layers").click()
    search.fill("")
    server.wait_until(lambda: drawn(page)[0] == "heatmap" and drawn(page)[2] > len(found), "all layers again")

    chart.click(position={"x": 200, "y": 10})
    server.wait_until(lambda: drawn(page)[0] == "scatter", "the first row's curve")
    page.locator("#layers .readout").get_by_text(names[0]).wait_for()


def test_the_layer_is_named_in_full_and_nothing_is_wider_than_its_place(make_server, open_page):
    """Name, value and step of the largest norm are readable at every width; headings, bar and panels fit."""
    server = make_server(autostart="charlm")
    page = open_page(server.url)
    wait_for_step(page, 20)
    page.get_by_test_id("train-pause").click()
    readout = page.locator("#layers .readout")
    for width in (1440, 1100, 800, 641, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_test_id("chart-layers").scroll_into_view_if_needed()
        readout.get_by_text(re.compile(r"^· [\d.,]+ at step [\d,]+$")).wait_for()
        assert readout.locator("b").inner_text() in server.run()["layers"]
        assert page.evaluate(CUT) == [], width
        assert (page.locator(".bar").bounding_box()["height"] < 60) == (width >= 1100)
