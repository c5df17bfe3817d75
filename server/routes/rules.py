"""What a clipper can be set to: the engine's own declaration of its modes, for the page's forms."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from clipcore.rules import schema
from clipcore.settings import shared_schema
from server.routes.refusals import WATCHING
from server.routes.replies import Reply, WireResponse

router = APIRouter(prefix="/api")


class Rules(Reply):
    """Every mode with its parameters as JSON Schema, and what can be set in all of them."""

    rules: dict[str, dict[str, Any]]
    shared: dict[str, dict[str, Any]]


@router.get("/rules", response_model=Rules, responses=WATCHING)
async def rules() -> Response:
    """The modes of clipping, with their parameters' defaults, bounds, units and help."""
    return WireResponse(Rules(rules=schema(), shared=shared_schema()))
