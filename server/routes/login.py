"""Logging in and out, for browsers: a form that works without scripts, and what the page asks to know."""

from html import escape
from typing import Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.access import beside
from server.denial import Denial
from server.routes.parts import AccessOf
from server.routes.replies import Reply
from server.routes.web import web
from server.sessions import LIFETIME_S

router = APIRouter()

#: What is longer is no login, and would take its time to be taken apart.
MAX_FORM_BYTES = 4096


class Session(Reply):
    """Whether this browser is logged in, and what logging in is needed for."""

    logged_in: bool
    login: Literal["nothing", "steering", "viewing"]


@router.get("/api/session")
async def session(request: Request, access: AccessOf) -> Session:
    """How the client that asks is logged in."""
    return Session(logged_in=access.is_logged_in(request), login=access.login)


@router.get("/login", include_in_schema=False)
async def form(request: Request, access: AccessOf) -> Response:
    """The form; a browser that needs no login goes on to the page."""
    if access.login == "nothing" or access.is_logged_in(request):
        return _to_page(request)
    return _form()


@router.post("/login", include_in_schema=False)
async def log_in(request: Request, access: AccessOf) -> Response:
    """Take the token, give a cookie. It has no Path: a browser then keeps it to what lies beside the form."""
    if access.login == "nothing":
        return _to_page(request)
    fields = parse_qs((await request.body())[:MAX_FORM_BYTES].decode(errors="replace"))
    session = access.log_in(request, fields.get("password", [""])[0].strip())
    if isinstance(session, Denial):
        return _form(session)
    answer = _to_page(request)
    answer.set_cookie(
        access.cookie,
        session,
        max_age=LIFETIME_S,
        path=None,
        secure=_is_https(request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/logout", include_in_schema=False)
async def log_out(request: Request, access: AccessOf) -> Response:
    """End the session and forget the cookie."""
    access.log_out(request)
    answer = _to_page(request)
    answer.set_cookie(access.cookie, max_age=0, path=None, httponly=True, samesite="strict")
    return answer


def _form(denial: Denial | None = None) -> Response:
    page = (web() / "login.html").read_text()
    if denial is None:
        return HTMLResponse(page)
    return HTMLResponse(page.replace("<!-- reason -->", escape(denial.reason)), denial.status, denial.headers)


def _to_page(request: Request) -> RedirectResponse:
    return RedirectResponse(beside("./", request), 303)


def _is_https(connection: HTTPConnection) -> bool:
    """Whether the browser speaks TLS, if only to a proxy: with a form it says where the form came from."""
    return connection.headers.get("origin", f"{connection.url}").startswith("https://")
