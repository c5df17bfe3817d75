"""Every run's history in one SQLite file.

Writes go through one thread (`server.writer`); each returns a future that is done once it is on the disk
(`synchronous=FULL`), so that what is acknowledged survives a killed server and a power cut. Readers have connections of
their own and never wait (WAL). The statements are in `server.sql`, the tables in `server.schema`.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from server.protocol import STEP_METRICS, Layers, LogEntry, Rows, RunInfo
from server.schema import lock, open_database
from server.sql import reading, writing
from server.wording import database_line
from server.writer import StoreError, Writer

CHUNK_ROWS = 4096  # read at a time by `chunks`
#: So many metrics are thinned to their own extremes each; more of them share the room, for each adds rows and a column.
UNSHARED_METRICS = 16


@dataclass(frozen=True)
class Series:
    """Rows of a range: all of them (`exact`), or those that matter."""

    rows: Rows
    exact: bool


class Store:
    """The database at `path`, opened and brought to the newest schema; one process at a time.

    Raises:
        StoreError: the file is in use by another server, damaged, from a newer version, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = opened.enter_context(closing(lock(path)))
                self._writer = Writer(open_database(path), chore=writing.purge_some)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(database_line(error, path, "open")) from error
            opened.pop_all()

    def close(self) -> None:
        """Write what is queued, then close."""
        self._writer.close()
        self._lock.close()

    # --- writing: the futures are done when the write is on the disk ---

    def save(self, run: RunInfo) -> "Future[None]":
        """Create a run, or update what is known of it."""
        return self._writer.submit(lambda db: writing.save_run(db, run))

    def append(self, run_id: str, rows: Rows) -> "Future[list[str]]":
        """Add rows, whose seqs rise. Those up to the run's last seq are passed over: the first of two stays.

        A run may have `writing.MAX_OWN_METRICS` metrics of the user's own; the future names those that are left out.
        """
        return self._writer.submit(lambda db: writing.append(db, reading.key_of(db, run_id), rows))

    def add_line(self, run: RunInfo, entry: LogEntry, note: int | None = None) -> "Future[None]":
        """Add a line to a run's log, together with what it changed about the run, or neither."""
        return self._writer.submit(lambda db: writing.add_line(db, run, entry, note))

    def add_layers(self, run_id: str, layers: Layers) -> "Future[None]":
        """Keep these as the run's newest per-layer numbers; older ones are thinned, so that they stay some hundred."""
        return self._writer.submit(lambda db: writing.add_layers(db, reading.key_of(db, run_id), layers))

    def mark_deleted(self, run_id: str, when: float | None) -> "Future[None]":
        """Remember that a run is deleted since `when` (None: it is not any more); it keeps all it has."""
        return self._writer.submit(lambda db: writing.mark_deleted(db, reading.key_of(db, run_id), when))

    def delete(self, run_id: str) -> "Future[None]":
        """Forget a run; its rows are cleared away bit by bit while nothing else is to be written."""
        return self._writer.submit(lambda db: writing.trash(db, reading.key_of(db, run_id)))

    @property
    def directory(self) -> Path:
        """Where the database is."""
        return self._path.parent

    @property
    def queued(self) -> int:
        """How many writes wait for the disk, about."""
        return self._writer.queued

    @property
    def spare_bytes(self) -> int:
        """Room in the file that deleted runs have left to new ones; the file itself does not shrink."""
        with self._reading() as db:
            return int(db.execute("PRAGMA freelist_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0])

    def check(self) -> "Future[None]":
        """Write something and take it back, to see whether the disk takes writes."""
        return self._writer.submit(writing.check)

    # --- reading: from any thread ---

    def run_ids(self) -> set[str]:
        """The ids that are taken, also by runs that cannot be read."""
        with self._reading() as db:
            return reading.run_ids(db)

    def runs(self) -> list[reading.StoredRun]:
        """All runs that can be read, oldest first; the others are named in the log."""
        with self._reading() as db:
            return reading.runs(db)

    def metrics(self, run_id: str) -> tuple[str, ...]:
        """The metrics that the run's rows may have: every run's, then the user's own."""
        with self._reading() as db:
            return (*STEP_METRICS, *reading.user_metrics(db, reading.key_of(db, run_id)))

    def chunks(self, run_id: str) -> Iterator[Rows]:
        """The whole run, some rows at a time."""
        seq = 0
        while len(chunk := self._chunk(run_id, seq)):
            yield chunk
            seq = chunk.seq[-1]

    def series(self, run_id: str, metrics: Sequence[str] | None, first: int, last: int, points: int) -> Series:
        """Rows with first <= seq <= last: all when they are at most `points`, else those that matter.

        The range is then cut into up to points / 2 bins, fewer when there are many metrics. A row stays if it holds its
        bin's minimum, maximum or first NaN, Infinity or -Infinity of one of the metrics (None: of any), and so do the
        first and the last row: no spike and no NaN is ever lost.
        """
        with self._reading() as db:
            key = reading.key_of(db, run_id)
            if not reading.more_than(db, key, first, last, points):
                return Series(reading.rows(db, key, metrics, reading.between(first, last)), exact=True)
            count = len(reading.logged_metrics(db, key, metrics))
            bins = int(points / 2 * min(1, (UNSHARED_METRICS / max(count, 1)) ** 2))
            seqs = reading.notable_seqs(db, key, metrics, first, last, max(bins, 1))
            return Series(reading.rows(db, key, metrics, reading.among(seqs)), exact=False)

    def newest(self, run_id: str, metric: str, first: int, last: int, count: int) -> list[float | None]:
        """One of every run's metrics at the newest `count` rows with first <= seq <= last, newest first."""
        with self._reading() as db:
            return reading.newest(db, reading.key_of(db, run_id), metric, reading.between(first, last), count)

    def lines(self, run_id: str, beyond: int = 0, newest: int = -1) -> list[LogEntry]:
        """Lines of the log after line `beyond`, at most the `newest` of them (-1: all), oldest first."""
        with self._reading() as db:
            return reading.lines(db, reading.key_of(db, run_id), beyond, newest)

    def layers(self, run_id: str, count: int) -> list[Layers]:
        """Per-layer numbers of at most `count` steps all over the run, the newest among them, oldest first."""
        with self._reading() as db:
            return reading.layers(db, reading.key_of(db, run_id), count)

    # --- inside ---

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one reading, which sees one state of the database throughout."""
        try:
            db = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None)
            with closing(db):
                db.execute("BEGIN")
                yield db
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(database_line(error, self._path, "read")) from error

    def _chunk(self, run_id: str, seq: int) -> Rows:
        with self._reading() as db:
            key = reading.key_of(db, run_id)
            return reading.rows(db, key, None, reading.between(seq + 1, reading.seq_after(db, key, seq, CHUNK_ROWS)))
