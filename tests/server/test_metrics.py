"""/metrics says what the server takes in, keeps and shows."""

import itertools
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import peer
from tests.server.site import steps, until
from tests.server.test_viewer import stalled_viewer


def metrics_of(site, **headers):
    """Every sample by its name, with its labels if it has any."""
    answer = site.http.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_steps_and_acks_are_counted_once_they_are_committed(site):
    """Counters rise by what was taken in, and the latency histogram by the writes it took."""
    before = metrics_of(site)
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 30))
    trainer.commit(steps(1, 40))
    after = metrics_of(site)
    grown = {name: after[name] - before[name] for name in before}
    assert grown[("clipcore_steps_total",)] == 40
    assert grown[("clipcore_acks_total",)] == 2
    assert grown[("clipcore_commit_seconds_count",)] >= 3
    assert 0 < grown[("clipcore_commit_seconds_sum",)] < 30
    assert grown[("clipcore_commit_seconds_bucket", "+Inf")] == grown[("clipcore_commit_seconds_count",)]


def test_gauges_say_how_things_are(site):
    """Runs by state, who is connected, what is under way; every state has its series, also at 0."""
    empty = metrics_of(site)
    assert {value for (name, *_), value in empty.items() if name == "clipcore_runs"} == {0}
    first, second = site.trainer(), site.trainer()
    first.start("r1")
    second.start("r2")
    first.commit({"type": "finish", "n": 1, "time": 1.0, "state": "finished"})
    site.viewer().subscribe("r1")
    found = metrics_of(site)
    assert found[("clipcore_runs", "running")] == 1
    assert found[("clipcore_runs", "finished")] == 1
    assert found[("clipcore_runs", "failed")] == 0
    assert found[("clipcore_trainers",)] == 2
    assert found[("clipcore_viewers",)] == 1
    assert found[("clipcore_workers",)] == 0
    assert found[("clipcore_queued_writes",)] >= 0
    second.close()
    until(lambda: metrics_of(site)[("clipcore_runs", "disconnected")] == 1)


def test_a_stalled_viewer_is_counted_when_it_is_given_up(site, monkeypatch):
    """A viewer that reads nothing is dropped, and the count says so."""
    monkeypatch.setattr(peer, "SEND_TIMEOUT_S", 0.3)
    before = metrics_of(site)
    site.shrink_buffers()
    trainer = site.trainer()
    trainer.start("r1")
    with closing(stalled_viewer(site)):
        dropped = ("clipcore_dropped_clients_total",)
        seqs = itertools.count(1, 1000)
        while metrics_of(site)[dropped] == before[dropped]:
            first = next(seqs)
            trainer.commit(steps(first, first + 999, loss=float, lr=float))
    assert metrics_of(site)[dropped] == before[dropped] + 1


@pytest.mark.parametrize(("settings", "status"), [({}, 401), ({"public_view": True}, 200)])
def test_metrics_are_shown_to_whoever_may_watch(serve, settings, status):
    """A closed server wants the token here too; a scraper sends it as a bearer token."""
    site = serve(token="secret", **settings)
    assert site.http.get("/metrics").status_code == status
    assert metrics_of(site, Authorization="Bearer secret")[("clipcore_viewers",)] == 0
