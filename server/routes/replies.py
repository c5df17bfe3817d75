"""Answers and bodies in the wire's JSON."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.responses import Response


class Reply(BaseModel):
    """An answer; non-finite numbers travel as strings, as on the wire."""

    model_config = ConfigDict(ser_json_inf_nan="strings")


def a_file(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """How a route that answers with something else than JSON describes that; its `response_class` is `Response`."""
    return {200: {"description": "The file", "content": {media_type: {} for media_type in media_types}}}


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
