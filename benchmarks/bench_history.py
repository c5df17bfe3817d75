"""How soon a long run is on the screen, how soon a zoom is, and whether one step's spike is there.

    pip install 'clipcore[bench]'; python benchmarks/bench_history.py [--quick] [--steps 10000000] [--only clipcore]

The same two curves, norm and loss, are written with each tool's own code, then its own server is started on them, one
after the other. What is timed are the requests that its page makes for the two curves, until the answer is read:

- ready: from the start of the server's process until it answers with the last step. TensorBoard reads the whole log
  before that; the others are databases.
- whole: the whole run; and how many points of each curve the page gets.
- zoom: windows of a tenth, a hundredth and a thousandth of the run, anywhere. Only clipcore's page asks its server for
  a window; the others' enlarge the points that they have, which costs no request.
- window: points of each curve in the thousandth of the run around the spike. A hundred would fill a chart.
- spike: whether the one high norm is among the points of the whole run, and of that window.

The peers run as they come, TensorBoard once more told to keep all points. Drawing is not timed. trackio's server keeps
its last answers, so that its `whole` is mostly the time to send one.
The last line is the whole result as one JSON document.
"""

import argparse
import importlib
import importlib.util
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PORT = 8498
URL = f"http://127.0.0.1:{PORT}"
SPIKE = 1e6
BATCH = 10_000
REQUESTS = 30  # of a kind; fewer when they have taken PATIENCE_S, but at least 3
PATIENCE_S = 60

Points = dict[int, float]  # norm by step


class History(NamedTuple):
    """What every tool is given."""

    steps: int
    spike_at: int

    def batches(self) -> Iterator[tuple[range, list[float], list[float]]]:
        """Steps, norms and losses, some at a time."""
        chance = random.Random(0)
        for first in range(1, self.steps + 1, BATCH):
            steps = range(first, min(first + BATCH, self.steps + 1))
            norms = [SPIKE if step == self.spike_at else chance.lognormvariate(0, 0.3) for step in steps]
            yield steps, norms, [1 + math.exp(-step / self.steps) for step in steps]


class Tool(ABC):
    """A server of histories.

    Attributes:
        name: in the table.
        package: what must be installed.
        asks_for_windows: whether its page asks the server when it zooms.
    """

    name: str
    package: str
    asks_for_windows = False

    @abstractmethod
    def fill(self, directory: Path, history: History) -> None:
        """Write the history."""

    @abstractmethod
    def serve(self, directory: Path) -> tuple[list[str], dict[str, str]]:
        """Command and environment of the server."""

    @abstractmethod
    def points(self, first: int, last: int) -> Points:
        """Ask for what the page shows of these steps, as the page does."""


class Clipcore(Tool):
    """This project; the page is some 1,000 pixels wide."""

    name, package = "clipcore", "server"
    asks_for_windows = True

    def fill(self, directory: Path, history: History) -> None:
        from server.protocol import RunInfo
        from server.rows import make_rows
        from server.store import Store

        with closing(Store(directory / "clipcore.db")) as store:
            store.save(RunInfo(id="long", name="long", state="finished", created=0, updated=0))
            for steps, norms, losses in history.batches():
                columns = {
                    "seq": [*steps],
                    "step": [*steps],
                    "time": [*map(float, steps)],
                    "mode": ["norm"] * len(steps),
                }
                store.append("long", make_rows(columns | {"norm": norms, "loss": losses})).result()

    def serve(self, directory: Path) -> tuple[list[str], dict[str, str]]:
        settings = {"CLIPCORE_PORT": str(PORT), "CLIPCORE_DATA_DIR": str(directory), "CLIPCORE_AUTOSTART": ""}
        return ["-m", "server", "serve"], settings | {"CLIPCORE_LOG_LEVEL": "error"}

    def points(self, first: int, last: int) -> Points:
        query = f"metrics=step,norm,loss&first={first}&last={last}&points=1000"
        columns = answer(f"/api/runs/long/series?{query}")["columns"]
        return dict(zip(columns["step"], columns["norm"], strict=True))


class TensorBoard(Tool):
    """Keeps a random sample of each curve's points in memory, 1,000 unless told otherwise."""

    name, package = "TensorBoard", "tensorboard"
    options: tuple[str, ...] = ()

    def fill(self, directory: Path, history: History) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(directory / "long"))
        for batch in history.batches():
            for step, norm, loss in zip(*batch, strict=True):
                writer.add_scalar("norm", norm, step)
                writer.add_scalar("loss", loss, step)
        writer.close()

    def serve(self, directory: Path) -> tuple[list[str], dict[str, str]]:
        place = ["--logdir", str(directory), "--port", str(PORT)]
        return ["-m", "tensorboard.main", *place, *self.options], {}

    def points(self, first: int, last: int) -> Points:
        norms, _ = (answer(f"/data/plugin/scalars/scalars?run=long&tag={tag}") for tag in ("norm", "loss"))
        return {step: float(value) for _, step, value in norms if first <= step <= last}


class WholeTensorBoard(TensorBoard):
    """Told to keep every point."""

    name = "TensorBoard, all points"
    options = ("--samples_per_plugin", "scalars=1000000000")


class Trackio(Tool):
    """Sends every n-th row, 3,000 of them."""

    name, package = "trackio", "trackio"

    def fill(self, directory: Path, history: History) -> None:
        os.environ["TRACKIO_DIR"] = str(directory)
        storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
        for steps, norms, losses in history.batches():
            rows = [{"norm": norm, "loss": loss} for norm, loss in zip(norms, losses, strict=True)]
            storage.bulk_log("history", "long", rows, steps=[*steps])

    def serve(self, directory: Path) -> tuple[list[str], dict[str, str]]:
        script = f"import trackio; trackio.show(open_browser=False, block_thread=True, server_port={PORT})"
        return ["-c", script], {"TRACKIO_DIR": str(directory)}

    def points(self, first: int, last: int) -> Points:
        rows = answer("/api/get_logs", {"project": "history", "run": "long", "scalar_only": True})["data"]
        return {row["step"]: float(row["norm"]) for row in rows if first <= row["step"] <= last}


TOOLS: tuple[type[Tool], ...] = (Clipcore, TensorBoard, WholeTensorBoard, Trackio)


def main(steps: int, quick: bool, only: str | None) -> None:
    """Measure each tool, print a table, and one line of JSON."""
    history = History(20_000 if quick else steps, 0)
    history = history._replace(spike_at=random.Random(1).randrange(1, history.steps))
    result = {}
    for tool in (make() for make in TOOLS if only in (None, make.name)):
        if importlib.util.find_spec(tool.package) is None:
            print(f"{tool.name} is not installed: pip install 'clipcore[bench]'")
            continue
        result[tool.name] = measured = measure(tool, history)
        print(f"{tool.name}, {history.steps:,} steps")
        for name, value in measured.items():
            print(f"    {name:16} {value:12,.1f}" if isinstance(value, float) else f"    {name:16} {value!s:>12}")
    print(json.dumps({"steps": history.steps, **result}))


def measure(tool: Tool, history: History) -> dict[str, Any]:
    """All that is said of a tool in the table."""
    with tempfile.TemporaryDirectory() as directory:
        tool.fill(Path(directory), history)
        start = time.perf_counter()
        with serving(*tool.serve(Path(directory))):
            wait_until_ready(tool, history.steps)
            ready_s = time.perf_counter() - start
            whole, whole_ms = timed(tool, [(1, history.steps)] * REQUESTS)
            around = window(history, history.spike_at, 1000)
            inside, _ = timed(tool, [around])
            zoom_ms = timed(tool, windows(history))[1] if tool.asks_for_windows else None
    return {
        "ready_s": ready_s,
        **spread("whole_ms", whole_ms),
        "whole_points": len(whole),
        **(spread("zoom_ms", zoom_ms) if zoom_ms else {}),
        "window_points": len(inside),
        "spike_in_whole": whole.get(history.spike_at) == SPIKE,
        "spike_in_window": inside.get(history.spike_at) == SPIKE,
    }


def windows(history: History) -> list[tuple[int, int]]:
    """Windows of several widths, all over the run."""
    chance = random.Random(2)
    divisors = (10, 100, 1000)
    return [window(history, chance.randrange(history.steps), divisor) for divisor in divisors for _ in range(REQUESTS)]


def window(history: History, middle: int, divisor: int) -> tuple[int, int]:
    """A fraction of the run around a step."""
    width = max(history.steps // divisor, 1)
    first = min(max(1, middle - width // 2), history.steps - width + 1)
    return first, first + width - 1


def timed(tool: Tool, ranges: list[tuple[int, int]]) -> tuple[Points, list[float]]:
    """The last answer, and how long each took."""
    points: Points = {}
    took_ms: list[float] = []
    for first, last in ranges:
        if len(took_ms) >= 3 and sum(took_ms) > PATIENCE_S * 1e3:
            break
        start = time.perf_counter()
        points = tool.points(first, last)
        took_ms.append((time.perf_counter() - start) * 1e3)
    return points, took_ms


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    percentiles = statistics.quantiles(values, n=100, method="inclusive")
    return {f"{name}_p50": percentiles[49], f"{name}_p99": percentiles[98]}


@contextmanager
def serving(arguments: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A Python process that ends with the context."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environment,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_until_ready(tool: Tool, last: int) -> None:
    """Ask until the last step is there."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        try:
            if last in tool.points(1, last):
                return
        except (OSError, ValueError, KeyError):  # not listening yet, or has not read that far
            pass
        time.sleep(0.05)
    raise SystemExit(f"{tool.name} did not show step {last:,} within 15 minutes")


def answer(path: str, body: dict[str, Any] | None = None) -> Any:
    """JSON from the server that runs now."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument("--steps", type=int, default=1_000_000, help="length of the run")
    parser.add_argument("--only", choices=[tool.name for tool in TOOLS], help="one of the tools")
    main(**vars(parser.parse_args()))
