"""What the routes share: answers in the wire's JSON, and who may change something."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.guard import has_token
from server.hub import Hub
from server.settings import Settings
from server.store import Store


class Reply(BaseModel):
    """An answer; non-finite numbers travel as strings, as on the wire."""

    model_config = ConfigDict(ser_json_inf_nan="strings")


class WireResponse(Response):
    """A pydantic model as JSON, written by pydantic itself: FastAPI's own way answers 500 to a NaN."""

    media_type = "application/json"

    def render(self, content: BaseModel) -> bytes:
        """The body."""
        return content.model_dump_json().encode()


def hub_of(connection: HTTPConnection) -> Hub:
    """The app's hub."""
    hub: Hub = connection.app.state.hub
    return hub


def store_of(connection: HTTPConnection) -> Store:
    """The app's store."""
    store: Store = connection.app.state.store
    return store


def settings_of(connection: HTTPConnection) -> Settings:
    """The app's settings."""
    settings: Settings = connection.app.state.settings
    return settings


def token_refusal(connection: HTTPConnection) -> str | None:
    """Why this connection may not feed or steer a run; None when it may."""
    if has_token(connection, settings_of(connection).token):
        return None
    return "this needs the server's token: send `Authorization: Bearer <CLIPCORE_TOKEN>`"


def steering_refusal(connection: HTTPConnection) -> str | None:
    """Why this connection may not change a training; None when it may."""
    if settings_of(connection).read_only:
        return "this server only shows runs: it was started with CLIPCORE_READ_ONLY"
    return token_refusal(connection)


def may_steer(request: Request) -> None:
    """A dependency of the routes that change something."""
    if refusal := steering_refusal(request):
        raise HTTPException(403 if settings_of(request).read_only else 401, refusal, {"WWW-Authenticate": "Bearer"})


HubOf = Annotated[Hub, Depends(hub_of)]
StoreOf = Annotated[Store, Depends(store_of)]
Steering = Depends(may_steer)
