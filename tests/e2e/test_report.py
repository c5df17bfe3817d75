"""A report, opened as a file without a network, in Chromium."""

import math
import re

import pytest

from server.report import report
from server.routes.web import web
from tests.server.test_report import EVIL, applied, run_info, series

pytestmark = pytest.mark.e2e


def test_a_report_draws_itself_from_its_file(open_page, tmp_path):
    """Charts with their marks, in the colours of the reader's theme; a hostile name is a name."""
    found = series(norm=[1.0, math.nan, 40.0], coef=[1.0, math.nan, 0.025], loss=[3.0, 2.0, 1.0])
    run = run_info(name=EVIL, config={EVIL: EVIL})
    file = tmp_path / "r1.html"
    file.write_text(report(run, found, [applied(2, max_norm=[2.0, 1.0])], web()))

    page = open_page(file.as_uri(), offline=True, color_scheme="light")
    page.wait_for_function("() => document.querySelectorAll('#charts .main-svg .scatterlayer').length >= 3")
    assert page.locator("h2").all_inner_texts()[:3] == ["Gradient norm", "Clip coefficient", "Loss"]
    assert page.title() == f"{EVIL} · clipcore"
    assert page.locator(".shapelayer path").count() == 3
    assert page.locator(".hero .legendtext").all_text_contents() == ["before", "not finite"]

    line = page.locator(".hero .scatterlayer path.js-line").first
    light = line.get_attribute("style")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(light) => document.querySelector('.hero path.js-line').getAttribute('style') !== light", arg=light
    )
    assert re.search(r"rgb\(90, 176, 242\)", line.get_attribute("style"))


@pytest.mark.parametrize("count", [1, 8, 100])
def test_steps_are_ticked_at_whole_numbers(open_page, tmp_path, count):
    """However few there are or are looked at, in either theme; between few steps Plotly would put ticks."""
    file = tmp_path / "r1.html"
    file.write_text(report(run_info(), series(count), [], web()))
    page = open_page(file.as_uri(), offline=True, color_scheme="light")

    def ticks():
        labels = page.locator(".hero .xtick text").all_text_contents()
        return sorted(set(map(int, labels))), len(labels)

    shown, drawn = ticks()
    assert drawn == len(shown) > 0
    zoom = "range => Plotly.relayout(document.querySelector('.hero .js-plotly-plot'), {'xaxis.range': range})"
    page.evaluate(zoom, [0.6, 3.3])
    assert ticks() == ([1, 2, 3], 3)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => matchMedia('(prefers-color-scheme: dark)').matches")
    assert ticks() == ([1, 2, 3], 3)
    page.evaluate(zoom, [0, 100])
    assert ticks()[1] < 20
