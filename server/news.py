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

#: Rows that memory does not hold any more are thinned as for a chart this wide.
POINTS = 1000

Texts = tuple[str, ...]


async def snapshot(
    store: Store, run: LiveRun | None, runs: Sequence[RunInfo], since: int | None, to: Position, *, read_only: bool
) -> Texts:
    """The run up to `to`: beyond row `since` if the run has come so far, else from the start."""
    if run is None:
        return _encoded(Snapshot(run=None, runs=list(runs), read_only=read_only))
    start = since if since is not None and since <= to.seq else None
    info, lines, layers = run.info, [line for line in run.lines if line.n <= to.line], run.layers

    def encode(found: Series) -> Texts:
        return _encoded(
            Snapshot(
                run=info,
                rows=logged(found.rows),
                exact=found.exact,
                resumed=start is not None,
                log=lines,
                layers=layers,
                runs=list(runs),
                read_only=read_only,
            )
        )

    rows = run.rows_between(start or 0, to.seq)
    if rows is not None:
        return encode(Series(rows, exact=True))
    return await asyncio.to_thread(lambda: encode(_history(store, run, start or 0, to.seq)))


def list_text(runs: Sequence[RunInfo]) -> str:
    """The list of runs as a message."""
    return Runs(runs=list(runs)).model_dump_json()


def recent(run: LiveRun | None, runs: Texts, seen: Position, to: Position) -> Texts | None:
    """What brings a viewer from `seen` to `to`, made of what is in memory; None when that is not enough.

    `runs` is the message with the list of runs, if that is news.
    """
    if run is None:
        return runs
    rows, lines = run.rows_between(seen.seq, to.seq), run.lines_between(seen.line, to.line)
    if rows is None or lines is None:
        return None
    return _messages(run, seen, to, Series(rows, exact=True), lines) + runs


async def older(store: Store, run: LiveRun, runs: Texts, seen: Position, to: Position) -> Texts:
    """What brings a viewer from `seen` to `to`, with the store's help; `runs` as for `recent`."""
    rows = await asyncio.to_thread(_history, store, run, seen.seq, to.seq)
    lines = await asyncio.to_thread(store.lines, run.known.id, seen.line, KEPT_LINES)
    return _messages(run, seen, to, rows, [line for line in lines if line.n <= to.line]) + runs


def _messages(run: LiveRun, seen: Position, to: Position, found: Series, lines: Sequence[LogEntry]) -> Texts:
    """Rows come first, for the log speaks of them."""
    run_id = run.known.id
    messages: list[Message] = []
    if to.seq > seen.seq:
        messages.append(ViewSteps(run=run_id, rows=logged(found.rows), exact=found.exact))
    messages += [ViewLog(run=run_id, entry=line) for line in lines]
    if to.layers > seen.layers and run.layers is not None:
        messages.append(ViewLayers(run=run_id, layers=run.layers))
    if to.status > seen.status:
        messages.append(Status(run=run.info))
    return _encoded(*messages)


def _history(store: Store, run: LiveRun, seq: int, last: int) -> Series:
    return store.series(run.known.id, None, seq + 1, last, POINTS)


def _encoded(*messages: Message) -> Texts:
    return tuple(message.model_dump_json() for message in messages)
