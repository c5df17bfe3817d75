import sqlite3
import threading

import pytest

from server.writer import QUEUED_WRITES, StoreError, Writer


@pytest.fixture
def database(tmp_path):
    db = sqlite3.connect(tmp_path / "w.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x INTEGER NOT NULL)")
    return db


@pytest.fixture
def writer(database):
    opened = Writer(database)
    yield opened
    opened.close()


def insert(value):
    return lambda db: db.execute("INSERT INTO t VALUES (?)", (value,)).rowcount


def stored(tmp_path):
    db = sqlite3.connect(tmp_path / "w.db")
    values = [value for (value,) in db.execute("SELECT x FROM t")]
    db.close()
    return values


class Gate:
    """A write that holds the writer until it is opened."""

    def __init__(self, writer):
        self._open = threading.Event()
        self._reached = threading.Event()
        self.done = writer.submit(self._wait)
        self._reached.wait(5)

    def _wait(self, _):
        self._reached.set()
        self._open.wait(5)

    def open(self):
        self._open.set()


def test_a_done_write_is_seen_by_other_connections(writer, tmp_path):
    """A future is done after the commit, with what the write returned."""
    assert writer.submit(insert(1)).result(5) == 1
    assert stored(tmp_path) == [1]


def test_writes_keep_their_order(writer, tmp_path):
    """What is handed in first is written first, through any number of transactions."""
    futures = [writer.submit(insert(value)) for value in range(700)]
    futures[-1].result(5)
    assert stored(tmp_path) == list(range(700))


def test_writes_that_wait_together_share_a_transaction(writer, database):
    """What queued up behind one transaction is committed by the next one, not one by one."""
    commits = []
    database.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    gate = Gate(writer)
    futures = [writer.submit(insert(value)) for value in range(100)]
    gate.open()
    futures[-1].result(5)
    database.set_trace_callback(None)
    assert len(commits) == 2


def test_a_write_that_refuses_harms_no_neighbour(writer, tmp_path):
    """An exception of one write is its own; the others of the transaction are committed."""

    def refuse(_):
        raise KeyError("no such run")

    gate = Gate(writer)
    futures = [writer.submit(insert(1)), writer.submit(refuse), writer.submit(insert(2))]
    gate.open()
    with pytest.raises(KeyError):
        futures[1].result(5)
    assert futures[2].result(5) == 1
    assert stored(tmp_path) == [1, 2]


def test_a_failing_disk_fails_the_whole_transaction(writer, tmp_path):
    """When SQLite fails, nothing of the transaction is kept, everybody in it is told, and the next one works again."""
    gate = Gate(writer)
    futures = [writer.submit(insert(1)), writer.submit(insert(None)), writer.submit(insert(2))]
    gate.open()
    for future in futures:
        with pytest.raises(StoreError, match=r"cannot be written.*NOT NULL"):
            future.result(5)
    writer.submit(insert(3)).result(5)
    assert stored(tmp_path) == [3]


def test_a_cancelled_write_does_not_happen_or_stop_the_writer(writer, tmp_path):
    """Who gives up before it is written leaves nothing; the writer goes on."""
    gate = Gate(writer)
    given_up, kept = writer.submit(insert(1)), writer.submit(insert(2))
    assert given_up.cancel()
    gate.open()
    kept.result(5)
    assert stored(tmp_path) == [2]


def test_the_queue_is_bounded(writer):
    """A disk that cannot keep up is an error for the next writer, not memory."""
    gate = Gate(writer)
    for value in range(QUEUED_WRITES):
        writer.submit(insert(value))
    with pytest.raises(StoreError, match="cannot keep up"):
        writer.submit(insert(-1))
    gate.open()


def test_close_writes_what_is_queued(database, tmp_path):
    """Nothing that was handed in before `close` is lost."""
    writer = Writer(database)
    for value in range(50):
        writer.submit(insert(value))
    writer.close()
    assert stored(tmp_path) == list(range(50))
