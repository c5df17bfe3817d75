"""From the device to the host without waiting for it: step records, in order.

On CUDA a step's numbers are copied to pinned memory behind the kernels that make them, and handed out once the event
after the copies has passed. torch's own pinned allocator is the ring: it reuses what was handed out, grows when nothing
is free, and never waits. On the CPU the numbers are there already.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, SupportsFloat, cast

import torch
from torch import Tensor

from clipcore.stats import COLUMNS, ClipStats
from clipcore.step import guilty

POLL_S = 0.001


class MetricError(TypeError):
    """What was logged under a name is no number.

    Attributes:
        name: the metric.
    """

    def __init__(self, name: str, got: str) -> None:
        super().__init__(f"metric {name!r} must be a number or a tensor of one element, got {got}")
        self.name = name


class Record(NamedTuple):
    """One step, on the host.

    Attributes:
        step: the Clipper's step.
        time: unix time in seconds.
        mode: the rule that clipped.
        values: the columns of `clipcore.stats`, then what the user logged.
        layers: norm, coefficient and clamped elements of each parameter; None when they were not asked for.
        exponents: counts in 257 bins; None when they were not asked for or the step did not count.
        nonfinite_in: names of the parameters whose gradients held NaN or infinity.
    """

    step: int
    time: float
    mode: str
    values: dict[str, float]
    layers: tuple[list[float], list[float], list[float]] | None
    exponents: list[int] | None
    nonfinite_in: tuple[str, ...] = ()


class Recorder:
    """A queue of step records between the training thread and one reader.

    >>> from clipcore import Clipper
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> recorder = Recorder()
    >>> recorder.push(Clipper([w], max_norm=1.0).clip_(), {"loss": 0.5})
    >>> [(record.step, record.values["norm"], record.values["loss"]) for record in recorder.take()]
    [(1, 5.0, 0.5)]
    """

    def __init__(self) -> None:
        self._waiting: deque[_Pending] = deque()

    def push(self, stats: ClipStats, extra: Mapping[str, float | int | Tensor], *, layers: bool = False) -> None:
        """Queue one step; on the training thread. Never waits for the device.

        Args:
            stats: what `clip_()` returned.
            extra: the user's numbers: Python numbers or one-element tensors on any device.
            layers: take the per-parameter numbers and the exponent counts too.

        Raises:
            MetricError: a value of `extra` is not a number; nothing is queued.
        """
        logged = {name: _number(name, value) for name, value in extra.items()}
        table, exponents = (stats.layers, stats.exponents) if layers else (None, None)
        suspects = _suspects(stats)
        pending = _Pending(stats.step, stats.time, stats.mode, stats.numbers, table, exponents, logged, suspects, ())
        self._waiting.append(pending if pending.is_on_host() else pending.copied())

    def take(self) -> list[Record]:
        """The records that have arrived since, in the order of `push`; on one other thread. Never waits."""
        records = []
        while self._waiting and self._waiting[0].arrived():
            records.append(self._waiting.popleft().record())
        return records

    def flush(self, timeout_s: float) -> list[Record]:
        """All records, waiting for the device up to `timeout_s` seconds; at the end of a run."""
        records = self.take()
        deadline = time.monotonic() + timeout_s
        while self._waiting and time.monotonic() < deadline:
            time.sleep(POLL_S)
            records += self.take()
        return records


class _Suspects(NamedTuple):
    """How many non-finite elements each gradient has, and whose it is."""

    counts: Tensor
    owners: Sequence[int]
    names: tuple[str, ...]


class _Pending(NamedTuple):
    """A step whose host copies may still be on their way; nothing else of it is kept."""

    step: int
    time: float
    mode: str
    numbers: Tensor
    layers: Tensor | None
    exponents: Tensor | None
    extra: dict[str, float | Tensor]
    suspects: _Suspects | None
    events: Sequence[torch.cuda.Event]

    def is_on_host(self) -> bool:
        return self.numbers.is_cpu and self.layers is None and not any(map(torch.is_tensor, self.extra.values()))

    def copied(self) -> "_Pending":
        """With copies on the host that are on their way."""
        sources = (self.numbers, *filter(torch.is_tensor, self.extra.values()))
        return self._replace(
            numbers=_host_copy(self.numbers),
            layers=None if self.layers is None else _host_copy(self.layers),
            exponents=None if self.exponents is None else _host_copy(self.exponents),
            extra={
                name: _host_copy(value) if isinstance(value, Tensor) else value for name, value in self.extra.items()
            },
            suspects=self.suspects and self.suspects._replace(counts=_host_copy(self.suspects.counts)),
            events=_events({source.device for source in sources if source.is_cuda}),
        )

    def arrived(self) -> bool:
        return all(event.query() for event in self.events)

    def record(self) -> Record:
        values = dict(zip(COLUMNS, self.numbers.tolist(), strict=False))
        values.update((name, float(value)) for name, value in self.extra.items())
        layers = None
        if self.layers is not None:
            norm, coef, clamped = self.layers.tolist()
            layers = (norm, coef, clamped)
        exponents = None if self.exponents is None else self.exponents.tolist()
        where = guilty(*self.suspects) if self.suspects and values["nonfinite"] else ()
        return Record(self.step, self.time, self.mode, values, layers, exponents, where)


def _suspects(stats: ClipStats) -> _Suspects | None:
    """Taken of every step, for nothing here may ask the device whether there are any."""
    if stats.outcome is None:
        return None
    return _Suspects(stats.outcome.before.nonfinite, stats.owners, stats.names)


def _number(name: str, value: object) -> float | Tensor:
    """A host number, or a tensor whose value must still be fetched from its device."""
    if type(value) is float:
        return value
    if isinstance(value, Tensor):
        return _tensor_number(name, value)
    if not hasattr(value, "__float__"):  # a str has none; isinstance(value, SupportsFloat) takes longer than the rest
        raise MetricError(name, f"a {type(value).__name__}")
    try:
        return float(cast("SupportsFloat", value))
    except Exception as error:  # a stranger's __float__ may raise anything
        raise MetricError(name, f"a {type(value).__name__} ({error})") from error


def _tensor_number(name: str, value: Tensor) -> float | Tensor:
    try:
        if not value.is_cuda:
            return float(value.item())  # refuses what is no number; asking the tensor first would take longer
        if value.numel() == 1 and not value.is_complex():
            return value.detach()
    except (RuntimeError, TypeError):
        pass
    raise MetricError(name, f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}")


def _host_copy(tensor: Tensor) -> Tensor:
    """On CUDA a copy in pinned memory, not yet there; other devices than CUDA and the CPU are waited for."""
    return tensor if tensor.is_cpu else tensor.to("cpu", non_blocking=tensor.is_cuda)


def _events(devices: Iterable[torch.device]) -> list[torch.cuda.Event]:
    """One event after everything queued so far on each CUDA device's current stream."""
    return [torch.cuda.current_stream(device).record_event() for device in devices]
