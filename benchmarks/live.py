"""A training of many layers at 1,000 steps a second, for a page to watch: a process of its own."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from served import URL, get
from torch import nn

import clipcore

STEPS_PER_S = 1000


@contextmanager
def live(layers: int) -> Iterator[tuple[int, str]]:
    """Start it; it ends with the context. Its process id and its run's."""
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(layers,), daemon=True)
    process.start()
    assert process.pid is not None  # it has been started
    try:
        yield process.pid, _run()
    finally:
        process.terminate()
        process.join(10)


def _train(layers: int) -> None:
    """Train until killed: what is logged differs from step to step, as gradients do."""
    torch.set_num_threads(1)
    model = nn.ParameterList(nn.Parameter(torch.zeros(16)) for _ in range(layers))
    clipper = clipcore.Clipper(model, mode="norm", max_norm=float(layers) ** 0.5)
    run = clipcore.connect(clipper, name="live", url=URL)
    start = time.monotonic()
    for step in range(10**9):
        if step % max(1, layers // 50) == 0:  # a pass over many layers takes longer than a step may
            gradients = torch.rand(layers, 16).mul_(random.lognormvariate(0, 1))
            for parameter, gradient in zip(model, gradients, strict=True):
                parameter.grad = gradient
            stats = clipper.clip_()
        run.log(stats, loss=1.0 + random.random())
        time.sleep(max(0.0, start + step / STEPS_PER_S - time.monotonic()))


def _run() -> str:
    """The id of its run, once the server knows it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run in get("/api/runs")["runs"]:
            if run["name"] == "live" and run["seq"]:
                return str(run["id"])
        time.sleep(0.1)
    raise SystemExit("the live training did not come to the server within 60 s")
