import csv
import io
import json
import math
import threading
import time

import pytest
import torch

import clipcore
from server.routes import runs
from tests.server.site import steps, until


@pytest.fixture(scope="module")
def history(serve_once):
    """A server with one long run, whose trainer has left, and one short one."""
    site = serve_once()
    norms = [abs(math.sin(n / 50)) for n in range(9000)]
    norms[1234], norms[4321] = "NaN", 1e6
    long, short = site.trainer(), site.trainer()
    long.start("long", config={"lr": math.pi})
    for first in range(0, 9000, 3000):
        long.commit(steps(first + 1, first + 3000, norm=norms[first : first + 3000]))
    long.close()
    short.start("short")
    short.commit(steps(1, 3, norm=["NaN", "-Infinity", 1], own=[None, 2, "Infinity"]))
    short.commit({"type": "event", "n": 1, "step": 3, "time": 1, "kind": "note", "text": "a", "data": {"x": "NaN"}})
    short.commit({"type": "event", "n": 2, "step": 3, "time": 1, "kind": "warning", "text": "b"})
    return site


def get(site, path, **query):
    return site.http.get(f"/api/runs{path}", params=query)


def test_the_list_is_brief_and_newest_first(history):
    """A list leaves out what can be long: configuration, control and layers."""
    listed = get(history, "").json()["runs"]
    assert [run["id"] for run in listed] == ["short", "long"]
    assert [(run["seq"], run["step"]) for run in listed] == [(3, 3), (9000, 9000)]
    assert {json.dumps([run["config"], run["control"], run["layers"]]) for run in listed} == {"[{}, {}, []]"}


def test_a_run_has_its_configuration(history):
    """One run comes whole."""
    run = get(history, "/long").json()
    assert run["config"] == {"lr": math.pi}
    assert run["layers"] == ["a", "b"]


@pytest.mark.parametrize("path", ["", "/series", "/whatif", "/events", "/layers", "/export"])
def test_an_unknown_run_is_404_with_a_sentence(history, path):
    """What is not there is said, and where to look."""
    answer = get(history, f"/nope{path}")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "there is no run 'nope'; GET /api/runs lists them"}


def test_a_series_is_exact_when_it_fits(history):
    """Few rows come as they are, NaN and infinities as strings, "not logged" as null."""
    series = get(history, "/short/series", metrics="norm,own").json()
    assert series["exact"]
    assert series["columns"] == {
        "seq": [1, 2, 3],
        "step": [1, 2, 3],
        "time": [1001.0, 1002.0, 1003.0],
        "mode": ["norm"] * 3,
        "norm": ["NaN", "-Infinity", 1.0],
        "own": [None, 2.0, "Infinity"],
    }


def test_a_series_keeps_spikes_at_any_width(history):
    """However few points are asked for, the spike and the NaN are among them."""
    for points in (1, 2, 10, 100, 1000):
        series = get(history, "/long/series", metrics="norm", points=points).json()
        assert not series["exact"]
        assert {1, 1235, 4322, 9000} <= set(series["columns"]["seq"])
        assert "NaN" in series["columns"]["norm"]
        assert 1e6 in series["columns"]["norm"]


def test_a_series_is_cut_by_seq(history):
    """First and last are inclusive."""
    series = get(history, "/long/series", metrics="loss,norm", first=4320, last=4323).json()
    assert series["columns"]["seq"] == [4320, 4321, 4322, 4323]
    assert series["columns"]["norm"][2] == 1e6
    assert series["columns"]["loss"] == [None] * 4


def test_a_series_has_the_metrics_that_a_star_stands_for(history):
    """A star asks for what a run may not have logged yet: what is there comes, and nothing is amiss about the rest."""
    asked = {"norm,o*n": {"norm", "own"}, "norm,*val_loss": {"norm"}, "*norm": {"norm", "clipped_norm"}}
    for metrics, names in asked.items():
        columns = get(history, "/short/series", metrics=metrics).json()["columns"]
        assert columns.keys() == names | {"seq", "step", "time", "mode"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"metrics": "norm,foo"}, "metrics: run 'short' has no 'foo'; it has seq, step,"),
        ({"points": 0}, "query.points: Input should be greater than or equal to 1, got '0'"),
        ({"first": "x"}, "query.first"),
        ({"last": 2**63}, "query.last"),
    ],
)
def test_a_bad_question_is_422_with_a_sentence(history, query, sentence):
    """The parameter, its value and the rule are named."""
    answer = get(history, "/short/series", **query)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(sentence)


def test_what_if_looks_at_the_finite_norms_of_a_range(history):
    """The curve ends where nothing is clipped any more; a range is cut by seq; suggestions name a share."""
    whole = get(history, "/long/whatif").json()
    assert whole["steps"] == 8999
    assert (whole["curve"]["clipped"][-1], whole["curve"]["coef"][-1]) == (0, 1)
    assert whole["curve"]["threshold"][-1] == pytest.approx(1e6)
    part = get(history, "/long/whatif", first=4320, last=4323).json()
    assert part["steps"] == 4
    shares = {one["name"]: one["clipped"] for one in whole["suggestions"]}
    assert shares["p90"] == pytest.approx(0.1, abs=0.001)


def test_what_if_of_a_clamp_claims_no_coefficient(history):
    """A metric that was never logged gives nothing, and the largest element no coefficient."""
    assert get(history, "/long/whatif", metric="max_abs").json() == {
        "steps": 0,
        "curve": {"threshold": [], "clipped": [], "coef": None},
        "histogram": None,
        "suggestions": [],
    }


def test_an_adaptive_mode_is_replayed_over_a_range(history):
    """By the engine's own rule, with the parameters that are asked for; a norm that is not finite counts nowhere."""
    norms = [math.sin(n / 50) for n in range(50, 150)]
    told = clipcore.replay(norms, "autoclip", percentile=40, window=50)
    asked = {"mode": "autoclip", "percentile": 40, "window": 50, "first": 51, "last": 150}
    effect = get(history, "/long/replay", **asked).json()["effect"]
    assert effect["coef"] == pytest.approx(sum(told.coef) / 100)
    assert effect["clipped"] == sum(coef < 1 for coef in told.coef) / 100
    assert (effect["lowest"], effect["highest"]) == (min(told.threshold), max(told.threshold))
    assert effect["newest"] == told.threshold[-1]
    assert get(history, "/short/replay", mode="zclip").json()["effect"]["steps"] == 1


def test_a_replay_without_steps_tells_nothing(history):
    """Rather than a zero or an error."""
    effect = get(history, "/long/replay", mode="zclip", first=20_000).json()["effect"]
    assert effect == {"steps": 0, "clipped": None, "coef": None, "lowest": None, "highest": None, "newest": None}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"mode": "adagc"}, "mode must be one of autoclip, zclip to be replayed from norms alone, got 'adagc'"),
        ({"mode": "zclip", "z": "-1"}, "z must be > 0, got -1.0"),
        ({"mode": "zclip", "z": "much"}, "z must be a number > 0, got 'much'"),
        ({"mode": "zclip", "percentile": 5}, "mode 'zclip' has no parameter 'percentile'"),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(history, query, sentence):
    """In the engine's own words."""
    answer = get(history, "/long/replay", **query)
    assert (answer.status_code, answer.json()["detail"][: len(sentence)]) == (422, sentence)


def test_events_are_the_change_log(history):
    """Lines come oldest first, from a line on when asked."""
    assert [line["text"] for line in get(history, "/short/events").json()["events"]] == ["a", "b"]
    assert [line["n"] for line in get(history, "/short/events", after=1).json()["events"]] == [2]
    assert get(history, "/long/events").json()["events"][-1]["text"] == "the trainer is disconnected"


def test_csv_has_every_row_and_all_metrics(history):
    """The header names every column; what was not logged is empty; a long run is streamed whole."""
    answer = get(history, "/short/export", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="short.csv"'
    table = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [(row["seq"], row["norm"], row["own"], row["loss"]) for row in table] == [
        ("1", "NaN", "", ""),
        ("2", "-Infinity", "2.0", ""),
        ("3", "1.0", "Infinity", ""),
    ]
    assert len(get(history, "/long/export").text.splitlines()) == 9001


def test_jsonl_is_json_on_every_line(history):
    """Every line is an object that any JSON reader takes."""
    lines = get(history, "/short/export", format="jsonl").text.splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [(row["seq"], row["norm"], row["own"]) for row in rows] == [
        (1, "NaN", None),
        (2, "-Infinity", 2.0),
        (3, 1.0, "Infinity"),
    ]


# --- requests to the trainer ---


def post(site, path, body):
    return site.http.post(f"/api/runs{path}", json=body)


@pytest.fixture
def trainer(site):
    wire = site.trainer()
    wire.start()
    return wire


def while_obeying(work, obey):
    """What `work` returns while another thread plays the trainer."""
    thread = threading.Thread(target=obey)
    thread.start()
    try:
        return work()
    finally:
        thread.join()


def test_an_applied_control_is_200(site, trainer):
    """The answer names the first step that obeyed and the whole configuration."""
    config = {"mode": "norm", "max_norm": "Infinity"}
    answer = while_obeying(
        lambda: post(site, "/r1/control", {"max_norm": "Infinity"}), lambda: trainer.obey(1, 12, config)
    )
    assert answer.status_code == 200
    assert answer.json() == {"id": answer.json()["id"], "status": "applied", "step": 12, "config": config}


def test_a_rejected_control_is_422_with_the_trainers_sentence(site, trainer):
    """Why it was refused is the trainer's to say."""

    def refuse():
        id_ = trainer.wait("control")["id"]
        trainer.commit({"type": "rejected", "n": 1, "id": id_, "time": 1.0, "reason": "max_norm must be >= 0, got -1"})

    answer = while_obeying(lambda: post(site, "/r1/control", {"max_norm": -1}), refuse)
    assert (answer.status_code, answer.json()) == (422, {"detail": "max_norm must be >= 0, got -1"})


def test_a_paused_trainer_is_not_waited_for(site, trainer, monkeypatch):
    """No step could obey, so the request stands at once."""
    monkeypatch.setattr(runs, "ANSWER_TIMEOUT_S", 3600)
    data = {"state": "paused", "commands": True}
    trainer.commit({"type": "event", "n": 1, "step": 1, "time": 1.0, "kind": "state", "text": "", "data": data})
    assert post(site, "/r1/control", {"max_norm": 2}).status_code == 202


def test_a_control_that_waits_is_202(site, trainer, monkeypatch):
    """A paused trainer obeys later: the request stands, and shows in the log when it is obeyed."""
    monkeypatch.setattr(runs, "ANSWER_TIMEOUT_S", 0.2)
    answer = post(site, "/r1/control", {"max_norm": 2})
    assert answer.status_code == 202
    id_ = answer.json()["id"]
    assert answer.json() == {"id": id_, "status": "pending", "step": None, "config": None}
    trainer.obey(1, 30, {"max_norm": 2.0}, {"max_norm": [1.0, 2.0]})
    (line,) = site.http.get("/api/runs/r1/events").json()["events"]
    assert (line["step"], line["data"]["id"]) == (30, id_)


def test_a_command_is_carried(site, trainer):
    """Commands are answered like controls."""

    def obey():
        message = trainer.wait("command")
        assert message["command"] == "step"
        trainer.commit(
            {"type": "applied", "n": 1, "id": message["id"], "step": 3, "time": 1, "config": {}, "command": "step"}
        )

    assert while_obeying(lambda: post(site, "/r1/command", {"command": "step"}), obey).json()["step"] == 3


def test_an_answered_command_shows_in_the_run(site):
    """What the answer says holds when it is there: of the state, and of whether the loop obeys."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    clipper = clipcore.Clipper([parameter])
    run = clipcore.connect(clipper, url=site.url)
    ended = threading.Event()

    def loop():
        while run.proceed():
            parameter.grad = torch.ones(1)
            run.log(clipper.clip_())
            time.sleep(0.002)
        ended.wait(10)
        run.finish()

    thread = threading.Thread(target=loop)
    thread.start()
    until(lambda: run.id in [each["id"] for each in get(site, "").json()["runs"] if each["step"]])

    def after(command):
        assert post(site, f"/{run.id}/command", {"command": command}).status_code == 200
        shown = get(site, f"/{run.id}").json()
        return shown["state"], shown["commands"]

    try:
        for _ in range(3):
            assert after("pause") == ("paused", True)
            assert after("step") == ("paused", True)
            assert after("resume") == ("running", True)
        assert after("pause") == ("paused", True)
        assert after("stop") == ("running", False)  # what the script does after its loop
    finally:
        run.stop()
        ended.set()
        thread.join()
    assert get(site, f"/{run.id}").json()["state"] == "stopped"


def test_without_a_trainer_a_control_is_409(history):
    """Nobody is there to obey."""
    answer = post(history, "/long/control", {"max_norm": 1})
    assert answer.status_code == 409
    assert answer.json() == {"detail": "no trainer is attached to run 'long' (disconnected)"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/short/control", "text"),
        ("/short/control", [1]),
        ("/short/control", {"exclude": "x" * 70_000}),
        ("/short/command", {"command": "dance"}),
        ("/short/command", {}),
    ],
)
def test_what_is_no_request_is_422(history, path, body):
    """A patch is an object that is not too large, a command is one of four."""
    answer = post(history, path, body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body")


@pytest.mark.usefixtures("trainer")
def test_a_patch_of_nothing_is_422(site):
    """Nothing is asked for, so no step obeys."""
    answer = post(site, "/r1/control", {})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("nothing to change: ")


def test_what_is_no_text_is_422(history):
    """Half a surrogate pair, which JSON can spell, could not be passed on."""
    answer = history.http.post(
        "/api/runs/short/control", content=b'{"mode": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body is no JSON")


def test_nan_in_a_request_reaches_the_trainer_as_such(site, trainer):
    """A NaN in a body is passed on for the trainer to refuse; no part of the server stumbles over it."""
    answer = while_obeying(
        lambda: site.http.post(
            "/api/runs/r1/control", content=b'{"max_norm": NaN}', headers={"Content-Type": "application/json"}
        ),
        lambda: trainer.obey(1, 1, {}),
    )
    assert answer.status_code == 200
    assert trainer.seen[1]["patch"] == {"max_norm": "NaN"}


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [
        ({"read_only": True}, 403, "CLIPCORE_READ_ONLY"),
        ({"token": "secret", "public_view": True}, 401, "CLIPCORE_TOKEN"),
    ],
)
def test_who_may_not_steer_is_refused(serve, given, status, word):
    """Every route that changes something says which setting stands in the way."""
    site = serve(**given)
    for method, path, body in (
        ("POST", "/api/runs/r1/control", {"max_norm": 1}),
        ("POST", "/api/runs/r1/command", {"command": "stop"}),
        ("POST", "/api/workers", {"workload": "rnn"}),
        ("DELETE", "/api/workers/r1", None),
    ):
        answer = site.http.request(method, path, json=body)
        assert answer.status_code == status
        assert word in answer.json()["detail"]
    assert site.http.get("/api/runs").status_code == 200


def test_the_token_opens(serve):
    """With the bearer token a request goes through, to the 404 of the run that is not there."""
    site = serve(token="secret")
    headers = {"Authorization": "bearer secret"}
    assert site.http.post("/api/runs/r1/control", json={}, headers=headers).status_code == 404


@pytest.mark.usefixtures("trainer")
@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        ("/r1/command", {"command": "pause", "steps": 3}, "steps"),
        ("/../workers/check", {"workload": "rnn", "confg": {}}, "confg"),
    ],
)
def test_what_a_body_may_not_have_is_named(site, path, body, unknown):
    """A misspelt field is not silently ignored."""
    answer = post(site, path, body)
    assert answer.status_code == 422
    assert unknown in answer.text
