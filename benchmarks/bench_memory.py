"""Whether server, trainers and page hold more memory after an hour at full rate than after ten minutes.

    python benchmarks/bench_memory.py [--minutes 60] [--trainers 100] [--layers 40]

The server, the trainers and the browser are processes of their own, all on this machine: a training with layers at
1,000 steps/s, a page that shows all of its steps, and a fleet at 50 steps/s a trainer. A machine that is too slow for
them takes fewer steps, which the table says; then `--trainers` should be fewer.

- server, trainer, fleet: resident memory of the process, MB.
- page: heap of the page and buffers that it holds, after a garbage collection, MB.
- steps/s: what the server has taken in, since the line before.

A line a minute; then how much each has grown a minute, after the first sixth of the time; the last line is the whole
result as one JSON document.
"""

import argparse
import json
import statistics
import time

from browser import page
from fleet import Fleet
from live import live
from served import URL, get, rss_mb, served

STEPS_PER_S = 50
WHO = ("server", "trainer", "fleet", "page")


def main(minutes: float, trainers: int, layers: int) -> None:
    """Watch, print the table, and one line of JSON."""
    readings: list[list[float]] = []
    with served() as server, live(layers) as (trainer, run), page(f"{URL}?run={run}&last=all") as opened:
        fleet = Fleet(URL, trainers, STEPS_PER_S, seconds=60 * minutes)
        print(f"{'minute':>8}" + "".join(f"{who:>10}" for who in WHO) + f"{'steps/s':>10}", flush=True)
        start, before, taken = time.monotonic(), 0.0, _taken()
        while before < minutes:
            time.sleep(max(0.0, start + 60 * (len(readings) + 1) - time.monotonic()))
            minute = (time.monotonic() - start) / 60
            held = [rss_mb(server), rss_mb(trainer), rss_mb(fleet.pid), opened.heap_mb()]
            rate = (-taken + (taken := _taken())) / (-before + (before := minute)) / 60
            readings.append([minute, *held, rate])
            print(f"{minute:8.1f}" + "".join(f"{mb:10.1f}" for mb in held) + f"{rate:10.0f}", flush=True)
        fleet.end()
    kept = [reading for reading in readings if reading[0] > minutes / 6]
    at_minute, *held_mb, _ = zip(*kept, strict=True)
    growth = {
        f"{who}_mb_per_minute": statistics.linear_regression(at_minute, mb).slope
        for who, mb in zip(WHO, held_mb, strict=True)
    }
    for name, value in growth.items():
        print(f"{name:24} {value:8.3f}")
    print(json.dumps({"trainers": trainers, "layers": layers, **growth, "readings": readings}))


def _taken() -> int:
    """Steps that the server has taken in."""
    return sum(run["seq"] for run in get("/api/runs")["runs"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long; at least 3")
    parser.add_argument("--trainers", type=int, default=100, help="of the fleet, at 50 steps/s each")
    parser.add_argument("--layers", type=int, default=40, help="tensors of the live training's model")
    main(**vars(parser.parse_args()))
