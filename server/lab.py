"""One training several times, differing only in what is tried, and what came of each: a threshold's true answer.

What-ifs tell what another threshold would have done to the gradients that there were. But a training that is clipped
otherwise has other gradients; with the same seed, all that differs here follows from what is tried.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from server.client import Client, RequestError
from server.live import OVER
from server.protocol import Message

POLL_S = 0.5
#: A place is free so long after its training at the latest; if it is not, there is none.
LEAVING_S = 10.0
#: Steps at the end whose mean loss is told.
LAST_STEPS = 100


class Result(Message):
    """What came of one training.

    Attributes:
        tried: the options in which it differs from the others.
        run: its id.
        state: how it ended: finished, stopped or failed.
        reason: why it stopped or failed.
        steps: how many it made.
        loss: mean of the last LAST_STEPS finite losses; NaN when there are none.
        clipped: share of steps that were clipped, 0..1.
        coef: mean clip coefficient of the steps whose norm is finite; NaN when there are none.
        nonfinite: steps whose norm is NaN or infinite.
    """

    tried: dict[str, Any]
    run: str
    state: str
    reason: str
    steps: int
    loss: float
    clipped: float
    coef: float
    nonfinite: int


class Comparison(Message):
    """What came of all of them, as `--json` prints it."""

    results: list[Result]


def compare(
    client: Client, workload: str, options: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]
) -> Iterator[Result]:
    """Train a workload once for each trial, one after another, and tell of each when it is over.

    Args:
        client: of the server that trains.
        workload: a built-in one.
        options: what all trainings share.
        trials: what each has of its own; it goes before `options`.

    Raises:
        RequestError: the server refuses, for another reason than that as many train as may, or is not there. A training
            that is under way is ended; options that it does not take are refused before the first.
    """
    for trial in trials:
        client.check(workload, {**options, **trial})
    for trial in trials:
        run = _start(client, workload, {**options, **trial})
        try:
            while (info := client.run(run))["state"] not in OVER:
                time.sleep(POLL_S)
        except BaseException:
            print(f"run {run} ends after the step at hand; Ctrl-C leaves that to the server", file=sys.stderr)
            with suppress(RequestError):  # what ended the wait is what there is to tell
                client.stop(run)
            raise
        yield _measured(dict(trial), info, client.rows(run))


def _start(client: Client, workload: str, options: Mapping[str, Any]) -> str:
    """Start a training as soon as there is a place for it; say once whom that waits for."""
    told = False
    leaving_s = 0.0  # since nothing trains, though a process may still be there
    while True:
        try:
            return client.start(workload, options)
        except RequestError as error:
            if error.status != HTTPStatus.CONFLICT or leaving_s > LEAVING_S:
                raise
            training = [run for run in client.runs() if run["workload"] and run["state"] not in OVER]
            leaving_s = 0.0 if training else leaving_s + POLL_S
            if training and not told:
                print(f"waiting for a place: {error}", file=sys.stderr)
                told = True
        time.sleep(POLL_S)


def _measured(trial: dict[str, Any], info: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> Result:
    losses: deque[float] = deque(maxlen=LAST_STEPS)
    coefs: list[float] = []
    steps = clipped = nonfinite = 0
    for row in rows:
        steps += 1
        clipped += (row.get("clipped_tensors") or 0) > 0
        norm, coef, loss = (_number(row.get(name)) for name in ("norm", "coef", "loss"))
        nonfinite += not math.isfinite(norm)
        if math.isfinite(coef):
            coefs.append(coef)
        if math.isfinite(loss):
            losses.append(loss)
    return Result(
        tried=trial,
        run=info["id"],
        state=info["state"],
        reason=info["reason"],
        steps=steps,
        loss=sum(losses) / len(losses) if losses else math.nan,
        clipped=clipped / max(steps, 1),
        coef=sum(coefs) / len(coefs) if coefs else math.nan,
        nonfinite=nonfinite,
    )


def _number(value: Any) -> float:
    """A column's value, perhaps one of the wire's three words; NaN where nothing was logged."""
    return math.nan if value is None else float(value)
