"""A page in a real Chromium that notes when its norm chart was on the screen, and up to which step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from browser import Page, page

# After `react` the chart is in the document; the frame that shows it is over when, after the next animation callback,
# a message arrives. A chart's newest step is the last of its trace of norms.
_NOTE_FRAMES = """
window.frames_ = [];
let plotly;
Object.defineProperty(window, "Plotly", {
  get: () => plotly,
  set(loaded) {
    plotly = loaded;
    const react = loaded.react;
    loaded.react = (element, data, ...rest) => {
      const drawn = react(element, data, ...rest);
      if (element.dataset.testid === "chart-norm") {
        const step = data.find((trace) => trace.name === "norm")?.x.at(-1);
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => window.frames_.push([step, (performance.timeOrigin + performance.now()) / 1000]);
        requestAnimationFrame(() => port2.postMessage(null));
      }
      return drawn;
    };
  },
});
"""


class Witness:
    """A page that watches a run."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def frames(self) -> list[tuple[int, float]]:
        """Of each frame with a new norm chart: its newest step, and when it was shown, unix s."""
        return [(step, time_s) for step, time_s in self._page.evaluate("window.frames_") if step]


@contextmanager
def witness(url: str) -> Iterator[Witness]:
    """Open the page in a browser that ends with the context."""
    with page(url, _NOTE_FRAMES) as opened:
        opened.wait_for("document.querySelector('[data-testid=chart-norm] .scatterlayer path') !== null")
        yield Witness(opened)


def latencies_ms(stamps: Sequence[float], frames: Sequence[tuple[int, float]]) -> list[float]:
    """How long each step took from its stamp to the first frame that shows it; steps 1, 2, ... have the stamps."""
    found, shown = [], frames[0][0]
    for newest, time_s in frames:
        found += [(time_s - stamp) * 1e3 for stamp in stamps[shown:newest]]
        shown = max(shown, newest)
    return found
