"""What the page does while a training makes 1,000 steps a second, in a real Chromium.

    python benchmarks/bench_web.py [--quick] [--layers N]

A real server and a real trainer run in processes of their own; the page shows the last 1,000 steps, then all steps.

- redraws: draws of every visible chart per second; the histogram draws for keys, which come faster than that.
- key: from a key that edits the threshold to the frame that shows it.
- busy: share of one core that the page's main thread takes, in CPU time.
- hidden: draws of the charts beyond the edge of a phone's screen, which should be none.
- first paint: from opening a finished run of a million steps to the drawn norm chart, caches empty.

The last line is the whole result as one JSON document.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from browser import DESKTOP, PHONE, Page, page
from live import live
from served import URL, check_stored, served
from torch import nn

import clipcore

WARM_S = 3.0

#: Counts draws by chart, and times keys: from the event's own stamp to the frame after the one that it changed.
PROBE = """
window.draws = {};
window.keys = [];
document.addEventListener("DOMContentLoaded", () => {
  for (const plot of document.querySelectorAll(".plot")) {
    const name = plot.dataset.testid;
    window.draws[name] = 0;
    const heard = new MutationObserver(() => {
      if (!plot.on) return;
      heard.disconnect();
      plot.on("plotly_afterplot", () => window.draws[name]++);
    });
    heard.observe(plot, { childList: true, subtree: true });
  }
  const norm = document.querySelector("[data-testid=chart-norm]");
  const drawn = new MutationObserver(() => {
    if (!norm.querySelector(".scatterlayer path")) return;
    drawn.disconnect();
    window.painted = performance.now();
  });
  drawn.observe(norm, { childList: true, subtree: true });
});
addEventListener("keydown", (event) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => window.keys.push(performance.now() - event.timeStamp);
  port2.postMessage(null);
}), true);
"""

BEYOND = """[...document.querySelectorAll(".plot")]
    .filter((plot) => plot.getBoundingClientRect().top > innerHeight)
    .map((plot) => plot.dataset.testid)"""


def main(quick: bool, layers: int) -> None:
    """Measure, print a table, and one line of JSON."""
    steps, seconds = (20_000, 5.0) if quick else (1_000_000, 20.0)
    result: dict[str, Any] = {"finished_steps": steps, "layers": layers}
    with served():
        result["first_paint_ms"] = measure_first_paint(finished_run(steps))
        print(f"first paint         {result['first_paint_ms']:6.0f} ms of {steps:,} steps")
        with live(layers):
            for width in ("1000", "all"):
                result[f"last_{width}"] = measure_live(f"{URL}?last={width}", seconds)
                print_live(width, result[f"last_{width}"])
            result["hidden_draws"] = measure_hidden(seconds)
            print(f"hidden charts       {result['hidden_draws']:6d} draws")
    print(json.dumps(result))


def finished_run(steps: int) -> str:
    """The id of a run of so many steps, all of them acknowledged."""
    parameter = nn.Parameter(torch.zeros(4))
    clipper = clipcore.Clipper([parameter], mode="norm", max_norm=1.0)
    run = clipcore.connect(clipper, name="finished", url=URL)
    for step in range(steps):
        if step % 100 == 0:
            parameter.grad = torch.full((4,), random.lognormvariate(-0.7, 0.5))
            stats = clipper.clip_()
        run.log(stats, loss=1.0 + random.random())
    run.finish(timeout_s=600)
    check_stored(run.id, steps)
    return run.id


def measure_first_paint(run: str) -> float:
    """Milliseconds from navigation to the drawn norm chart; the median of five."""
    took: list[float] = []
    for _ in range(5):
        with page(f"{URL}?run={run}&last=all", PROBE) as opened:
            took.append(opened.wait_for("window.painted"))
    return statistics.median(took)


def measure_live(url: str, seconds: float) -> dict[str, Any]:
    """Draws per second of the slowest chart and of each, key latency, and how busy the main thread is."""
    with watched(url, DESKTOP) as opened:
        before, busy = draws(opened), opened.busy_s()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            opened.press("]")
            time.sleep(random.uniform(0.1, 0.2))
        took = time.monotonic() - start
        rates = {chart: round((n - before[chart]) / took, 1) for chart, n in draws(opened).items()}
        keys = sorted(opened.evaluate("window.keys"))
        return {
            "redraws_per_s": rates,
            "redraws_per_s_least": min(rates.values()),
            "key_ms_median": round(statistics.median(keys)),
            "key_ms_most": round(keys[-1]),
            "busy": round((opened.busy_s() - busy) / took, 2),
        }


def measure_hidden(seconds: float) -> int:
    """Draws of charts that a phone's screen does not show."""
    with watched(URL, PHONE) as opened:
        beyond = opened.evaluate(BEYOND)
        before = draws(opened)
        time.sleep(seconds)
        after = draws(opened)
        return sum(after[chart] - before[chart] for chart in beyond)


@contextmanager
def watched(url: str, size: tuple[int, int]) -> Iterator[Page]:
    """A page that has come up and been at it for a while."""
    with page(url, PROBE, size) as opened:
        opened.wait_for("window.painted")
        time.sleep(WARM_S)
        yield opened


def draws(opened: Page) -> dict[str, int]:
    """Draws so far, by chart."""
    counted: dict[str, int] = opened.evaluate("window.draws")
    return counted


def print_live(width: str, live: dict[str, Any]) -> None:
    """The lines of a live measurement."""
    rates = ", ".join(f"{chart.removeprefix('chart-')} {rate}" for chart, rate in live["redraws_per_s"].items())
    print(f"last {width:<14} {live['redraws_per_s_least']:6.1f} redraws/s at least: {rates}")
    print(f"                    {live['key_ms_median']:6d} ms from key to screen, {live['key_ms_most']} ms at most")
    print(f"                    {live['busy']:6.2f} of a core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it works")
    parser.add_argument("--layers", type=int, default=40, help="tensors of the live training's model")
    options = parser.parse_args()
    main(options.quick, options.layers)
