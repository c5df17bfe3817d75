"""Disks that fill up, files that are damaged, clocks that jump: said clearly, and never answered with wrong numbers."""

import random
import re
import resource
import sys
import time
from contextlib import closing, suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol import Layers, LogEntry, RunInfo
from server.rows import make_rows
from server.store import Store
from server.writer import StoreError
from tests.server.site import TrainerWire, ViewerWire, steps, until

PAGE_BYTES = 4096


# --- a full disk ---


def limit_files(server, limit_bytes):
    """Let no file of a running server grow beyond this, as a full disk would not."""
    _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit_bytes, most))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process that runs already")
def test_a_server_without_room_shows_runs_and_takes_none(spawn):
    """Nothing is acknowledged that is not stored, what is stored can be read, and with room everything goes on."""
    server = spawn()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        with closing(TrainerWire(server.url)) as trainer:
            trainer.start()
            trainer.commit(steps(1, 100))
            limit_files(server, 200_000)
            with suppress(ConnectionClosed):  # the server sends it away as soon as the file is full
                for first in range(101, 10_000, 100):
                    trainer.send(steps(first, first + 99))
            assert "Is there room on its disk? Trainers keep their steps" in trainer.wait("error")["reason"]
            acked = max(message["seq"] for message in trainer.seen if message["type"] == "ack")
        limit_files(server, 0)
        until(lambda: http.get("/readyz").status_code == 503)
        assert "Is there room" in http.get("/readyz").text
        assert stored(http) == list(range(1, acked + 1))
        with closing(ViewerWire(server.url)) as viewer:
            assert viewer.subscribe()["rows"]["seq"][-1] == acked
        limit_files(server, resource.RLIM_INFINITY)
        until(lambda: http.get("/readyz").status_code == 200)
        with closing(TrainerWire(server.url)) as trainer:
            assert trainer.start()["acked"] == acked
            trainer.commit(steps(acked + 1, acked + 100))
        assert stored(http) == list(range(1, acked + 101))


def stored(http):
    query = {"metrics": "norm", "points": 100_000}
    columns = http.get("/api/runs/r1/series", params=query).raise_for_status().json()["columns"]
    assert columns["norm"] == columns["seq"]
    return columns["seq"]


# --- a damaged file ---

DAMAGED = re.compile(r"the database FILE is damaged \(.*\): move it away or restore a copy")
INFO = RunInfo(id="r1", name="test", state="running", created=1.0, updated=1.0)


def rows(first, last):
    seqs = list(range(first, last + 1))
    values = [float(seq) for seq in seqs]
    return make_rows(
        {"seq": seqs, "step": seqs, "time": values, "mode": ["norm"] * len(seqs), "norm": values, "own": values}
    )


def use(path):
    """Open a store, read all it has, and write something of each kind."""
    with closing(Store(path)) as store:
        if not (runs := store.runs()):
            raise StoreError("the database FILE is damaged (no run): move it away or restore a copy")
        run = runs[0].info.id
        store.series(run, None, 0, 10**9, 100)
        seqs = [seq for chunk in store.chunks(run) for seq in chunk.seq]
        lines, _ = store.lines(run), store.layers(run, 10)
        store.append(run, rows(seqs[-1] + 1, seqs[-1] + 600)).result(5)
        store.add_line(INFO, LogEntry(n=len(lines) + 1, step=1, time=1.0, kind="note", text="x" * 2000)).result(5)
        store.add_layers(run, Layers(step=1, norm=[1.0], coef=[1.0], clamped=[0.0])).result(5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A database's file as bytes, some pages of each table."""
    path = tmp_path_factory.mktemp("whole") / "clipcore.db"
    with closing(Store(path)) as store:
        store.save(INFO).result(5)
        store.append("r1", rows(1, 600)).result(5)
    for _ in range(4):
        use(path)
    return path.read_bytes()


def garbage(whole, page):
    return whole[: page * PAGE_BYTES] + random.Random(page).randbytes(PAGE_BYTES) + whole[(page + 1) * PAGE_BYTES :]


def flipped(whole, bit):
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def outcomes(tmp_path, damaged):
    """What is said of each of these files; None where nothing is wrong."""
    for number, content in enumerate(damaged):
        path = tmp_path / f"{number}.db"
        path.write_bytes(content)
        try:
            use(path)
        except StoreError as error:
            yield str(error).replace(str(path), "FILE")
        else:
            yield None


def test_garbage_in_any_page_is_told(tmp_path, whole):
    """Whichever page is not what was written: one sentence that names the file and what helps."""
    pages = range(len(whole) // PAGE_BYTES)
    for outcome in outcomes(tmp_path, (garbage(whole, page) for page in pages)):
        assert outcome is None or DAMAGED.fullmatch(outcome)


def test_a_truncated_file_is_told_and_stays(tmp_path, whole):
    """A file that ends early, wherever, is refused and not made anew."""
    lengths = range(PAGE_BYTES // 2, len(whole), len(whole) // 20)
    for outcome in outcomes(tmp_path, (whole[:length] for length in lengths)):
        assert DAMAGED.fullmatch(outcome)
    assert [(tmp_path / f"{n}.db").stat().st_size for n in range(len(lengths))] == list(lengths)


def test_a_wrong_bit_is_never_a_traceback(tmp_path, whole):
    """SQLite cannot tell every wrong bit; one that makes nonsense of what was stored is told like the others."""
    chance = random.Random(0)
    said = list(outcomes(tmp_path, (flipped(whole, chance.randrange(8 * len(whole))) for _ in range(40))))
    assert any(said)


# --- a clock that jumps ---


def test_a_clock_that_jumps_back_changes_no_order(site, monkeypatch):
    """Rows, lines of the log and runs stay in the order in which they came, for the page and over HTTP."""
    trainer, viewer = site.trainer(), site.viewer()
    trainer.start()
    trainer.commit(steps(1, 5))
    viewer.subscribe("r1")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    late = steps(6, 10)
    late["columns"]["time"] = [1.0 - 0.1 * n for n in range(5)]
    trainer.commit(late)
    for n in (1, 2):
        trainer.commit({"type": "event", "n": n, "step": 5 + n, "time": 10.0 - n, "kind": "note", "text": f"{n}"})
    site.trainer().start("r2")
    assert viewer.rows_until(10) == [6, 7, 8, 9, 10]
    assert [viewer.wait("event")["entry"]["text"] for _ in range(2)] == ["1", "2"]
    until(lambda: len(site.http.get("/api/runs").json()["runs"]) == 2)
    assert [run["id"] for run in site.http.get("/api/runs").json()["runs"]] == ["r2", "r1"]
    for points in (1000, 4):
        columns = site.http.get("/api/runs/r1/series", params={"points": points}).json()["columns"]
        assert columns["seq"] == sorted(columns["seq"])
        assert (columns["seq"][0], columns["seq"][-1]) == (1, 10)
    assert [line["text"] for line in site.http.get("/api/runs/r1/events").json()["events"]] == ["1", "2"]
    snapshot = site.viewer().subscribe("r1")
    assert snapshot["rows"]["seq"] == list(range(1, 11))
    assert snapshot["rows"]["time"][5:] == late["columns"]["time"]
