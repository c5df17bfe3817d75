"""Every run's history in one SQLite file. All SQL of the project is here, behind `Store`.

Writes go through one thread (`server.writer`); each returns a future that is done once it is on the disk
(`synchronous=FULL`), so that what is acknowledged survives a killed server and a power cut. Readers have connections of
their own and never wait (WAL).

SQLite turns NaN into NULL, which here means "not logged": NaN is kept as the text 'NaN' (a REAL column lets pass what
is no number), infinities as they are.
"""

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.protocol import STEP_METRICS, Layers, LogEntry, Rows, RunInfo
from server.rows import extremes, make_rows
from server.writer import StoreError, Writer

PURGED_ROWS = 5000  # in one transaction: clearing a deleted run away must not hold up the living
CHUNK_ROWS = 4096  # read at a time by `chunks`

_SCHEMA_1 = f"""
CREATE TABLE runs (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: rows of a deleted run may still be there
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    commands INTEGER NOT NULL,
    workload TEXT,
    config TEXT NOT NULL,                   -- JSON, as are the next two
    control TEXT NOT NULL,
    layers TEXT NOT NULL
);
CREATE TABLE steps (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    mode TEXT NOT NULL,
    {", ".join(f"{name} REAL" for name in STEP_METRICS)},
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE metrics (                      -- the user's own
    key INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (run, name)
);
CREATE TABLE metric_values (
    metric INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (metric, seq)
) WITHOUT ROWID;
CREATE TABLE log (
    run INTEGER NOT NULL,
    n INTEGER NOT NULL,
    note INTEGER,                           -- the trainer's own number; NULL: a line of the server's
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL,                     -- JSON
    PRIMARY KEY (run, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX log_notes ON log (run, note);
CREATE TABLE layers (run INTEGER PRIMARY KEY, message TEXT NOT NULL);
CREATE TABLE trash (run INTEGER PRIMARY KEY);  -- deleted runs that still have rows
"""

#: Script n brings a database from `user_version` n to n + 1.
MIGRATIONS = (_SCHEMA_1,)


class UnknownRunError(StoreError):
    """There is no run of that id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}; GET /api/runs lists them")


@dataclass(frozen=True)
class StoredRun:
    """A run as it was left."""

    info: RunInfo  # its state as the trainer or the supervisor last said it
    note: int  # last of the trainer's notes, 0 if none


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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            self._writer = Writer(_open(path))
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreError(f"cannot open the database {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"the database {path} is damaged ({error}): move it away or restore a copy") from error
        self._writer.submit(self._purge)

    def close(self) -> None:
        """Write what is queued, then close."""
        self._writer.close()
        self._lock.close()

    # --- writing: the futures are done when the write is on the disk ---

    def save(self, run: RunInfo) -> "Future[None]":
        """Create a run, or update what is known of it."""
        return self._writer.submit(lambda db: _save(db, run))

    def append(self, run_id: str, rows: Rows) -> "Future[None]":
        """Add rows; of two rows with one seq the first stays."""
        return self._writer.submit(lambda db: _append(db, _key(db, run_id), rows))

    def add_line(self, run: RunInfo, entry: LogEntry, note: int | None = None) -> "Future[None]":
        """Add a line to a run's log, together with what it changed about the run, or neither."""
        return self._writer.submit(lambda db: _add_line(db, run, entry, note))

    def set_layers(self, run_id: str, layers: Layers) -> "Future[None]":
        """Keep these as the run's newest per-layer numbers."""
        return self._writer.submit(lambda db: _set_layers(db, _key(db, run_id), layers))

    def delete(self, run_id: str) -> "Future[None]":
        """Forget a run; its rows are cleared away bit by bit afterwards."""
        deleted = self._writer.submit(lambda db: _delete(db, _key(db, run_id)))
        self._writer.submit(self._purge)
        return deleted

    def check(self) -> "Future[None]":
        """Write something and take it back, to see whether the disk takes writes."""
        return self._writer.submit(_check)

    # --- reading: from any thread ---

    def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        with self._reading() as db:
            return [_stored_run(row) for row in db.execute(_SELECT_RUNS)]

    def metrics(self, run_id: str) -> tuple[str, ...]:
        """The metrics that the run's rows may have: every run's, then the user's own."""
        with self._reading() as db:
            return (*STEP_METRICS, *_user_metrics(db, _key(db, run_id)))

    def rows(self, run_id: str, first: int, last: int) -> Rows:
        """All rows with first <= seq <= last."""
        with self._reading() as db:
            return _select_rows(db, _key(db, run_id), None, *_between(first, last))

    def chunks(self, run_id: str) -> Iterator[Rows]:
        """The whole run, some rows at a time."""
        seq = 0
        while (last := self._chunk_end(run_id, seq)) is not None:
            yield self.rows(run_id, seq + 1, last)
            seq = last

    def series(self, run_id: str, metrics: Sequence[str] | None, first: int, last: int, points: int) -> Series:
        """Rows with first <= seq <= last: all when they are at most `points`, else those that matter.

        The range is then cut into points / 2 bins. A row stays if it holds its bin's minimum, maximum or first
        non-finite value of one of the metrics (None: of any), and so do the first and the last row: no spike and no
        NaN is ever lost.
        """
        with self._reading() as db:
            key = _key(db, run_id)
            if _at_most(db, key, first, last, points):
                return Series(_select_rows(db, key, metrics, *_between(first, last)), exact=True)
            seqs = _notable(db, key, metrics, first, last, max(points // 2, 1))
            return Series(_select_rows(db, key, metrics, *_among(seqs)), exact=False)

    def lines(self, run_id: str, beyond: int = 0, newest: int = -1) -> list[LogEntry]:
        """Lines of the log after line `beyond`, at most the `newest` of them (-1: all), oldest first."""
        with self._reading() as db:
            found = db.execute(_SELECT_LINES, (_key(db, run_id), beyond, newest)).fetchall()
        return [_log_entry(row) for row in reversed(found)]

    def layers(self, run_id: str) -> Layers | None:
        """The run's newest per-layer numbers."""
        with self._reading() as db:
            row = db.execute("SELECT message FROM layers WHERE run = ?", (_key(db, run_id),)).fetchone()
        return Layers.model_validate_json(row[0]) if row else None

    # --- inside ---

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one reading, which sees one state of the database throughout."""
        db = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None)
        try:
            db.execute("BEGIN")
            yield db
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the database {self._path}: {error}") from error
        finally:
            db.close()

    def _chunk_end(self, run_id: str, seq: int) -> int | None:
        query = "SELECT max(seq) FROM (SELECT seq FROM steps WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?)"
        with self._reading() as db:
            last: int | None = db.execute(query, (_key(db, run_id), seq, CHUNK_ROWS)).fetchone()[0]
        return last

    def _purge(self, db: sqlite3.Connection) -> None:
        if _purge_some(db):
            self._writer.submit(self._purge)


# --- opening ---


def _lock(path: Path) -> sqlite3.Connection:
    """Hold the database for this process; the operating system lets go of it however the process ends."""
    lock = sqlite3.connect(
        path.with_name(path.name + ".lock"), timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise StoreError(
            f"the database {path} is in use by another clipcore server: stop that one, "
            "or give this one a directory of its own with CLIPCORE_DATA_DIR"
        ) from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database {path} was written by a newer clipcore (schema {version}, known here: {len(MIGRATIONS)}): "
            "update clipcore, or choose another CLIPCORE_DATA_DIR"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")


# --- writing ---


def _key(db: sqlite3.Connection, run_id: str) -> int:
    row = db.execute("SELECT key FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownRunError(run_id)
    key: int = row[0]
    return key


def _save(db: sqlite3.Connection, run: RunInfo) -> None:
    columns = ("id", "name", "state", "reason", "created", "updated", "commands", "workload")
    documents = ("config", "control", "layers")
    db.execute(
        f"INSERT INTO runs ({', '.join(columns + documents)}) VALUES ({_marks(len(columns + documents))}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns + documents)}",
        [getattr(run, name) for name in columns] + [json.dumps(getattr(run, name)) for name in documents],
    )


def _append(db: sqlite3.Connection, key: int, rows: Rows) -> None:
    empty = [None] * len(rows)
    columns = [rows.seq, rows.step, _stored(rows.time), rows.mode]
    columns += [_stored(rows.metrics.get(name, empty)) for name in STEP_METRICS]
    db.executemany(
        f"INSERT OR IGNORE INTO steps VALUES (?, {_marks(len(columns))})", zip([key] * len(rows), *columns, strict=True)
    )
    for name in rows.metrics.keys() - set(STEP_METRICS):
        db.execute("INSERT OR IGNORE INTO metrics (run, name) VALUES (?, ?)", (key, name))
    for name, metric in _user_metrics(db, key).items():
        values = zip(rows.seq, _stored(rows.metrics.get(name, empty)), strict=True)
        db.executemany(
            "INSERT OR IGNORE INTO metric_values VALUES (?, ?, ?)",
            [(metric, seq, value) for seq, value in values if value is not None],
        )


def _add_line(db: sqlite3.Connection, run: RunInfo, entry: LogEntry, note: int | None) -> None:
    _save(db, run)
    db.execute(
        f"INSERT OR IGNORE INTO log VALUES ({_marks(8)})",
        (
            _key(db, run.id),
            entry.n,
            note,
            entry.step,
            _number(entry.time),
            entry.kind,
            entry.text,
            json.dumps(entry.data),
        ),
    )


def _set_layers(db: sqlite3.Connection, key: int, layers: Layers) -> None:
    db.execute("INSERT OR REPLACE INTO layers VALUES (?, ?)", (key, layers.model_dump_json()))


def _delete(db: sqlite3.Connection, key: int) -> None:
    db.execute("INSERT INTO trash VALUES (?)", (key,))
    db.execute("DELETE FROM runs WHERE key = ?", (key,))


def _purge_some(db: sqlite3.Connection) -> bool:
    """Clear away some rows of a deleted run; True while there may be more."""
    row = db.execute("SELECT run FROM trash").fetchone()
    if row is None:
        return False
    (run,) = row
    tables = [("steps", "run", run), *(("metric_values", "metric", key) for key in _user_metrics(db, run).values())]
    if any(_delete_some(db, *table) for table in tables):
        return True
    for table in ("metrics", "log", "layers", "trash"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    return True


def _delete_some(db: sqlite3.Connection, table: str, column: str, key: int) -> int:
    keep = f"SELECT seq FROM {table} WHERE {column} = :key ORDER BY seq LIMIT 1 OFFSET {PURGED_ROWS}"
    return db.execute(
        f"DELETE FROM {table} WHERE {column} = :key AND seq < coalesce(({keep}), 9e18)", {"key": key}
    ).rowcount


def _check(db: sqlite3.Connection) -> None:
    db.execute("INSERT OR REPLACE INTO trash VALUES (-1)")
    db.execute("DELETE FROM trash WHERE run = -1")


# --- reading ---

_SELECT_RUNS = """
SELECT id, name, state, reason, created, updated, commands, workload, config, control, layers,
    coalesce((SELECT max(seq) FROM steps WHERE run = key), 0) AS seq,
    coalesce((SELECT step FROM steps WHERE run = key ORDER BY seq DESC LIMIT 1), 0) AS step,
    coalesce((SELECT max(note) FROM log WHERE run = key), 0) AS note
FROM runs ORDER BY key
"""
_SELECT_LINES = """
SELECT n, step, time, kind, text, data FROM log WHERE run = ? AND n > ? ORDER BY n DESC LIMIT ?
"""


def _stored_run(row: tuple[Any, ...]) -> StoredRun:
    names = (
        "id",
        "name",
        "state",
        "reason",
        "created",
        "updated",
        "commands",
        "workload",
        "config",
        "control",
        "layers",
    )
    fields = dict(zip((*names, "seq", "step"), row, strict=False))
    for name in ("config", "control", "layers"):
        fields[name] = json.loads(fields[name])
    return StoredRun(RunInfo(**fields), note=row[-1])


def _log_entry(row: tuple[Any, ...]) -> LogEntry:
    n, step, time, kind, text, data = row
    return LogEntry(n=n, step=step, time=time, kind=kind, text=text, data=json.loads(data))


def _user_metrics(db: sqlite3.Connection, key: int) -> dict[str, int]:
    return dict(db.execute("SELECT name, key FROM metrics WHERE run = ? ORDER BY key", (key,)).fetchall())


def _between(first: int, last: int) -> tuple[str, tuple[Any, ...]]:
    return "seq BETWEEN ? AND ?", (first, last)


def _among(seqs: set[int]) -> tuple[str, tuple[Any, ...]]:
    return "seq IN (SELECT value FROM json_each(?))", (json.dumps(sorted(seqs)),)


def _select_rows(
    db: sqlite3.Connection, key: int, metrics: Sequence[str] | None, where: str, parameters: tuple[Any, ...]
) -> Rows:
    own = _user_metrics(db, key)
    if metrics is None:
        metrics = (*STEP_METRICS, *own)
    names = ("seq", "step", "time", "mode", *(name for name in STEP_METRICS if name in metrics))
    found = db.execute(
        f"SELECT {', '.join(names)} FROM steps WHERE run = ? AND {where} ORDER BY seq", (key, *parameters)
    ).fetchall()
    columns = dict(zip(names, map(_loaded, zip(*found, strict=True)), strict=True)) if found else {n: [] for n in names}
    for name in metrics:
        if name in own:
            values = db.execute(
                f"SELECT seq, value FROM metric_values WHERE metric = ? AND {where}", (own[name], *parameters)
            )
            logged = dict(values.fetchall())
            columns[name] = _loaded([logged.get(seq) for seq in columns["seq"]])
    return make_rows(columns)


def _at_most(db: sqlite3.Connection, key: int, first: int, last: int, rows: int) -> bool:
    query = "SELECT 1 FROM steps WHERE run = ? AND seq BETWEEN ? AND ? LIMIT 1 OFFSET ?"
    return db.execute(query, (key, first, last, rows)).fetchone() is None


def _notable(
    db: sqlite3.Connection, key: int, metrics: Sequence[str] | None, first: int, last: int, bins: int
) -> set[int]:
    """Seqs of the rows that hold a bin's minimum, maximum or first non-finite value; the first and the last row."""
    ends = "SELECT min(seq), max(seq) FROM steps WHERE run = ? AND seq BETWEEN ? AND ?"
    first, last = db.execute(ends, (key, first, last)).fetchone()
    seqs = {first, last}
    bounds = [first + (last + 1 - first) * index // bins for index in range(bins + 1)]
    for lower, upper in pairwise(bounds):
        rows = _select_rows(db, key, metrics, *_between(lower, upper - 1))
        for column in rows.metrics.values():
            seqs.update(rows.seq[index] for index in extremes(column))
    return seqs


# --- numbers: NaN is the text 'NaN' in the database ---


def _number(value: float) -> float | str:
    return value if value == value else "NaN"  # only NaN differs from itself


def _stored(column: Sequence[float | None]) -> Sequence[float | str | None]:
    return [value if value == value else "NaN" for value in column]


def _loaded(column: Sequence[Any]) -> list[Any]:
    return [math.nan if value == "NaN" else value for value in column] if "NaN" in column else list(column)


def _marks(count: int) -> str:
    return ", ".join("?" * count)
