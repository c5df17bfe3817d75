"""What a server makes of what the one before it left behind."""

import asyncio

import pytest

from server.hub import Hub
from server.protocol import Columns, Hello, RunInfo, Steps
from server.settings import Settings
from server.store import Store


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
    assert ("server ended" in run["reason"]) == (found == "stopped")


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
            assert {run_id: hub.run(run_id) for run_id in fed} == fed
            assert {stored.info.id for stored in store.runs()} >= fed.keys()

    asyncio.run(check())
