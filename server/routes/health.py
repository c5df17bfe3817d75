"""Is the server alive, and can it do its work."""

import asyncio

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from server.routes.replies import StoreOf
from server.writer import StoreError

router = APIRouter()

CHECK_TIMEOUT_S = 2.0


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The event loop turns."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(store: StoreOf) -> Response:
    """The store takes writes."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await asyncio.wrap_future(store.check())
    except (StoreError, TimeoutError) as error:
        reason = str(error) or f"the store has not written anything for {CHECK_TIMEOUT_S:.0f} s"
        return JSONResponse({"status": "not ready", "detail": reason}, 503)
    return JSONResponse({"status": "ready"})
