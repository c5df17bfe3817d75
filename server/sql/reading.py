"""What is read from the database."""

import json
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

from pydantic import ValidationError

from server.pictures import spaced
from server.protocol import DESCRIPTION, RESERVED_COLUMNS, STEP_METRICS, Layers, LogEntry, Rows, RunInfo
from server.rollup import Stretch, bin_of, cover, cut, grid
from server.rows import make_rows
from server.sql.numbers import loaded
from server.wording import first_error_line
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

#: What a union of bins is asked for, and how many seqs come first. SQLite: low_seq is that of min(low).
_PICKS = (
    ("low_seq, min(low)", 1),
    ("high_seq, max(high)", 1),
    ("min(nan_seq), min(positive_seq), min(negative_seq)", 3),
)

#: Of a run, as they are; beside them are those of `DESCRIPTION`, as JSON.
RUN_COLUMNS = ("id", "name", "note", "state", "reason", "cut_short", "created", "updated", "commands", "workload")


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


def key_of(db: sqlite3.Connection, run_id: str) -> int:
    """The number that stands for a run in the other tables; raises `UnknownRunError`."""
    row = db.execute("SELECT key FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownRunError(run_id)
    key: int = row[0]
    return key


def run_ids(db: sqlite3.Connection) -> set[str]:
    """The ids that are taken, also by runs that cannot be read."""
    return {run_id for (run_id,) in db.execute("SELECT id FROM runs")}


def runs(db: sqlite3.Connection) -> list[StoredRun]:
    """All runs, oldest first, but for those that make no sense: they cost nobody the others, and stay as they are."""
    names = (*RUN_COLUMNS, *DESCRIPTION, "seq", "step")
    found = db.execute(
        f"""
        SELECT {", ".join(RUN_COLUMNS + DESCRIPTION)},
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
    found = db.execute(statement, (key, json.dumps(spaced(pictured_steps(db, key), count))))
    return [Layers.model_validate_json(message) for (message,) in found]


def user_metrics(db: sqlite3.Connection, key: int) -> dict[str, int]:
    """The user's own metrics that a run has logged, in that order."""
    return {name: metric for name, metric in metric_keys(db, key).items() if name not in STEP_METRICS}


def logged_metrics(db: sqlite3.Connection, key: int, metrics: Sequence[str] | None) -> dict[str, int]:
    """Those of the metrics (None: of all) that a run has logged."""
    return {name: metric for name, metric in metric_keys(db, key).items() if metrics is None or name in metrics}


def rows(db: sqlite3.Connection, key: int, metrics: Sequence[str] | None, which: Selection) -> Rows:
    """Rows by seq, with these metrics (None: all)."""
    own = user_metrics(db, key)
    wanted = (*STEP_METRICS, *own) if metrics is None else metrics
    names = (*RESERVED_COLUMNS, *(name for name in STEP_METRICS if name in wanted))
    statement = f"SELECT {', '.join(names)} FROM steps WHERE run = ? AND {which.condition} ORDER BY seq"
    found = db.execute(statement, (key, *which.parameters)).fetchall()
    columns = {
        name: list(column) if name == "mode" else loaded(column)
        for name, column in zip(names, zip(*found, strict=True) if found else repeat(()), strict=False)
    }
    for name in wanted:
        if name in own:
            statement = f"SELECT seq, value FROM metric_values WHERE metric = ? AND {which.condition}"
            values = dict(db.execute(statement, (own[name], *which.parameters)).fetchall())
            columns[name] = loaded([values.get(seq) for seq in columns["seq"]])
    return make_rows(columns)


def newest(db: sqlite3.Connection, key: int, metric: str, which: Selection, count: int) -> list[float | None]:
    """One of the metrics that every step has, at the newest rows, newest first."""
    statement = f"SELECT {metric} FROM steps WHERE run = ? AND {which.condition} ORDER BY seq DESC LIMIT ?"
    return loaded([value for (value,) in db.execute(statement, (key, *which.parameters, count))])


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
    parts = [part for _, part in cut(found.seq, width)]
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


def metric_keys(db: sqlite3.Connection, key: int) -> dict[str, int]:
    """The numbers that stand for a run's metrics, in the order in which they were first logged."""
    return dict(db.execute("SELECT name, key FROM metrics WHERE run = ? ORDER BY key", (key,)).fetchall())


def last_seq(db: sqlite3.Connection, key: int) -> int:
    """The seq of a run's last row; 0 if it has none."""
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM steps WHERE run = ?", (key,)).fetchone()[0])


def pictured_steps(db: sqlite3.Connection, key: int) -> list[int]:
    """The steps of which there are per-layer numbers, oldest first."""
    return [step for (step,) in db.execute("SELECT step FROM pictures WHERE run = ? ORDER BY step", (key,))]
