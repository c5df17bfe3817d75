import pytest

from server.live import KEPT_LINES, RING_ROWS, LiveRun
from server.protocol import LogEntry, RunInfo
from server.rows import make_rows


class Watcher:
    """A viewer, as far as a run is concerned."""

    def __init__(self):
        self.woken = 0

    def wake(self):
        self.woken += 1


def rows(first, last):
    seqs = list(range(first, last + 1))
    return make_rows({"seq": seqs, "step": seqs, "time": seqs, "mode": ["norm"] * len(seqs)})


@pytest.fixture
def run():
    return LiveRun(RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0))


def seqs_between(run, seq, last):
    found = run.rows_between(seq, last)
    return None if found is None else found.seq


def test_the_ring_gives_any_range_it_holds(run):
    """Ranges begin and end anywhere, within a batch or across several."""
    for first, last in ((1, 3), (4, 4), (7, 9)):
        run.add_rows(rows(first, last))
    assert seqs_between(run, 0, 9) == [1, 2, 3, 4, 7, 8, 9]
    assert seqs_between(run, 2, 8) == [3, 4, 7, 8]
    assert seqs_between(run, 3, 4) == [4]


def test_the_ring_forgets_the_oldest(run):
    """At most so many rows are kept; a range that reaches further back is for the store."""
    for first in range(1, RING_ROWS + 200, 100):
        run.add_rows(rows(first, first + 99))
    last = run.known.seq
    assert seqs_between(run, 0, last) is None
    assert seqs_between(run, last - RING_ROWS - 1, last) is None
    kept = seqs_between(run, last - RING_ROWS + 100, last)
    assert kept[0] == last - RING_ROWS + 101
    assert kept[-1] == last


def test_a_loaded_run_has_an_empty_ring():
    """After a restart what came before is in the store only; what comes now is in the ring."""
    run = LiveRun(RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0, seq=100))
    run.add_rows(rows(101, 105))
    assert seqs_between(run, 99, 105) is None
    assert seqs_between(run, 100, 105) == [101, 102, 103, 104, 105]


def test_viewers_are_woken_by_news_only(run):
    """Publishing what is published already wakes nobody."""
    run.viewers.add(watcher := Watcher())
    run.publish(1.0, runs=0)
    assert watcher.woken == 0
    run.add_rows(rows(1, 5))
    run.publish(2.0, runs=0)
    run.publish(3.0, runs=0)
    assert watcher.woken == 1
    assert (run.published.seq, run.published_at) == (5, 2.0)


@pytest.mark.parametrize(
    ("reported", "shown"),
    [("running", "disconnected"), ("paused", "disconnected"), ("starting", "starting"), ("failed", "failed")],
)
def test_a_run_without_its_trainer_is_disconnected(run, reported, shown):
    """What is under way but fed by nobody is disconnected; what is over, or has not begun, is not."""
    run.learn(run.update(state=reported))
    assert run.info.state == shown
    run.trainer = object()
    assert (run.info.state, run.info.attached) == (reported, True)


def test_only_the_newest_lines_are_kept(run):
    """The log in memory is bounded; its last line's number goes on."""
    for n in range(1, KEPT_LINES + 11):
        run.add_line(LogEntry(n=n, step=1, time=1.0, kind="note"))
    assert (len(run.lines), run.lines[0].n, run.line) == (KEPT_LINES, 11, KEPT_LINES + 10)
