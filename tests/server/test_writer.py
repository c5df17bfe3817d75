import sqlite3
import threading
from contextlib import closing

import pytest

from server.writer import QUEUED_WRITES, StoreError, Writer
from tests.server.site import until


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


def insert(value, times=1):
    return lambda db: db.executemany("INSERT INTO t VALUES (?)", [(value,)] * times).rowcount


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


def refuse(db):
    db.execute("INSERT INTO t VALUES (-1)")
    raise KeyError("no such run")


def violate(db):
    db.execute("INSERT INTO t VALUES (-1)")
    db.execute("INSERT INTO t VALUES (NULL)")


@pytest.mark.parametrize(("write", "error", "sentence"), [(refuse, KeyError, "run"), (violate, StoreError, "NOT NULL")])
def test_a_write_that_fails_harms_no_neighbour(writer, tmp_path, write, error, sentence):
    """What one write raises is its own, and nothing of it is kept; the others of the transaction are committed."""
    gate = Gate(writer)
    futures = [writer.submit(insert(1)), writer.submit(write), writer.submit(insert(2))]
    gate.open()
    with pytest.raises(error, match=sentence):
        futures[1].result(5)
    assert futures[2].result(5) == 1
    assert stored(tmp_path) == [1, 2]


def test_a_full_disk_is_told_to_all_who_are_not_on_it(writer, database, tmp_path):
    """When there is no room, what was not committed is an error for whoever waits; with room it goes on."""
    writer.submit(insert(1)).result(5)
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    filling = [writer.submit(insert(value, times=200)) for value in range(2, 50)]
    with pytest.raises(StoreError, match=r"cannot write the database .*w\.db: database or disk is full"):
        filling[-1].result(5)
    kept = [value for value, future in enumerate(filling, start=2) for _ in range(200) if not future.exception()]
    assert stored(tmp_path) == [1, *kept]
    database.execute("PRAGMA max_page_count = 1000000")
    writer.submit(insert(-1)).result(5)
    assert stored(tmp_path) == [1, *kept, -1]


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


def test_a_chore_is_done_whenever_no_write_waits(database, tmp_path):
    """Bit by bit, at first and after every write, until nothing is left to do; a bit that fails is tried again."""
    left, bits = [3], []

    def chore(db):
        bits.append(left[0])
        if left[0] == 2 and bits.count(2) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        if left[0]:
            insert(left[0])(db)
            left[0] -= 1
        return left[0] > 0

    with closing(Writer(database, chore)) as writer:
        until(lambda: bits == [3, 2])
        writer.submit(insert(10)).result(5)
        until(lambda: left == [0])
        left[0] = 1
        writer.submit(insert(20)).result(5)
        until(lambda: left == [0])
    assert sorted(stored(tmp_path)) == [1, 1, 2, 3, 10, 20]


def test_a_write_does_not_wait_for_the_rest_of_a_chore(database):
    """However long that is, the next bit comes after what has been handed in meanwhile."""
    with closing(Writer(database, lambda _: True)) as writer:
        for value in range(20):
            writer.submit(insert(value)).result(5)
