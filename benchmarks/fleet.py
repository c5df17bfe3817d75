"""Trainers that do nothing but log, at a fixed rate: a process of its own, so that it holds up nobody else.

    python benchmarks/fleet.py URL TRAINERS STEPS_PER_S SECONDS

When all is acknowledged it prints the runs' ids, what each has logged and how long it took, as one line of JSON.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn

import clipcore


class Fleet:
    """A process with trainers that log side by side.

    Args:
        url: the server's.
        trainers: how many.
        per_s: steps that each logs in a second.
        seconds: how long.
    """

    def __init__(self, url: str, trainers: int, per_s: int, seconds: float) -> None:
        command = [sys.executable, str(Path(__file__)), url, str(trainers), str(per_s), str(seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def end(self) -> None:
        """End the process, whatever it has delivered."""
        self._process.kill()
        self._process.wait(10)

    def result(self) -> dict[str, Any]:
        """Wait until all steps are acknowledged; what the process printed."""
        printed, _ = self._process.communicate()
        if self._process.returncode:
            raise SystemExit("the trainers failed")
        found: dict[str, Any] = json.loads(printed)
        return found


def drive(url: str, trainers: int, per_s: int, seconds: float) -> dict[str, Any]:
    """Log at the rate, or as fast as this process can; then wait until the server has everything."""
    parameter = nn.Parameter(torch.zeros(4))
    clippers = [clipcore.Clipper([parameter], mode="norm", max_norm=1.0) for _ in range(trainers)]
    runs = [clipcore.connect(clipper, name=f"trainer {n}", url=url) for n, clipper in enumerate(clippers)]
    steps, start = round(seconds * per_s), time.monotonic()
    for step in range(1, steps + 1):
        parameter.grad = torch.full((4,), float(step % 7))
        stats = clippers[0].clip_()  # their one gradient is clipped once; a run only needs a Clipper of its own
        for run in runs:
            run.log(stats, loss=1.0 / step)
        time.sleep(max(0.0, start + step / per_s - time.monotonic()))
    logged = time.monotonic()
    with ThreadPoolExecutor(trainers) as pool:
        list(pool.map(lambda run: run.finish(timeout_s=120), runs))
    return {
        "runs": [run.id for run in runs],
        "steps": steps,
        "logging_s": logged - start,
        "delivering_s": time.monotonic() - logged,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
