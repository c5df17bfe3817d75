"""Looking after runs: their names and notes, deleting them and bringing them back."""

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from server.catalogue import BusyRunError
from server.protocol import MAX_NAME, RunInfo
from server.routes.parts import CatalogueOf, HubOf, Steering
from server.routes.refusals import HISTORY, STEERING, refused
from server.routes.replies import WireResponse, WireRoute

router = APIRouter(
    prefix="/api/runs/{run_id}", dependencies=[Steering], route_class=WireRoute, responses=HISTORY | STEERING
)

NameText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME)]
NoteText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class Edit(BaseModel):
    """What a person may change of a run that it was not told by its trainer; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: NameText | None = Field(None, description="how lists call the run; its trainer's own name does not return")
    note: NoteText | None = Field(None, description="a remark; empty: none")


@router.patch("", response_model=RunInfo)
async def edit(run_id: str, edit: Edit, hub: HubOf) -> Response:
    """Rename a run, or write a note about it."""
    return WireResponse(await hub.edit(run_id, **edit.model_dump(exclude_none=True)))


@router.delete("", status_code=204, responses=refused(409, "The run is still being trained"))
async def delete(run_id: str, runs: CatalogueOf) -> None:
    """Delete a run that nobody is training; it can be brought back for 10 minutes."""
    try:
        await runs.delete(run_id)
    except BusyRunError as error:
        raise HTTPException(409, str(error)) from error


@router.post("/restore", response_model=RunInfo)
async def restore(run_id: str, runs: CatalogueOf) -> Response:
    """Bring a deleted run back."""
    return WireResponse((await runs.restore(run_id)).info)
