"""A browser's side of the wire, on a real server with real sockets."""

import json
import math
import socket
import time

import pytest
from websockets.exceptions import ConnectionClosed

from server import peer
from server.fanout import Channel
from server.live import RING_ROWS
from tests.server.site import steps, until


@pytest.fixture
def trainer(site):
    """A trainer that feeds run r1."""
    wire = site.trainer()
    wire.start()
    return wire


def applied(n, step, **changes):
    config = {name: after for name, (_, after) in changes.items()}
    return {"type": "applied", "n": n, "step": step, "time": 1.0, "config": config, "changes": changes}


# --- what a viewer sees ---


def test_without_runs_there_is_an_empty_snapshot_until_one_appears(site):
    """A page that comes first hears of the first run."""
    viewer = site.viewer()
    snapshot = viewer.subscribe()
    assert (snapshot["run"], snapshot["runs"], snapshot["rows"]) == (None, [], None)
    site.trainer().start()
    assert [run["id"] for run in viewer.wait("runs")["runs"]] == ["r1"]


def test_a_snapshot_is_the_run_as_it_is(site, trainer):
    """Rows, change log, per-layer numbers, the run and the list of runs, in one message."""
    trainer.commit(steps(1, 3, norm=["NaN", 2, "Infinity"]))
    trainer.send({"type": "layers", "step": 3, "norm": [1, 2], "coef": [1, 1], "clamped": [0, 0]})
    trainer.commit(applied(1, 3, max_norm=[1.0, 0.5]))
    snapshot = site.viewer().subscribe()
    assert snapshot["run"]["id"] == "r1"
    assert snapshot["run"]["control"] == {"max_norm": 0.5}
    assert snapshot["rows"]["seq"] == [1, 2, 3]
    assert snapshot["rows"]["norm"] == ["NaN", 2.0, "Infinity"]
    assert (snapshot["exact"], snapshot["resumed"], snapshot["read_only"]) == (True, False, False)
    assert [line["text"] for line in snapshot["log"]] == ["max_norm 1 -> 0.5"]
    assert snapshot["layers"]["step"] == 3
    assert [run["id"] for run in snapshot["runs"]] == ["r1"]


def test_a_run_has_more_metrics_than_one_batch(site, trainer):
    """What bounds a batch bounds neither a snapshot nor a series: a run may log other metrics later."""
    for batch in range(4):
        metrics = {f"m{batch}_{i}": [float(i)] for i in range(60)}
        trainer.commit(steps(batch + 1, batch + 1, **metrics))
    assert len(site.viewer().subscribe("r1")["rows"]) > 240
    assert len(site.http.get("/api/runs/r1/series?metrics=*").json()["columns"]) > 240


@pytest.mark.usefixtures("trainer")
def test_a_mistake_of_the_server_is_told_and_ends_the_connection(site, monkeypatch, caplog):
    """The page is not left without a word; the log has the traceback."""

    async def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(Channel, "snapshot", fail)
    viewer = site.viewer()
    viewer.send({"type": "subscribe", "run": "r1"})
    assert viewer.wait("error")["reason"] == "the server made a mistake, which its log tells"
    with pytest.raises(ConnectionClosed) as closed:
        viewer.wait("snapshot")
    assert closed.value.rcvd.code == 1011
    assert "ZeroDivisionError" in caplog.text


def test_columns_without_a_value_are_left_out(site, trainer):
    """A metric that no row of a message has does not travel."""
    trainer.commit(steps(1, 2))
    assert site.viewer().subscribe()["rows"].keys() == {"seq", "step", "time", "mode", "norm"}


def test_new_rows_arrive_in_order_each_once(site, trainer):
    """What is committed after the snapshot follows it, in any batches: no hole, no duplicate."""
    trainer.commit(steps(1, 10))
    viewer = site.viewer()
    seen = viewer.subscribe()["rows"]["seq"]
    for first in range(11, 201, 5):
        trainer.commit(steps(first, first + 4))
    assert seen + viewer.rows_until(200) == list(range(1, 201))


def test_a_long_history_is_thinned_but_loses_no_spike(site, trainer):
    """A snapshot of many rows says that it is not exact, and shows the one spike and the one NaN."""
    norms = [math.sin(n / 100) for n in range(8000)]
    norms[4321], norms[5000] = 1e9, "NaN"
    for first in range(0, 8000, 4000):
        trainer.commit(steps(first + 1, first + 4000, norm=norms[first : first + 4000]))
    snapshot = site.viewer().subscribe()
    seqs = snapshot["rows"]["seq"]
    assert not snapshot["exact"]
    assert len(seqs) < 1100
    assert {1, 4322, 5001, 8000} <= set(seqs)
    assert snapshot["rows"]["norm"][seqs.index(4322)] == 1e9
    assert snapshot["rows"]["norm"][seqs.index(5001)] == "NaN"


@pytest.mark.parametrize("since", [0, 1, 40, 100])
def test_a_page_resumes_where_it_was(site, trainer, since):
    """Subscribing with the last seq one has brings exactly the rows beyond it."""
    trainer.commit(steps(1, 100))
    viewer = site.viewer()
    snapshot = viewer.subscribe("r1", since)
    seqs = snapshot["rows"]["seq"]
    trainer.commit(steps(101, 103))
    assert snapshot["resumed"]
    assert seqs + viewer.rows_until(103) == list(range(since + 1, 104))


def test_a_page_that_knows_more_than_the_server_starts_again(site, trainer):
    """A seq that the run does not have (its database was replaced) brings the whole run."""
    trainer.commit(steps(1, 5))
    snapshot = site.viewer().subscribe("r1", 77)
    assert not snapshot["resumed"]
    assert snapshot["rows"]["seq"] == [1, 2, 3, 4, 5]


def test_a_resuming_page_far_behind_gets_a_thinned_gap(site, trainer):
    """Beyond what is kept in memory the gap comes from the store, thinned, up to the newest row."""
    for first in range(1, 3 * RING_ROWS, RING_ROWS):
        trainer.commit(steps(first, first + RING_ROWS - 1))
    last = 3 * RING_ROWS
    snapshot = site.viewer().subscribe("r1", 10)
    assert (snapshot["resumed"], snapshot["exact"]) == (True, False)
    assert snapshot["rows"]["seq"][0] == 11
    assert snapshot["rows"]["seq"][-1] == last
    assert len(snapshot["rows"]["seq"]) < 1100


def test_viewers_see_the_same(site, trainer):
    """Two pages on one run are sent the same messages."""
    first, second = site.viewer(), site.viewer()
    for viewer in (first, second):
        viewer.subscribe("r1")
    trainer.commit(steps(1, 20))
    trainer.commit(applied(1, 21, max_norm=[1.0, 2.0]))
    for viewer in (first, second):
        viewer.wait("event")
        viewer.wait("status")
    kinds = ("steps", "event")
    assert [message for message in first.seen if message["type"] in kinds] == [
        message for message in second.seen if message["type"] in kinds
    ]


def test_a_viewer_may_change_to_another_run(site, trainer):
    """After a second subscribe only the new run's rows arrive."""
    other = site.trainer()
    other.start("r2")
    viewer = site.viewer()
    viewer.subscribe("r1")
    assert viewer.subscribe("r2")["run"]["id"] == "r2"
    trainer.commit(steps(1, 5))
    other.commit(steps(1, 5))
    assert viewer.rows_until(5) == [1, 2, 3, 4, 5]
    assert {message["run"] for message in viewer.seen if message["type"] == "steps"} == {"r2"}


def test_every_kind_of_news_arrives(site, trainer):
    """Layers, lines of the log, the run's state and its end reach a page without asking."""
    viewer = site.viewer()
    viewer.subscribe("r1")
    trainer.send({"type": "layers", "step": 1, "norm": ["NaN", 2], "coef": [1, 1], "clamped": [0, 0]})
    assert viewer.wait("layers")["layers"]["norm"] == ["NaN", 2.0]
    event = {"type": "event", "step": 1, "time": 1.0, "text": "careful"}
    trainer.commit({**event, "n": 1, "kind": "warning"})
    assert viewer.wait("event")["entry"]["text"] == "careful"
    trainer.commit({**event, "n": 2, "kind": "state", "text": "", "data": {"state": "paused", "commands": True}})
    assert viewer.wait("status", lambda m: m["run"]["state"] == "paused")["run"]["commands"]
    trainer.commit({"type": "finish", "n": 3, "time": 2.0, "state": "failed", "reason": "CUDA out of memory"})
    assert viewer.wait("status", lambda m: m["run"]["state"] == "failed")["run"]["reason"] == "CUDA out of memory"
    assert viewer.wait("runs")["runs"][0]["state"] == "failed"


@pytest.mark.usefixtures("trainer")
def test_an_unknown_run_is_an_error_and_the_page_may_go_on(site):
    """Asking for a run that is not there is answered with a sentence; the connection stays."""
    viewer = site.viewer()
    viewer.send({"type": "subscribe", "run": "nope", "since": None})
    assert viewer.wait("error")["reason"] == "there is no run 'nope'; GET /api/runs lists them"
    assert viewer.subscribe("r1")["run"]["id"] == "r1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"type": "steps"}',
        '{"type": "subscribe", "since": -1}',
        json.dumps({"type": "control", "id": "c1", "patch": {"exclude": "x" * 70_000}}),
        '{"type": "control", "id": "c1", "patch": {"a": ' + "[" * 40 + "]" * 40 + "}}",
    ],
    ids=range(7),
)
def test_nonsense_is_answered_and_the_page_may_go_on(site, text):
    """A message that cannot be read is answered with a sentence; the connection stays."""
    viewer = site.viewer()
    viewer.socket.send(text)
    assert viewer.wait("error")["reason"]
    assert viewer.subscribe()["runs"] == []


def test_a_ping_is_answered_on_its_own_line(site):
    """A page that has heard nothing for a while finds out whether its line still works, whatever it watches."""
    viewer = site.viewer()
    viewer.send({"type": "ping"})
    assert viewer.receive() == {"type": "pong"}
    viewer.subscribe()
    viewer.send({"type": "ping"})
    assert viewer.wait("pong")


# --- what a viewer asks for ---


def control(id_="c1", run="r1", **patch):
    return {"type": "control", "id": id_, "run": run, "patch": patch}


def test_a_control_is_answered_by_the_trainer(site, trainer):
    """The trainer gets the patch; the page that asked gets `applied` under its own id, all pages get the line."""
    asking, watching = site.viewer(), site.viewer()
    for viewer in (asking, watching):
        viewer.subscribe("r1")
    asking.send(control("c1", max_norm=0.5, norm_type="Infinity"))
    sent = trainer.obey(1, 7, {"mode": "norm", "max_norm": 0.5}, {"max_norm": [1.0, 0.5]})
    assert sent["patch"] == {"max_norm": 0.5, "norm_type": "Infinity"}
    answer = asking.wait("applied")
    assert answer == {
        "type": "applied",
        "run": "r1",
        "id": "c1",
        "step": 7,
        "config": {"mode": "norm", "max_norm": 0.5},
    }
    entry = watching.wait("event")["entry"]
    assert (entry["kind"], entry["step"], entry["text"]) == ("applied", 7, "max_norm 1 -> 0.5")
    assert entry["data"] == {"id": "c1", "changes": {"max_norm": [1.0, 0.5]}, "command": None}
    assert watching.wait("status")["run"]["control"] == {"mode": "norm", "max_norm": 0.5}
    assert "applied" not in [message["type"] for message in watching.seen]


def test_two_pages_may_use_the_same_id(site, trainer):
    """Ids are a page's own: each gets the answer to its own request."""
    viewers = [site.viewer() for _ in range(2)]
    for viewer, bound in zip(viewers, (0.25, 0.75), strict=True):
        viewer.send(control("same", max_norm=bound))
    asked = [trainer.wait("control") for _ in viewers]
    assert len({message["id"] for message in asked}) == 2
    for n, message in enumerate(asked, start=1):
        trainer.commit(applied(n, n, max_norm=[1.0, message["patch"]["max_norm"]]) | {"id": message["id"]})
    assert [viewer.wait("applied")["config"]["max_norm"] for viewer in viewers] == [0.25, 0.75]


def test_a_rejection_reaches_the_asker_and_the_log(site, trainer):
    """The trainer's sentence is the answer, and a line of the log."""
    viewer = site.viewer()
    viewer.subscribe("r1")
    viewer.send(control(max_norm=-1))
    id_ = trainer.wait("control")["id"]
    reason = "max_norm must be >= 0, got -1"
    trainer.commit({"type": "rejected", "n": 1, "id": id_, "time": 1.0, "reason": reason})
    assert viewer.wait("rejected") == {"type": "rejected", "run": "r1", "id": "c1", "reason": reason}
    assert viewer.wait("event")["entry"]["text"] == reason


def test_all_viewers_see_what_the_trainer_has_yet_to_answer(site, trainer):
    """Until it is answered, also when whoever asked has gone: the trainer will obey all the same. No list has it."""
    asker, watching = site.viewer(), site.viewer()
    watching.subscribe("r1")
    asker.send(control(max_norm=0.5))
    id_ = trainer.wait("control")["id"]
    waiting = [{"id": "c1", "patch": {"max_norm": 0.5}}]
    assert watching.wait("status")["run"]["waiting"] == waiting
    asker.close()
    until(lambda: site.hub.viewers == 1)
    newcomer = site.viewer().subscribe("r1")
    assert newcomer["run"]["waiting"] == waiting
    assert newcomer["runs"][0]["waiting"] == []
    trainer.commit({**applied(1, 5, max_norm=[1.0, 0.5]), "id": id_})
    assert watching.wait("status")["run"]["waiting"] == []


@pytest.mark.usefixtures("trainer")
def test_a_control_of_nothing_is_rejected(site):
    """No trainer is bothered with it, and no step is said to obey."""
    viewer = site.viewer()
    viewer.send(control())
    assert viewer.wait("rejected")["reason"].startswith("nothing to change: ")


def test_commands_travel_like_controls(site, trainer):
    """A command reaches the loop and is answered by the step that obeyed."""
    viewer = site.viewer()
    viewer.send({"type": "command", "id": "k1", "run": "r1", "command": "pause"})
    command = trainer.wait("command")
    assert command["command"] == "pause"
    trainer.commit({**applied(1, 5), "id": command["id"], "command": "pause"})
    assert viewer.wait("applied")["step"] == 5


def test_without_a_trainer_a_control_is_rejected(site, trainer):
    """Nobody is there to obey: the answer says so at once."""
    trainer.close()
    viewer = site.viewer()
    until(lambda: viewer.subscribe("r1")["run"]["state"] == "disconnected")
    viewer.send(control(max_norm=0.5))
    assert viewer.wait("rejected")["reason"] == "no trainer is attached to run 'r1' (disconnected)"
    viewer.send(control(run="nope", max_norm=0.5))
    assert "no run 'nope'" in viewer.wait("rejected")["reason"]


def test_a_lost_trainer_answers_late_through_the_log(site, trainer):
    """A request whose trainer is cut off is rejected; if it was obeyed all the same, the log says so under its id."""
    viewer = site.viewer()
    viewer.subscribe("r1")
    viewer.send(control("mine", max_norm=0.5))
    id_ = trainer.wait("control")["id"]
    trainer.close()
    assert "the change log will say so" in viewer.wait("rejected")["reason"]
    back = site.trainer()
    back.start()
    back.commit({**applied(1, 9, max_norm=[1.0, 0.5]), "id": id_})
    entry = viewer.wait("event", lambda message: message["entry"]["kind"] == "applied")["entry"]
    assert (entry["step"], entry["data"]["id"]) == (9, "mine")


@pytest.mark.parametrize(
    ("given", "word"), [({"read_only": True}, "READ_ONLY"), ({"token": "secret", "public_view": True}, "TOKEN")]
)
def test_who_may_not_steer_is_told_so(serve, given, word):
    """A page that may only look is told with the snapshot, and again when it tries."""
    site = serve(**given)
    trainer = site.trainer(Authorization="Bearer secret")
    trainer.start()
    viewer = site.viewer()
    assert viewer.subscribe()["read_only"]
    viewer.send(control(max_norm=0.5))
    assert word in viewer.wait("rejected")["reason"]


def test_with_the_token_a_viewer_may_steer(serve):
    """A client that presents the token is as free as without one being set."""
    site = serve(token="secret")
    trainer = site.trainer(Authorization="Bearer secret")
    trainer.start()
    viewer = site.viewer(Authorization="Bearer secret")
    assert not viewer.subscribe()["read_only"]
    viewer.send(control(max_norm=0.5))
    trainer.obey(1, 1, {"max_norm": 0.5})
    assert viewer.wait("applied")["id"] == "c1"


def test_waiting_requests_are_bounded(site, trainer):
    """A page may have so many requests waiting; the next one is rejected, and the trainer never sees it."""
    viewer = site.viewer()
    for n in range(40):
        viewer.send(control(f"c{n}", max_norm=n))
    rejected = viewer.wait("rejected")
    assert "32 changes are waiting" in rejected["reason"]
    assert rejected["id"] == "c32"
    assert [trainer.wait("control")["patch"]["max_norm"] for _ in range(32)] == list(range(32))


# --- viewers that do not read ---


def stalled_viewer(site):
    """A raw connection that subscribes and then reads nothing at all."""
    host, port = site.url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.sendall(
        f"GET /ws/view HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in raw.recv(400)
    text = json.dumps({"type": "subscribe", "run": "r1"}).encode()
    mask = b"\0\0\0\0"
    raw.sendall(bytes([0x81, 0x80 | len(text)]) + mask + text)
    return raw


def test_a_stalled_viewer_costs_nobody_anything(site, trainer, monkeypatch, caplog):
    """One page that reads nothing neither slows another page nor the trainer, and is given up after its time."""
    monkeypatch.setattr(peer, "SEND_TIMEOUT_S", 1.5)
    site.shrink_buffers()
    raw, viewer = stalled_viewer(site), site.viewer()
    viewer.subscribe("r1")
    last, longest_s, started = 0, 0.0, time.monotonic()
    while "has read nothing for" not in caplog.text:
        assert time.monotonic() - started < 20
        sent = time.monotonic()
        trainer.commit(steps(last + 1, last + 200, loss=float, lr=float, coef=float))
        last += 200
        assert last in viewer.rows_until(last)
        longest_s = max(longest_s, time.monotonic() - sent)
    assert last > 1000
    assert longest_s < 1.0
    raw.close()


def test_a_viewer_that_pauses_misses_nothing_it_needs(site, trainer):
    """A page that slept through more than memory holds gets the gap thinned from the store, then goes on exactly."""
    viewer = site.viewer()
    viewer.subscribe("r1")
    viewer.socket.recv_messages.pause()
    last = 0
    for first in range(1, 60_000, 2000):
        trainer.commit(steps(first, first + 1999, loss=float, lr=float, coef=float, threshold=float))
        last = first + 1999
    viewer.socket.recv_messages.resume()
    batches = []
    while not batches or batches[-1]["rows"]["seq"][-1] < last:
        batches.append(viewer.wait("steps"))
    seqs = [seq for batch in batches for seq in batch["rows"]["seq"]]
    assert seqs == sorted(set(seqs))
    assert {1, last} <= set(seqs)
    for before, batch in zip([None, *batches], batches, strict=False):
        start = before["rows"]["seq"][-1] + 1 if before else 1
        assert batch["rows"]["seq"][0] == start
        assert not batch["exact"] or batch["rows"]["seq"] == list(range(start, batch["rows"]["seq"][-1] + 1))
