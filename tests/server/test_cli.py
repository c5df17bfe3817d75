"""The command, as a person or a script runs it."""

import csv
import json
import math
import signal
import threading
import time
from contextlib import closing
from importlib.metadata import version

import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from server.cli import _pairs, _result_line, main
from server.lab import Result
from tests.server.site import TrainerWire, steps, until


@pytest.fixture(scope="module")
def shared(serve_once):
    site = serve_once()
    trainer = site.trainer()
    trainer.start("r1")
    trainer.commit(steps(1, 3))
    trainer.commit({"type": "finish", "n": 1, "time": 1.0, "state": "finished"})
    trainer.close()
    until(lambda: not site.hub.catalogue.run("r1").info.attached)
    return site


def test_runs_are_listed(cli, shared):
    """One line a run, or JSON."""
    assert cli(shared, "runs") == (0, f"{'r1':<14} {'finished':<13} step {3:>9,}  test\n", "")
    code, text, _ = cli(shared, "runs", "--json")
    assert code == 0
    assert [run["id"] for run in json.loads(text)] == ["r1"]


def test_what_others_have_written_starts_no_line_and_steers_no_terminal(cli, site):
    """Names of runs and what the server quotes are escaped; JSON escapes by itself."""
    site.trainer().start("r1", name="a\nb\x1b[31m\u202e bléu")
    escaped = r"a\nb\x1b[31m\u202e bléu"
    code, text, _ = cli(site, "runs")
    assert (code, len(text.splitlines()), text.strip().endswith(escaped)) == (0, 1, True)
    assert cli(site, "export", "\x1b[31m") == (1, "", "Error: there is no run '\\x1b[31m'; GET /api/runs lists them\n")
    code, _, error = cli(site, "train", "\x1b[31m\n")
    assert (code, error.count("\n"), "\x1b" in error) == (1, 1, False)
    failed = {"tried": {}, "run": "r1", "state": "failed", "reason": "Traceback\nOops: \x1b[31m", "steps": 1}
    result = Result(**failed, loss=1.0, clipped=0.0, coef=1.0, nonfinite=0)
    assert _result_line(result).endswith(r"Oops: \x1b[31m")


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_export_writes_the_rows(cli, shared, format_):
    """Every row goes to standard output, for a file or a pipe."""
    code, text, _ = cli(shared, "export", "r1", "--format", format_)
    lines = text.splitlines()
    assert code == 0
    norms = [row["norm"] for row in (csv.DictReader(lines) if format_ == "csv" else map(json.loads, lines))]
    assert [float(norm) for norm in norms] == [1.0, 2.0, 3.0]


def test_a_report_is_a_file_of_the_runs_name(cli, shared, monkeypatch, tmp_path):
    """Or of the name that is asked for; a run that is not there leaves no file behind."""
    monkeypatch.chdir(tmp_path)
    assert cli(shared, "report", "r1") == (0, "r1.html\n", "")
    assert cli(shared, "report", "r1", "-o", "mine.html") == (0, "", "")
    assert cli(shared, "report", "nope")[0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "r1.html"]
    assert (tmp_path / "mine.html").read_bytes() == (tmp_path / "r1.html").read_bytes()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("inf", math.inf),
        ("Infinity", math.inf),
        ("norm", "norm"),
        ("true", True),
    ],
)
def test_a_value_is_what_it_looks_like(text, value):
    """A number as Python or JSON writes it is one; what is neither is text."""
    assert _pairs([f"key={text}"]) == {"key": value}


def test_a_key_that_is_given_twice_is_refused(cli, shared):
    """Neither value is taken silently."""
    code, _, error = cli(shared, "control", "r1", "max_norm=1", "max_norm=2")
    assert code == 2
    assert "max_norm is given more than once: max_norm=1, max_norm=2" in error


def test_what_no_trial_passes_prints_no_table(cli, shared):
    """A refusal is one line, not the heading of results that never come."""
    assert cli(shared, "lab", "rnn", "max_norm=-1") == (1, "", "Error: max_norm must be >= 0, got -1\n")


def test_the_version_is_the_packages(cli, shared):
    """As pip knows it."""
    assert cli(shared, "--version")[:2] == (0, f"clipcore, version {version('clipcore')}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("control", "r1", "max_norm=1"), "Error: no trainer is attached to run 'r1' (finished)\n"),
        (("control", "nope", "max_norm=1"), "Error: there is no run 'nope'; GET /api/runs lists them\n"),
        (("export", "no/pe"), "Error: there is nothing at '/api/runs/no/pe/export'\n"),
        (("train", "nope"), "Error: workload must be one of charlm, rnn, got 'nope'\n"),
    ],
)
def test_a_refusal_is_one_line_on_stderr(cli, shared, arguments, sentence):
    """What the server says is what the person reads; nothing on standard output, no traceback, exit code 1."""
    assert cli(shared, *arguments) == (1, "", sentence)


def test_a_server_that_is_not_there_is_named(cli):
    """The URL, and how to start one."""
    code, _, error = cli("http://127.0.0.1:9", "runs")
    assert code == 1
    assert error.startswith("Error: no clipcore server answers at http://127.0.0.1:9")
    assert "clipcore serve" in error


def test_a_change_is_written_as_key_value(cli, shared):
    """What is no pair is refused before anything is sent."""
    for words in (("max_norm",), ("pause", "stop"), ("pause", "max_norm=1"), ("Pause",)):
        code, _, error = cli(shared, "control", "r1", *words)
        assert code == 2
        assert f"expected KEY=VALUE, or pause, resume, step or stop alone, got {words[0]!r}" in error


def test_control_says_from_which_step_it_holds(cli, site):
    """Numbers are sent as numbers, words as words; the answer names the step."""
    trainer = site.trainer()
    trainer.start()
    thread = threading.Thread(target=trainer.obey, args=(1, 1234, {"mode": "norm"}))
    thread.start()
    code, text, _ = cli(site, "control", "r1", "mode=norm", "max_norm=0.5")
    thread.join()
    assert (code, text) == (0, 'applied at step 1,234: {"mode": "norm"}\n')
    assert trainer.seen[1]["patch"] == {"mode": "norm", "max_norm": 0.5}


@pytest.mark.parametrize(("command", "when"), [("pause", "after"), ("resume", "at"), ("step", "at"), ("stop", "after")])
def test_control_takes_the_commands_of_the_pages_buttons(cli, site, command, when):
    """A word alone; answered and refused as a change is."""
    trainer = site.trainer()
    trainer.start()

    def obey(n):
        asked = trainer.wait("command")
        assert asked["command"] == command
        answer = {"id": asked["id"], "step": 1234, "time": 1.0, "config": {"mode": "norm"}, "command": command}
        trainer.commit({"type": "applied", "n": n, **answer})

    for n, flags in enumerate(((), ("--json",)), 1):
        thread = threading.Thread(target=obey, args=(n,))
        thread.start()
        code, text, _ = cli(site, "control", "r1", command, *flags)
        thread.join()
        assert code == 0
        if flags:
            assert json.loads(text)["step"] == 1234
        else:
            assert text == f'applied {when} step 1,234: {{"mode": "norm"}}\n'
    trainer.close()
    until(lambda: not site.hub.catalogue.run("r1").info.attached)
    assert cli(site, "control", "r1", command)[2] == "Error: no trainer is attached to run 'r1' (disconnected)\n"


# --- serve, in a process of its own ---


def test_the_server_stops_on_sigterm(spawn):
    """SIGTERM ends the server within 5 s with exit code 0: trainers are told, and nothing of theirs is lost."""
    server = spawn(LOG_LEVEL="warning")
    with closing(TrainerWire(server.url)) as trainer:
        trainer.start()
        trainer.commit(steps(1, 10))
        started = time.monotonic()
        assert server.end(signal.SIGTERM) == (0, "")
        assert time.monotonic() - started < 5
        with pytest.raises(ConnectionClosed):
            trainer.receive()
        assert trainer.socket.close_code == 1012


def serve_with(monkeypatch, **settings):
    """What `clipcore serve` says when it does not start."""
    for name, value in settings.items():
        monkeypatch.setenv(f"CLIPCORE_{name}", str(value))
    result = CliRunner().invoke(main, ["serve"])
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


def test_a_taken_port_is_named(site, monkeypatch, tmp_path):
    """The sentence names the port and the setting."""
    port = site.url.rpartition(":")[2]
    assert serve_with(monkeypatch, PORT=port, DATA_DIR=tmp_path / "other") == (
        f"Error: port {port} of 127.0.0.1 is taken: choose another one with CLIPCORE_PORT\n"
    )


def test_one_database_has_one_server(site, monkeypatch, tmp_path):
    """A second server on a database that is in use is refused, and the first one goes on."""
    error = serve_with(monkeypatch, PORT=0, DATA_DIR=tmp_path)
    assert error.startswith(f"Error: the database {tmp_path / 'clipcore.db'} is in use by another clipcore server")
    assert site.http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"HOST": "0.0.0.0"}, "set CLIPCORE_TOKEN to a secret, or CLIPCORE_ALLOW_REMOTE=1"),
        ({"PORT": "x"}, "CLIPCORE_PORT: Input should be a valid integer"),
        ({"KEEP_RUNS": "0"}, "CLIPCORE_KEEP_RUNS: Input should be greater than or equal to 1, got '0'"),
        (
            {"ALLOWED_HOSTS": "a.example,https://b.example"},
            "CLIPCORE_ALLOWED_HOSTS: 'https://b.example' is no host",
        ),
        ({"AUTOSTART": "nope"}, "CLIPCORE_AUTOSTART: workload must be one of charlm, rnn, got 'nope'"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch, tmp_path, settings, sentence):
    """The variable, its value and the rule, in one line; nothing is started."""
    error = serve_with(monkeypatch, DATA_DIR=tmp_path, **settings)
    assert error.startswith("Error: ")
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
