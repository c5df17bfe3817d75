"""How requests are refused, as the API's description of itself has it; each refusal says why in a sentence."""

from typing import Any

from server.routes.replies import Reply

Answers = dict[int | str, dict[str, Any]]


class Mistake(Reply):
    """Why a request was refused."""

    detail: str


def refused(status: int, why: str) -> Answers:
    """One way for a request to end."""
    return {status: {"model": Mistake, "description": why}}


#: By the middleware, whatever is asked for.
ANYWHERE = (
    refused(403, "This server does not answer to that name, or to pages of that origin")
    | refused(411, "A body came without its Content-Length")
    | refused(413, "The body is too large")
)
WATCHING = refused(401, "This server's token is needed") | refused(429, "Too many wrong tokens from this client")
STEERING = (
    WATCHING
    | refused(403, "This server only shows runs, or does not answer to that name, or to pages of that origin")
    | refused(429, "Too many changes or wrong tokens from this client")
)
NOT_UNDERSTOOD = refused(422, "A parameter or the body is not what is asked for")
OF_RUN = WATCHING | NOT_UNDERSTOOD | refused(404, "There is no such run")
HISTORY = OF_RUN | refused(503, "The database cannot be read or written")
