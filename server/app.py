"""The application: its parts, wired."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access import Access, ViewersOnly
from server.endings import WITH_SERVER
from server.guard import BodyLimit, Guard, SecurityHeaders
from server.hub import Hub
from server.routes import downloads, health, keeping, login, metrics, page, rules, runs, streams, workers
from server.routes.refusals import ANYWHERE
from server.settings import Settings
from server.sql.reading import UnknownRunError
from server.store import Store
from server.supervisor import NotStartedError, Supervisor
from server.wording import first_error_line
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

MAX_BODY_BYTES = 2**20


def create_app(settings: Settings, store: Store) -> FastAPI:
    """The server as an ASGI application.

    Args:
        settings: `port` must be the real one, for workers connect to `settings.url`.
        store: open; whoever opened it closes it after the application has ended.
    """
    access = Access(settings)
    hub = Hub(store, settings.keep_runs)
    supervisor = Supervisor(
        url=settings.url,
        token=access.worker_token or None,
        most=settings.max_workers,
        on_start=hub.worker_started,
        on_exit=hub.worker_exited,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for run_id in hub.resume():
            await supervisor.tell(run_id, WITH_SERVER)
        if settings.autostart:
            try:
                await supervisor.start(settings.autostart, {})
            except (NotStartedError, StoreError) as error:
                log.error("CLIPCORE_AUTOSTART: %s", error)
        try:
            yield
        finally:
            await supervisor.close()

    app = FastAPI(
        title="clipcore", version=_version(), docs_url=None, redoc_url=None, lifespan=lifespan, responses=ANYWHERE
    )
    app.state.access, app.state.store, app.state.hub, app.state.supervisor = access, store, hub, supervisor
    app.state.readiness = health.Readiness(store)
    for part in (streams, runs, downloads, keeping, rules, workers, health, metrics, login):
        app.include_router(part.router)
    app.include_router(page.router)  # last: it answers to every path
    app.add_exception_handler(UnknownRunError, _not_found)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limit_bytes=MAX_BODY_BYTES)
    app.add_middleware(ViewersOnly, access=access)
    app.add_middleware(Guard, host=settings.host, allowed=settings.allowed_hosts)
    app.add_middleware(SecurityHeaders)
    return app


class HeadAsGet:
    """ASGI middleware that answers HEAD wherever GET is answered; uvicorn sends nothing but the head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app({**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope, receive, send)


def _version() -> str:
    try:
        return version("clipcore")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


async def _not_found(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.error("%s", error)
    return JSONResponse({"detail": str(error)}, 503)


async def _unprocessable(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": first_error_line(cast("RequestValidationError", error).errors())}, 422)
