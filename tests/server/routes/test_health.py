import re
from collections import namedtuple
from concurrent.futures import Future

import pytest

from clipcore.rules import RULES
from server import catalogue
from server.routes import health
from server.writer import StoreError
from tests.server.site import steps, until

DiskUsage = namedtuple("DiskUsage", "total used free")


def test_a_running_server_is_alive_and_ready(site):
    """Alive: the event loop turns. Ready: the disk took a write."""
    assert site.http.get("/healthz").json() == {"status": "ok"}
    assert site.http.get("/readyz").json() == {"status": "ready"}


def test_however_many_ask_the_disk_is_written_to_once_in_a_while(site, monkeypatch):
    """All who ask within a second share the answer; the next one has its own."""
    checks = []
    check = site.store.check
    monkeypatch.setattr(site.store, "check", lambda: checks.append(1) or check())
    monkeypatch.setattr(health, "SHARED_S", 1e9)
    assert {site.http.get("/readyz").status_code for _ in range(20)} == {200}
    assert len(checks) == 1
    monkeypatch.setattr(health, "SHARED_S", 1e-9)
    site.http.get("/readyz")
    assert len(checks) == 2


@pytest.mark.parametrize(("fault", "reason"), [("fails", "disk full"), ("hangs", "has not written anything for")])
def test_a_server_that_cannot_write_is_not_ready(site, monkeypatch, fault, reason):
    """A disk that refuses or does not answer makes /readyz say so; the server stays alive."""
    answer: Future[None] = Future()
    if fault == "fails":
        answer.set_exception(StoreError("disk full"))
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(site.store, "check", lambda: answer)
    reply = site.http.get("/readyz")
    assert reply.status_code == 503
    assert reason in reply.json()["detail"]
    assert site.http.get("/healthz").status_code == 200


def test_a_disk_that_is_nearly_full_is_not_ready(site, monkeypatch):
    """While writes still succeed, /readyz names the setting and the room that is left."""
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**62)
    reply = site.http.get("/readyz")
    assert reply.status_code == 503
    assert re.search(
        r"the disk of CLIPCORE_DATA_DIR has [\d,]+ MiB left, .+, less than [\d,]+$", reply.json()["detail"]
    )


def test_a_deleted_run_makes_room(site, monkeypatch):
    """What it has freed in the database counts, for the file does not shrink: deleting is what helps a full disk."""
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: DiskUsage(0, 0, 0))
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**16)
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 4000, own=float))
    trainer.close()
    assert site.http.get("/readyz").status_code == 503
    until(lambda: not site.http.get("/api/runs/r1").json()["attached"])
    monkeypatch.setattr(catalogue, "RESTORABLE_S", 0.0)
    assert site.http.delete("/api/runs/r1").status_code == 204
    until(lambda: site.http.get("/readyz").status_code == 200)


def test_the_api_describes_itself(site):
    """OpenAPI lists every route of the API."""
    paths = site.http.get("/openapi.json").json()["paths"]
    assert {"/api/runs", "/api/runs/{run_id}/series", "/api/runs/{run_id}/control", "/api/workers", "/readyz"} <= set(
        paths
    )


def test_rules_are_the_engines(site):
    """Every mode is there with its parameters; an infinite default travels as a string."""
    rules = site.http.get("/api/rules").json()["rules"]
    assert list(rules) == list(RULES)
    assert rules["norm"]["properties"]["max_norm"]["default"] == 1.0
    assert rules["autoclip"]["properties"]["max_norm"]["default"] == "Infinity"


def test_workloads_have_their_options(site):
    """Every workload comes with its options as JSON Schema."""
    workloads = {workload["name"]: workload for workload in site.http.get("/api/workloads").json()["workloads"]}
    assert {"charlm", "rnn"} <= workloads.keys()
    assert "steps" in workloads["rnn"]["options"]["properties"]


def test_a_bad_worker_is_refused(site):
    """An unknown workload or option is 422, an unknown worker 404; no run appears."""
    assert site.http.post("/api/workers", json={"workload": "nope"}).status_code == 422
    assert site.http.post("/api/workers", json={"workload": "rnn", "config": {"steps": -1}}).status_code == 422
    assert site.http.delete("/api/workers/nope").json() == {"detail": "no worker is training run 'nope'"}
    assert site.http.get("/api/runs").json() == {"runs": []}
