"""Runs over HTTP: their history, and requests to their trainers."""

import asyncio
import secrets
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from fastapi import APIRouter, Body, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, JsonValue
from starlette.responses import Response

from server.hub import Hub
from server.pictures import MOST_PICTURES
from server.protocol import MAX_COUNT, RESERVED_COLUMNS, Command, Layers, LogEntry, Patch, Rows, RunInfo
from server.routes.parts import CatalogueOf, HubOf, Known, Steering, StoreOf
from server.routes.refusals import HISTORY, OF_RUN, STEERING, WATCHING, Answers, refused
from server.routes.replies import Reply, WireResponse, WireRoute
from server.trainer import Refusal
from server.whatif import (
    Curve,
    Effect,
    Histogram,
    Suggestion,
    clamping_curve,
    effect_of,
    finite_in_order,
    histogram,
    scaling_curve,
    suggestions,
)

router = APIRouter(prefix="/api/runs", route_class=WireRoute)

#: A request is answered "pending" after so long; a paused training obeys when it goes on.
ANSWER_TIMEOUT_S = 5.0
#: A paused training has no step that could obey, but still rejects.
PAUSED_ANSWER_TIMEOUT_S = 0.5
MAX_POINTS = 100_000
#: A replay takes about 0.1 ms a step.
REPLAYED_STEPS = 10_000
_REPLAY_RANGE = ("mode", "first", "last")
_SEQ = "by seq: its number among the run's rows, from 1. It is the step unless the run was resumed or rolled back"
First = Annotated[int, Query(ge=0, le=MAX_COUNT, description=f"first row, {_SEQ}")]
Last = Annotated[int, Query(ge=0, le=MAX_COUNT, description=f"last row, {_SEQ}")]


class RunList(Reply):
    """All runs, newest first, without config, control and layers."""

    runs: list[RunInfo]


class SeriesReply(Reply):
    """Rows of a range, by columns; `exact`: all of them, else those that hold a bin's extremes."""

    columns: Rows
    exact: bool


class WhatIf(Reply):
    """What other thresholds would have done to `steps` steps, those with a finite value."""

    steps: int
    curve: Curve
    histogram: Histogram | None
    suggestions: list[Suggestion]


class ReplayReply(Reply):
    """What an adaptive mode would have done."""

    effect: Effect


class LayersReply(Reply):
    """Per-layer numbers of some steps, oldest first."""

    pictures: list[Layers]


class Events(Reply):
    """Lines of the change log, oldest first."""

    events: list[LogEntry]


class CommandRequest(BaseModel):
    """What the training loop is to do."""

    model_config = ConfigDict(extra="forbid")

    command: Command


class RequestReply(Reply):
    """How a request to the trainer stands; `step` is the first step that obeyed.

    Of the commands `resume` and `step` that is the next step to run; `pause` and `stop` hold after the last, `step`.
    """

    id: str
    status: Literal["applied", "pending"]
    step: int | None = None
    config: dict[str, JsonValue] | None = None


_PENDING = "Pending: the training is paused, or has not answered within 5 s"
#: How a request to the trainer may end beside 200.
ANSWERS: Answers = (
    {202: {"model": RequestReply, "description": _PENDING}}
    | OF_RUN
    | STEERING
    | refused(409, "No trainer is attached")
    | refused(422, "The body is not what is asked for, or the trainer refuses it")
)


@router.get("", response_model=RunList, responses=WATCHING)
async def runs(catalogue: CatalogueOf) -> Response:
    """All runs in brief."""
    return WireResponse(RunList(runs=catalogue.brief))


@router.get("/{run_id}", response_model=RunInfo, responses=OF_RUN)
async def run(run_id: str, catalogue: CatalogueOf) -> Response:
    """One run with its configuration."""
    return WireResponse(catalogue.run(run_id).info)


@router.get("/{run_id}/series", response_model=SeriesReply, dependencies=[Known], responses=HISTORY)
def series(
    run_id: str,
    store: StoreOf,
    metrics: Annotated[str, Query(description="comma-separated, a * for any characters; all by default")] = "*",
    first: First = 0,
    last: Last = MAX_COUNT,
    points: Annotated[int, Query(ge=1, le=MAX_POINTS, description="rows wanted, about")] = 1000,
) -> Response:
    """Rows of a range: all when they are at most `points`, else those that hold each bin's extremes."""
    known = (*RESERVED_COLUMNS, *store.metrics(run_id))  # the reserved ones are always there
    wanted = metrics.split(",")
    if unknown := [name for name in wanted if name not in known and "*" not in name]:
        raise HTTPException(
            422, f"metrics: run {run_id!r} has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}"
        )
    names = [name for name in known if any(name == each or fnmatchcase(name, each) for each in wanted)]
    found = store.series(run_id, names, first, last, points)
    return WireResponse(SeriesReply(columns=found.rows, exact=found.exact))


@router.get("/{run_id}/whatif", response_model=WhatIf, dependencies=[Known], responses=HISTORY)
def whatif(
    run_id: str,
    store: StoreOf,
    metric: Annotated[Literal["norm", "max_abs"], Query(description="what the threshold is compared with")] = "norm",
    first: First = 0,
    last: Last = MAX_COUNT,
) -> Response:
    """What other thresholds would have done; of a longer range, to its newest 100,000 steps.

    Norms are taken as they were recorded: where `norm_type` changed, ask from there on, as the page does.
    """
    values = finite_in_order(store.newest(run_id, metric, first, last, MAX_POINTS))
    curve = scaling_curve(values) if metric == "norm" else clamping_curve(values)
    return WireResponse(
        WhatIf(steps=len(values), curve=curve, histogram=histogram(values), suggestions=suggestions(values))
    )


@router.get("/{run_id}/replay", response_model=ReplayReply, dependencies=[Known], responses=HISTORY)
def replay(
    run_id: str,
    request: Request,
    store: StoreOf,
    mode: Annotated[str, Query(description="autoclip or zclip")],
    first: First = 0,
    last: Last = MAX_COUNT,
) -> Response:
    """What an adaptive mode would have done, from fresh statistics; of a longer range, to its newest 10,000 steps.

    Any further query parameter is one of the mode's own, such as `percentile=20`.
    """
    recorded = store.newest(run_id, "norm", first, last, REPLAYED_STEPS)
    norms = [norm for norm in reversed(recorded) if norm is not None]
    parameters = {name: _number(text) for name, text in request.query_params.items() if name not in _REPLAY_RANGE}
    try:
        return WireResponse(ReplayReply(effect=effect_of(norms, mode, parameters)))
    except (TypeError, ValueError) as error:
        raise HTTPException(422, str(error)) from None


@router.get("/{run_id}/events", response_model=Events, dependencies=[Known], responses=HISTORY)
def events(run_id: str, store: StoreOf, after: Annotated[int, Query(ge=0, le=MAX_COUNT)] = 0) -> Response:
    """The change log, from the line beyond `after`."""
    return WireResponse(Events(events=store.lines(run_id, beyond=after)))


@router.get("/{run_id}/layers", response_model=LayersReply, dependencies=[Known], responses=HISTORY)
def layers(
    run_id: str,
    store: StoreOf,
    points: Annotated[int, Query(ge=1, le=MOST_PICTURES, description="steps wanted, at most")] = 1,
) -> Response:
    """Per-layer numbers in the order of the run's `layers`: of the newest step, and of others all over the run."""
    return WireResponse(LayersReply(pictures=store.layers(run_id, points)))


@router.post("/{run_id}/control", response_model=RequestReply, dependencies=[Steering], responses=ANSWERS)
async def control(run_id: str, patch: Annotated[Patch, Body()], hub: HubOf) -> Response:
    """Change the clipper: one atomic patch of its configuration."""
    paused = hub.catalogue.run(run_id).state == "paused"
    return await _ask(hub, run_id, patch, PAUSED_ANSWER_TIMEOUT_S if paused else ANSWER_TIMEOUT_S)


@router.post("/{run_id}/command", response_model=RequestReply, dependencies=[Steering], responses=ANSWERS)
async def command(run_id: str, wanted: CommandRequest, hub: HubOf) -> Response:
    """Pause, resume, single-step or stop the training loop."""
    return await _ask(hub, run_id, wanted.command, ANSWER_TIMEOUT_S)


def _number(text: str) -> float | str:
    """A query parameter's number; what is none stays text, and the rule says what it wants instead."""
    try:
        return float(text)
    except ValueError:
        return text


async def _ask(hub: Hub, run_id: str, request: Patch | Command, timeout_s: float) -> Response:
    id_ = secrets.token_hex(4)
    try:
        async with asyncio.timeout(timeout_s):
            answer = await hub.ask(run_id, id_, request)
    except TimeoutError:
        return WireResponse(RequestReply(id=id_, status="pending"), 202)
    if isinstance(answer, Refusal):
        raise HTTPException(422 if answer.attached else 409, answer.reason)
    return WireResponse(RequestReply(id=id_, status="applied", step=answer.step, config=answer.config))
