import tracemalloc
from types import SimpleNamespace

import pytest

from server.live import JOINED_ROWS, KEPT_LINES, RING_ROWS, LiveRun
from server.protocol import Layers, LogEntry, RunInfo
from server.rows import make_rows


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
    assert seqs_between(run, 9, 9) == []


def test_the_ring_forgets_the_oldest(run):
    """At most so many rows are kept; a range that reaches further back is for the store."""
    for first in range(1, RING_ROWS + 200, 100):
        run.add_rows(rows(first, first + 99))
    last = run.known.seq
    assert seqs_between(run, 0, last) is None
    assert seqs_between(run, last - RING_ROWS - 1, last) is None
    kept = seqs_between(run, last - RING_ROWS + JOINED_ROWS, last)
    assert kept[0] == last - RING_ROWS + JOINED_ROWS + 1
    assert kept[-1] == last


def test_small_batches_cost_what_large_ones_do():
    """A row takes about as much memory whether it came alone or among hundreds."""

    def taken(size):
        run = LiveRun(RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0))
        tracemalloc.start()
        for first in range(1, RING_ROWS + 1, size):
            run.add_rows(rows(first, first + size - 1))
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return used

    assert taken(1) < 1.5 * taken(512)


def test_a_run_whose_rows_are_forgotten_leaves_them_to_the_store(run):
    """What comes later is kept again."""
    run.add_rows(rows(1, 5))
    run.forget_rows()
    assert seqs_between(run, 4, 5) is None
    run.add_rows(rows(6, 7))
    assert seqs_between(run, 5, 7) == [6, 7]


def test_the_past_is_read_at_its_first_use():
    """Once, whatever is added then; a run that nobody looks at costs no reading."""
    asked = []

    def read_lines():
        asked.append("lines")
        return [LogEntry(n=7, step=1, time=1.0, kind="note")]

    def read_layers():
        asked.append("layers")
        return Layers(step=7, norm=[], coef=[], clamped=[])

    known = RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0)
    run = LiveRun(known, read_lines=read_lines, read_layers=read_layers)
    assert (run.brief.id, run.state, asked) == ("r1", "disconnected", [])
    assert (run.line, run.layers.step) == (7, 7)
    run.add_line(LogEntry(n=8, step=1, time=1.0, kind="note"))
    run.set_layers(Layers(step=8, norm=[], coef=[], clamped=[]))
    assert (run.line, run.layers.step, len(run.lines), asked) == (8, 8, 2, ["lines", "layers"])


def test_a_loaded_run_has_an_empty_ring():
    """After a restart what came before is in the store only; what comes now is in the ring."""
    run = LiveRun(RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0, seq=100))
    run.add_rows(rows(101, 105))
    assert seqs_between(run, 99, 105) is None
    assert seqs_between(run, 100, 105) == [101, 102, 103, 104, 105]


@pytest.mark.parametrize(
    ("reported", "shown"),
    [("running", "disconnected"), ("paused", "disconnected"), ("starting", "starting"), ("failed", "failed")],
)
def test_a_run_without_its_trainer_is_disconnected(run, reported, shown):
    """What is under way but fed by nobody is disconnected; what is over, or has not begun, is not."""
    run.update(run.changed(state=reported))
    assert run.info.state == shown
    run.trainer = SimpleNamespace(waiting=[])
    assert (run.info.state, run.info.attached) == (reported, True)


def test_lines_are_given_while_memory_has_them(run):
    """A range of lines is given whole, or not at all."""
    for n in range(1, KEPT_LINES + 11):
        run.add_line(LogEntry(n=n, step=1, time=1.0, kind="note"))
    assert [line.n for line in run.lines_between(500, 503)] == [501, 502, 503]
    assert run.lines_between(503, 503) == []
    assert run.lines_between(5, 503) is None


def test_every_kind_of_news_moves_the_position(run):
    """Rows, lines, the run's information, layers and the list of runs: each counts by itself."""
    start = run.position(runs=0)
    run.add_rows(rows(1, 5))
    run.add_line(LogEntry(n=1, step=1, time=1.0, kind="note"))
    run.update(run.changed(state="paused"))
    run.set_layers(Layers(step=1, norm=[], coef=[], clamped=[]))
    assert run.position(runs=1) == (5, 1, start.status + 1, start.layers + 1, 1)


def test_only_the_newest_lines_are_kept(run):
    """The log in memory is bounded; its last line's number goes on."""
    for n in range(1, KEPT_LINES + 11):
        run.add_line(LogEntry(n=n, step=1, time=1.0, kind="note"))
    assert (len(run.lines), run.lines[0].n, run.line) == (KEPT_LINES, 11, KEPT_LINES + 10)


def test_a_list_has_what_is_known_now_and_is_made_once_for_it(run):
    """Of thousands of runs that rest, none is copied again when the list changes; one that changed is."""
    brief = run.brief
    assert run.brief is brief
    run.update(run.changed(note="kept"))
    assert run.brief.note == "kept"
    run.trainer = SimpleNamespace(waiting=())
    assert run.brief.attached
    run.trainer = None
    assert (run.brief.attached, run.brief.state) == (False, "disconnected")
