"""Naming, deleting and bringing back runs, on a real server."""

import sqlite3
from contextlib import closing

import pytest

from server import catalogue
from server.writer import StoreError
from tests.server.site import hello, steps, until


def listed(site):
    return [run["id"] for run in site.http.get("/api/runs").json()["runs"]]


def leave(site, run, *messages, **fields):
    """A run that had these messages and that nobody feeds any more."""
    trainer = site.trainer()
    trainer.start(run, **fields)
    for message in messages:
        trainer.commit(message)
    trainer.close()
    lines = site.hub.catalogue.run(run).lines
    until(lambda: lines and lines[-1].data == {"state": "disconnected"})


def edit(site, run, **fields):
    return site.http.patch(f"/api/runs/{run}", json=fields)


# --- names and notes ---


def test_a_new_name_and_a_note_reach_every_list(site):
    """The answer, the run, the list and whoever watches have them; the last sign of life stays what it was."""
    leave(site, "r1", steps(1, 3))
    before = site.http.get("/api/runs/r1").json()
    viewer = site.viewer()
    viewer.subscribe()
    answer = edit(site, "r1", name="  baseline ", note="warmup of 100")
    assert answer.json() == {**before, "name": "baseline", "note": "warmup of 100"}
    assert site.http.get("/api/runs/r1").json() == answer.json()
    (shown,) = viewer.wait("runs")["runs"]
    assert (shown["name"], shown["note"]) == ("baseline", "warmup of 100")
    assert edit(site, "r1", note="").json()["name"] == "baseline"
    assert site.http.get("/api/runs").json()["runs"][0]["note"] == ""


def test_a_name_given_by_a_person_outlives_trainer_and_server(serve):
    """Neither a reconnecting trainer nor a restart brings the old name back."""
    site = serve()
    leave(site, "r1", name="mine")
    edit(site, "r1", name="theirs", note="kept")
    site.trainer().start("r1", name="mine")
    assert site.http.get("/api/runs/r1").json()["name"] == "theirs"
    site.close()
    run = serve().http.get("/api/runs/r1").json()
    assert (run["name"], run["note"]) == ("theirs", "kept")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": " "}, "body.name"),
        ({"name": "x" * 201}, "body.name"),
        ({"note": "x" * 1001}, "body.note"),
        ({"state": "finished"}, "body.state"),
    ],
)
def test_a_bad_edit_changes_nothing(site, fields, complaint):
    """It is refused with a sentence that names the field."""
    leave(site, "r1")
    before = site.http.get("/api/runs/r1").json()
    answer = edit(site, "r1", **fields)
    assert answer.status_code == 422
    assert complaint in answer.json()["detail"]
    assert site.http.get("/api/runs/r1").json() == before


# --- deleting ---


def test_a_deleted_run_is_unknown_at_once(site):
    """It leaves the list, also that of a page that shows it, and none of its routes answers."""
    leave(site, "r1", steps(1, 3))
    viewer = site.viewer()
    viewer.subscribe("r1")
    assert site.http.delete("/api/runs/r1").status_code == 204
    assert viewer.wait("runs")["runs"] == []
    assert listed(site) == []
    for path in ("", "/series", "/events", "/export", "/layers"):
        assert site.http.get(f"/api/runs/r1{path}").status_code == 404
    assert edit(site, "r1", name="x").status_code == 404
    assert site.http.delete("/api/runs/r1").status_code == 404
    viewer.send({"type": "subscribe", "run": "r1", "since": None})
    assert "'r1'" in viewer.wait("error")["reason"]
    assert site.viewer().subscribe()["run"] is None


def test_a_deleted_run_comes_back_whole_and_in_its_place(site):
    """Rows, lines and its place in the list; those who watched it go on watching."""
    for run in ("r1", "r2", "r3"):
        leave(site, run, steps(1, 3))
    viewer = site.viewer()
    viewer.subscribe("r2")
    site.http.delete("/api/runs/r2")
    assert listed(site) == ["r3", "r1"]
    assert site.http.post("/api/runs/r2/restore").json()["id"] == "r2"
    assert listed(site) == ["r3", "r2", "r1"]
    assert site.http.get("/api/runs/r2/series").json()["columns"]["seq"] == [1, 2, 3]
    trainer = site.trainer()
    assert trainer.start("r2")["acked"] == 3
    trainer.commit(steps(4, 4))
    assert viewer.rows_until(4) == [4]
    assert site.http.post("/api/runs/r2/restore").status_code == 200


def test_a_trainer_that_returns_brings_its_run_back(site):
    """A script that was only out of reach while its run was deleted goes on where it was."""
    leave(site, "r1", steps(1, 3))
    site.http.delete("/api/runs/r1")
    assert site.trainer().start("r1")["acked"] == 3
    assert listed(site) == ["r1"]


def test_a_run_in_use_is_not_deleted(site):
    """While a trainer is attached the run stays, and the sentence says what to do."""
    trainer = site.trainer()
    trainer.start("r1")
    answer = site.http.delete("/api/runs/r1")
    assert answer.status_code == 409
    assert "stop it first" in answer.json()["detail"]
    assert listed(site) == ["r1"]


def test_a_run_whose_worker_lives_is_not_deleted(site):
    """Not even before the worker has reached the server."""
    run = site.http.post("/api/workers", json={"workload": "rnn", "config": {}}).json()["id"]
    assert site.http.delete(f"/api/runs/{run}").status_code == 409
    site.http.delete(f"/api/workers/{run}")
    until(lambda: site.http.delete(f"/api/runs/{run}").status_code == 204)


def test_after_a_while_a_deleted_run_is_gone_for_good(site, monkeypatch, tmp_path):
    """Then nothing of it is left, and nothing brings it back; a restored one stays."""
    monkeypatch.setattr(catalogue, "RESTORABLE_S", 0.3)
    leave(site, "r1", steps(1, 3))
    leave(site, "r2", steps(1, 3))
    for run in ("r1", "r2"):
        site.http.delete(f"/api/runs/{run}")
    site.http.post("/api/runs/r2/restore")
    until(lambda: rows_in(tmp_path) == 3)
    assert site.http.post("/api/runs/r1/restore").status_code == 404
    assert listed(site) == ["r2"]


def test_a_restart_forgets_no_deletion(serve, monkeypatch, tmp_path):
    """A deleted run stays deleted, can still be brought back, and goes when its time is over."""
    site = serve()
    for run in ("r1", "r2"):
        leave(site, run, steps(1, 3))
        site.http.delete(f"/api/runs/{run}")
    site.close()
    site = serve()
    assert listed(site) == []
    assert site.http.post("/api/runs/r1/restore").status_code == 200
    site.close()
    monkeypatch.setattr(catalogue, "RESTORABLE_S", 0.0)
    site = serve()
    until(lambda: rows_in(tmp_path) == 3)
    assert listed(site) == ["r1"]


def test_a_full_disk_only_delays_that_a_deleted_run_goes(site, monkeypatch, caplog, tmp_path):
    """What cannot be forgotten is tried again, without a restart, and the log says so."""
    monkeypatch.setattr(catalogue, "RESTORABLE_S", 0.0)
    monkeypatch.setattr(catalogue, "PURGE_RETRY_S", 0.05)
    monkeypatch.setattr(site.store, "delete", refuse)
    leave(site, "r1", steps(1, 3))
    site.http.delete("/api/runs/r1")
    until(lambda: "run r1 could not be purged, trying again in" in caplog.text)
    assert rows_in(tmp_path) == 3
    monkeypatch.undo()
    until(lambda: rows_in(tmp_path) == 0)
    assert site.http.post("/api/runs/r1/restore").status_code == 404


def refuse(*_):
    raise StoreError("the disk is full")


def test_deleted_runs_take_no_places(serve):
    """KEEP_RUNS counts what is listed."""
    site = serve(keep_runs=2)
    for run in ("r1", "r2"):
        leave(site, run)
    site.http.delete("/api/runs/r2")
    leave(site, "r3")
    assert listed(site) == ["r3", "r1"]


@pytest.mark.parametrize("settings", [{"token": "secret"}, {"read_only": True}], ids=["token", "read-only"])
def test_who_may_not_steer_changes_no_run(serve, settings):
    """Editing, deleting and restoring are refused as every change is."""
    site = serve(**settings)
    site.trainer(Authorization="Bearer secret").start("r1")
    answers = edit(site, "r1", name="x"), site.http.delete("/api/runs/r1"), site.http.post("/api/runs/r1/restore")
    assert {answer.status_code for answer in answers} <= {401, 403}
    assert [(run.id, run.name) for run in site.hub.catalogue.brief] == [("r1", "test")]


def rows_in(directory):
    with closing(sqlite3.connect(directory / "clipcore.db")) as db:
        return db.execute("SELECT count(*) FROM steps").fetchone()[0]


# --- what cannot be read ---


def test_a_run_that_makes_no_sense_costs_nobody_the_others(serve, tmp_path, caplog):
    """The log names it, it is not shown, nobody adds to it, and its rows stay where they are."""
    site = serve()
    for run in ("good", "bad"):
        leave(site, run, steps(1, 3))
    site.close()
    with closing(sqlite3.connect(tmp_path / "clipcore.db")) as db:
        db.execute("UPDATE runs SET state = 'dancing' WHERE id = 'bad'")
        db.commit()
    again = serve()
    assert listed(again) == ["good"]
    assert "run bad cannot be read: it stays in the database" in caplog.text
    trainer = again.trainer()
    trainer.send(hello("bad"))
    assert "what is stored of run 'bad' cannot be read" in trainer.wait("error")["reason"]
    again.close()
    with closing(sqlite3.connect(tmp_path / "clipcore.db")) as db:
        query = "SELECT state, (SELECT count(*) FROM steps WHERE run = key) FROM runs WHERE id = 'bad'"
        assert db.execute(query).fetchall() == [("dancing", 3)]
