"""What a server makes of what the one before it left behind."""

import asyncio
import time

import pytest

from server.hub import Hub
from server.protocol import Columns, Hello, RunInfo, Steps
from server.settings import Settings
from server.store import Store
from server.writer import StoreError
from tests.server.site import steps, until


@pytest.mark.parametrize(
    ("workload", "left", "found"),
    [("rnn", "running", "stopped"), ("rnn", "failed", "failed"), (None, "running", "disconnected")],
)
def test_a_worker_does_not_outlive_its_server_but_a_script_does(serve, tmp_path, workload, left, found):
    """A killed server's worker is gone and its run says why; the run of a script may go on any time."""
    store = Store(Settings(data_dir=tmp_path).database)
    store.save(RunInfo(id="r1", name="a", state=left, created=1.0, updated=1.0, workload=workload))
    store.close()
    run = serve().http.get("/api/runs/r1").json()
    assert run["state"] == found
    assert ("server ended" in run["reason"]) == run["cut_short"] == (found == "stopped")


def test_a_server_starts_with_a_full_disk(serve, tmp_path, monkeypatch, caplog):
    """It shows what there is; that a worker has not outlived its server is written down when there is room."""
    store = Store(Settings(data_dir=tmp_path).database)
    store.save(RunInfo(id="r1", name="a", state="running", created=1.0, updated=1.0, workload="rnn"))
    store.close()
    monkeypatch.setattr("server.supervisor.TELL_INTERVAL_S", 0.1)
    with monkeypatch.context() as full:
        for write in ("add_line", "save"):
            full.setattr(Store, write, fail)
        site = serve(autostart="rnn")
        assert site.http.get("/api/runs/r1").json()["state"] == "disconnected"
        assert "CLIPCORE_AUTOSTART: the disk is full" in caplog.text
    until(lambda: site.http.get("/api/runs/r1").json()["state"] == "stopped")


def fail(*_):
    raise StoreError("the disk is full")


class Feeder:
    """A trainer, as far as the hub needs one."""

    name = "feeder"
    waiting = ()

    def give_up_requests(self):
        pass

    async def close(self, *_):
        pass


def greeting(run):
    return Hello(version=1, run=run, name=run, control={}, started=1.0)


@pytest.mark.parametrize("returning", ["a", "new"])
def test_a_run_is_not_forgotten_while_it_is_taken_up(store, returning):
    """However runs come, go and return while there is room for one only: who feeds a run feeds one that is there."""

    async def check():
        hub, over = Hub(store, keep_runs=1), asyncio.Event()
        fed = {}

        async def feed(run_id):
            trainer = Feeder()
            async with hub.attached(trainer, greeting(run_id)) as run:
                seq = run.known.seq + 1
                columns = Columns(step=[seq], time=[1.0], mode=["norm"], norm=[1.0])
                await hub.take(trainer, run, Steps(seq=seq, columns=columns))
                fed[run_id] = run
                if len(fed) == 3:
                    over.set()
                await over.wait()

        first = Feeder()
        leaving = hub.attached(first, greeting("a"))
        await leaving.__aenter__()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(leaving.__aexit__(None, None, None))
            for run_id in ("b", returning, "c"):
                tasks.create_task(feed(run_id))
            await over.wait()
            assert {run_id: hub.catalogue.run(run_id) for run_id in fed} == fed
            assert {stored.info.id for stored in store.runs()} >= fed.keys()

    asyncio.run(check())


# --- a run that another process continues ---

NORM = {"mode": "norm", "max_norm": 1.0, "nonfinite": "propagate"}
VALUE = {"mode": "value", "clip_value": 0.1, "nonfinite": "propagate"}
CHANGES = {"mode": ["norm", "value"], "clip_value": [None, 0.1], "max_norm": [1.0, None]}


def attach(site, control, *messages, started=1.0):
    """A trainer that introduces itself, sends these, and leaves; the lines of change that the run then has."""
    trainer = site.trainer()
    trainer.start("r1", control=control, started=started)
    for message in messages:
        trainer.commit(message)
    trainer.close()
    until(lambda: not site.http.get("/api/runs/r1").json()["attached"])
    log = site.http.get("/api/runs/r1/events").json()["events"]
    return [(line["step"], line["text"], line["data"]) for line in log if line["kind"] == "applied"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_another_process_begins_with_is_a_change_by_the_script(serve, restarted):
    """From the first step that it may make; the run's change log then tells what each step was clipped by."""
    site = serve()
    assert attach(site, NORM, steps(1, 5)) == []
    if restarted:
        site.close()
        site = serve()
    data = {"changes": CHANGES, "command": None, "id": None}
    changes = attach(site, VALUE, steps(6, 9), started=time.time() + 1)
    assert changes == [(6, "mode norm -> value, clip_value 0.1", data)]
    log = site.http.get("/api/runs/r1/changes").json()
    assert (log["start"], log["changes"][0]["by"], log["changes"][0]["config"]) == (NORM, "script", VALUE)


@pytest.mark.parametrize("restarted", [False, True])
def test_the_same_process_tells_of_its_changes_itself(serve, restarted):
    """It reconnects with a change in force that the server has yet to hear of: that is one line, not two."""
    site = serve()
    attach(site, NORM, steps(1, 5))
    if restarted:
        site.close()
        site = serve()
    note = {"type": "applied", "n": 1, "id": None, "step": 4, "time": 1.0, "config": VALUE, "changes": CHANGES}
    assert [step for step, *_ in attach(site, VALUE, note)] == [4]


def test_nothing_has_changed_before_the_first_step_or_without_a_difference(site):
    """A process that begins alike, or where no other has made a step, changes nothing."""
    assert attach(site, NORM) == []
    assert attach(site, VALUE, steps(1, 5), started=2.0) == []
    assert attach(site, VALUE, steps(6, 9), started=3.0) == []
