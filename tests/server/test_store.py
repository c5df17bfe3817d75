import math
import sqlite3
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.pictures import MOST_PICTURES
from server.protocol import RESERVED_COLUMNS, STEP_METRICS, Layers, LogEntry, RunInfo
from server.rollup import grid
from server.rows import make_rows
from server.schema import MIGRATIONS
from server.sql.reading import UnknownRunError
from server.sql.writing import PURGED_ROWS
from server.store import CHUNK_ROWS, Store
from server.writer import StoreError
from tests.server.site import until

NAN, INF = math.nan, math.inf


def info(run="r1", **fields):
    return RunInfo(**{"id": run, "name": "test", "state": "running", "created": 1.0, "updated": 2.0} | fields)


def rows(first, count, **metrics):
    seqs = list(range(first, first + count))
    columns = {"seq": seqs, "step": seqs, "time": [float(seq) for seq in seqs], "mode": ["norm"] * count}
    return make_rows(columns | metrics)


def entry(n, **fields):
    return LogEntry(**{"n": n, "step": 3, "time": 1.0, "kind": "note", "text": f"line {n}"} | fields)


@pytest.fixture
def run(store):
    """A store's only run."""
    store.save(info()).result(5)
    return "r1"


def rows_of(store, run):
    """All rows with all columns."""
    return store.series(run, None, 0, 10**9, points=10**6).rows


def fresh_run(store):
    """One more run, for an example of hypothesis."""
    run = f"run{len(store.runs())}"
    store.save(info(run)).result(5)
    return run


def same(left, right):
    """Equal, NaN being equal to NaN and None only to None."""
    return [str(x) if x is None or x != x else x for x in left] == [str(x) if x is None or x != x else x for x in right]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=20))
def test_every_number_comes_back(store, values):
    """Any float64 returns as it was, NaN as NaN and "not logged" as None, in built-in and in user metrics."""
    run = fresh_run(store)
    store.append(run, rows(1, len(values), norm=values, val_loss=values)).result(5)
    kept = rows_of(store, run)
    assert same(kept.metrics["norm"], values)
    assert same(kept.metrics.get("val_loss", [None] * len(values)), values)


def test_rows_keep_all_their_columns(store, run):
    """Seq, step, time and mode return as they were, a metric that was never logged is all None."""
    batch = make_rows(
        {"seq": [4, 5], "step": [10, 10], "time": [0.5, NAN], "mode": ["norm", "value"], "loss": [1.0, 2.0]}
    )
    store.append(run, batch).result(5)
    kept = rows_of(store, run)
    assert (kept.seq, kept.step, kept.mode) == ([4, 5], [10, 10], ["norm", "value"])
    assert same(kept.time, [0.5, NAN])
    assert list(kept.metrics) == list(STEP_METRICS)
    assert kept.metrics["loss"] == [1.0, 2.0]
    assert kept.metrics["norm"] == [None, None]


def test_the_first_of_two_rows_with_one_seq_stays(store, run):
    """A batch that overlaps what is there adds only what lies beyond it."""
    store.append(run, rows(1, 3, norm=[1.0, 2.0, 3.0])).result(5)
    store.append(run, rows(2, 4, norm=[9.0, 9.0, 4.0, 5.0], own=[9.0, 9.0, 4.0, 5.0])).result(5)
    store.append(run, rows(1, 2, norm=[7.0, 7.0])).result(5)
    kept = rows_of(store, run)
    assert kept.seq == [1, 2, 3, 4, 5]
    assert kept.metrics["norm"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert kept.metrics["own"] == [None, None, None, 4.0, 5.0]


def test_runs_do_not_mix(store, run):
    """Rows, own metrics, lines and layers belong to their run."""
    store.save(info("r2")).result(5)
    store.append(run, rows(1, 2, norm=[1.0, 2.0], own=[1.0, 2.0])).result(5)
    store.append("r2", rows(1, 2, norm=[3.0, 4.0])).result(5)
    store.add_line(info(), entry(1)).result(5)
    store.add_layers("r2", Layers(step=1, norm=[1.0], coef=[1.0], clamped=[0.0])).result(5)
    assert rows_of(store, "r2").metrics["norm"] == [3.0, 4.0]
    assert "own" in store.metrics(run)
    assert "own" not in store.metrics("r2")
    assert store.lines("r2") == []
    assert store.layers(run, 10) == []


def test_a_run_returns_with_its_last_row_and_note(store, run):
    """What a restarted server needs of a run: its information, last seq, last step and last note."""
    documents = {"config": {"x": [1, NAN]}, "control": {"max_norm": INF}, "layers": ["a"]}
    full = info(state="failed", reason="boom", note="too hot", commands=True, workload="rnn", **documents)
    store.append(run, rows(1, 7)).result(5)
    store.add_line(full, entry(1), note=4).result(5)
    store.add_line(full, entry(2)).result(5)
    (stored,) = store.runs()
    assert stored.last_note == 4
    assert (stored.info.seq, stored.info.step) == (7, 7)
    assert repr(stored.info.model_copy(update={"seq": 0, "step": 0})) == repr(full)


def test_lines_come_oldest_first(store, run):
    """All lines, those beyond a line, or the newest ones; always in the log's order, their data whole."""
    for n in range(1, 6):
        store.add_line(info(), entry(n, data={"value": [n, INF]}), note=n).result(5)
    assert [line.n for line in store.lines(run)] == [1, 2, 3, 4, 5]
    assert [line.n for line in store.lines(run, beyond=3)] == [4, 5]
    assert [line.n for line in store.lines(run, newest=2)] == [4, 5]
    assert store.lines(run)[0] == entry(1, data={"value": [1, INF]})


def test_a_line_and_what_it_changed_are_one(store):
    """A line whose number is taken is refused, and the run is as it was before."""
    store.save(info()).result(5)
    store.add_line(info(), entry(1)).result(5)
    with pytest.raises(StoreError):
        store.add_line(info(state="failed"), entry(1)).result(5)
    assert store.runs()[0].info.state == "running"


def picture(step):
    return Layers(step=step, norm=[NAN], coef=[1.0], clamped=[0.0])


def test_layers_of_the_whole_run_are_kept_thinner_and_thinner(store, run):
    """However many pictures come, some hundred stay, evenly spaced from near the first to the newest."""
    for step in range(1, 902):
        last = store.add_layers(run, picture(step))
    last.result(20)
    steps = [kept.step for kept in store.layers(run, MOST_PICTURES)]
    assert MOST_PICTURES // 2 <= len(steps) <= MOST_PICTURES
    assert steps == sorted(steps)
    assert steps[0] <= 10
    assert steps[-1] == 901
    assert max(b - a for a, b in pairwise(steps)) <= 10
    assert math.isnan(store.layers(run, 1)[0].norm[0])


def test_a_roll_back_takes_the_layers_of_undone_steps_with_it(store, run):
    """A picture of a step replaces that of the same step and those of later ones."""
    for step in (1, 5, 9, 5):
        store.add_layers(run, picture(step)).result(5)
    assert [kept.step for kept in store.layers(run, 10)] == [1, 5]


def test_chunks_are_the_whole_run(store, run):
    """A run comes in pieces of bounded size, gaps and all, each row once."""
    store.append(run, rows(1, CHUNK_ROWS)).result(5)
    store.append(run, rows(CHUNK_ROWS + 100, 10)).result(5)
    chunks = [chunk.seq for chunk in store.chunks(run)]
    assert [len(chunk) for chunk in chunks] == [CHUNK_ROWS, 10]
    assert sum(chunks, []) == [*range(1, CHUNK_ROWS + 1), *range(CHUNK_ROWS + 100, CHUNK_ROWS + 110)]  # noqa: RUF017


def test_an_unknown_run_is_named(store):
    """Reading from or adding to a run that is not there says which."""
    for attempt in (
        lambda: rows_of(store, "nope"),
        lambda: store.append("nope", rows(1, 1)).result(5),
        lambda: store.delete("nope").result(5),
    ):
        with pytest.raises(UnknownRunError, match="'nope'"):
            attempt()


def test_a_deleted_run_leaves_nothing(store, run, tmp_path):
    """A deleted run is unknown at once; its rows, bins, lines and layers go bit by bit, other runs keep theirs."""
    store.save(info("r2")).result(5)
    for name in (run, "r2"):
        store.append(name, rows(1, PURGED_ROWS + 10, norm=[1.0] * (PURGED_ROWS + 10), own=[1.0] * (PURGED_ROWS + 10)))
        store.add_line(info(name), entry(1))
        store.add_layers(name, Layers(step=1, norm=[], coef=[], clamped=[]))
    store.delete(run).result(5)
    assert [stored.info.id for stored in store.runs()] == ["r2"]

    def counts():
        with closing(sqlite3.connect(tmp_path / "clipcore.db")) as db:
            tables = ("steps", "metric_values", "metrics", "log", "pictures", "trash")
            return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]

    until(lambda: counts() == [PURGED_ROWS + 10, PURGED_ROWS + 10, 2, 1, 1, 0])
    assert len(rows_of(store, "r2")) == PURGED_ROWS + 10


def test_a_deleted_run_may_come_back(store, run):
    """The id is free again at once; the new run has nothing of the old one."""
    store.append(run, rows(1, 10)).result(5)
    store.delete(run)
    store.save(info()).result(5)
    assert len(rows_of(store, run)) == 0


def test_check_writes(store):
    """A store that takes writes says so, and nothing is left of the check."""
    store.check().result(5)
    store.check().result(5)


# --- series ---


def spiky(count):
    """A smooth metric, one that is constant, and one with a spike, a NaN and an infinity."""
    smooth = [math.sin(seq / 500) for seq in range(1, count + 1)]
    spiky = list(smooth)
    spiky[count // 3], spiky[count // 2], spiky[-7] = 1e6, NAN, -INF
    return {"norm": spiky, "loss": smooth, "threshold": [1.0] * count, "own": spiky}


def append_all(store, run, batch, size=CHUNK_ROWS):
    for start in range(0, len(batch), size):
        store.append(run, make_rows({name: column[start : start + size] for name, column in batch})).result(5)


def test_few_rows_come_whole(store, run):
    """A range with at most `points` rows is exact."""
    append_all(store, run, rows(1, 100, norm=[float(n) for n in range(100)]))
    series = store.series(run, ["norm"], 11, 60, 50)
    assert series.exact
    assert series.rows.seq == list(range(11, 61))
    assert list(series.rows.metrics) == ["norm"]
    assert not store.series(run, ["norm"], 11, 61, 50).exact


@pytest.mark.parametrize("points", [20, 100, 400, 5000])
@pytest.mark.parametrize("span", [(1, 30_000), (777, 29_999), (14_000, 16_500), (9_990, 10_500)])
def test_a_thinned_range_keeps_every_extreme(store, run, span, points):
    """At any zoom: about `points` rows, both ends, and of the range each metric's extremes and its odd values."""
    count = 30_000
    metrics = spiky(count)
    append_all(store, run, rows(1, count, **metrics))
    first, last = span
    for name in metrics:
        series = store.series(run, [name], first, last, points)
        inside = range(first, last + 1)
        whole = {seq: metrics[name][seq - 1] for seq in inside}
        finite = [value for value in whole.values() if math.isfinite(value)]
        kept = dict(zip(series.rows.seq, series.rows.metrics[name], strict=True))
        assert series.exact == (len(inside) <= points)
        assert {first, last} <= kept.keys() <= set(inside)
        assert same(kept.values(), [whole[seq] for seq in kept])
        assert {min(finite), max(finite)} <= set(kept.values())
        assert [seq for seq, value in whole.items() if not math.isfinite(value)] == [
            seq for seq, value in kept.items() if not math.isfinite(value)
        ]
        assert len(kept) <= 1.2 * points + 50


def test_many_metrics_share_the_room(store):
    """However many a run logs, a thinned range has no more numbers than of a few, and each metric's extremes."""
    count, sizes = 20_000, []
    for many in (16, 48):
        run = fresh_run(store)
        metrics = {f"m{n}": [math.sin(seq * (n + 1)) for seq in range(count)] for n in range(many)}
        append_all(store, run, rows(1, count, **metrics))
        series = store.series(run, None, 1, count, 400)
        for name, values in metrics.items():
            assert {min(values), max(values)} <= set(series.rows.metrics[name])
        sizes.append(len(series.rows) * many)
    assert sizes[1] <= 1.1 * sizes[0]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_bin_loses_an_extreme(store, data):
    """Whatever the batches, the gaps, the range and the width: the ends and all that is notable of every bin."""
    run = fresh_run(store)
    seq, values = 1, {}
    for size in data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=8)):
        seq += data.draw(st.sampled_from([0, 0, 1, 300]))
        column = data.draw(
            st.lists(st.sampled_from([0.0, 1.0, -1.0, 5.5, NAN, INF, -INF, None]), min_size=size, max_size=size)
        )
        store.append(run, rows(seq, size, own=column)).result(5)
        values |= dict(zip(range(seq, seq + size), column, strict=True))
        seq += size
    first, last = sorted((data.draw(st.integers(1, seq)), data.draw(st.integers(1, seq))))
    points = data.draw(st.integers(2, 60))
    series = store.series(run, ["own"] if "own" in store.metrics(run) else [], first, last, points)
    kept = set(series.rows.seq)
    inside = {seq: value for seq, value in values.items() if first <= seq <= last}
    if series.exact:
        assert kept == inside.keys()
        return
    assert {min(inside), max(inside)} <= kept
    _, width = grid(min(inside), max(inside), points // 2)
    for part in {seq // width for seq in inside}:
        logged = {seq: value for seq, value in inside.items() if seq // width == part and value is not None}
        finite = {seq: value for seq, value in logged.items() if math.isfinite(value)}
        assert {*finite.values()} & {min(finite.values(), default=0), max(finite.values(), default=0)} <= {
            finite[seq] for seq in kept & finite.keys()
        }
        odd = {seq: str(value) for seq, value in logged.items() if seq not in finite}
        assert set(odd.values()) == {odd[seq] for seq in kept & odd.keys()}


def test_an_empty_range_is_exact_and_empty(store, run):
    """A range without rows, in a run without rows too, is answered with no rows."""
    assert store.series(run, None, 1, 100, 10).rows.seq == []
    append_all(store, run, rows(1, 50))
    assert store.series(run, None, 60, 100, 10).rows.seq == []


# --- opening ---


def test_what_is_written_outlives_the_store(tmp_path):
    """A store that is opened again has what the one before was told, also what was still queued at `close`."""
    with closing(Store(tmp_path / "s.db")) as first:
        first.save(info())
        first.append("r1", rows(1, 3, norm=[1.0, NAN, 3.0]))
    with closing(Store(tmp_path / "s.db")) as second:
        assert same(rows_of(second, "r1").metrics["norm"], [1.0, NAN, 3.0])


@pytest.mark.usefixtures("store")
def test_every_step_metric_has_a_column(tmp_path):
    """The schema and the wire agree; a metric added to the wire takes a migration."""
    with closing(sqlite3.connect(tmp_path / "clipcore.db")) as db:
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(steps)")]
    assert columns == ["run", *RESERVED_COLUMNS, *STEP_METRICS]


def test_a_second_store_on_the_same_file_is_refused(store, tmp_path):
    """Two servers on one database would tear it: the second one is told so, also after the first one has written."""
    store.save(info()).result(5)
    with pytest.raises(StoreError, match=r"in use by another clipcore server.*CLIPCORE_DATA_DIR"):
        Store(tmp_path / "clipcore.db")
    store.check().result(5)


def test_a_store_may_be_opened_again_after_close(tmp_path):
    """Closing lets go of the file."""
    for _ in range(2):
        Store(tmp_path / "s.db").close()


@pytest.mark.parametrize("harm", ["not a database", "torn"])
def test_a_damaged_database_is_named(tmp_path, harm):
    """A file that SQLite cannot read is refused in a sentence, and left as it is."""
    path = tmp_path / "s.db"
    with closing(Store(path)) as store:
        store.save(info()).result(5)
    content = b"x" * 8192 if harm == "not a database" else path.read_bytes()[:16] + b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.db is damaged .*: move it away or restore a copy"):
        Store(path)
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    """Where no file can be, the sentence says where."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot open the database .*file/s\.db"):
        Store(tmp_path / "file" / "s.db")


def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path):
    """Its runs and the newest picture of their layers are there, and it goes on."""
    old = picture(7)
    with closing(sqlite3.connect(tmp_path / "s.db")) as db:
        db.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1;")
        db.execute("INSERT INTO runs VALUES (1, 'r1', 'a', 'running', '', 1.0, 2.0, 0, NULL, '{}', '{}', '[]')")
        db.execute("INSERT INTO layers VALUES (1, ?)", (old.model_dump_json(),))
        db.commit()
    with closing(Store(tmp_path / "s.db")) as store:
        assert [(stored.info.id, stored.info.note, stored.deleted) for stored in store.runs()] == [("r1", "", None)]
        store.add_layers("r1", picture(9)).result(5)
        assert [kept.step for kept in store.layers("r1", 10)] == [7, 9]


def test_a_run_that_ended_with_an_earlier_server_was_cut_short(tmp_path):
    """What only its reason said is known as such, and of no other run."""
    reasons = {"r1": "the server ended", "r2": "asked to stop", "r3": ""}
    with closing(sqlite3.connect(tmp_path / "s.db")) as db:
        for number, script in enumerate(MIGRATIONS[:4], start=1):
            db.executescript(f"{script}; PRAGMA user_version = {number};")
        columns = "id, name, state, reason, created, updated, commands, config, control, layers"
        for run_id, reason in reasons.items():
            row = (run_id, "a", "stopped", reason, 1.0, 2.0, 0, "{}", "{}", "[]")
            db.execute(f"INSERT INTO runs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.commit()
    with closing(Store(tmp_path / "s.db")) as store:
        assert [stored.info.cut_short for stored in store.runs()] == [True, False, False]


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    """What a newer clipcore wrote is not touched by an older one."""
    with closing(sqlite3.connect(tmp_path / "s.db")) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match=r"newer clipcore \(schema 999"):
        Store(tmp_path / "s.db")
