"""What is written to the database."""

import json
import sqlite3
from collections.abc import Iterator
from itertools import chain, groupby, repeat

from server.pictures import most_pictures, spaced
from server.protocol import DESCRIPTION, RESERVED_COLUMNS, STEP_METRICS, Layers, LogEntry, Rows, RunInfo
from server.rollup import Bin, Stretch, bin_of, completed, cut, size, union
from server.rows import after, logged
from server.sql import reading
from server.sql.numbers import stored
from server.sql.reading import RUN_COLUMNS, key_of, last_seq, metric_keys, pictured_steps

#: Of the user's own that a run may log: each takes its part of every batch's time on the only thread that writes.
MAX_OWN_METRICS = 256
PURGED_ROWS = 5000  # in one transaction: clearing a deleted run away must not hold up the living

_BinRow = tuple[int | float | None, ...]  # a row of bins


def save_run(db: sqlite3.Connection, run: RunInfo) -> None:
    """Create a run or update it."""
    columns = RUN_COLUMNS + DESCRIPTION
    db.execute(
        f"INSERT INTO runs ({', '.join(columns)}) VALUES ({_marks(len(columns))}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns)}",
        [getattr(run, name) for name in RUN_COLUMNS] + [json.dumps(getattr(run, name)) for name in DESCRIPTION],
    )


def append(db: sqlite3.Connection, key: int, rows: Rows) -> list[str]:
    """Add the rows beyond the run's last one, and roll up the bins that they complete; metrics there is no room for."""
    before = last_seq(db, key)
    rows = after(rows, before)
    if not len(rows):
        return []
    names = [*RESERVED_COLUMNS, *(name for name in STEP_METRICS if name in rows.metrics)]
    columns = dict(rows)
    db.executemany(
        f"INSERT INTO steps (run, {', '.join(names)}) VALUES (?, {_marks(len(names))})",
        zip(repeat(key, len(rows)), *(stored(columns[name]) for name in names), strict=True),
    )
    metrics = _register(db, key, rows)
    for name in metrics.keys() & rows.metrics.keys() - set(STEP_METRICS):
        values = zip(rows.seq, stored(rows.metrics[name]), strict=True)
        db.executemany(
            "INSERT INTO metric_values VALUES (?, ?, ?)",
            [(metrics[name], seq, value) for seq, value in values if value is not None],
        )
    for stretch in completed(before, rows.seq[-1]):
        _roll_up(db, key, metrics, stretch)
    return [name for name in logged(rows).metrics if name not in metrics]


def _register(db: sqlite3.Connection, key: int, rows: Rows) -> dict[str, int]:
    known = metric_keys(db, key)
    if new := [name for name in logged(rows).metrics if name not in known]:
        own = [name for name in new if name not in STEP_METRICS]
        room = MAX_OWN_METRICS - len(known.keys() - set(STEP_METRICS))
        names = [*(name for name in new if name in STEP_METRICS), *own[:room]]
        db.executemany("INSERT INTO metrics (run, name) VALUES (?, ?)", [(key, name) for name in names])
        known = metric_keys(db, key)
    return known


def _roll_up(db: sqlite3.Connection, key: int, metrics: dict[str, int], stretch: Stretch) -> None:
    if stretch.level == 1:
        made = _bins_of_rows(db, key, metrics, stretch)
    else:
        made = chain.from_iterable(_bins_of_bins(db, metric, stretch) for metric in metrics.values())
    db.executemany(f"INSERT INTO bins VALUES ({_marks(10)})", list(made))


def _bins_of_rows(db: sqlite3.Connection, key: int, metrics: dict[str, int], stretch: Stretch) -> Iterator[_BinRow]:
    found = reading.rows(db, key, list(metrics), reading.between(stretch.first, stretch.last))
    for first, part in cut(found.seq, size(1)):
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


def add_line(db: sqlite3.Connection, run: RunInfo, entry: LogEntry, note: int | None) -> None:
    """Add a line to a run's log and update the run."""
    save_run(db, run)
    line = (entry.n, note, entry.step, stored([entry.time])[0], entry.kind, entry.text, json.dumps(entry.data))
    db.execute(f"INSERT INTO log VALUES ({_marks(8)})", (key_of(db, run.id), *line))


def add_layers(db: sqlite3.Connection, key: int, layers: Layers) -> None:
    """Keep the per-layer numbers of a step; those of later steps go, for the run was rolled back."""
    db.execute("DELETE FROM pictures WHERE run = ? AND step >= ?", (key, layers.step))
    db.execute("INSERT INTO pictures VALUES (?, ?, ?)", (key, layers.step, layers.model_dump_json()))
    steps = pictured_steps(db, key)
    if len(steps) > (most := most_pictures(len(layers.norm))):
        gone = set(steps).difference(spaced(steps, most // 2))
        db.executemany("DELETE FROM pictures WHERE run = ? AND step = ?", [(key, step) for step in gone])


def check(db: sqlite3.Connection) -> None:
    """Make the disk take a write that leaves nothing behind."""
    db.execute("INSERT INTO trash VALUES (-1)")
    db.execute("DELETE FROM trash WHERE run = -1")


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
    metrics = metric_keys(db, run).values()
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


def _marks(count: int) -> str:
    return ", ".join("?" * count)
