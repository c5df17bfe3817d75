"""Group commit: one thread that owns a database connection and writes what others hand it."""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from server.metrics import COMMITS
from server.wording import database_line

T = TypeVar("T")

#: Waiting at most; who hands in more is told so at once, for the event loop must never block here.
QUEUED_WRITES = 1024
#: In one transaction at most, so that the first of them is not kept waiting.
GROUP_WRITES = 256


class StoreError(Exception):
    """The store cannot do it; the sentence says why and what helps."""


@dataclass(frozen=True, slots=True)
class _Write:
    apply: Callable[[sqlite3.Connection], Any]
    done: "Future[Any]"
    handed_in_at: float = field(default_factory=time.perf_counter)


class Writer:
    """Applies writes in order; those that queued up during one transaction share the next.

    Args:
        db: the only connection that writes; in autocommit mode, usable from any thread.
        chore: done bit by bit while no write waits, at first and after writes, until it says that nothing is left.
    """

    def __init__(self, db: sqlite3.Connection, chore: Callable[[sqlite3.Connection], bool] | None = None) -> None:
        self._db = db
        self._chore = chore
        self._path = Path(db.execute("PRAGMA database_list").fetchone()[2])
        self._queue: queue.Queue[_Write | None] = queue.Queue(QUEUED_WRITES)
        self._thread = threading.Thread(target=self._run, name="clipcore-writer", daemon=True)
        self._thread.start()

    def submit(self, apply: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queue a write. Its future gets the result of `apply` after the commit, or a `StoreError`.

        A write that fails leaves nothing behind and does not touch its neighbours, unless it is the disk that fails.

        Raises:
            StoreError: too many writes wait already.
        """
        write = _Write(apply, Future())
        try:
            self._queue.put_nowait(write)
        except queue.Full:
            raise StoreError(f"the disk cannot keep up: {QUEUED_WRITES:,} writes are waiting") from None
        return write.done

    @property
    def queued(self) -> int:
        """How many writes wait, about."""
        return self._queue.qsize()

    def close(self) -> None:
        """Write all that is queued, then end the thread and close the connection."""
        self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        ended = False
        while not ended:
            while self._chore and self._queue.empty() and self._do(self._chore):
                pass
            group = [self._queue.get()]
            while len(group) < GROUP_WRITES and not self._queue.empty():
                group.append(self._queue.get())
            ended = None in group
            # From here on nobody can cancel what is written; what was cancelled while it waited is left out.
            self._commit([write for write in group if write and write.done.set_running_or_notify_cancel()])

    def _do(self, chore: Callable[[sqlite3.Connection], bool]) -> bool:
        """A bit of it; whether there is more. A disk that fails will fail the next write, too, which is told."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            left = chore(self._db)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            return False
        return left

    def _commit(self, group: list[_Write]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(write) for write in group]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            outcomes = [self._explained(error)] * len(group)
        for write, outcome in zip(group, outcomes, strict=True):
            COMMITS.observe(time.perf_counter() - write.handed_in_at)
            if isinstance(outcome, Exception):
                write.done.set_exception(outcome)
            else:
                write.done.set_result(outcome)

    def _apply(self, write: _Write) -> Any:
        """What the write returns, or the exception that it ends with."""
        self._db.execute("SAVEPOINT one")
        try:
            outcome = write.apply(self._db)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has given up the transaction: the disk is full, or worse
            self._db.execute("ROLLBACK TO one")
            outcome = self._explained(error)
        self._db.execute("RELEASE one")
        return outcome

    def _explained(self, error: Exception) -> Exception:
        is_the_databases = isinstance(error, sqlite3.Error | ValueError)
        return StoreError(database_line(error, self._path, "write")) if is_the_databases else error
