"""One training several times: what is told of each is what its own rows say, from real workers."""

import json
import math
import statistics
import threading

import pytest

from server.client import Client, RequestError
from server.lab import LAST_STEPS, compare
from server.live import OVER
from tests.server.site import until

OPTIONS = {"steps": 150, "context": 8, "batch": 2, "seed": 3}


def test_each_trial_is_measured_from_its_own_rows(site):
    """Clipped share, mean coefficient and final loss are recomputed from the export; the same trial gives the same."""
    client = Client(site.url, None)
    trials = [{"mode": "off"}, {"max_norm": 0.01}, {"max_norm": 0.01}]
    off, tight, again = compare(client, "rnn", OPTIONS, trials)
    assert (off.state, off.steps, off.clipped, off.coef) == ("finished", 150, 0.0, 1.0)
    assert tight.tried == {"max_norm": 0.01}
    assert (tight.loss, tight.clipped, tight.coef) == (again.loss, again.clipped, again.coef)
    rows = list(client.rows(tight.run))
    assert tight.clipped == sum(row["coef"] < 1 for row in rows) / 150 > 0.9
    assert tight.coef == pytest.approx(statistics.fmean(row["coef"] for row in rows))
    assert tight.loss == pytest.approx(statistics.fmean(row["loss"] for row in rows[-LAST_STEPS:]))
    assert tight.nonfinite == 0


def test_numbers_that_are_none_are_told_as_such(site):
    """A step whose norm is NaN or infinite is counted, and enters no mean."""
    trainer = site.trainer()
    trainer.start("odd")
    names = {"norm": ["NaN", "Infinity", 2.0], "coef": ["NaN", 0.0, 0.5], "loss": [None, "NaN", 3.0]}
    columns = {"step": [1, 2, 3], "time": [1.0] * 3, "mode": ["norm"] * 3, "clipped_tensors": [1.0, 1.0, 1.0], **names}
    trainer.commit({"type": "steps", "seq": 1, "columns": columns})
    trainer.commit({"type": "finish", "n": 1, "time": 1.0, "state": "failed", "reason": "Traceback\nOops: no"})

    class Started(Client):
        def start(self, *_):
            return "odd"

    (result,) = compare(Started(site.url, None), "rnn", {}, [{}])
    assert (result.state, result.reason.splitlines()[-1]) == ("failed", "Oops: no")
    assert (result.steps, result.nonfinite, result.loss, result.coef, result.clipped) == (3, 2, 3.0, 0.25, 1.0)


def test_a_training_is_ended_when_nobody_waits_for_it(site, monkeypatch, capsys):
    """Ctrl-C leaves no worker behind, and what is waited for then is told."""

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("server.lab.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(compare(Client(site.url, None), "rnn", {**OPTIONS, "steps": 1_000_000}, [{}]))
    (run,) = site.http.get("/api/runs").json()["runs"]
    told = f"run {run['id']} ends after the step at hand; Ctrl-C leaves that to the server\n"
    assert capsys.readouterr().err == told
    assert until(lambda: site.http.get(f"/api/runs/{run['id']}").json()["state"] == "stopped")


def test_a_bad_trial_is_refused_by_name_before_the_first_is_trained(site):
    """What the server says of it; nothing is started."""
    with pytest.raises(RequestError, match="max_norm must be >= 0, got -1"):
        list(compare(Client(site.url, None), "rnn", OPTIONS, [{"mode": "off"}, {"max_norm": -1}]))
    with pytest.raises(RequestError, match="workload must be one of charlm, rnn, got 'a/b'"):
        list(compare(Client(site.url, None), "a/b", OPTIONS, [{"mode": "off"}]))
    assert site.http.get("/api/runs").json()["runs"] == []


def test_what_ends_the_wait_is_told_and_not_what_came_of_stopping(site, monkeypatch):
    """A worker that cannot be stopped hides no Ctrl-C."""

    def interrupt(_):
        raise KeyboardInterrupt

    def refuse(*_):
        raise RequestError("it does not answer")

    monkeypatch.setattr("server.lab.time.sleep", interrupt)
    monkeypatch.setattr(Client, "stop", refuse)
    with pytest.raises(KeyboardInterrupt):
        list(compare(Client(site.url, None), "rnn", OPTIONS, [{}]))


def test_finished_results_are_printed_though_the_rest_fails(cli, site, monkeypatch):
    """The JSON holds what is done, and the exit code says that it is not all."""
    started = iter([Client.start])
    monkeypatch.setattr(Client, "start", lambda *given: next(started, refuse)(*given))

    def refuse(*_):
        raise RequestError("no more")

    options = [part for name, value in OPTIONS.items() for part in ("--option", f"{name}={value}")]
    code, text, error = cli(site, "lab", "rnn", *options, "--json", "mode=off", "max_norm=1")
    assert (code, error) == (1, "Error: no more\n")
    assert [result["tried"] for result in json.loads(text)["results"]] == [{"mode": "off"}]


def test_a_trial_waits_for_a_place(cli, serve):
    """And says once for whom, on stderr; then it trains as ever."""
    site = serve(max_workers=1)
    client = Client(site.url, None)
    other = client.start("rnn", {**OPTIONS, "steps": 1_000_000})
    options = [part for name, value in OPTIONS.items() for part in ("--option", f"{name}={value}")]
    threading.Timer(3.0, client.stop, (other,)).start()
    code, text, error = cli(site, "lab", "rnn", *options, "--json", "mode=off")
    assert error == (
        "waiting for a place: no more workers may train at once than CLIPCORE_MAX_WORKERS (=1): "
        f"stop rnn {other[:4]}, or wait\n"
    )
    assert code == 0
    (result,) = json.loads(text)["results"]
    assert (result["state"], result["steps"]) == ("finished", 150)


def test_the_wait_for_a_place_can_be_ended(cli, serve, monkeypatch):
    """Ctrl-C starts nothing and ends nobody else's training."""
    site = serve(max_workers=1)
    other = Client(site.url, None).start("rnn", {**OPTIONS, "steps": 1_000_000})

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("server.lab.time.sleep", interrupt)
    code, text, error = cli(site, "lab", "rnn", "mode=off")
    assert (code, text) == (1, "")
    assert error.splitlines()[1:] == ["", "Aborted!"]
    (run,) = site.http.get("/api/runs").json()["runs"]
    assert (run["id"], run["state"] in OVER) == (other, False)


def test_where_nothing_may_train_nobody_waits(serve, monkeypatch):
    """There will never be a place."""
    monkeypatch.setattr("server.lab.LEAVING_S", 0.0)
    with pytest.raises(RequestError, match=r"CLIPCORE_MAX_WORKERS .=0.: start it elsewhere"):
        list(compare(Client(serve(max_workers=0).url, None), "rnn", OPTIONS, [{}]))


def test_a_trial_may_be_a_json_object(cli, site):
    """With values that have commas of their own; what is none is refused by what is wrong with it."""
    options = [part for name, value in OPTIONS.items() for part in ("--option", f"{name}={value}")]
    trial = {"mode": "agc", "exclude": ["bias", "head"]}
    code, text, error = cli(site, "lab", "rnn", *options, "--json", json.dumps(trial))
    assert (code, error) == (0, "")
    assert json.loads(text)["results"][0]["tried"] == trial
    code, _, error = cli(site, "lab", "rnn", "{mode}")
    assert code == 2
    assert "expected KEY=VALUE,... or a JSON object, got '{mode}'" in error


def test_the_command_prints_a_table_or_json(cli, site):
    """A line a trial, and a link that shows them side by side."""
    options = [part for name, value in OPTIONS.items() for part in ("--option", f"{name}={value}")]
    code, text, error = cli(site, "lab", "rnn", *options, "mode=off", "mode=value,clip_value=0.001")
    assert (code, error) == (0, "")
    head, off, value, last = text.splitlines()
    assert head.split()[:3] == ["run", "state", "steps"]
    assert off.startswith("mode=off  ")
    assert "150" in value
    newest, first = (run["id"] for run in site.http.get("/api/runs").json()["runs"])
    assert last.endswith(f"/?run={newest}&with={first}")
    code, text, _ = cli(site, "lab", "rnn", *options, "mode=off", "--json")
    (result,) = json.loads(text)["results"]
    assert result["tried"] == {"mode": "off"}
    assert math.isfinite(result["loss"])
