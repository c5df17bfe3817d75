"""The supervisor, through the server it belongs to: workers started, refused, stopped, killed, and explained."""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.writer import StoreError
from tests.server.site import until


def start(site, workload="rnn", **config):
    """The id of a new worker's run."""
    answer = site.http.post("/api/workers", json={"workload": workload, "config": config})
    assert answer.is_success, answer.text
    return answer.json()["id"]


def run(site, run_id):
    return site.http.get(f"/api/runs/{run_id}").json()


def wait_for_state(site, run_id, state):
    until(lambda: run(site, run_id)["state"] == state, timeout_s=60)
    return run(site, run_id)


def wait_for_step(site, run_id, step):
    until(lambda: run(site, run_id)["step"] >= step, timeout_s=60)


def process_of(run_id):
    """The worker's process id, found by its environment among this process's children."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if f"CLIPCORE_RUN_ID={run_id}".encode() in Path("/proc", pid, "environ").read_bytes():
                return int(pid)
    raise LookupError(f"no child trains run {run_id}")


def test_a_run_appears_at_once_and_ends_finished(site):
    """It is there, with its whole configuration, before its process has said a word."""
    run_id = start(site, steps=5)
    starting = run(site, run_id)
    assert (starting["state"], starting["workload"], starting["seq"]) == ("starting", "rnn", 0)
    assert (starting["config"]["steps"], starting["config"]["max_norm"]) == (5, 0.5)
    finished = wait_for_state(site, run_id, "finished")
    assert (finished["seq"], finished["reason"]) == (5, "")


@pytest.mark.parametrize(
    ("workload", "config", "sentence"),
    [
        ("gpt", {}, "workload must be one of charlm, rnn, got 'gpt'"),
        ("rnn", {"steps": -1}, "got -1"),
        ("rnn", {"clip_value": 1}, "there is no option 'clip_value' in mode 'norm'"),
    ],
)
def test_what_is_not_allowed_starts_nothing(site, workload, config, sentence):
    """The answer says why, and there is no run."""
    answer = site.http.post("/api/workers", json={"workload": workload, "config": config})
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]
    assert site.http.get("/api/runs").json()["runs"] == []


def test_options_may_be_longer_than_an_argument(site):
    """A schedule of thousands of changes reaches the worker, which trains by it."""
    change = {"max_norm": 0.1, "norm_type": 2.0, "nonfinite": "propagate", "lr": 0.5}
    schedule = [{"step": step, "patch": {**change, "max_norm": 1 / step}} for step in range(2, 4000)]
    run_id = start(site, steps=5, schedule=schedule)
    assert wait_for_state(site, run_id, "finished")["reason"] == ""
    columns = site.http.get(f"/api/runs/{run_id}/series?metrics=threshold").json()["columns"]
    assert columns["threshold"] == [0.5, *(1 / step for step in range(2, 6))]


def test_a_worker_that_cannot_be_started_is_no_success(site, cli, monkeypatch):
    """Whoever asked is told why, by REST and on the command line, and the run has failed for that reason."""

    async def exhausted(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("server.supervisor.asyncio.create_subprocess_exec", exhausted)
    answer = site.http.post("/api/workers", json={"workload": "rnn"})
    sentence = "the worker could not be started: [Errno 11] Resource temporarily unavailable"
    assert (answer.status_code, answer.json()["detail"]) == (503, sentence)
    (failed,) = site.http.get("/api/runs").json()["runs"]
    assert (failed["state"], failed["reason"]) == ("failed", sentence)
    assert cli(site, "train", "rnn") == (1, "", f"Error: {sentence}\n")


def test_a_third_worker_has_to_wait(site):
    """Two may train at a time; when one is stopped, even before it has trained a step, there is room again."""
    first, second = start(site), start(site)
    refused = site.http.post("/api/workers", json={"workload": "rnn", "config": {}})
    assert refused.status_code == 409
    assert f"CLIPCORE_MAX_WORKERS (=2): stop rnn {first[:4]} or rnn {second[:4]}, or wait" in refused.json()["detail"]
    assert site.http.delete(f"/api/workers/{first}").status_code == 204
    assert run(site, first)["state"] == "stopped"
    start(site)


def test_a_server_may_be_for_other_peoples_trainings_only(serve):
    """With CLIPCORE_MAX_WORKERS=0 none is started, and the answer names the setting."""
    refused = serve(max_workers=0).http.post("/api/workers", json={"workload": "rnn"})
    assert refused.status_code == 409
    assert "CLIPCORE_MAX_WORKERS" in refused.json()["detail"]


def test_a_stopped_worker_has_ended_when_the_answer_comes(site):
    """Its run is stopped, its process gone; there is nothing left to stop."""
    run_id = start(site, "charlm")
    wait_for_step(site, run_id, 3)
    assert site.http.delete(f"/api/workers/{run_id}").status_code == 204
    assert run(site, run_id)["state"] == "stopped"
    with pytest.raises(LookupError):
        process_of(run_id)
    assert site.http.delete(f"/api/workers/{run_id}").status_code == 404


def test_a_worker_that_does_not_stop_is_killed(site, monkeypatch):
    """A process that cannot answer SIGTERM ends all the same, and its run is stopped as asked."""
    monkeypatch.setattr("server.supervisor.STOP_GRACE_S", 0.2)
    run_id = start(site)
    wait_for_step(site, run_id, 1)
    os.kill(process_of(run_id), signal.SIGSTOP)
    assert site.http.delete(f"/api/workers/{run_id}").status_code == 204
    stopped = run(site, run_id)
    assert (stopped["state"], stopped["reason"], stopped["cut_short"]) == ("stopped", "asked to stop", False)


def test_a_killed_worker_leaves_a_failed_run_with_its_steps(site):
    """The reason names the signal, and what it may mean; every step that the server had is there."""
    run_id = start(site)
    wait_for_step(site, run_id, 5)
    seen = run(site, run_id)["seq"]
    os.kill(process_of(run_id), signal.SIGKILL)
    failed = wait_for_state(site, run_id, "failed")
    assert failed["reason"] == "killed by SIGKILL (out of memory?)"
    steps = site.http.get(f"/api/runs/{run_id}/series?metrics=loss&points=100000").json()["columns"]["step"]
    assert steps == list(range(1, failed["seq"] + 1))
    assert failed["seq"] >= seen


@contextmanager
def killed_on_a_full_disk(site, run_id, monkeypatch, caplog):
    """The worker has ended, which cannot be written down before the context does."""
    with monkeypatch.context() as full:
        full.setattr(site.store, "add_line", fail)
        os.kill(process_of(run_id), signal.SIGKILL)
        until(lambda: "cannot be written down yet: the disk is full" in caplog.text)
        yield


def test_an_end_that_could_not_be_written_down_is_told_later(site, monkeypatch, caplog):
    """While the disk is full its run is still in use; with room it has ended, for its reason, and can be deleted."""
    monkeypatch.setattr("server.supervisor.TELL_INTERVAL_S", 0.1)
    run_id = start(site)
    wait_for_step(site, run_id, 1)
    with killed_on_a_full_disk(site, run_id, monkeypatch, caplog):
        assert site.http.delete(f"/api/runs/{run_id}").status_code == 409
    assert wait_for_state(site, run_id, "failed")["reason"].startswith("killed by SIGKILL")
    assert site.http.delete(f"/api/runs/{run_id}").status_code == 204


def test_a_server_ends_though_an_end_could_not_be_written_down(serve, monkeypatch, caplog):
    """It waits for no disk; the next server tells that the worker has not outlived it."""
    site = serve()
    run_id = start(site)
    wait_for_step(site, run_id, 1)
    with killed_on_a_full_disk(site, run_id, monkeypatch, caplog):
        site.close()
    assert run(serve(), run_id)["state"] == "stopped"


def fail(*_):
    raise StoreError("the disk is full")


def test_a_worker_that_never_attached_is_explained_by_its_output(site, tmp_path, monkeypatch):
    """A crash before the first word to the server leaves the traceback that the process printed."""
    (tmp_path / "torch.py").write_text("raise OSError('libtorch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failed = wait_for_state(site, start(site), "failed")
    assert "Traceback" in failed["reason"]
    assert failed["reason"].endswith("OSError: libtorch is broken")


def test_workers_end_with_a_closing_server(serve):
    """Within seconds, even one that cannot answer; the next server shows their runs as stopped."""
    site = serve()
    runs = [start(site), start(site)]
    for run_id in runs:
        wait_for_step(site, run_id, 1)
    processes = [process_of(run_id) for run_id in runs]
    os.kill(processes[0], signal.SIGSTOP)
    began = time.monotonic()
    site.close()
    assert time.monotonic() - began < 4
    assert not any(Path("/proc", str(pid)).exists() for pid in processes)
    successor = serve()
    found = [run(successor, run_id) for run_id in runs]
    assert [each["state"] for each in found] == ["stopped", "stopped"]
    assert found[0]["cut_short"]  # it could not say anything about its end itself
