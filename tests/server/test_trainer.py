"""A trainer's side of the wire, on a real server with a real socket."""

import asyncio
import math

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from server import trainer as trainer_module
from server.protocol import MAX_ROWS
from server.sql import writing
from server.writer import StoreError
from tests.server.site import hello, steps, until


def run_of(site, run="r1"):
    return site.http.get(f"/api/runs/{run}").json()


def rows_of(site, run="r1", **query):
    return site.http.get(f"/api/runs/{run}/series", params={"points": 5000, **query}).json()["columns"]


def log_of(site, run="r1"):
    return site.http.get(f"/api/runs/{run}/events").json()["events"]


def refused(wire, message=None):
    """The close code and the sentence with which the server ends a conversation."""
    if message is not None:
        wire.send(message)
    reason = wire.wait("error")["reason"]
    with pytest.raises(ConnectionClosed) as closed:
        wire.receive()
    return closed.value.rcvd.code, reason


def note(n, type_="event", **fields):
    base = {"type": type_, "n": n, "time": 5.0}
    return base | ({"step": n, "kind": "note", "text": f"note {n}"} if type_ == "event" else {}) | fields


def test_a_new_run_starts_with_nothing_committed(site):
    """Hello makes the run; welcome says that nothing of it is there yet."""
    assert site.trainer().start(config={"lr": 0.1}) == {"type": "welcome", "run": "r1", "acked": 0, "n": 0}
    run = run_of(site)
    assert (run["name"], run["state"], run["attached"]) == ("test", "running", True)
    assert (run["config"], run["control"]["max_norm"], run["layers"]) == ({"lr": 0.1}, 1.0, ["a", "b"])


def while_introduced(site, monkeypatch, then):
    """Ask for a change and a stop once a trainer is attached, before it is welcome; `then` comes after that."""
    answers = []

    async def introduce(*arguments):
        requests = (site.hub.ask("r1", "1", {"max_norm": 0.5}), site.hub.ask("r1", "2", "stop"))
        answers.extend(map(asyncio.create_task, requests))
        await asyncio.sleep(0.01)
        await then(*arguments)

    monkeypatch.setattr(site.hub, "_introduce", introduce)
    return answers


def test_what_is_asked_of_a_trainer_waits_for_its_welcome(site, monkeypatch):
    """It takes anything else first for a refusal, and would hang up."""
    answers = while_introduced(site, monkeypatch, site.hub._introduce)
    trainer = site.trainer()
    trainer.start()
    trainer.obey(1, 1, {"max_norm": 0.5})
    assert [message["type"] for message in trainer.seen] == ["welcome", "control", "command", "ack"]
    until(lambda: answers[0].done())
    assert answers[0].result().config == {"max_norm": 0.5}


def test_what_is_asked_of_a_trainer_that_is_never_welcome_is_answered(site, monkeypatch):
    """Its connection is lost, and whoever asked need not wait longer."""

    async def fail(*_):
        raise StoreError("full")

    answers = while_introduced(site, monkeypatch, fail)
    trainer = site.trainer()
    assert refused(trainer, hello()) == (1013, "full")
    until(lambda: all(answer.done() for answer in answers))
    assert [answer.result().attached for answer in answers] == [False, False]


def test_what_is_acknowledged_is_stored(site):
    """An ack names the last row, and the row is there, whatever its numbers are."""
    trainer = site.trainer()
    trainer.start()
    ack = trainer.commit(steps(1, 3, norm=["NaN", "Infinity", 0.5], own=[None, 1, "-Infinity"]))
    assert ack == {"type": "ack", "seq": 3, "n": 0}
    rows = rows_of(site)
    assert rows["seq"] == [1, 2, 3]
    assert rows["norm"] == ["NaN", "Infinity", 0.5]
    assert rows["own"] == [None, 1.0, "-Infinity"]


def test_overlapping_batches_are_stored_once(site):
    """A trainer that sends again what was lost on the way gets an ack, and the first version of a row stays."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 5))
    trainer.commit(steps(3, 8, norm=[-1] * 6))
    assert rows_of(site)["norm"] == [1, 2, 3, 4, 5, -1, -1, -1]


@pytest.mark.parametrize(
    ("later", "lost"), [(10, "7 steps before step 10 never arrived"), (4, "the step before step 4 never arrived")]
)
def test_a_gap_is_taken_as_it_is(site, later, lost):
    """A trainer whose buffer overflowed goes on with a later seq, and the log says how much is missing, and where."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 2))
    trainer.commit(steps(later, later + 1))
    trainer.commit(steps(later + 1, later + 2))
    assert rows_of(site)["seq"] == [1, 2, later, later + 1, later + 2]
    assert [(line["kind"], line["text"]) for line in log_of(site)] == [("warning", lost)]


def test_a_reconnecting_trainer_learns_what_is_committed(site):
    """Welcome names the last row and the last note; notes that come again are passed over."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 4))
    trainer.commit(note(1))
    trainer.close()
    until(lambda: run_of(site)["state"] == "disconnected")
    again = site.trainer()
    assert again.start() == {"type": "welcome", "run": "r1", "acked": 4, "n": 1}
    again.send(note(1, text="once more"))
    again.commit(note(2))
    assert [line["text"] for line in log_of(site)] == ["note 1", "the trainer is disconnected", "note 2"]
    assert run_of(site)["state"] == "running"


def test_a_restarted_server_goes_on_where_it_was(serve):
    """Rows, lines and the run's state outlive the server; what was running waits for its trainer."""
    first = serve()
    trainer = first.trainer()
    trainer.start()
    trainer.commit(steps(1, 4))
    trainer.commit(note(1, "applied", step=4, config={"mode": "norm", "max_norm": 0.5}, changes={"max_norm": [1, 0.5]}))
    first.stop()
    second = serve()
    assert run_of(second)["state"] == "disconnected"
    assert run_of(second)["control"]["max_norm"] == 0.5
    assert rows_of(second)["seq"] == [1, 2, 3, 4]
    assert log_of(second)[0]["text"] == "max_norm 1 -> 0.5"
    assert second.trainer().start()["acked"] == 4
    assert run_of(second)["state"] == "running"


def test_a_stopping_server_says_goodbye(site):
    """A trainer is told that the server goes away, not cut off."""
    trainer = site.trainer()
    trainer.start()
    site.stop()
    with pytest.raises(ConnectionClosed) as closed:
        trainer.receive()
    assert closed.value.rcvd.code == 1012


def test_the_newest_connection_feeds_the_run(site):
    """A second hello for a run takes it over: the first connection is told and closed, its rows count no more."""
    first, second = site.trainer(), site.trainer()
    first.start()
    first.commit(steps(1, 2))
    assert second.start()["acked"] == 2
    code, reason = refused(first)
    assert code == 4409
    assert "taken this run over" in reason
    second.commit(steps(3, 4))
    assert run_of(site)["attached"]
    assert rows_of(site)["seq"] == [1, 2, 3, 4]


def test_trainers_do_not_disturb_each_other(site):
    """Runs are fed side by side, each with its own numbers."""
    trainers = {f"r{n}": site.trainer() for n in range(5)}
    for run, trainer in trainers.items():
        trainer.start(run)
    for run, trainer in trainers.items():
        trainer.commit(steps(1, 2, norm=[float(run[1]), math.pi]))
    for run in trainers:
        assert rows_of(site, run)["norm"] == [float(run[1]), math.pi]
    assert [run["id"] for run in site.http.get("/api/runs").json()["runs"]] == ["r4", "r3", "r2", "r1", "r0"]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (steps(1, 2), "expected hello first, got steps"),
        (hello(version=2), "version 1 of the wire, the trainer version 2: install the same clipcore"),
        (hello(run="no/slash"), "run"),
        (hello(config={"a": "x" * 70_000}), "hello.config: must have at most 65,536 bytes as JSON, got 70,008"),
        (hello(knobs={"lr": {"description": "x" * 70_000}}), "hello.knobs: must have at most 65,536 bytes"),
        ({"type": "what"}, "what"),
    ],
)
def test_a_bad_introduction_is_refused(site, message, complaint):
    """Who does not say hello properly is told what is wrong and sent away; no run appears."""
    code, reason = refused(site.trainer(), message)
    assert code == 1008
    assert complaint in reason
    assert site.http.get("/api/runs").json() == {"runs": []}


def test_silence_is_no_introduction(site, monkeypatch):
    """Who connects and says nothing does not hold a connection for ever."""
    monkeypatch.setattr(trainer_module, "HELLO_TIMEOUT_S", 0.1)
    assert refused(site.trainer()) == (1008, "expected hello within 0 s, got nothing")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (hello(), "hello only once"),
        ({**steps(1, 1), "seq": -1}, "seq"),
        (note(0), "event.n"),
        ({"type": "steps", "seq": 2, "columns": {}}, "columns.step is missing"),
    ],
)
def test_a_message_that_cannot_be_acknowledged_ends_the_conversation(site, message, complaint):
    """It is not known which one it is, so the sentence that is wrong with it is the answer; what came before stays."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 1))
    code, reason = refused(trainer, {**message, **({"seq": 2} if message.get("seq") == 1 else {})})
    assert code == 1008
    assert complaint in reason
    assert rows_of(site)["seq"] == [1]
    assert until(lambda: run_of(site)["state"] == "disconnected")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (note(1, kind="state", data={"state": "dancing"}), "state: Input should be 'running' or 'paused'"),
        (note(1, "rejected", id="x", reason="x" * 200_000), "reason: String should have at most 100000 characters"),
        (note(1, "finish", state="finished", reason="\ud800"), "Invalid JSON"),
        (note(1, "applied", step=-1, config={}), "step"),
        (note(1, data={"a": "x" * 70_000}), "data: must have at most 65,536 bytes as JSON, got 70,008"),
        (note(1, "applied", step=1, config={"a": "x" * 70_000}), "config: must have at most 65,536 bytes"),
        (note(1, "applied", step=1, config={}, changes={"a": [1, "x" * 70_000]}), "changes: must have at most"),
    ],
)
def test_a_note_that_cannot_be_taken_is_left_out(site, message, complaint):
    """Its number is acknowledged, for good, so that it does not come again; the log says why, and the run goes on."""
    trainer = site.trainer()
    trainer.start()
    assert trainer.commit(message)["n"] == 1
    trainer.send(message)
    trainer.commit(note(2))
    left_out, second = log_of(site)
    assert (left_out["kind"], second["text"]) == ("warning", "note 2")
    assert complaint in left_out["text"]
    assert run_of(site)["state"] == "running"
    trainer.close()
    until(lambda: run_of(site)["state"] == "disconnected")
    assert site.trainer().start()["n"] == 2


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (steps(2, 3, norm=[1.0]), "'norm' must be as long as step (=2), got 1"),
        ({"type": "steps", "seq": 2, "columns": {"step": [0] * (MAX_ROWS + 1)}}, str(MAX_ROWS)),
    ],
)
def test_rows_that_cannot_be_taken_are_left_out(site, message, complaint):
    """They are acknowledged as if they were there, and the log says once why they are missing."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 1))
    trainer.commit(message)
    trainer.commit(message)
    last = 1 + len(message["columns"]["step"])
    trainer.commit(steps(last + 1, last + 1))
    assert rows_of(site)["seq"] == [1, last + 1]
    (why,) = [line["text"] for line in log_of(site) if "left out" in line["text"]]
    assert complaint in why


def test_layers_that_cannot_be_taken_are_left_out(site):
    """They have no number, so there is no answer; the log says once why there are none."""
    trainer = site.trainer()
    trainer.start()
    for _ in range(3):
        trainer.send({"type": "layers", "step": 1, "norm": [1.0], "coef": [], "clamped": []})
    trainer.commit(steps(1, 1))
    assert [line["kind"] for line in log_of(site)] == ["warning"]


def test_what_comes_twice_is_acknowledged_twice(site):
    """The trainer may have missed the first acknowledgement."""
    trainer = site.trainer()
    trainer.start()
    for message in (steps(5, 6), steps(5, 6), steps(1, 2)):
        trainer.send(message)
        assert trainer.receive() == {"type": "ack", "seq": 6, "n": 0}
    for message in (note(1), note(1)):
        trainer.send(message)
        assert trainer.receive() == {"type": "ack", "seq": 6, "n": 1}


def test_a_binary_frame_is_refused(site):
    """The wire is text."""
    trainer = site.trainer()
    trainer.start()
    trainer.socket.send(b"\x00\x01")
    assert refused(trainer) == (1008, "expected a text frame with JSON, got a binary frame")


def test_a_message_of_8_mib_is_the_limit(site):
    """A larger frame ends the connection; the server lives."""
    trainer = site.trainer()
    trainer.start()
    with pytest.raises(ConnectionClosed):  # noqa: PT012  in which of the two it is seen is up to the kernel
        trainer.socket.send("x" * (8 * 2**20 + 1))
        trainer.receive()
    until(lambda: run_of(site)["state"] == "disconnected")


def test_the_state_of_the_loop_is_the_runs_state(site):
    """Events of kind state say whether the loop is paused and whether it obeys commands."""
    trainer = site.trainer()
    trainer.start()
    assert run_of(site)["commands"] is False
    trainer.commit(note(1, kind="state", text="", data={"state": "paused", "commands": True}))
    run = run_of(site)
    assert (run["state"], run["commands"]) == ("paused", True)
    trainer.close()
    until(lambda: run_of(site)["state"] == "disconnected")
    assert run_of(site)["commands"] is False
    trainer = site.trainer()
    trainer.start()
    run = run_of(site)
    assert (run["state"], run["commands"]) == ("paused", True)
    trainer.commit(note(2, "finish", state="finished"))
    (listed,) = site.http.get("/api/runs").json()["runs"]
    assert (listed["commands"], run_of(site)["commands"]) == (False, False)


def test_another_process_of_a_run_obeys_only_once_it_says_so(site):
    """Its loop need not be the one that was paused before."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(note(1, kind="state", text="", data={"state": "paused", "commands": True}))
    trainer.close()
    until(lambda: run_of(site)["state"] == "disconnected")
    site.trainer().start(started=2.0)
    run = run_of(site)
    assert (run["state"], run["commands"]) == ("running", False)


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_run_that_is_over_stays_over(site, state):
    """The end and its reason stand, though the trainer leaves or comes back and repeats what is there already."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 3))
    trainer.commit(note(1, "finish", state=state, reason="because"))
    trainer.commit(steps(4, 4))  # of before its end, on its way when a worker's process was gone
    trainer.close()
    until(lambda: not run_of(site)["attached"])
    again = site.trainer()
    again.start()
    again.commit(steps(1, 4))
    again.commit(note(1, "finish", state="failed", reason="not so"))
    run = run_of(site)
    assert (run["state"], run["reason"]) == (state, "because")
    assert log_of(site)[-1]["data"] == {"state": state, "reason": "because"}


@pytest.mark.parametrize("news", [steps(4, 5), note(2, kind="state", data={"state": "running", "commands": True})])
def test_a_run_that_is_trained_on_after_its_end_runs_again(site, news):
    """Another process that continues it under its id says so with what is new; then it may end once more."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 3))
    trainer.commit(note(1, "finish", state="failed", reason="because"))
    trainer.close()
    until(lambda: not run_of(site)["attached"])
    again = site.trainer()
    again.start()
    again.commit(news)
    run = run_of(site)
    assert (run["state"], run["reason"], run["commands"]) == ("running", "", "kind" in news)
    assert "resumed after it had ended" in [line["text"] for line in log_of(site)]
    again.commit(note(3, "finish", state="finished"))
    assert run_of(site)["state"] == "finished"


def test_a_run_that_nobody_feeds_keeps_no_rows_in_memory(site):
    """The store has them; a viewer that comes later gets them from there."""
    trainer = site.trainer()
    trainer.start()
    trainer.commit(steps(1, 5))
    run = site.hub.catalogue.run("r1")
    assert run.rows_between(0, 5) is not None
    trainer.close()
    until(lambda: run.rows_between(0, 5) is None)
    assert site.viewer().subscribe("r1")["rows"]["seq"] == [1, 2, 3, 4, 5]


def test_metrics_beyond_those_a_run_may_have_are_left_out(site, monkeypatch):
    """The first so many stay, the steps' own are always taken, and the log says once that there are more."""
    monkeypatch.setattr(writing, "MAX_OWN_METRICS", 3)
    viewer = site.viewer()
    trainer = site.trainer()
    trainer.start()
    viewer.subscribe("r1")
    trainer.commit(steps(1, 1, a=[1], b=[None], c=[1]))
    trainer.commit(steps(2, 2, b=[2], d=[2], e=[2], loss=[2], a=[2]))
    trainer.commit(steps(3, 3, f=[3]))
    assert viewer.wait("steps", lambda message: 2 in message["rows"]["seq"])["rows"].keys() & set("abcdef") == set("ab")
    rows = rows_of(site)
    assert {name: rows[name] for name in ("a", "b", "c", "loss")} == {
        "a": [1, 2, None],
        "b": [None, 2, None],
        "c": [1, None, None],
        "loss": [None, 2, None],
    }
    assert rows.keys().isdisjoint("def")
    (line,) = log_of(site)
    assert line["text"].startswith("metric 'd' and 1 more left out")


def test_layers_are_a_picture_of_the_moment(site):
    """The newest per-layer numbers come alone, and older ones when asked for; before the first there are none."""
    trainer = site.trainer()
    trainer.start()
    assert site.http.get("/api/runs/r1/layers").json() == {"pictures": []}
    picture = {"type": "layers", "norm": [1.0, "NaN"], "coef": [1.0, 1.0], "clamped": [0.0, 0.0], "histogram": None}
    for step in (1, 2):
        trainer.send({**picture, "step": step})
    trainer.commit(steps(1, 1))
    first, second = {**picture, "step": 1}, {**picture, "step": 2}
    assert site.http.get("/api/runs/r1/layers").json() == {"pictures": [second]}
    assert site.http.get("/api/runs/r1/layers", params={"points": 10}).json() == {"pictures": [first, second]}


def test_old_runs_give_way(serve):
    """Beyond KEEP_RUNS the oldest run goes, but none that is attached."""
    site = serve(keep_runs=2)
    attached = site.trainer()
    attached.start("r0")
    for run in ("r1", "r2", "r3"):
        trainer = site.trainer()
        trainer.start(run)
        trainer.close()
        until(lambda run=run: run_of(site, run)["state"] == "disconnected")
    assert [run["id"] for run in site.http.get("/api/runs").json()["runs"]] == ["r3", "r0"]
    assert site.http.get("/api/runs/r1").status_code == 404


def test_ingest_needs_the_token(serve):
    """With a token set, a trainer without it is refused in the handshake, with a sentence."""
    site = serve(token="secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
        with pytest.raises(InvalidStatus) as refusal:
            connect(site.url.replace("http", "ws") + "/ws/train", additional_headers=headers, proxy=None)
        assert refusal.value.response.status_code == 401
        assert b"CLIPCORE_TOKEN" in refusal.value.response.body
    assert site.trainer(Authorization="Bearer secret").start()["acked"] == 0
