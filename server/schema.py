"""What the database looks like, and how it is opened: locked for one process, brought to the newest schema."""

import sqlite3
from pathlib import Path

from server.writer import StoreError

_SCHEMA_1 = """
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
    threshold REAL,                         -- from here on protocol.STEP_METRICS; a new one takes a migration
    norm REAL,
    clipped_norm REAL,
    coef REAL,
    clamped REAL,
    clamped_fraction REAL,
    clipped_tensors REAL,
    nonfinite REAL,
    max_abs REAL,
    skipped REAL,
    loss REAL,
    lr REAL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE metrics (                      -- that a run has logged
    key INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (run, name)
);
CREATE TABLE metric_values (                -- of the user's own metrics, which steps has no column for
    metric INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (metric, seq)
) WITHOUT ROWID;
CREATE TABLE bins (                         -- server/rollup.py says what for
    metric INTEGER NOT NULL,
    level INTEGER NOT NULL,
    first INTEGER NOT NULL,                 -- seq
    low_seq INTEGER,
    low REAL,
    high_seq INTEGER,
    high REAL,
    odd_seq INTEGER,
    PRIMARY KEY (metric, level, first)
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

_SCHEMA_2 = """
CREATE TABLE pictures (                     -- per-layer numbers of some steps, thinned as they become many
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    message TEXT NOT NULL,                  -- JSON, as it came over the wire
    PRIMARY KEY (run, step)
);
INSERT INTO pictures SELECT run, json_extract(message, '$.step'), message FROM layers;
DROP TABLE layers;
"""

_SCHEMA_3 = """
ALTER TABLE runs ADD COLUMN knobs TEXT NOT NULL DEFAULT '{}';
ALTER TABLE runs ADD COLUMN sizes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN deleted REAL;  -- unix s; NULL: it is not
"""

_SCHEMA_4 = """
ALTER TABLE bins RENAME COLUMN odd_seq TO nan_seq;  -- of bins made before: first of any non-finite value
ALTER TABLE bins ADD COLUMN positive_seq INTEGER;   -- first Infinity
ALTER TABLE bins ADD COLUMN negative_seq INTEGER;   -- first -Infinity
"""

_SCHEMA_5 = """
ALTER TABLE runs ADD COLUMN cut_short INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET cut_short = 1 WHERE state = 'stopped' AND reason LIKE 'the server ended%';
"""

#: Script n brings a database from `user_version` n to n + 1.
MIGRATIONS = (_SCHEMA_1, _SCHEMA_2, _SCHEMA_3, _SCHEMA_4, _SCHEMA_5)


def lock(path: Path) -> sqlite3.Connection:
    """Hold the database for this process; the operating system lets go of it however the process ends."""
    db = sqlite3.connect(path.with_name(f"{path.name}.lock"), timeout=0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        db.close()
        raise StoreError(
            f"the database {path} is in use by another clipcore server: stop that one, "
            "or give this one a directory of its own with CLIPCORE_DATA_DIR"
        ) from None
    return db


def open_database(path: Path) -> sqlite3.Connection:
    """The connection that writes, with the newest schema."""
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
