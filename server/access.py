"""Who may watch, feed and steer: whoever has the token, as a bearer token or through a login; and how often.

A request that shows neither may watch if watching is open. Browsers send the login's cookie along whoever's page makes
the request; that it is this server's page is what `server.guard` sees to.
"""

import secrets
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.denial import Denial, too_many
from server.guesses import Guesses, is_same
from server.places import Places
from server.sessions import Sessions
from server.settings import Settings
from server.throttle import Throttle

#: Shown to everybody: the login with what it is made of, and what a supervisor asks for.
OPEN_PATHS = frozenset(
    {"/login", "/login.js", "/views/dom.js", "/views/theme.js", "/colours.css", "/style.css", "/icon.svg"}
    | {"/api/session", "/healthz", "/readyz"}
)
PAGE_PATHS = frozenset({"/", "/index.html"})
#: Of one client: per second for good, and at once.
CHANGES = 10, 200
TRAINERS = 10, 500


class Access:
    """What the settings allow whom.

    Args:
        settings: with the port that is listened on.

    Attributes:
        places: of those who watch.
    """

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token
        self._guesses = Guesses(settings.token)
        self._public_view = settings.public_view or not settings.token
        self._read_only = settings.read_only
        self._sessions = Sessions()
        #: Cookies do not tell ports of one host apart.
        self.cookie = f"clipcore-{settings.port}"
        #: Of this server's own workers, all of which come from this machine: it must not be known for theirs.
        self.worker_token = secrets.token_urlsafe() if settings.token else ""
        self._changes = Throttle(*CHANGES)
        self._trainers = Throttle(*TRAINERS)
        self.places = Places(settings.max_viewers)

    @property
    def login(self) -> Literal["nothing", "steering", "viewing"]:
        """What a login is needed for."""
        if not self._public_view:
            return "viewing"
        return "steering" if self._token and not self._read_only else "nothing"

    def log_in(self, connection: HTTPConnection, given: str) -> str | Denial:
        """A new session for who gives the token."""
        return self._guesses.check(client_of(connection), given) or self._sessions.start()

    def log_out(self, connection: HTTPConnection) -> None:
        """End the session of a browser."""
        self._sessions.end(connection.cookies.get(self.cookie, ""))

    def is_logged_in(self, connection: HTTPConnection) -> bool:
        """Whether the request comes from a browser that has a session."""
        return self._sessions.holds(connection.cookies.get(self.cookie, ""))

    def has_lost_session(self, connection: HTTPConnection) -> bool:
        """Whether a browser that is connected may not watch any more, for its session has ended meanwhile."""
        return not (self._public_view or "authorization" in connection.headers or self.is_logged_in(connection))

    def viewing(self, connection: HTTPConnection) -> Denial | None:
        """Why this client may not watch; None if it may."""
        return None if self._public_view else self._identified(connection)

    def steering(self, connection: HTTPConnection) -> Denial | None:
        """Why this client may not change a training; None if it may."""
        if self._read_only:
            return Denial(403, "this server only shows runs: it was started with CLIPCORE_READ_ONLY")
        return self._identified(connection)

    def change(self, connection: HTTPConnection) -> Denial | None:
        """Why this client may not change a training now; None if it may, and then the change is counted."""
        return self.steering(connection) or _counted(self._changes, connection, "changes")

    def feeding(self, connection: HTTPConnection) -> Denial | None:
        """Why this client may not feed a run now; None if it may, and then the connection is counted."""
        return self._identified(connection) or _counted(self._trainers, connection, "trainers")

    def _identified(self, connection: HTTPConnection) -> Denial | None:
        if not self._token or self.is_logged_in(connection):
            return None
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if is_same(given.strip(), self.worker_token):
                return None
            return self._guesses.check(client_of(connection), given.strip())
        return Denial(401, "this needs the server's token: log in, or send `Authorization: Bearer <CLIPCORE_TOKEN>`")


class ViewersOnly:
    """ASGI middleware that lets nobody see anything who may not watch, and takes people to the login.

    Args:
        app: what to guard.
        access: who may watch.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say why not."""
        answer = self._app
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_PATHS:
            connection = HTTPConnection(scope)
            if denial := self._access.viewing(connection):
                page = scope["path"] in PAGE_PATHS
                answer = RedirectResponse(beside("login", connection), 303) if page else denial.response()
        await answer(scope, receive, send)


def beside(path: str, connection: HTTPConnection) -> str:
    """Where another page of this server is for a browser, below whatever prefix; with the same query."""
    return f"{path}?{connection.url.query}" if connection.url.query else path


def client_of(connection: HTTPConnection) -> str:
    """Whom to count a request for: an address, or the network that a household has of IPv6 addresses."""
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else host


def _counted(throttle: Throttle, connection: HTTPConnection, what: str) -> Denial | None:
    client = client_of(connection)
    if denial := too_many(throttle, client, what):
        return denial
    throttle.count(client)
    return None
