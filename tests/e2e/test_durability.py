"""What the server has acknowledged is there, once, whoever is killed and when."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

TRAINER = """
import sys, time
import torch, clipcore

parameter = torch.nn.Parameter(torch.ones(8))
clipper = clipcore.Clipper([parameter], mode="norm", max_norm=1.0)
run = clipcore.connect(clipper, name="scripted", url=sys.argv[1])
acknowledge = run._outbox.acknowledge

def log_ack(seq, n):
    print(seq, flush=True)
    acknowledge(seq, n)

run._outbox.acknowledge = log_ack
print(run.id, flush=True)
for step in range(int(sys.argv[2])):
    parameter.grad = torch.full((8,), float(step + 1))
    run.log(clipper.clip_(), loss=1.0 / (step + 1))
    time.sleep(0.001)
run.finish(timeout_s=30)
"""


def children(server):
    """Process ids of the server's children, as strings."""
    pid = server.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_every_acknowledged_step_survives_the_server_being_killed_at_random_moments(make_server, tmp_path):
    """Six SIGKILLs while a trainer streams: each acknowledged seq is stored once, and in the end so is every step."""
    server = make_server(autostart="")
    steps = 8_000
    log = tmp_path / "acks.txt"
    with log.open("w") as acks:
        trainer = subprocess.Popen(
            [sys.executable, "-c", TRAINER, server.url, str(steps)],
            stdout=acks,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    moments = random.Random(0)
    server.wait_until(lambda: len(log.read_text().split()) > 3, "the first acks")
    for _ in range(6):
        time.sleep(moments.uniform(0.05, 0.8))
        server.kill()
        server.start()
    assert trainer.wait(90) == 0
    run_id, *acked = log.read_text().split()
    columns = server.series(run_id, "seq", "norm", "loss")["columns"]
    assert len(set(columns["seq"])) == len(columns["seq"])
    assert {int(seq) for seq in acked} - {0} <= set(columns["seq"])
    assert columns["seq"] == list(range(1, steps + 1))
    assert columns["step"] == list(range(1, steps + 1))
    assert columns["norm"][41] == pytest.approx(42 * 8**0.5)
    assert server.run(run_id)["state"] == "finished"


def test_a_killed_worker_leaves_a_failed_run_with_its_steps(make_server):
    """SIGKILL of the training process: the run is failed, says so, and has every step that the server had."""
    server = make_server(autostart="charlm")
    run = server.wait_until(lambda: (run := server.run()) and run["step"] > 10 and run, "ten steps")
    seen = server.run(run["id"])["seq"]
    for pid in children(server):
        os.kill(int(pid), signal.SIGKILL)
    server.wait_until(lambda: server.run(run["id"])["state"] == "failed", "the run to fail")
    assert "SIGKILL" in server.run(run["id"])["reason"]
    stored = server.series(run["id"], "seq")["columns"]["seq"]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) >= seen
    server.post("/api/workers", {"workload": "charlm", "config": {}})
    server.wait_until(lambda: server.run()["id"] != run["id"] and server.run()["step"] > 3, "another run to train")


def test_a_worker_ends_with_its_server(make_server):
    """However the server dies, its training process does not outlive it."""
    server = make_server(autostart="charlm")
    server.wait_until(lambda: (run := server.run()) and run["step"] > 3, "training")
    workers = children(server)
    assert workers
    server.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path("/proc", pid).exists() for pid in workers):
        time.sleep(0.05)
    assert not any(Path("/proc", pid).exists() for pid in workers)


def test_a_clean_stop_takes_less_than_five_seconds_and_loses_nothing(make_server):
    """SIGTERM: every step that was shown is stored, and the exit code is 0."""
    server = make_server(autostart="charlm")
    run = server.wait_until(lambda: (run := server.run()) and run["step"] > 10 and run, "ten steps")
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) in (0, -signal.SIGTERM)
    assert time.monotonic() - started < 5
    server.start()
    assert server.run(run["id"])["seq"] >= run["seq"]
    assert server.run(run["id"])["state"] in ("stopped", "disconnected", "failed")


def test_the_worker_recomputes_its_norms_from_the_gradients(make_server):
    """For 50 steps ||grad|| in float64, taken after `clip_()`, is `clipped_norm` and within the bound."""
    server = make_server(autostart="")
    started = server.post(
        "/api/workers", {"workload": "charlm", "config": {"verify_steps": 50, "steps": 60, "max_norm": 0.5}}
    )
    server.wait_until(lambda: server.run(started["id"])["state"] == "finished", "the run to finish", 90)
    columns = server.series(started["id"], "clipped_norm", "verify_norm", "norm")["columns"]
    verified = columns["verify_norm"][:50]
    assert verified == pytest.approx(columns["clipped_norm"][:50], rel=1e-6)
    assert max(verified) <= 0.5 * (1 + 1e-6)
    assert max(columns["norm"][:50]) > 0.5
    assert columns["verify_norm"][50:] == [None] * 10
