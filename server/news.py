"""What viewers are sent of a run, as encoded messages: a snapshot to start from, then only what is new."""

import asyncio
from collections.abc import Sequence

from server.live import KEPT_LINES, LiveRun, Position
from server.protocol import (
    LogEntry,
    Message,
    RunInfo,
    Runs,
    Snapshot,
    Status,
    ViewLayers,
    ViewLog,
    ViewSteps,
)
from server.rows import logged
from server.store import Series, Store

#: Rows of a run's history are thinned as for a chart this wide.
SNAPSHOT_POINTS = 1000


async def snapshot(
    store: Store, run: LiveRun, runs: Sequence[RunInfo], since: int | None, to: Position, *, read_only: bool
) -> tuple[str, ...]:
    """The run up to `to`: beyond row `since` when the viewer has the rows before it, else from the start."""
    resumed = since is not None and since <= to.seq
    info, lines, layers = run.info, [line for line in run.lines if line.n <= to.line], run.layers

    def encode(found: Series) -> tuple[str, ...]:
        return _encoded(
            Snapshot(
                run=info,
                rows=logged(found.rows),
                exact=found.exact,
                resumed=resumed,
                log=lines,
                layers=layers,
                runs=list(runs),
                read_only=read_only,
            )
        )

    start = since if resumed and since is not None else 0
    recent = run.rows_between(start, to.seq)
    if recent is not None:
        return encode(Series(recent, exact=True))
    return await asyncio.to_thread(lambda: encode(_history(store, run.known.id, start, to.seq)))


async def news(store: Store, run: LiveRun, runs: Sequence[RunInfo], seen: Position, to: Position) -> tuple[str, ...]:
    """The messages that bring a viewer from position `seen` to position `to`, rows first."""
    messages: list[Message] = []
    if to.seq > seen.seq:
        found = await _rows_between(store, run, seen.seq, to.seq)
        messages.append(ViewSteps(run=run.known.id, rows=logged(found.rows), exact=found.exact))
    if to.line > seen.line:
        entries = await _lines_between(store, run, seen.line, to.line)
        messages += [ViewLog(run=run.known.id, entry=entry) for entry in entries]
    if to.layers > seen.layers and run.layers is not None:
        messages.append(ViewLayers(run=run.known.id, layers=run.layers))
    if to.status > seen.status:
        messages.append(Status(run=run.info))
    if to.runs > seen.runs:
        messages.append(Runs(runs=list(runs)))
    return _encoded(*messages)


async def _rows_between(store: Store, run: LiveRun, seq: int, last: int) -> Series:
    recent = run.rows_between(seq, last)
    if recent is not None:
        return Series(recent, exact=True)
    return await asyncio.to_thread(_history, store, run.known.id, seq, last)


async def _lines_between(store: Store, run: LiveRun, line: int, last: int) -> list[LogEntry]:
    kept = [entry for entry in run.lines if line < entry.n <= last]
    if len(kept) == last - line:
        return kept
    found = await asyncio.to_thread(store.lines, run.known.id, line, KEPT_LINES)
    return [entry for entry in found if entry.n <= last]


def _history(store: Store, run_id: str, seq: int, last: int) -> Series:
    return store.series(run_id, None, seq + 1, last, SNAPSHOT_POINTS)


def _encoded(*messages: Message) -> tuple[str, ...]:
    return tuple(message.model_dump_json() for message in messages)
