"""Is the server alive, and can it do its work."""

import asyncio
import shutil
import time
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from server.routes.refusals import refused
from server.single_flight import SingleFlight
from server.store import Store
from server.writer import StoreError

router = APIRouter()

CHECK_TIMEOUT_S = 2.0
SHARED_S = 1.0
#: Below that there is no telling how long writes will go on; a million steps take about 200 MB.
MIN_FREE_BYTES = 256 * 2**20


class Readiness:
    """Whether a store can do its work; it is looked at once a second at most, for anybody may ask and it writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._faults: SingleFlight[list[str]] = SingleFlight(1)

    async def faults(self) -> list[str]:
        """Why it cannot; nothing when it can."""
        return await self._faults.get(int(time.monotonic() / SHARED_S), self._look)

    async def _look(self) -> list[str]:
        faults = await _write_fault(self._store), await asyncio.to_thread(_room_fault, self._store)
        return [fault for fault in faults if fault]


def readiness_of(connection: HTTPConnection) -> Readiness:
    """The app's readiness."""
    readiness: Readiness = connection.app.state.readiness
    return readiness


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The event loop turns."""
    return {"status": "ok"}


@router.get("/readyz", responses=refused(503, "The store takes no writes, or has no room for more"))
async def readyz(readiness: Annotated[Readiness, Depends(readiness_of)]) -> Response:
    """The store takes writes, and there is room for more."""
    if faults := await readiness.faults():
        return JSONResponse({"status": "not ready", "detail": "; ".join(faults)}, 503)
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
