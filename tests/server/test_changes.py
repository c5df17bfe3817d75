"""The change log as a document, and as what a training follows."""

import json

import pytest
from click.testing import CliRunner

from server.changes import ChangeLog
from server.cli import main
from server.protocol import LogEntry, RunInfo
from tests.server.site import until

NORM = {"mode": "norm", "max_norm": 2.0, "nonfinite": "propagate"}
VALUE = {"mode": "value", "clip_value": 0.1, "nonfinite": "propagate"}


def run_info(control, **fields):
    return RunInfo(id="r1", name="mine", state="running", created=1.0, updated=2.0, control=control, **fields)


def line(n, step, changes, *, by="page", kind="applied"):
    return LogEntry(n=n, step=step, time=float(n), kind=kind, data={"id": by, "changes": changes, "command": None})


LOG = [
    line(1, 3, {"max_norm": [2.0, 1.0]}, by=None),
    line(2, 7, {"mode": ["norm", "value"], "clip_value": [None, 0.1], "max_norm": [1.0, None]}),
]


def test_each_change_names_its_step_who_asked_and_the_configuration_that_it_led_to():
    """The configurations are told from the last one backwards."""
    changes = ChangeLog.of(run_info(VALUE), LOG).changes
    assert [(change.step, change.by) for change in changes] == [(3, "script"), (7, "request")]
    assert [change.config for change in changes] == [{**NORM, "max_norm": 1.0}, VALUE]
    assert changes[0].changes == {"max_norm": (2.0, 1.0)}


def test_the_document_starts_with_the_configuration_before_the_first_change():
    """Which is the present one when nothing changed."""
    assert ChangeLog.of(run_info(VALUE), LOG).start == NORM
    assert ChangeLog.of(run_info(VALUE), []).start == VALUE


def test_a_change_may_hold_from_before_the_first_step():
    """A trainer may say so of what it applied before it took one."""
    log = [line(1, 0, {"max_norm": [1.0, 2.0]})]
    assert [change.step for change in ChangeLog.of(run_info(NORM), log).changes] == [0]


def test_what_changed_no_configuration_is_left_out():
    """Commands, remarks and a patch that asked for what was so already."""
    command = LogEntry(n=3, step=8, time=3.0, kind="applied", data={"id": "b", "changes": {}, "command": "pause"})
    remark = LogEntry(n=4, step=9, time=4.0, kind="state", text="paused", data={"state": "paused"})
    assert len(ChangeLog.of(run_info(VALUE), [*LOG, command, remark, line(5, 9, {})]).changes) == 2


def test_a_workload_takes_the_clipping_and_its_own_runs_options():
    """Another workload's options would mean nothing to it."""
    log = ChangeLog.of(run_info(VALUE, workload="rnn", config={"seed": 3, "max_norm": 2.0}), LOG)
    schedule = [{"step": 3, "patch": {**NORM, "max_norm": 1.0}}, {"step": 7, "patch": VALUE}]
    assert log.options("charlm") == {**NORM, "schedule": schedule}
    assert log.options("rnn") == {"seed": 3, **NORM, "schedule": schedule}


def test_another_workload_takes_the_clipping_alone(site, tmp_path):
    """Its learning rate stays its own, and a number that it does not have is none of its options."""
    control = {**VALUE, "lr": 0.004, "momentum": 0.9}
    turned = line(3, 9, {"lr": [0.008, 0.004]})
    log = ChangeLog.of(run_info(control, workload="charlm", config={"lr": 0.008}), [*LOG, turned])
    assert log.start == {**NORM, "lr": 0.008, "momentum": 0.9}
    schedule = [{"step": 3, "patch": {**NORM, "max_norm": 1.0}}, {"step": 7, "patch": VALUE}]
    assert log.options("rnn") == {**NORM, "schedule": schedule}
    assert len(log.options("charlm")["schedule"]) == 3
    file = tmp_path / "changes.json"
    file.write_text(log.model_dump_json())
    started = json.loads(cli(site, "train", "rnn", "--schedule", str(file), "--option", "steps=1", "--json"))
    assert site.http.get(f"/api/runs/{started['id']}").json()["config"]["lr"] == 1.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("norm", "holds no changes of a run: "), ('{"run": "r1"}', "holds no changes of a run: name is missing")],
)
def test_a_file_that_is_no_change_log_is_refused(tmp_path, text, sentence):
    """Before the server is asked for anything."""
    (tmp_path / "log.json").write_text(text)
    result = CliRunner().invoke(main, ["train", "rnn", "--schedule", str(tmp_path / "log.json"), "--url", "http://-"])
    assert result.exit_code == 1
    assert sentence in result.stderr


def test_a_replayed_run_is_clipped_alike_from_exactly_the_same_steps(site, tmp_path):
    """Change a training twice, export, train again by the file: thresholds, norms and losses agree step for step."""
    first = site.http.post("/api/workers", json={"workload": "rnn", "config": {"seed": 3, "max_norm": 2}}).json()["id"]
    changed = []
    for patch in ({"max_norm": 0.25}, {"mode": "value", "clip_value": 0.01}):
        until(lambda: site.hub.catalogue.run(first).known.step > max(changed, default=0) + 3, timeout_s=60)
        changed.append(site.http.post(f"/api/runs/{first}/control", json=patch).json()["step"])
    until(lambda: site.hub.catalogue.run(first).known.step > changed[-1] + 3)
    assert site.http.delete(f"/api/workers/{first}").is_success

    steps = site.hub.catalogue.run(first).known.step
    file = tmp_path / "changes.json"
    file.write_text(cli(site, "export", first, "--format", "changes"))
    assert [change["step"] for change in json.loads(file.read_text())["changes"]] == changed
    again = json.loads(cli(site, "train", "rnn", "--schedule", str(file), "--option", f"steps={steps}", "--json"))["id"]
    until(lambda: site.hub.catalogue.run(again).over, timeout_s=60)

    assert rows(site, again) == rows(site, first)
    assert len(rows(site, again)["step"]) == steps
    log, log_again = (site.http.get(f"/api/runs/{run}/changes").json() for run in (first, again))
    assert [{**change, "by": "", "time": 0} for change in log["changes"]] == [
        {**change, "by": "", "time": 0} for change in log_again["changes"]
    ]


def rows(site, run):
    path = f"/api/runs/{run}/series?metrics=step,mode,threshold,norm,clipped_norm,loss&points=10000"
    columns = site.http.get(path).json()["columns"]
    return {name: columns[name] for name in ("step", "mode", "threshold", "norm", "clipped_norm", "loss")}


def cli(site, *arguments):
    result = CliRunner().invoke(main, [*arguments, "--url", site.url])
    assert result.exit_code == 0, result.stderr
    return result.stdout
