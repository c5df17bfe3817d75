"""The page's files, compressed for browsers that take that; Plotly is one of them: nothing comes from a CDN."""

import asyncio
import gzip
from functools import cache, lru_cache
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


@router.get("/{path:path}")
async def page(request: Request) -> Response:
    """The page itself and what it loads."""
    files = _files()
    try:
        found = await files.get_response(files.get_path(request.scope), request.scope)
    except HTTPException as error:
        raise HTTPException(error.status_code, f"there is nothing at {request.url.path!r}") from error
    if isinstance(found, FileResponse):
        found.headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            return await _compressed(found)
    return found


async def _compressed(file: FileResponse) -> Response:
    """The same in fewer bytes; its ETag is weak, for it names the text and not these bytes."""
    headers = {name: file.headers[name] for name in ("content-type", "last-modified", "vary")}
    headers |= {"etag": f"W/{file.headers['etag']}", "content-encoding": "gzip"}
    return Response(await asyncio.to_thread(_gzipped, Path(file.path), file.headers["etag"]), headers=headers)


@lru_cache(maxsize=256)  # more than web/ has files
def _gzipped(path: Path, etag: str) -> bytes:  # noqa: ARG001  a file that has changed is another one
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
