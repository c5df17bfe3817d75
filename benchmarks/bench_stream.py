"""What being watched costs a training, how much a server takes in, and how soon a page shows it.

    python benchmarks/bench_stream.py [--quick]

The server, the trainers, the viewers and the browser are processes of their own, all on this machine.

- log: time of `run.log` on the training thread.
- attached: steps per second of one training loop with `run.log` over those without, in alternating stretches.
- ingest: steps per second that one trainer, which does nothing else, brings to the server's disk, until the last one is
  acknowledged.
- fleet: 100 trainers at 50 steps/s each; how many steps they logged in a second, how many of them are missing on the
  disk afterwards, and how long after the last one the server had all.
- viewers: 1,000 of them at 10 messages a second; from the moment a message's row is sent by the trainer to the moment
  a viewer has it, and what each costs the server in CPU time. Then the same with one more viewer, which has stopped
  reading.
- page: from the time that a step carries to the end of the first frame that shows it, in Chromium, at 50 steps/s.

The last line is the whole result as one JSON document.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from audience import Audience, stalled
from fleet import Fleet
from served import URL, check_stored, cpu_s, get, served
from torch import nn
from websockets.sync.client import ClientConnection, connect
from witness import latencies_ms, witness

import clipcore

TRAINERS, STEPS_PER_S = 100, 50
VIEWERS, MESSAGES_PER_S = 1000, 10


class Training:
    """A small transformer block's worth of work a step, some milliseconds."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
        self.model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.clipper = clipcore.Clipper(self.model, mode="norm", max_norm=1.0)
        self.batch = torch.randn(8, 64, 128)

    def step(self, run: clipcore.Run | None) -> None:
        """One step, logged if there is a run."""
        loss = self.model(self.batch).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        stats = self.clipper.clip_()
        self.optimizer.step()
        if run is not None:
            run.log(stats, loss=loss, lr=1e-4)


def main(quick: bool) -> None:
    """Measure, print a table, and one line of JSON."""
    torch.set_num_threads(1)
    result: dict[str, float] = {}
    for measure in (measure_log, measure_attached, measure_ingest, measure_fleet, measure_page):
        with served():
            result |= measure(quick)
    with served() as server:
        result |= measure_viewers(server, quick)
    for name, value in result.items():
        print(f"{name:36} {value:12,.3f}")
    print(json.dumps(result))


def measure_log(quick: bool) -> dict[str, float]:
    """Microseconds of each run.log, its loss a tensor."""
    training = Training()
    run = clipcore.connect(training.clipper, name="log", url=URL)
    took_us = []
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:  # first calls compile and connect, and a young run keeps its newest step
        training.step(run)
    loss = torch.tensor(1.5)
    for _ in range(300 if quick else 3000):
        for parameter in training.model.parameters():
            parameter.grad = torch.empty_like(parameter).fill_(1e-3)
        stats = training.clipper.clip_()
        start = time.perf_counter()
        run.log(stats, loss=loss, lr=1e-4)
        took_us.append((time.perf_counter() - start) * 1e6)
    run.finish()
    return spread("log_us", took_us)


def measure_attached(quick: bool) -> dict[str, float]:
    """Step rate with run.log over the rate without, the median of alternating stretches."""
    training = Training()
    run = clipcore.connect(training.clipper, name="attached", url=URL)
    rounds, steps = (3, 5) if quick else (30, 20)

    def stretch(watched: clipcore.Run | None) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            training.step(watched)
        return time.perf_counter() - start

    stretch(run), stretch(None)
    pairs = [(stretch(None), stretch(run)) for _ in range(rounds)]
    run.finish()
    return {"attached_over_unattached": statistics.median(alone / watched for alone, watched in pairs)}


def measure_ingest(quick: bool) -> dict[str, float]:
    """Acknowledged steps per second of a trainer whose gradients cost nothing."""
    steps = 2_000 if quick else 50_000
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.ones(4)
    clipper = clipcore.Clipper([parameter], mode="off")
    stats = clipper.clip_()
    start = time.perf_counter()
    run = clipcore.connect(clipper, name="ingest", url=URL)
    for _ in range(steps):
        run.log(stats, loss=1.0)
    run.finish(timeout_s=120)
    took_s = time.perf_counter() - start
    check_stored(run.id, steps)
    return {"ingest_steps_per_s": steps / took_s}


def measure_fleet(quick: bool) -> dict[str, float]:
    """What a hundred trainers deliver."""
    found = Fleet(URL, TRAINERS, STEPS_PER_S, seconds=4 if quick else 30).result()
    for run in found["runs"]:
        check_stored(run, found["steps"])
    return {
        "fleet_steps_per_s": TRAINERS * found["steps"] / found["logging_s"],
        "fleet_last_ack_s": found["delivering_s"],
    }


def measure_viewers(server: int, quick: bool) -> dict[str, float]:
    """How long messages take to a thousand viewers, without and with one that does not read."""
    seconds = 3 if quick else 20
    with connect(URL.replace("http", "ws", 1) + "/ws/train", compression=None, proxy=None) as socket:
        feed = Feed(socket)
        feed.send(rows=2000)  # so that snapshots are large, and a viewer that reads none of them is soon stuck

        def watched(name: str) -> dict[str, float]:
            audience = Audience(URL, feed.run, VIEWERS)
            before_s = cpu_s(server)
            feed.send_for(seconds)
            took_s = cpu_s(server) - before_s
            ways_ms = audience.latencies_ms()
            return {
                f"{name}_messages_per_s": len(ways_ms) / VIEWERS / seconds,
                f"{name}_server_us": took_s / len(ways_ms) * 1e6,
                **spread(f"{name}_ms", ways_ms),
            }

        result = watched("viewers")
        with stalled(URL, feed.run):
            return result | watched("viewers_beside_stalled")


def measure_page(quick: bool) -> dict[str, float]:
    """How long steps take to the screen."""
    seconds = 10 if quick else 60
    fleet = Fleet(URL, trainers=1, per_s=STEPS_PER_S, seconds=seconds)
    with witness(URL) as page:
        time.sleep(2)  # one that has just opened is busy with itself
        opening = len(page.frames())
        time.sleep(seconds - 6)
        frames = page.frames()[opening:]
    (run,) = fleet.result()["runs"]
    stamps = get(f"/api/runs/{run}/series?metrics=time&points=100000")["columns"]["time"]
    per_s = (len(frames) - 1) / (frames[-1][1] - frames[0][1])
    return spread("page_ms", latencies_ms(stamps, frames)) | {"page_frames_per_s": per_s}


class Feed:
    """A trainer on the bare wire, whose rows carry the moment in which they are sent."""

    run = "feed"

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._seq = 0
        hello = {"type": "hello", "version": 1, "run": self.run, "name": self.run, "control": {}, "started": 0}
        self._socket.send(json.dumps(hello))
        self._socket.recv()

    def send(self, rows: int = 1) -> None:
        """Send rows and wait until they are acknowledged."""
        names = ("norm", "clipped_norm", "coef", "clamped", "clamped_fraction", "threshold", "max_abs", "loss", "lr")
        columns: dict[str, list[Any]] = {name: [0.5] * rows for name in names}
        columns |= {"step": list(range(self._seq + 1, self._seq + rows + 1)), "mode": ["norm"] * rows}
        columns["time"] = [time.time()] * rows
        self._socket.send(json.dumps({"type": "steps", "seq": self._seq + 1, "columns": columns}))
        self._socket.recv()
        self._seq += rows

    def send_for(self, seconds: float) -> None:
        """Send rows at the rate."""
        start = time.monotonic()
        for sent in range(round(seconds * MESSAGES_PER_S)):
            time.sleep(max(0.0, start + sent / MESSAGES_PER_S - time.monotonic()))
            self.send()
        time.sleep(1)  # the last one is on its way


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    percentiles = statistics.quantiles(values, n=100)
    return {f"{name}_p50": percentiles[49], f"{name}_p99": percentiles[98]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it works")
    main(**vars(parser.parse_args()))
