"""What can be trained here, starting it and ending it."""

from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from server.routes.parts import Steering, SupervisorOf
from server.routes.refusals import NOT_UNDERSTOOD, STEERING, WATCHING, refused
from server.routes.replies import Reply, WireRoute
from server.supervisor import NotStartedError, TooManyWorkersError
from server.workloads import describe, find

router = APIRouter(prefix="/api", route_class=WireRoute)

STARTING = (
    STEERING
    | NOT_UNDERSTOOD
    | refused(409, "As many workers train as may at a time")
    | refused(503, "The system does not let the worker start, or the database cannot be written")
)
STOPPING = STEERING | NOT_UNDERSTOOD | refused(404, "No worker is training that run")


class WorkerRequest(BaseModel):
    """A workload and its options."""

    model_config = ConfigDict(extra="forbid")

    workload: str
    config: dict[str, JsonValue] = Field(default_factory=dict)


class WorkerReply(Reply):
    """The id of a new worker's run."""

    id: str


@router.get("/workloads", responses=WATCHING)
def workloads() -> dict[str, Any]:
    """The workloads that come with the server, with their options as JSON Schema."""
    return {"workloads": describe()}


@router.post("/workers/check", status_code=204, dependencies=[Steering], responses=STEERING | NOT_UNDERSTOOD)
def check(wanted: WorkerRequest) -> None:
    """Say whether a workload takes its options, and start nothing."""
    try:
        find(wanted.workload).options.parse(wanted.config)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@router.post("/workers", status_code=201, dependencies=[Steering], responses=STARTING)
async def start(wanted: WorkerRequest, supervisor: SupervisorOf) -> WorkerReply:
    """Train a workload in a process of its own; its run appears at once."""
    try:
        return WorkerReply(id=await supervisor.start(wanted.workload, wanted.config))
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    except TooManyWorkersError as error:
        raise HTTPException(409, str(error)) from error
    except NotStartedError as error:
        raise HTTPException(503, str(error)) from error


@router.delete("/workers/{run_id}", status_code=204, dependencies=[Steering], responses=STOPPING)
async def stop(run_id: str, supervisor: SupervisorOf) -> None:
    """End the worker of a run; the run stays."""
    try:
        await supervisor.stop(run_id)
    except KeyError:
        raise HTTPException(404, f"no worker is training run {run_id!r}") from None
