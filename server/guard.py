"""Whose pages may talk to the server: Host and Origin, checked before anything else sees a request.

A browser sends whatever page it shows to 127.0.0.1. Two checks keep foreign pages out: the Host header must be a name
of this server (else a foreign name that resolves to 127.0.0.1, "DNS rebinding", would be same-origin with its page),
and the Origin header, which browsers add to websocket handshakes and to every POST, must be the server itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

SECURITY_HEADERS = {
    # Plotly styles its charts inline and draws exported images from data and blob URLs.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer", forms have the Origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Authority:
    """A host name (or address) and the port named with it, if any."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Authority | None":
        """What `host`, `host:port` or `[v6]:port` names; None when it is nothing of the kind."""
        match = _AUTHORITY.fullmatch(text.lower())
        return cls(match["v6"] or match["name"], int(match["port"]) if match["port"] else None) if match else None

    @classmethod
    def of_setting(cls, text: str) -> "Authority":
        """What a person means by a name in a setting; an IPv6 address needs no brackets.

        Raises:
            ValueError: it is no name of a host.
        """
        bare_v6 = text.count(":") > 1 and not text.startswith("[")
        authority = cls.parse(f"[{text}]" if bare_v6 else text)
        if authority is None:
            raise ValueError(
                f"{text!r} is no host: expected a name or an address, with :port if only that one is meant"
            )
        return authority

    def covers(self, other: "Authority") -> bool:
        """Whether it is the same host, and the same port if this one names a port."""
        return self.host == other.host and self.port in (None, other.port)


class Guard:
    """ASGI middleware that answers 403 to requests which a foreign page could have caused.

    Args:
        app: what to guard.
        host: the address the server listens on, by which it may be called besides the names of the loopback interface.
        allowed: more names it may be called by, and whose pages may use it; with a port they hold for that port only.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = [Authority.of_setting(name) for name in allowed]
        self._names = [*(Authority(name, None) for name in (*LOOPBACK_NAMES, host.lower())), *self._allowed]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say why not."""
        reason = self._refusal(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else None
        answer = JSONResponse({"detail": reason}, 403) if reason else self._app
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> str | None:
        host = Authority.parse(headers.get("host", ""))
        if host is None or not any(name.covers(host) for name in self._names):
            return (
                f"unknown host {headers.get('host', '')!r}: "
                "if this server should answer to it, add it to CLIPCORE_ALLOWED_HOSTS"
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            return f"pages of {origin!r} may not use this server: if they should, add it to CLIPCORE_ALLOWED_HOSTS"
        return None

    def _is_own(self, origin: str, host: Authority) -> bool:
        """Whether the origin is this server by the name that the request used, or one that the settings allow."""
        scheme, _, rest = origin.partition("://")
        page = Authority.parse(rest)
        if page is None:
            return False
        default_port = {"http": 80, "https": 443}.get(scheme)
        same = page.host == host.host and (page.port or default_port) == (host.port or default_port)
        return same or any(name.covers(page) for name in self._allowed)


class BodyLimit:
    """ASGI middleware that refuses bodies which are larger than any request needs, before they are read.

    Args:
        app: what to protect.
        limit_bytes: the largest body that is let through.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say why not."""
        answer: ASGIApp = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if "transfer-encoding" in headers:
                answer = JSONResponse({"detail": "a body must come with its Content-Length"}, 411)
            elif int(headers.get("content-length", 0)) > self._limit_bytes:
                answer = JSONResponse({"detail": f"a body may have at most {self._limit_bytes:,} bytes"}, 413)
        await answer(scope, receive, send)


class SecurityHeaders:
    """ASGI middleware that tells browsers what the page may do, and to ask whether a file has changed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the answer's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_completed)
