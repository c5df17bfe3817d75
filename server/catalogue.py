"""The runs there are: found by id, listed, deleted for a while, and forgotten when there are too many."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from server.live import KEPT_LINES, LiveRun
from server.protocol import RunInfo
from server.sql.reading import StoredRun, UnknownRunError
from server.store import Store
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

#: A deleted run can be brought back for so long.
RESTORABLE_S = 600.0
#: Between tries to forget a deleted run while the disk is full.
PURGE_RETRY_S = 60.0


class BusyRunError(Exception):
    """The run is in use and cannot be deleted."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is still being trained: stop it first, then delete it")


class Catalogue:
    """All runs of the store; iterated, those that are not deleted, oldest first.

    Args:
        store: where everything is kept.
        keep_runs: runs to keep; beyond that the oldest that are not in use are forgotten.
        on_change: called when the list of runs has changed.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, store: Store, keep_runs: int, on_change: Callable[[], None]) -> None:
        self._store = store
        self._keep_runs = keep_runs
        self._on_change = on_change
        self._runs = {stored.info.id: _load(store, stored) for stored in store.runs()}  # oldest first
        self._unreadable = store.run_ids() - self._runs.keys()
        self._purges: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[LiveRun]:
        return (run for run in self._runs.values() if run.deleted is None)

    @property
    def newest(self) -> LiveRun | None:
        """The newest run."""
        return next(reversed(list(self)), None)

    @property
    def brief(self) -> list[RunInfo]:
        """All runs in brief, newest first."""
        return [run.brief for run in reversed(list(self))]

    def run(self, run_id: str) -> LiveRun:
        """The run of that id.

        Raises:
            UnknownRunError: there is none, or it is deleted.
        """
        run = self._runs.get(run_id)
        if run is None or run.deleted is not None:
            raise UnknownRunError(run_id)
        return run

    async def take_up(self, info: RunInfo) -> LiveRun:
        """The run of that id: created as `info` says if there is none, brought back if it is deleted.

        Raises:
            StoreError: it could not be written, or what the store has of it cannot be read.
        """
        if info.id in self._unreadable:
            raise StoreError(f"what is stored of run {info.id!r} cannot be read, and nothing is added to it")
        while True:
            known = self._runs.get(info.id)
            run = known or await self._create(info)
            async with run.writing:  # so that nobody deletes or forgets it while it is taken up
                if self._runs.get(info.id) is not run:
                    continue  # somebody did while this waited
                if run.deleted is not None:
                    await self._mark(run, None)
                if run is not known:
                    await self._make_room()
                return run

    async def delete(self, run_id: str) -> None:
        """Let a run disappear; for `RESTORABLE_S` it can be brought back.

        Raises:
            UnknownRunError: there is no such run.
            BusyRunError: it is in use.
            StoreError: it could not be written.
        """
        async with self.run(run_id).writing:
            run = self.run(run_id)  # somebody may have been quicker
            if _in_use(run):
                raise BusyRunError(run_id)
            await self._mark(run, time.time())

    async def restore(self, run_id: str) -> LiveRun:
        """Bring a deleted run back; one that is there stays as it is.

        Raises:
            UnknownRunError: there is no such run, or it has been deleted for too long.
            StoreError: it could not be written.
        """
        if run_id not in self._runs:
            raise UnknownRunError(run_id)
        return await self.take_up(self._runs[run_id].known)

    def purge_in_time(self) -> None:
        """At the start: runs that were deleted before go when their time is over."""
        for run in self._runs.values():
            if run.deleted is not None:
                self._schedule(run, run.deleted)

    async def _create(self, info: RunInfo) -> LiveRun:
        await asyncio.wrap_future(self._store.save(info))
        run = self._runs.setdefault(info.id, LiveRun(info))
        self._on_change()
        return run

    async def _make_room(self) -> None:
        while len(listed := list(self)) > self._keep_runs and (old := next(filter(_idle, listed), None)):
            async with old.writing:
                if old in self and not _in_use(old):  # somebody may have waited for the lock before this did
                    await self._forget(old)

    async def _forget(self, run: LiveRun) -> None:
        await asyncio.wrap_future(self._store.delete(run.known.id))
        del self._runs[run.known.id]
        self._on_change()

    async def _mark(self, run: LiveRun, deleted: float | None) -> None:
        if purge := self._purges.pop(run.known.id, None):
            purge.cancel()
        await asyncio.wrap_future(self._store.mark_deleted(run.known.id, deleted))
        run.deleted = deleted
        if deleted is not None:
            self._schedule(run, deleted)
        self._on_change()

    def _schedule(self, run: LiveRun, deleted: float) -> None:
        left_s = deleted + RESTORABLE_S - time.time()
        self._purges[run.known.id] = asyncio.create_task(self._purge(run, left_s))

    async def _purge(self, run: LiveRun, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while not await self._purged(run):
            await asyncio.sleep(PURGE_RETRY_S)

    async def _purged(self, run: LiveRun) -> bool:
        run_id = run.known.id
        async with run.writing:
            try:
                await self._forget(run)
            except StoreError as error:
                log.error("run %s could not be purged, trying again in %.0f s: %s", run_id, PURGE_RETRY_S, error)
                return False
            del self._purges[run_id]
        return True


def _load(store: Store, stored: StoredRun) -> LiveRun:
    run_id = stored.info.id
    return LiveRun(
        stored.info,
        stored.last_note,
        stored.deleted,
        read_lines=lambda: store.lines(run_id, newest=KEPT_LINES),
        read_layers=lambda: next(iter(store.layers(run_id, 1)), None),
    )


def _idle(run: LiveRun) -> bool:
    """Whether nothing is done with the run, nor about to be; who takes it up holds its lock."""
    return not (_in_use(run) or run.writing.locked())


def _in_use(run: LiveRun) -> bool:
    """Whether somebody feeds the run, or a worker of this server is about to."""
    return run.trainer is not None or (run.known.workload is not None and not run.over)
