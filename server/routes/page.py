"""The page's files, and Plotly from its wheel: nothing comes from a CDN."""

import gzip
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)


def web() -> Path:
    """`web/`, which an installed distribution carries inside this package."""
    here = Path(__file__).parents[1]
    installed = here / "web"
    return installed if installed.is_dir() else here.parent / "web"


@cache
def _files() -> StaticFiles:
    return StaticFiles(directory=web(), html=True)


@router.api_route("/vendor/plotly.min.js", methods=["GET", "HEAD"])
def plotly(request: Request) -> Response:
    """Plotly, compressed once; the ETag is its version, so that a browser loads it once."""
    headers = {"ETag": f'"plotly-{version("plotly")}"', "Vary": "Accept-Encoding"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(plotly_file(), media_type="text/javascript", headers=headers)
    return Response(_plotly_gzipped(), media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself and what it loads."""
    files = _files()
    try:
        return await files.get_response(files.get_path(request.scope), request.scope)
    except HTTPException as error:
        raise HTTPException(error.status_code, f"there is nothing at {request.url.path!r}") from error


def plotly_file() -> Path:
    """plotly.min.js in its wheel."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise HTTPException(500, "plotly is not installed: pip install 'clipcore[server]'")
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


@cache
def _plotly_gzipped() -> bytes:
    return gzip.compress(plotly_file().read_bytes(), compresslevel=6, mtime=0)
