"""The page's files, compressed for browsers that take that; Plotly is one of them: nothing comes from a CDN."""

import asyncio
import gzip
import os
import stat
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from server.routes.web import web

router = APIRouter(include_in_schema=False)

#: By path: the ETag of what was compressed, and what came of it.
_packed: dict[str | os.PathLike[str], tuple[str, bytes]] = {}


@cache
def _files() -> StaticFiles:
    return StaticFiles(directory=web())


@router.get("/{path:path}")
async def page(request: Request, path: str) -> Response:
    """The page itself and what it loads."""
    files = _files()
    try:
        full, found = files.lookup_path(path or "index.html")  # here and now: a thread takes longer than looking does
    except (OSError, ValueError):  # a name that no file can have
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        raise HTTPException(404, f"there is nothing at {request.url.path!r}")
    answer = files.file_response(full, found, request.scope)
    if isinstance(answer, FileResponse):
        answer.headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            return await _compressed(answer)
    return answer


async def _compressed(file: FileResponse) -> Response:
    """The same in fewer bytes; its ETag is weak, for it names the text and not these bytes."""
    headers = {name: file.headers[name] for name in ("content-type", "last-modified", "vary")}
    etag = file.headers["etag"]
    known, packed = _packed.get(file.path, ("", b""))
    if known != etag:
        packed = await asyncio.to_thread(lambda: gzip.compress(Path(file.path).read_bytes(), compresslevel=6, mtime=0))
        _packed[file.path] = (etag, packed)
    return Response(packed, headers=headers | {"etag": f"W/{etag}", "content-encoding": "gzip"})
