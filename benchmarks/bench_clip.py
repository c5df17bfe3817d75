"""How close clipping comes to the memory's own speed, and how far ahead of torch it is.

    python benchmarks/bench_clip.py [--quick] [--device cuda] [--rounds 15]

The contenders of a case run in turn, round after round, in one process and on the same gradients; times are medians.
The roof is what torch takes to read (a dot product) or to read and write (a multiplication) as many bytes in one flat
tensor; on a GPU, to copy them. Bounds shrink a little from call to call, so that each call really clips. GB/s counts
the bytes that a case has to move, whoever moves them. The last line is the whole result as one JSON document.
"""

import argparse
import itertools
import json
import math
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import utils

import clipcore
from clipcore.kernels import choose
from clipcore.warn import ClipWarning

Run = Callable[[], object]
Shapes = list[tuple[int, ...]]

ADAPTIVE: dict[str, dict[str, Any]] = {
    "layer": {},
    "agc": {},
    "autoclip": {},
    "zclip": {"warmup": 1},  # over when the clock starts
    "adagc": {"warmup": 1},
}
NEVER = 1e9  # a bound that no gradient here reaches
HISTOGRAM_PAIRS = 30


@dataclass(frozen=True)
class Case:
    """What is timed, and how often it has to read and to write as many bytes as there are gradients."""

    name: str
    ours: Run
    torchs: Mapping[str, Run]
    reads: int
    writes: int


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    case: str
    contender: str
    ms: float
    gb_per_s: float
    times_roof: float  # 1.0 is the memory's own speed
    faster_than_torch: float  # than torch's fastest contender
    extra_mib: float  # peak memory beyond the gradients


def gpt(vocabulary: int, context: int, width: int, depth: int) -> Shapes:
    """The parameter shapes of a GPT-2 of some size, as Linear layers have them."""
    linears = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    block: Shapes = [(width,)] * 4 + [shape for linear in linears for shape in (linear, linear[:1])]
    return [(vocabulary, width), (context, width), *block * depth, (width,), (width,)]


MODELS: dict[str, Shapes] = {
    "gpt2-124m": gpt(50257, 1024, 768, 12),
    "gpt-5m": gpt(1000, 256, 256, 6),
    "tiny-1000": [(2000,)] * 1000,
}
QUICK: dict[str, Shapes] = {"gpt-quick": gpt(100, 16, 32, 1), "tiny-50": [(20,)] * 50}


class Bench:
    """Parameters with gradients, a flat tensor of as many elements, and a clock."""

    def __init__(self, shapes: Shapes, device: torch.device, rounds: int) -> None:
        self.device = device
        self.rounds = rounds
        self.parameters = [nn.Parameter(torch.empty(shape, device=device).normal_(0, 0.02)) for shape in shapes]
        self.flat = torch.empty(sum(map(torch.numel, self.parameters)), device=device).normal_(0, 1e-3)
        self.bytes = self.flat.nbytes
        self.gradients = [torch.empty_like(parameter) for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def refill(self) -> None:
        """Gradients as they were at the start."""
        values = torch.split(self.flat, [gradient.numel() for gradient in self.gradients])
        for gradient, value in zip(self.gradients, values, strict=True):
            gradient.copy_(value.view_as(gradient))

    def medians(self, runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
        """Milliseconds of each, in alternation, after one call to warm up."""
        for run in runs.values():
            run()
        times = [{name: self._ms(run) for name, run in runs.items()} for _ in range(rounds)]
        return {name: statistics.median(one[name] for one in times) for name in runs}

    def roofs(self) -> dict[str, Run]:
        """What torch does to one flat tensor; each reads or writes it as often as `roof_ms` says."""
        if self.device.type == "cuda":
            other = torch.empty_like(self.flat)
            return {"flat copy": lambda: other.copy_(self.flat)}
        return {"flat dot": lambda: torch.dot(self.flat, self.flat), "flat mul_": lambda: self.flat.mul_(1.0)}

    def roof_ms(self, case: Case, ms: Mapping[str, float]) -> float:
        """The least time in which a case's bytes can be moved."""
        if self.device.type == "cuda":
            return ms["flat copy"] / 2 * (case.reads + case.writes)
        return ms["flat mul_"] * case.writes + ms["flat dot"] * (case.reads - case.writes)

    def rows(self, model: str, case: Case) -> list[Row]:
        """Times a case; a roof between two clippers, so that none finds in the cache what another left there."""
        self.refill()
        clippers = {"clipcore": case.ours, **case.torchs}
        pairs = itertools.zip_longest(clippers.items(), self.roofs().items())
        ms = self.medians(dict(run for pair in pairs for run in pair if run), self.rounds)
        roof, torch_ms = self.roof_ms(case, ms), min(ms[name] for name in case.torchs)
        moved = self.bytes * (case.reads + case.writes)
        return [
            Row(
                model, case.name, name, ms[name], moved / ms[name] / 1e6, ms[name] / roof, torch_ms / ms[name],
                self._extra_mib(run),
            )
            for name, run in clippers.items()
        ]  # fmt: skip

    def _ms(self, run: Run) -> float:
        if self.device.type == "cuda":  # by the device's own clock
            start, end = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end))
        start_s = time.perf_counter()
        run()
        return (time.perf_counter() - start_s) * 1e3

    def _extra_mib(self, run: Run) -> float:
        """Peak memory during a call beyond what there was before it; NaN where the system does not tell."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            run()
            return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20
        if platform.system() != "Linux":
            return math.nan
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
        before = _resident_kib("VmRSS")
        run()
        return max(0, _resident_kib("VmHWM") - before) / 2**10


def _resident_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def shrinking(start: float) -> Iterator[float]:
    """Bounds from just below *start* downwards, half a percent a call."""
    return (start * 0.995**step for step in itertools.count(1))


def cases(bench: Bench) -> Iterator[Case]:
    """Nothing to clip, clipping, value clipping with its count, and each adaptive mode once it has nothing to clip."""
    parameters, gradients = bench.parameters, bench.gradients

    def torch_norm(bounds: Iterator[float]) -> dict[str, Run]:
        return {
            "torch foreach": lambda: utils.clip_grad_norm_(parameters, next(bounds), foreach=True),
            "torch loop": lambda: utils.clip_grad_norm_(parameters, next(bounds), foreach=False),
        }

    def torch_value(bound: float, *, foreach: bool) -> Tensor:
        count = torch.stack([(gradient.abs() > bound).sum() for gradient in gradients]).sum()
        utils.clip_grad_value_(parameters, bound, foreach=foreach)
        return count

    never = itertools.repeat(NEVER)
    yield Case("nothing to clip", lambda: clipcore.clip_grad_norm_(parameters, NEVER), torch_norm(never), 1, 0)
    norms = shrinking(float(torch.linalg.vector_norm(bench.flat)))
    yield Case("clipping", lambda: clipcore.clip_grad_norm_(parameters, next(norms)), torch_norm(norms), 2, 1)
    limits = shrinking(2e-3)  # two standard deviations: a twentieth is clamped at first, more and more later
    torch_values: dict[str, Run] = {
        "torch foreach": lambda: torch_value(next(limits), foreach=True),
        "torch loop": lambda: torch_value(next(limits), foreach=False),
    }
    yield Case("value and count", lambda: clipcore.clip_grad_value_(parameters, next(limits)), torch_values, 1, 1)
    for mode, values in ADAPTIVE.items():
        clipper = clipcore.Clipper(parameters, mode=mode, **values)
        yield Case(f"mode {mode}", clipper.clip_, torch_norm(never), 2 if mode == "agc" else 1, 0)


def histogram(bench: Bench) -> dict[str, float]:
    """What a Clipper's exponent histogram adds to a measuring pass, from alternating pairs."""
    kernels, gradients = choose(bench.device).kernels, bench.gradients
    clipper = clipcore.Clipper(bench.parameters, mode="off")
    clipper.clip_()  # it settles on how many blocks to look at
    runs: dict[str, Run] = {
        "measure": lambda: kernels.measure(gradients),
        "count": lambda: kernels.count_exponents(gradients, clipper.exponents),
    }
    ms = bench.medians(runs, HISTOGRAM_PAIRS)
    return {"extra_ms": ms["count"], "fraction_of_pass": ms["count"] / ms["measure"]}


def relative_errors(bench: Bench) -> dict[str, float]:
    """Of the norm, against float64."""
    bench.refill()
    exact = math.hypot(*(float(torch.linalg.vector_norm(g, dtype=torch.float64)) for g in bench.gradients))
    ours = float(clipcore.get_total_norm(bench.gradients))
    return {"clipcore": abs(ours / exact - 1), "torch": abs(float(utils.get_total_norm(bench.gradients)) / exact - 1)}


def show(rows: list[Row]) -> None:
    """The table."""
    print("model      case             contender             ms    GB/s  x roof  vs torch  extra MiB")
    for row in rows:
        print(
            f"{row.model:10} {row.case:16} {row.contender:14} {row.ms:9.3f} {row.gb_per_s:7.1f} {row.times_roof:7.2f} "
            f"{row.faster_than_torch:8.1f}x {row.extra_mib:10.1f}"
        )


def main() -> None:
    """Run everything, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small models and two rounds: does it run at all?")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=15, help="calls of each contender")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    warnings.simplefilter("ignore", ClipWarning)  # there is no backward between two calls
    torch.manual_seed(0)
    rows: list[Row] = []
    extras: dict[str, dict[str, dict[str, float]]] = {}
    for model, shapes in (QUICK if arguments.quick else MODELS).items():
        bench = Bench(shapes, device, 2 if arguments.quick else arguments.rounds)
        rows += [row for case in cases(bench) for row in bench.rows(model, case)]
        extras[model] = {"relative_error": relative_errors(bench), "histogram": histogram(bench)}
    show(rows)
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name(device)
                if device.type == "cuda"
                else platform.processor() or platform.machine(),
                "kernels": choose(device).kernels.name,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "rows": [asdict(row) for row in rows],
                "models": extras,
            }
        )
    )


if __name__ == "__main__":
    main()
