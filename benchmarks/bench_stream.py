"""What being watched costs a training, and how much a server takes in.

    python benchmarks/bench_stream.py [--quick]

A real server runs in a process of its own.

- log: time of `run.log` on the training thread.
- attached: steps per second of one training loop with `run.log` over those without, in alternating stretches.
- ingest: steps per second that one trainer, which does nothing else, brings to the server's disk, until the last one is
  acknowledged.

The last line is the whole result as one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

import clipcore

PORT = 8499
URL = f"http://127.0.0.1:{PORT}"


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
    with server():
        log_us = measure_log(300 if quick else 3000)
        attached = measure_attached(rounds=3 if quick else 30, steps=5 if quick else 20)
        ingest = measure_ingest(2_000 if quick else 50_000)
    result = {
        "log_us_median": statistics.median(log_us),
        "log_us_p99": statistics.quantiles(log_us, n=100)[98],
        "attached_over_unattached": attached,
        "ingest_steps_per_s": ingest,
    }
    print(f"run.log                    {result['log_us_median']:8.1f} us median, {result['log_us_p99']:.1f} us p99")
    print(f"attached / unattached      {attached:8.3f} of the step rate, median of pairs")
    print(f"ingest, one trainer        {ingest:8,.0f} steps/s, acknowledged")
    print(json.dumps(result))


def measure_log(steps: int) -> list[float]:
    """Microseconds of each run.log, its loss a tensor."""
    training = Training()
    run = clipcore.connect(training.clipper, name="log", url=URL)
    took = []
    for _ in range(20):  # first calls compile, connect and fill caches
        training.step(run)
    loss = torch.tensor(1.5)
    for _ in range(steps):
        for parameter in training.model.parameters():
            parameter.grad = torch.empty_like(parameter).fill_(1e-3)
        stats = training.clipper.clip_()
        start = time.perf_counter()
        run.log(stats, loss=loss, lr=1e-4)
        took.append((time.perf_counter() - start) * 1e6)
    run.finish()
    return took


def measure_attached(rounds: int, steps: int) -> float:
    """Step rate with run.log over the rate without, the median of alternating stretches."""
    training = Training()
    run = clipcore.connect(training.clipper, name="attached", url=URL)

    def stretch(watched: clipcore.Run | None) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            training.step(watched)
        return time.perf_counter() - start

    stretch(run), stretch(None)
    pairs = [(stretch(None), stretch(run)) for _ in range(rounds)]
    run.finish()
    return statistics.median(alone / watched for alone, watched in pairs)


def measure_ingest(steps: int) -> float:
    """Acknowledged steps per second of a trainer whose gradients cost nothing."""
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.ones(4)
    clipper = clipcore.Clipper([parameter], mode="off")
    stats = clipper.clip_()
    start = time.perf_counter()
    run = clipcore.connect(clipper, name="ingest", url=URL)
    for _ in range(steps):
        run.log(stats, loss=1.0)
    run.finish(timeout_s=120)
    took = time.perf_counter() - start
    stored = json.load(urllib.request.urlopen(f"{URL}/api/runs/{run.id}"))["seq"]
    if stored != steps:
        raise SystemExit(f"{steps - stored} of {steps} steps did not arrive")
    return steps / took


@contextmanager
def server() -> Iterator[None]:
    """A server process with an empty store."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve"],
            env=os.environ | {"CLIPCORE_PORT": str(PORT), "CLIPCORE_DATA_DIR": directory, "CLIPCORE_AUTOSTART": ""},
            cwd=Path(__file__).parents[1],
        )
        try:
            _wait_until_ready()
            yield
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_ready() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{URL}/readyz")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server at {URL} did not start")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it works")
    main(parser.parse_args().quick)
