"""Is the server alive, and can it do its work."""

import asyncio
import shutil

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from server.routes.replies import StoreOf
from server.store import Store
from server.writer import StoreError

router = APIRouter()

CHECK_TIMEOUT_S = 2.0
#: Below that there is no telling how long writes will go on; a million steps take about 200 MB.
MIN_FREE_BYTES = 256 * 2**20


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The event loop turns."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(store: StoreOf) -> Response:
    """The store takes writes, and there is room for more."""
    reasons = [reason for reason in (await _write_fault(store), await asyncio.to_thread(_room_fault, store)) if reason]
    if reasons:
        return JSONResponse({"status": "not ready", "detail": "; ".join(reasons)}, 503)
    return JSONResponse({"status": "ready"})


async def _write_fault(store: Store) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await asyncio.wrap_future(store.check())
    except TimeoutError:
        return f"the store has not written anything for {CHECK_TIMEOUT_S:.0f} s"
    except StoreError as error:
        return str(error)
    return ""


def _room_fault(store: Store) -> str:
    try:
        free = shutil.disk_usage(store.directory).free + store.spare_bytes
    except StoreError as error:
        return str(error)
    if free >= MIN_FREE_BYTES:
        return ""
    left, least = (f"{size / 2**20:,.0f}" for size in (free, MIN_FREE_BYTES))
    return f"the disk of CLIPCORE_DATA_DIR has {left} MiB left, spare room in the database included, less than {least}"
