"""A run as a file to keep: its rows, its changes, or a page that shows both."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse
from starlette.responses import HTMLResponse, Response

from server.catalogue import Catalogue
from server.changes import ChangeLog
from server.export import as_csv, as_jsonl, as_parquet
from server.protocol import MAX_COUNT, LogEntry, Rows, RunInfo
from server.report import METRICS, report
from server.routes.parts import CatalogueOf, Known, StoreOf
from server.routes.refusals import HISTORY, refused
from server.routes.replies import WireResponse, a_file
from server.routes.web import web
from server.store import Store

Writer = Callable[[Sequence[str], Iterable[Rows]], Iterator[str] | Iterator[bytes]]

router = APIRouter(prefix="/api/runs/{run_id}", responses=HISTORY)

FORMATS: dict[str, tuple[Writer, str]] = {
    "csv": (as_csv, "text/csv"),
    "jsonl": (as_jsonl, "application/jsonl"),
    "parquet": (as_parquet, "application/vnd.apache.parquet"),
}
#: Of a report: as many as a wide screen has pixels.
REPORT_POINTS = 4000

FILES = a_file(*(media_type for _, media_type in FORMATS.values())) | refused(501, "Parquet needs pyarrow")


@router.get("/export", dependencies=[Known], response_class=Response, responses=FILES)
async def export(
    run_id: str,
    store: StoreOf,
    format_: Annotated[Literal["csv", "jsonl", "parquet"], Query(alias="format")] = "csv",
) -> Response:
    """Every row at full resolution, as CSV, JSON Lines or Parquet."""
    write, media_type = FORMATS[format_]
    metrics = await asyncio.to_thread(store.metrics, run_id)
    try:
        body = write(metrics, store.chunks(run_id))
    except ImportError:
        sentence = "Parquet needs pyarrow, which this server lacks: pip install pyarrow"
        raise HTTPException(501, sentence) from None
    return StreamingResponse(body, media_type=media_type, headers=_attachment(f"{run_id}.{format_}"))


@router.get("/changes", response_model=ChangeLog)
async def changes(run_id: str, runs: CatalogueOf, store: StoreOf) -> Response:
    """How the clipper was changed, and when: a file that `clipcore train --schedule` replays."""
    info, log = await _story(run_id, runs, store)
    return WireResponse(ChangeLog.of(info, log), headers=_attachment(f"{run_id}.changes.json"))


@router.get("/report", response_class=Response, responses=a_file("text/html"))
async def report_page(run_id: str, runs: CatalogueOf, store: StoreOf) -> Response:
    """The run as one self-contained page: charts, changes and configuration, to be opened without a server."""
    info, log = await _story(run_id, runs, store)

    def page() -> str:
        found = store.series(run_id, METRICS, 0, MAX_COUNT, REPORT_POINTS)
        return report(info, found, log, web())

    return HTMLResponse(await asyncio.to_thread(page), headers=_attachment(f"{run_id}.html"))


async def _story(run_id: str, runs: Catalogue, store: Store) -> tuple[RunInfo, list[LogEntry]]:
    """What is known of a run and its whole log, of one moment: the log may have grown when it has been read."""
    run = runs.run(run_id)
    info, last_line = run.info, run.line
    log = await asyncio.to_thread(store.lines, run_id)
    return info, [entry for entry in log if entry.n <= last_line]


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
