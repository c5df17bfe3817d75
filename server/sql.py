"""What `server.store` writes to the database and reads from it. No other module but `server.schema` knows SQL.

SQLite turns NaN into NULL, which here means "not logged": NaN is kept as the text 'NaN' (a REAL column lets pass what
is no number), infinities as they are.
"""

import json
import logging
import math
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from typing import Any, NamedTuple

from pydantic import ValidationError

from server.pictures import most_pictures, spaced
from server.protocol import DESCRIPTION, RESERVED_COLUMNS, STEP_METRICS, Layers, LogEntry, Rows, RunInfo
from server.rollup import Bin, Stretch, bin_of, completed, cover, grid, size, union
from server.rows import after, logged, make_rows
from server.wording import first_error_line
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

#: Of the user's own that a run may log: each takes its part of every batch's time on the only thread that writes.
MAX_OWN_METRICS = 256
PURGED_ROWS = 5000  # in one transaction: clearing a deleted run away must not hold up the living

#: What a union of bins is asked for, and how many seqs come first. SQLite: low_seq is that of min(low).
_PICKS = (
    ("low_seq, min(low)", 1),
    ("high_seq, max(high)", 1),
    ("min(nan_seq), min(positive_seq), min(negative_seq)", 3),
)

_BinRow = tuple[int | float | None, ...]  # a row of bins

_RUN_COLUMNS = ("id", "name", "note", "state", "reason", "cut_short", "created", "updated", "commands", "workload")


class UnknownRunError(StoreError):
    """There is no run of that id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}; GET /api/runs lists them")


@dataclass(frozen=True)
class StoredRun:
    """A run as it was left."""

    info: RunInfo  # its state as the trainer or the supervisor last said it
    last_note: int  # last of the trainer's notes, 0 if none
    deleted: float | None  # when a person deleted it, unix s


class Selection(NamedTuple):
    """Which rows, as a condition on seq."""

    condition: str
    parameters: tuple[Any, ...]


def between(first: int, last: int) -> Selection:
    """Rows with first <= seq <= last."""
    return Selection("seq BETWEEN ? AND ?", (first, last))


def among(seqs: set[int]) -> Selection:
    """Rows with these seqs."""
    return Selection("seq IN (SELECT value FROM json_each(?))", (json.dumps(sorted(seqs)),))


# --- writing ---


def key_of(db: sqlite3.Connection, run_id: str) -> int:
    """The number that stands for a run in the other tables; raises `UnknownRunError`."""
    row = db.execute("SELECT key FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownRunError(run_id)
    key: int = row[0]
    return key


def save_run(db: sqlite3.Connection, run: RunInfo) -> None:
    """Create a run or update it."""
    columns = _RUN_COLUMNS + DESCRIPTION
    db.execute(
        f"INSERT INTO runs ({', '.join(columns)}) VALUES ({_marks(len(columns))}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns)}",
        [getattr(run, name) for name in _RUN_COLUMNS] + [json.dumps(getattr(run, name)) for name in DESCRIPTION],
    )


def append(db: sqlite3.Connection, key: int, rows: Rows) -> list[str]:
    """Add the rows beyond the run's last one, and roll up the bins that they complete; metrics there is no room for."""
    before = _last_seq(db, key)
    rows = after(rows, before)
    if not len(rows):
        return []
    names = [*RESERVED_COLUMNS, *(name for name in STEP_METRICS if name in rows.metrics)]
    columns = dict(rows)
    db.executemany(
        f"INSERT INTO steps (run, {', '.join(names)}) VALUES (?, {_marks(len(names))})",
        zip(repeat(key, len(rows)), *(_stored(columns[name]) for name in names), strict=True),
    )
    metrics = _register(db, key, rows)
    for name in metrics.keys() & rows.metrics.keys() - set(STEP_METRICS):
        values = zip(rows.seq, _stored(rows.metrics[name]), strict=True)
        db.executemany(
            "INSERT INTO metric_values VALUES (?, ?, ?)",
            [(metrics[name], seq, value) for seq, value in values if value is not None],
        )
    for stretch in completed(before, rows.seq[-1]):
        _roll_up(db, key, metrics, stretch)
    return [name for name in logged(rows).metrics if name not in metrics]


def _register(db: sqlite3.Connection, key: int, rows: Rows) -> dict[str, int]:
    known = _metric_keys(db, key)
    if new := [name for name in logged(rows).metrics if name not in known]:
        own = [name for name in new if name not in STEP_METRICS]
        room = MAX_OWN_METRICS - len(known.keys() - set(STEP_METRICS))
        names = [*(name for name in new if name in STEP_METRICS), *own[:room]]
        db.executemany("INSERT INTO metrics (run, name) VALUES (?, ?)", [(key, name) for name in names])
        known = _metric_keys(db, key)
    return known


def _roll_up(db: sqlite3.Connection, key: int, metrics: dict[str, int], stretch: Stretch) -> None:
    if stretch.level == 1:
        made = _bins_of_rows(db, key, metrics, stretch)
    else:
        made = chain.from_iterable(_bins_of_bins(db, metric, stretch) for metric in metrics.values())
    db.executemany(f"INSERT INTO bins VALUES ({_marks(10)})", list(made))


def _bins_of_rows(db: sqlite3.Connection, key: int, metrics: dict[str, int], stretch: Stretch) -> Iterator[_BinRow]:
    found = rows(db, key, list(metrics), between(stretch.first, stretch.last))
    for first, part in _parts(found.seq, size(1)):
        for name, metric in metrics.items():
            bin_ = bin_of(found.seq[part], found.metrics[name][part])
            if bin_.seqs:
                yield (metric, 1, first, *bin_)


def _bins_of_bins(db: sqlite3.Connection, metric: int, stretch: Stretch) -> Iterator[_BinRow]:
    finer = db.execute(
        "SELECT first, low_seq, low, high_seq, high, nan_seq, positive_seq, negative_seq FROM bins "
        "WHERE metric = ? AND level = ? AND first BETWEEN ? AND ? ORDER BY first",
        (metric, stretch.level - 1, stretch.first, stretch.last),
    )
    width = size(stretch.level)
    for first, parts in groupby(finer, key=lambda row: row[0] // width * width):
        yield (metric, stretch.level, first, *union([Bin(*row[1:]) for row in parts]))


def _parts(seqs: Sequence[int], width: int) -> Iterator[tuple[int, slice]]:
    """Cut rising seqs at the multiples of `width`: each part's multiple, and where it is."""
    start = 0
    while start < len(seqs):
        first = seqs[start] // width * width
        stop = bisect_left(seqs, first + width, start)
        yield first, slice(start, stop)
        start = stop


def add_line(db: sqlite3.Connection, run: RunInfo, entry: LogEntry, note: int | None) -> None:
    """Add a line to a run's log and update the run."""
    save_run(db, run)
    line = (entry.n, note, entry.step, _stored([entry.time])[0], entry.kind, entry.text, json.dumps(entry.data))
    db.execute(f"INSERT INTO log VALUES ({_marks(8)})", (key_of(db, run.id), *line))


def add_layers(db: sqlite3.Connection, key: int, layers: Layers) -> None:
    """Keep the per-layer numbers of a step; those of later steps go, for the run was rolled back."""
    db.execute("DELETE FROM pictures WHERE run = ? AND step >= ?", (key, layers.step))
    db.execute("INSERT INTO pictures VALUES (?, ?, ?)", (key, layers.step, layers.model_dump_json()))
    steps = _pictured_steps(db, key)
    if len(steps) > (most := most_pictures(len(layers.norm))):
        gone = set(steps).difference(spaced(steps, most // 2))
        db.executemany("DELETE FROM pictures WHERE run = ? AND step = ?", [(key, step) for step in gone])


def _pictured_steps(db: sqlite3.Connection, key: int) -> list[int]:
    return [step for (step,) in db.execute("SELECT step FROM pictures WHERE run = ? ORDER BY step", (key,))]


def check(db: sqlite3.Connection) -> None:
    """Make the disk take a write that leaves nothing behind."""
    db.execute("INSERT INTO trash VALUES (-1)")
    db.execute("DELETE FROM trash WHERE run = -1")


# --- deleting ---


def mark_deleted(db: sqlite3.Connection, key: int, when: float | None) -> None:
    """Remember that a run is deleted (None: it is not any more); it keeps all it has."""
    db.execute("UPDATE runs SET deleted = ? WHERE key = ?", (when, key))


def trash(db: sqlite3.Connection, key: int) -> None:
    """Make a run unknown; `purge_some` clears away what it has."""
    db.execute("INSERT INTO trash VALUES (?)", (key,))
    db.execute("DELETE FROM runs WHERE key = ?", (key,))


def purge_some(db: sqlite3.Connection) -> bool:
    """Clear away some rows of a deleted run; False when there is nothing left to clear."""
    row = db.execute("SELECT run FROM trash").fetchone()
    if row is None:
        return False
    (run,) = row
    metrics = _metric_keys(db, run).values()
    tables = [("steps", "run, seq", run)]
    tables += [("metric_values", "metric, seq", metric) for metric in metrics]
    tables += [("bins", "metric, level, first", metric) for metric in metrics]
    if not any(_delete_some(db, *table) for table in tables):
        for table in ("metrics", "log", "pictures", "trash"):
            db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    return True


def _delete_some(db: sqlite3.Connection, table: str, primary_key: str, owner: int) -> int:
    some = f"SELECT {primary_key} FROM {table} WHERE {primary_key.split(',')[0]} = ? LIMIT {PURGED_ROWS}"
    return db.execute(f"DELETE FROM {table} WHERE ({primary_key}) IN ({some})", (owner,)).rowcount


# --- reading ---


def run_ids(db: sqlite3.Connection) -> set[str]:
    """The ids that are taken, also by runs that cannot be read."""
    return {run_id for (run_id,) in db.execute("SELECT id FROM runs")}


def runs(db: sqlite3.Connection) -> list[StoredRun]:
    """All runs, oldest first, but for those that make no sense: they cost nobody the others, and stay as they are."""
    names = (*_RUN_COLUMNS, *DESCRIPTION, "seq", "step")
    found = db.execute(
        f"""
        SELECT {", ".join(_RUN_COLUMNS + DESCRIPTION)},
            coalesce((SELECT max(seq) FROM steps WHERE run = key), 0),
            coalesce((SELECT step FROM steps WHERE run = key ORDER BY seq DESC LIMIT 1), 0),
            coalesce((SELECT max(note) FROM log WHERE run = key), 0),
            deleted
        FROM runs ORDER BY key
        """
    )
    read = (_stored_run(dict(zip(names, row, strict=False)), *row[-2:]) for row in found)
    return [run for run in read if run is not None]


def _stored_run(fields: dict[str, Any], last_note: int, deleted: float | None) -> StoredRun | None:
    try:
        info = RunInfo(**fields | {name: json.loads(fields[name]) for name in DESCRIPTION})
    except (TypeError, ValueError) as error:
        why = first_error_line(error.errors()) if isinstance(error, ValidationError) else error
        log.error("run %s cannot be read: it stays in the database, but is not shown (%s)", fields["id"], why)
        return None
    return StoredRun(info, last_note, deleted)


def lines(db: sqlite3.Connection, key: int, beyond: int, newest: int) -> list[LogEntry]:
    """The newest lines of a run's log after line `beyond`, oldest first; `newest` -1: all of them."""
    found = db.execute(
        "SELECT n, step, time, kind, text, data FROM log WHERE run = ? AND n > ? ORDER BY n DESC LIMIT ?",
        (key, beyond, newest),
    )
    return [
        LogEntry(n=n, step=step, time=time, kind=kind, text=text, data=json.loads(data))
        for n, step, time, kind, text, data in reversed(found.fetchall())
    ]


def layers(db: sqlite3.Connection, key: int, count: int) -> list[Layers]:
    """Per-layer numbers of at most `count` steps all over the run, the newest among them, oldest first."""
    statement = "SELECT message FROM pictures WHERE run = ? AND step IN (SELECT value FROM json_each(?)) ORDER BY step"
    found = db.execute(statement, (key, json.dumps(spaced(_pictured_steps(db, key), count))))
    return [Layers.model_validate_json(message) for (message,) in found]


def user_metrics(db: sqlite3.Connection, key: int) -> dict[str, int]:
    """The user's own metrics that a run has logged, in that order."""
    return {name: metric for name, metric in _metric_keys(db, key).items() if name not in STEP_METRICS}


def logged_metrics(db: sqlite3.Connection, key: int, metrics: Sequence[str] | None) -> dict[str, int]:
    """Those of the metrics (None: of all) that a run has logged."""
    return {name: metric for name, metric in _metric_keys(db, key).items() if metrics is None or name in metrics}


def rows(db: sqlite3.Connection, key: int, metrics: Sequence[str] | None, which: Selection) -> Rows:
    """Rows by seq, with these metrics (None: all)."""
    own = user_metrics(db, key)
    wanted = (*STEP_METRICS, *own) if metrics is None else metrics
    names = (*RESERVED_COLUMNS, *(name for name in STEP_METRICS if name in wanted))
    statement = f"SELECT {', '.join(names)} FROM steps WHERE run = ? AND {which.condition} ORDER BY seq"
    found = db.execute(statement, (key, *which.parameters)).fetchall()
    columns = {
        name: list(column) if name == "mode" else _loaded(column)
        for name, column in zip(names, zip(*found, strict=True) if found else repeat(()), strict=False)
    }
    for name in wanted:
        if name in own:
            statement = f"SELECT seq, value FROM metric_values WHERE metric = ? AND {which.condition}"
            values = dict(db.execute(statement, (own[name], *which.parameters)).fetchall())
            columns[name] = _loaded([values.get(seq) for seq in columns["seq"]])
    return make_rows(columns)


def newest(db: sqlite3.Connection, key: int, metric: str, which: Selection, count: int) -> list[float | None]:
    """One of the metrics that every step has, at the newest rows, newest first."""
    statement = f"SELECT {metric} FROM steps WHERE run = ? AND {which.condition} ORDER BY seq DESC LIMIT ?"
    return _loaded([value for (value,) in db.execute(statement, (key, *which.parameters, count))])


def more_than(db: sqlite3.Connection, key: int, first: int, last: int, count: int) -> bool:
    """Whether a range has more than so many rows."""
    statement = "SELECT 1 FROM steps WHERE run = ? AND seq BETWEEN ? AND ? LIMIT 1 OFFSET ?"
    return db.execute(statement, (key, first, last, count)).fetchone() is not None


def seq_after(db: sqlite3.Connection, key: int, seq: int, count: int) -> int:
    """The seq of the row that is `count` rows beyond `seq`, or of the last row."""
    beyond = "SELECT seq FROM steps WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
    return int(db.execute(f"SELECT coalesce(max(seq), 0) FROM ({beyond})", (key, seq, count)).fetchone()[0])


def notable_seqs(
    db: sqlite3.Connection, key: int, metrics: Sequence[str] | None, first: int, last: int, bins: int
) -> set[int]:
    """Seqs of the range's ends, and of each bin's minimum, maximum and first NaN and infinities of each metric."""
    first, last = (_end(db, key, which, first, last) for which in ("min", "max"))
    keys = logged_metrics(db, key, metrics)
    level, width = grid(first, last, bins)
    seqs = {first, last}
    for stretch in cover(first, last, level):
        if stretch.level == 0:
            seqs |= _notable_in_rows(rows(db, key, list(keys), between(stretch.first, stretch.last)), width)
        else:
            seqs.update(*(_notable_in_bins(db, metric, stretch, width) for metric in keys.values()))
    return seqs


def _notable_in_rows(found: Rows, width: int) -> set[int]:
    parts = [part for _, part in _parts(found.seq, width)]
    return {
        seq for values in found.metrics.values() for part in parts for seq in bin_of(found.seq[part], values[part]).seqs
    }


def _notable_in_bins(db: sqlite3.Connection, metric: int, stretch: Stretch, width: int) -> set[int]:
    seqs: set[int | None] = set()
    for pick, picked in _PICKS:
        found = db.execute(
            f"SELECT {pick} FROM bins WHERE metric = ? AND level = ? AND first BETWEEN ? AND ? GROUP BY first / ?",
            (metric, *stretch, width),
        )
        seqs.update(*(row[:picked] for row in found))
    return {seq for seq in seqs if seq is not None}


def _end(db: sqlite3.Connection, key: int, which: str, first: int, last: int) -> int:
    # One end a statement: asked for both at once, SQLite reads all rows between them.
    statement = f"SELECT {which}(seq) FROM steps WHERE run = ? AND seq BETWEEN ? AND ?"
    return int(db.execute(statement, (key, first, last)).fetchone()[0])


def _metric_keys(db: sqlite3.Connection, key: int) -> dict[str, int]:
    return dict(db.execute("SELECT name, key FROM metrics WHERE run = ? ORDER BY key", (key,)).fetchall())


def _last_seq(db: sqlite3.Connection, key: int) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM steps WHERE run = ?", (key,)).fetchone()[0])


# --- numbers ---


def _stored(column: Sequence[Any]) -> list[Any]:
    return [value if value == value else "NaN" for value in column]  # only NaN differs from itself


def _loaded(column: Sequence[Any]) -> list[Any]:
    return [math.nan if value == "NaN" else value for value in column] if "NaN" in column else list(column)


def _marks(count: int) -> str:
    return ", ".join("?" * count)
