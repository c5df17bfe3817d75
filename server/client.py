"""The REST calls that the command line makes to a running server."""

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPException, IncompleteRead
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from server.bearer import header_token
from server.guard import LOOPBACK_NAMES

TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 30.0  # a worker that does not end by itself is killed meanwhile
PIECE_BYTES = 2**16


class RequestError(Exception):
    """The server refused, or is not there; the sentence says which.

    Attributes:
        status: of the refusal, as in HTTP; None when there was none.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class _NoRedirects(HTTPRedirectHandler):
    """A token is for the server that it was given for, not for whoever that server names."""

    def redirect_request(self, *_: Any) -> None:
        """Let the redirection be an error."""


class Client:
    """A server at `url`, which may ask for a token.

    Raises:
        RequestError: `url` is no http or https URL, or `token` fits into no header.
    """

    def __init__(self, url: str, token: str | None) -> None:
        try:
            parts = urlsplit(url)
            is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
        except ValueError:
            is_url = False
        if not is_url or " " in url:
            raise RequestError(f"the server's url must be http(s)://host[:port][/path], got {url!r}")
        try:
            bearer = header_token(token)
        except ValueError as error:
            raise RequestError(f"CLIPCORE_TOKEN: {error}") from error
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        proxies = ProxyHandler({} if parts.hostname in LOOPBACK_NAMES else None)
        self._opener = build_opener(proxies, _NoRedirects)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        runs: list[dict[str, Any]] = self._json("GET", "/api/runs", field="runs")
        return runs

    def run(self, run_id: str) -> dict[str, Any]:
        """All that is known of a run."""
        run: dict[str, Any] = self._json("GET", f"/api/runs/{quote(run_id, safe='')}")
        return run

    def rows(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Every row of a run, oldest first; NaN and infinities are the words that they are on the wire."""
        rest = b""
        for piece in self._pieces("GET", f"/api/runs/{quote(run_id, safe='')}/export?format=jsonl"):
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, lines)

    def check(self, workload: str, options: Mapping[str, Any]) -> None:
        """Ask whether a workload takes these options; starts nothing."""
        for _ in self._pieces("POST", "/api/workers/check", {"workload": workload, "config": options}):
            pass

    def start(self, workload: str, options: Mapping[str, Any]) -> str:
        """Start a worker; the id of its run."""
        run: str = self._json("POST", "/api/workers", {"workload": workload, "config": options}, field="id")
        return run

    def stop(self, run_id: str) -> None:
        """End the worker of a run."""
        for _ in self._pieces("DELETE", f"/api/workers/{quote(run_id, safe='')}", timeout_s=STOP_TIMEOUT_S):
            pass

    def control(self, run_id: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change a run's clipper; how the request stands."""
        reply: dict[str, Any] = self._json("POST", f"/api/runs/{quote(run_id, safe='')}/control", patch)
        return reply

    def command(self, run_id: str, command: str) -> dict[str, Any]:
        """Pause, resume, single-step or stop a run's loop; how the request stands."""
        body = {"command": command}
        reply: dict[str, Any] = self._json("POST", f"/api/runs/{quote(run_id, safe='')}/command", body)
        return reply

    def export(self, run_id: str, format_: str, to: IO[bytes]) -> None:
        """Write a run's rows to a file, or its changes, or a report."""
        what = format_ if format_ in ("changes", "report") else f"export?format={quote(format_)}"
        for piece in self._pieces("GET", f"/api/runs/{quote(run_id, safe='')}/{what}"):
            to.write(piece)

    def _json(self, method: str, path: str, body: Any = None, field: str | None = None) -> Any:
        answer = b"".join(self._pieces(method, path, body))
        try:
            found = json.loads(answer)
            return found if field is None else found[field]
        except (ValueError, TypeError, KeyError) as error:
            raise RequestError(f"{self._url} is not a clipcore server: it answered {answer[:60]!r}") from error

    def _pieces(self, method: str, path: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> Iterator[bytes]:
        """The answer, piece by piece."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = Request(self._url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                while piece := answer.read(PIECE_BYTES):
                    yield piece
                if answer.length:  # of what it has announced
                    raise IncompleteRead(b"", answer.length)
        except HTTPError as error:
            with error:
                raise RequestError(_detail(error), error.code) from error
        except IncompleteRead as error:
            raise RequestError(f"the answer of {self._url} was cut off: try again") from error
        except URLError as error:
            raise RequestError(
                f"no clipcore server answers at {self._url} ({error.reason}): start one with `clipcore serve`"
            ) from error
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise RequestError(f"{self._url} does not answer like a clipcore server ({reason})") from error


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        to = f", to {error.headers['Location']!r}" if error.headers["Location"] else ""
        return f"{error.url} answered {error.code} {error.reason}{to}"
