"""A request that is not granted."""

import math
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from server.throttle import Throttle


@dataclass(frozen=True)
class Denial:
    """Why a request is not granted, as a status and a sentence; `wait_s`: when it may be tried again."""

    status: int
    reason: str
    wait_s: float = 0

    @property
    def headers(self) -> dict[str, str]:
        """What the status asks for."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(math.ceil(self.wait_s))} if self.wait_s else {}

    def response(self) -> Response:
        """The answer to a request or to a websocket's handshake."""
        return JSONResponse({"detail": self.reason}, self.status, self.headers)


def too_many(throttle: Throttle, client: str, what: str) -> Denial | None:
    """Why a client may not do something once more now; None if it may."""
    wait_s = throttle.wait_s(client)
    return Denial(429, f"too many {what} from {client}: wait {math.ceil(wait_s)} s", wait_s) if wait_s else None
