"""The REST calls that the command line makes to a running server."""

import json
import shutil
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

TIMEOUT_S = 10.0


class RequestError(Exception):
    """The server refused, or is not there; the sentence says which."""


class Client:
    """A server at `url`, which may ask for a token.

    Raises:
        RequestError: `url` is no http or https URL.
    """

    def __init__(self, url: str, token: str | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise RequestError(f"the server's url must be http(s)://host[:port][/path], got {url!r}")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        runs: list[dict[str, Any]] = self._json("GET", "/api/runs")["runs"]
        return runs

    def start(self, workload: str, options: Mapping[str, Any]) -> str:
        """Start a worker; the id of its run."""
        run: str = self._json("POST", "/api/workers", {"workload": workload, "config": options})["id"]
        return run

    def control(self, run_id: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change a run's clipper; how the request stands."""
        reply: dict[str, Any] = self._json("POST", f"/api/runs/{quote(run_id, safe='')}/control", patch)
        return reply

    def export(self, run_id: str, format_: str, to: IO[bytes]) -> None:
        """Write a run's rows to a file, or its changes, or a report."""
        what = format_ if format_ in ("changes", "report") else f"export?format={quote(format_)}"
        with self._open("GET", f"/api/runs/{quote(run_id, safe='')}/{what}") as answer:
            shutil.copyfileobj(answer, to)

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        with self._open(method, path, body) as answer:
            return json.load(answer)

    def _open(self, method: str, path: str, body: Any = None) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = Request(self._url + path, data, headers, method=method)
        try:
            answer: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)
        except HTTPError as error:
            with error:
                raise RequestError(_detail(error)) from error
        except URLError as error:
            raise RequestError(
                f"no clipcore server answers at {self._url} ({error.reason}): start one with `clipcore serve`"
            ) from error
        return answer


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answered {error.code} {error.reason}"
