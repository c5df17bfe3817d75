"""What a server makes of what the one before it left behind."""

import pytest

from server.protocol import RunInfo
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
