"""What the server has acknowledged is there, once, whoever is killed and when."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e import browser

pytestmark = pytest.mark.e2e

#: Streams until it is asked to stop; prints its run's id, then each acknowledged seq, then how many steps it took.
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
step = 0
while run.proceed():
    step += 1
    parameter.grad = torch.full((8,), float(step))
    run.log(clipper.clip_(), loss=1.0 / step)
    time.sleep(0.005)
run.finish(timeout_s=30)
print(step)
"""


class Trainer:
    """A training script in a process of its own, and what it has seen acknowledged."""

    def __init__(self, server, log):
        self._log = log
        with log.open("w") as acks:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TRAINER, server.url], stdout=acks, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )

    @property
    def run_id(self):
        return next(iter(self._log.read_text().split()), None)

    @property
    def acked(self):
        """The last acknowledged seq."""
        return max(map(int, self._log.read_text().split()[1:]), default=0)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self, server):
        """Ask it to end over the server; the steps it took."""
        server.post(f"/api/runs/{self.run_id}/command", {"command": "stop"})
        assert self.process.wait(40) == 0
        return int(self._log.read_text().split()[-1])


class Browser:
    """A page in a Chromium that can be killed."""

    def __init__(self, playwright, url):
        self._browser = playwright.chromium.launch(executable_path=browser.installed(), args=list(browser.ARGUMENTS))
        self.page = self._browser.new_page(viewport={"width": 400, "height": 300})  # few charts: others need the cores
        self.page.goto(url)
        expect(self.page.get_by_test_id("connection")).to_have_attribute("data-state", "live")

    def kill(self):
        processes = self._browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        os.kill(next(process["id"] for process in processes if process["type"] == "browser"), signal.SIGKILL)

    def close(self):
        self._browser.close()


def children(server):
    """Process ids of the server's children, as strings."""
    pid = server.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.fixture
def make_trainer(tmp_path):
    """Start trainers that end with the test."""
    trainers = []

    def make(server):
        trainers.append(Trainer(server, tmp_path / f"acks{len(trainers)}.txt"))
        return trainers[-1]

    yield make
    for trainer in trainers:
        trainer.kill()


def test_what_was_acknowledged_survives_twenty_kills(make_server, make_trainer):
    """SIGKILL of server, trainer and browser at random moments: each acknowledged step is there, exactly once.

    Whoever lives on goes on by itself: the trainers deliver all their steps in the end, and the page shows the last.
    """
    server = make_server(autostart="")
    trainers = [make_trainer(server) for _ in range(2)]
    dead = []
    chance = random.Random(0)
    victims = chance.sample(["server"] * 8 + ["trainer"] * 6 + ["browser"] * 6, 20)
    with sync_playwright() as playwright:
        watching = Browser(playwright, server.url)
        for victim in victims:
            seen = [(trainer, trainer.acked) for trainer in trainers]
            server.wait_until(lambda seen=seen: any(trainer.acked > acked for trainer, acked in seen), "an ack")
            time.sleep(chance.uniform(0.05, 0.5))
            match victim:
                case "server":
                    server.kill()
                    server.start()
                case "trainer":
                    dead.append(trainers.pop(0))
                    dead[-1].kill()
                    trainers.append(make_trainer(server))
                case "browser":
                    watching.kill()
                    watching = Browser(playwright, server.url)
        server.wait_until(lambda: all(trainer.acked for trainer in trainers), "acks of both trainers")
        taken = {trainer.run_id: trainer.stop(server) for trainer in trainers}
        newest = server.run()
        expect(watching.page.get_by_test_id("step")).to_have_text(f"{newest['step']:,}")
        watching.close()
    for trainer in dead:
        if trainer.acked:
            assert len(check_rows(server, trainer.run_id)) >= trainer.acked
    for run_id, steps in taken.items():
        assert len(check_rows(server, run_id)) == steps
        assert server.run(run_id)["state"] == "stopped"


def check_rows(server, run_id):
    """The run's seqs, after a look at whether they and the rows themselves are whole."""
    columns = server.series(run_id, "seq", "norm")["columns"]
    assert columns["seq"] == columns["step"] == list(range(1, len(columns["seq"]) + 1))
    assert columns["norm"] == pytest.approx([step * 8**0.5 for step in columns["step"]])
    return columns["seq"]


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
