"""What the routes share: answers in the wire's JSON, and who may change something."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.access import Access
from server.hub import Hub
from server.store import Store
from server.supervisor import Supervisor


class Reply(BaseModel):
    """An answer; non-finite numbers travel as strings, as on the wire."""

    model_config = ConfigDict(ser_json_inf_nan="strings")


class WireResponse(Response):
    """A pydantic model as JSON, written by pydantic itself: FastAPI's own way answers 500 to a NaN."""

    media_type = "application/json"

    def render(self, content: BaseModel) -> bytes:
        """The body."""
        return content.model_dump_json().encode()


_json: TypeAdapter[Any] = TypeAdapter(Any)


class WireRoute(APIRoute):
    """A route whose body is read as the wire is: what a websocket would not take is no body either."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, given a request that reads JSON its way."""
        handle = super().get_route_handler()

        async def handle_wire(request: Request) -> Response:
            return await handle(_WireRequest(request.scope, request.receive))

        return handle_wire


class _WireRequest(Request):
    async def json(self) -> Any:
        try:
            return _json.validate_json(await self.body())
        except ValidationError as error:
            raise HTTPException(422, f"body is no JSON: {error.errors()[0]['ctx']['error']}") from None


def hub_of(connection: HTTPConnection) -> Hub:
    """The app's hub."""
    hub: Hub = connection.app.state.hub
    return hub


def store_of(connection: HTTPConnection) -> Store:
    """The app's store."""
    store: Store = connection.app.state.store
    return store


def access_of(connection: HTTPConnection) -> Access:
    """The app's access."""
    access: Access = connection.app.state.access
    return access


async def may_steer(request: Request) -> None:
    """A dependency of the routes that change something."""
    if denial := access_of(request).change(request):
        raise HTTPException(denial.status, denial.reason, denial.headers)


def supervisor_of(connection: HTTPConnection) -> Supervisor:
    """The app's supervisor."""
    supervisor: Supervisor = connection.app.state.supervisor
    return supervisor


HubOf = Annotated[Hub, Depends(hub_of)]
StoreOf = Annotated[Store, Depends(store_of)]
SupervisorOf = Annotated[Supervisor, Depends(supervisor_of)]
Steering = Depends(may_steer)
