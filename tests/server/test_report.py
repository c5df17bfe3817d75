"""A report holds a run's charts, changes and configuration, and nothing in it can do harm."""

import json
import math
import re
from pathlib import Path

import pytest

from server.protocol import LogEntry, RunInfo
from server.report import report
from server.routes.web import web
from server.rows import make_rows
from server.store import Series
from tests.server.site import steps

LABELS = json.loads((Path(__file__).parents[1] / "fixtures" / "labels.json").read_text())
EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>"


def run_info(**fields):
    return RunInfo(**{"id": "r1", "name": "mine", "state": "finished", "created": 0.0, "updated": 1.0, **fields})


def series(count=3, exact=True, **metrics):
    seqs = list(range(1, count + 1))
    columns = {"step": seqs, "norm": [float(seq) for seq in seqs], **metrics}
    return Series(make_rows({"seq": seqs, "time": [0.0] * count, "mode": ["norm"] * count, **columns}), exact)


def applied(step, **changes):
    return LogEntry(n=step, step=step, time=0.0, kind="applied", text="max_norm 2 -> 1", data={"changes": changes})


def figures_of(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)[1])


def test_charts_are_of_what_was_logged():
    """A chart each for the norm and what else there is: none for what was never logged, or never clamped."""
    page = report(run_info(), series(coef=[1.0, None, 0.5], loss=[None] * 3, clamped=[0.0] * 3), [], web())
    charts = figures_of(page)
    assert list(charts) == ["Gradient norm", "Clip coefficient"]
    before = charts["Gradient norm"]["data"][0]
    assert (before["name"], before["x"], before["y"]) == ("before", [1, 2, 3], [1.0, 2.0, 3.0])


def test_a_line_joins_what_was_logged():
    """A loss of every other step is a line, not points that nobody sees; where it is NaN the line has a gap."""
    page = report(run_info(), series(6, loss=[None, 3.0, None, math.nan, None, 1.0]), [], web())
    line = figures_of(page)["Loss"]["data"][0]
    assert (line["x"], line["y"], line["mode"]) == ([2, 4, 6], [3.0, None, 1.0], "lines")
    page = report(run_info(), series(3, loss=[None, 3.0, None]), [], web())
    assert figures_of(page)["Loss"]["data"][0]["mode"] == "markers"


def test_a_line_is_broken_where_the_training_went_back():
    """It has a gap between the last step and the earlier one that follows."""
    rolled = series(count=5, step=[1, 2, 3, 2, 3])
    before = figures_of(report(run_info(), rolled, [], web()))["Gradient norm"]["data"][0]
    assert (before["x"], before["y"]) == ([1, 2, 3, 2, 2, 3], [1.0, 2.0, 3.0, None, 4.0, 5.0])


def test_zeros_are_seen_on_the_logarithmic_axis():
    """They lie half a decade below the least positive norm."""
    page = report(run_info(), series(norm=[0.0, 1.0, 10.0]), [], web())
    assert figures_of(page)["Gradient norm"]["data"][0]["y"] == [pytest.approx(10**-0.5), 1.0, 10.0]


def test_what_is_not_finite_is_a_cross():
    """A NaN and an infinity are marked at the top edge where they happened, with their value."""
    page = report(run_info(), series(norm=[math.nan, 1.0, math.inf]), [], web())
    line, *_, crosses = figures_of(page)["Gradient norm"]["data"]
    assert line["y"] == [None, 1.0, None]
    assert (crosses["x"], crosses["text"]) == ([1, 3], ["nan", "inf"])


def test_changes_are_marked_and_listed():
    """Every change of the clipping is a line through each chart and a row of the table; other lines are rows only."""
    log = [applied(2, max_norm=[2.0, 1.0]), LogEntry(n=3, step=3, time=0.0, kind="warning", text="clip_() ran twice")]
    page = report(run_info(control={"mode": "norm", "max_norm": 1.0}, config={"lr": 0.1}), series(), log, web())
    assert [shape["path"] for shape in figures_of(page)["Gradient norm"]["layout"]["shapes"]] == ["M2,0L2,1"]
    for text in ("max_norm 2 -&gt; 1", "clip_() ran twice", "<dt>max_norm</dt><dd>1.0</dd>", "<dt>lr</dt><dd>0.1</dd>"):
        assert text in page


def test_many_changes_cost_no_more_than_one():
    """They are one shape, and labels stand only where they have room up to the next change."""
    log = [applied(step, max_norm=[2.0, 1.0]) for step in (100, *range(1000, 5500))]
    chart = figures_of(report(run_info(), series(6000), log, web()))["Gradient norm"]
    (lines,) = chart["layout"]["shapes"]
    assert lines["path"].count("M") == len(log)
    labels = chart["data"][-2]
    assert (labels["x"], labels["text"]) == ([5499, 100], [" max_norm 2 -&gt; 1 "] * 2)
    assert labels["textposition"] == ["bottom left", "bottom right"]


@pytest.mark.parametrize("case", LABELS, ids=[case["why"] for case in LABELS])
def test_changes_are_labelled_as_on_the_page(case):
    """The same changes have a label, on the same side; the page's own test reads the same cases."""
    log = [applied(step, max_norm=[2.0, 1.0]) for step in case["changes"]]
    labels = figures_of(report(run_info(), series(1000), log, web()))["Gradient norm"]["data"][-2]
    sides = [side.removeprefix("bottom ") for side in labels["textposition"]]
    assert dict(zip(map(str, labels["x"]), sides, strict=True)) == case["sides"]


@pytest.mark.parametrize(("exact", "thinned"), [(True, False), (False, True)])
def test_thinned_charts_say_so(exact, thinned):
    """Who looks at extremes only is told."""
    assert ("the lowest, the highest" in report(run_info(), series(exact=exact), [], web())) is thinned


def test_nothing_a_trainer_says_becomes_markup():
    """Names, reasons, notes, options and log lines are text, wherever they stand."""
    log = [LogEntry(n=1, step=1, time=0.0, kind="note", text=EVIL)]
    run = run_info(name=EVIL, reason=EVIL, note=EVIL, workload=EVIL, config={EVIL: [EVIL]}, control={EVIL: EVIL})
    harmless = report(run_info(), series(), [], web())
    page = report(run, series(), log, web())
    for markup in ("<script", "</script>", "<img", "<!--"):
        assert page.count(markup) == harmless.count(markup)


def test_the_page_loads_nothing(site):
    """Plotly is in the file, and the file's own policy forbids any request."""
    trainer = site.trainer()
    trainer.start("r1")
    trainer.commit(steps(1, 20, coef=float, clamped=float, loss=float))
    answer = site.http.get("/api/runs/r1/report")
    assert answer.headers["content-disposition"] == 'attachment; filename="r1.html"'
    page = answer.text
    assert "Plotly.react" in page
    assert len(page) > 1_000_000
    assert "default-src 'none'" in page
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)", page.split("<script>")[0]) == []
    assert set(figures_of(page)) == {"Gradient norm", "Clip coefficient", "Clamped elements", "Loss"}
