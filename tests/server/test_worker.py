"""The worker: a real process that trains, talks to a real server, and ends when it should."""

import json
import os
import signal
import subprocess
import sys

import pytest

from server.worker import NICENESS
from tests.server.site import until


@pytest.fixture
def work(site):
    """Start workers as the supervisor does, for run "w1"."""
    processes = []

    def start(workload, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "server.worker", workload],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CLIPCORE_URL": site.url, "CLIPCORE_RUN_ID": "w1"},
        )
        processes.append(process)
        process.stdin.write(json.dumps(options) + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in processes:
        with process:  # waits, and closes its pipes
            process.kill()


def run(site):
    return site.http.get("/api/runs/w1").json()


def wait_for_step(site, process, step):
    def there():
        assert process.poll() is None, process.stderr.read()
        return run(site).get("step", 0) >= step

    until(there, timeout_s=60)


def test_a_worker_trains_its_steps_on_view_and_finishes(site, work):
    """Every step is at the server, with the options that it was started with."""
    process = work("rnn", steps=30, seed=5, verify_steps=30)
    assert process.wait(60) == 0, process.stderr.read()
    finished = run(site)
    assert (finished["state"], finished["seq"], finished["step"]) == ("finished", 30, 30)
    assert (finished["name"], finished["config"]["seed"], finished["config"]["max_norm"]) == ("rnn", 5, 0.5)
    columns = site.http.get("/api/runs/w1/series?metrics=loss,lr,clipped_norm,verify_norm").json()["columns"]
    assert columns["step"] == list(range(1, 31))
    assert columns["verify_norm"] == pytest.approx(columns["clipped_norm"])
    assert columns["lr"] == [1.0] * 30


def test_the_learning_rate_is_a_knob(site, work):
    """It is turned as the clipping is, in one patch with it, and the very step that obeys trains with it."""
    process = work("rnn", lr=0.8)
    wait_for_step(site, process, 3)
    assert run(site)["knobs"]["lr"]["exclusiveMinimum"] == 0.0
    applied = site.http.post("/api/runs/w1/control", json={"lr": 0.4, "max_norm": 0.25}).json()
    assert (applied["config"]["lr"], applied["config"]["max_norm"]) == (0.4, 0.25)
    wait_for_step(site, process, applied["step"])
    columns = site.http.get("/api/runs/w1/series?metrics=lr,threshold").json()["columns"]
    first = columns["step"].index(applied["step"])
    assert list(zip(columns["lr"], columns["threshold"], strict=True))[first - 1 : first + 1] == [
        (0.8, 0.5),
        (0.4, 0.25),
    ]
    refused = site.http.post("/api/runs/w1/control", json={"lr": -1})
    assert (refused.status_code, refused.json()["detail"]) == (422, "lr must be > 0, got -1")


def test_a_worker_gives_way_to_the_dashboard(site, work):
    """It runs at low priority."""
    process = work("rnn")
    wait_for_step(site, process, 1)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + NICENESS


def test_sigterm_ends_the_loop_even_while_it_is_paused(site, work):
    """The run is stopped, with every step of the loop, and the exit code is 0."""
    process = work("rnn")
    wait_for_step(site, process, 3)
    assert site.http.post("/api/runs/w1/command", json={"command": "pause"}).is_success
    until(lambda: run(site)["state"] == "paused")
    paused_at = run(site)["step"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, process.stderr.read()
    assert (run(site)["state"], run(site)["seq"]) == ("stopped", paused_at)


def test_a_worker_ends_with_the_pipe_to_its_server(site, work):
    """The end of standard input ends it at once, in the middle of its training."""
    process = work("charlm")
    wait_for_step(site, process, 3)
    process.stdin.close()
    assert process.wait(5) != 0


def test_an_exception_marks_the_run_failed_with_the_traceback(site, work):
    """The server and standard error both have it, and the steps before it."""
    process = work("rnn", mode="off", lr=1e38, nonfinite="raise")
    assert process.wait(60) == 1
    failed = run(site)
    assert failed["state"] == "failed"
    assert failed["seq"] >= 1
    for told in (failed["reason"], process.stderr.read()):
        assert "Traceback" in told
        assert "in loop" in told
        assert "recurrence.weight_hh_l0" in told
