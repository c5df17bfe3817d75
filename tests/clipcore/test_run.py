"""A trainer and the wire: a scripted server sees what `connect` sends, and answers."""

import argparse
import gc
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

import clipcore


class ScriptedServer:
    """Takes trainers on a free port, remembers every frame, and acknowledges what `acknowledges` says."""

    def __init__(self, port=0, welcome=(0, 0)):
        self.frames = deque()
        self.arrived = threading.Condition()
        self.welcome = welcome
        self.acknowledges = True
        self.refusal = None
        self.answer = None
        self.socket = None
        self.headers = None
        self.server = serve(self.talk, "127.0.0.1", port)
        self.port = self.server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def talk(self, socket):
        self.headers, self.socket = socket.request.headers, socket
        try:
            hello = json.loads(socket.recv())
            self.add(hello)
            if self.answer:
                socket.send(self.answer)
                return
            if self.refusal:
                socket.send(json.dumps({"type": "error", "reason": self.refusal}))
                return
            acked, n = self.welcome
            socket.send(json.dumps({"type": "welcome", "run": hello["run"], "acked": acked, "n": n}))
            for frame in socket:
                message = json.loads(frame)
                self.add(message)
                acked = max(acked, message["seq"] + len(message["columns"]["step"]) - 1 if "columns" in message else 0)
                n = max(n, message.get("n", 0))
                if self.acknowledges:
                    socket.send(json.dumps({"type": "ack", "seq": acked, "n": n}))
        except ConnectionClosed:
            pass

    def add(self, message):
        with self.arrived:
            self.frames.append(message)
            self.arrived.notify_all()

    def of(self, type_):
        return [frame for frame in self.frames if frame["type"] == type_]

    def wait_for(self, type_, count=1, timeout=5):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.of(type_)) >= count, timeout), list(self.frames)
            return self.of(type_)

    def rows(self):
        """Every row by its seq, in order of arrival."""
        return [
            (frame["seq"] + index, {name: column[index] for name, column in frame["columns"].items()})
            for frame in self.of("steps")
            for index in range(len(frame["columns"]["step"]))
        ]

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def close(self):
        self.server.shutdown()
        if self.socket:
            self.socket.close()


@pytest.fixture
def server():
    server = ScriptedServer()
    yield server
    server.close()


class Trainer:
    """A one-parameter model with a clipper and a run."""

    def __init__(self, url, **options):
        self.parameter = torch.nn.Parameter(torch.zeros(4))
        self.clipper = clipcore.Clipper([self.parameter], mode="norm", max_norm=1.0)
        self.run = clipcore.connect(self.clipper, url=url, **options)

    def step(self, /, of_norm=2.0, **metrics):
        self.parameter.grad = torch.full((4,), of_norm / 2)
        self.run.log(self.clipper.clip_(), **metrics)


@pytest.fixture
def trainer(server):
    trainer = Trainer(server.url, name="tested", token="s3cret", config={"lr": 0.1, "shape": torch.Size([2])})
    yield trainer
    trainer.run.finish(timeout_s=1)


def test_the_trainer_introduces_itself(server, trainer):
    """The hello names the run, its layers, its configuration, and carries the token as a header."""
    (hello,) = server.wait_for("hello")
    assert (hello["run"], hello["name"], hello["version"]) == (trainer.run.id, "tested", 1)
    assert hello["control"]["mode"] == "norm"
    assert hello["control"]["max_norm"] == 1.0
    assert len(hello["layers"]) == len(hello["sizes"]) == 1
    assert hello["config"]["lr"] == 0.1
    assert server.headers["Authorization"] == "Bearer s3cret"


def test_what_the_server_would_not_take_is_left_out_and_said_once(server, caplog):
    """A description that is too large costs the run nothing but its largest fields, also in what a change announces."""
    parameter = torch.nn.Parameter(torch.ones(4, 1))
    knob = clipcore.Knob("lr", 0.1, "learning rate")
    loud = clipcore.Knob("momentum", 0.9, "m" * 70_000)
    clipper = clipcore.Clipper([parameter], mode="agc", exclude=["0"] * 20_000, knobs=[knob, loud])
    run = clipcore.connect(clipper, url=server.url, config={"vocabulary": ["token"] * 20_000, "lr": 0.1})
    parameter.grad = torch.ones(4, 1)
    run.log(clipper.clip_())
    server.wait_for("steps")
    server.socket.close()
    hello = server.wait_for("hello", count=2)[-1]
    assert hello["config"] == {"lr": 0.1}
    assert list(hello["knobs"]) == ["lr"]
    assert hello["control"] == {name: value for name, value in clipper.config.items() if name != "exclude"}
    clipper.update(mode="norm")
    parameter.grad = torch.ones(4, 1)
    run.log(clipper.clip_())
    (applied,) = server.wait_for("applied")
    assert applied["config"]["mode"] == "norm"
    assert "exclude" not in applied["changes"]
    run.finish(timeout_s=1)
    left_out = [record.getMessage() for record in caplog.records if "without" in record.getMessage()]
    assert [sentence.partition(":")[0] for sentence in left_out] == [
        "the server is told config without 'vocabulary'",
        "the server is told control without 'exclude'",
        "the server is told knobs without 'momentum'",
        "the server is told changes without 'exclude'",
    ]


def test_the_token_is_never_logged(server, caplog):
    """Not even where a script lets everything be logged, the handshake's headers included."""
    caplog.set_level(logging.DEBUG)
    trainer = Trainer(server.url, token="s3cret")
    server.wait_for("hello")
    trainer.run.finish(timeout_s=1)
    ours = [record for record in caplog.records if record.name != "websockets.server"]  # the scripted server's
    assert not any("s3cret" in record.getMessage() for record in ours)


def test_steps_arrive_with_their_numbers_and_metrics(server, trainer):
    """Rows carry what clip_() did and what the user logged, non-finite numbers as words."""
    trainer.step(of_norm=2.0, loss=torch.tensor(3.5), lr=0.1)
    trainer.step(of_norm=0.5, loss=math.nan, grad_scale=math.inf)
    trainer.run.finish()
    rows = dict(server.rows())
    assert rows[1]["norm"] == pytest.approx(2.0)
    assert rows[1]["clipped_norm"] == pytest.approx(1.0, rel=1e-5)
    assert (rows[1]["mode"], rows[1]["threshold"], rows[1]["loss"], rows[1]["lr"]) == ("norm", 1.0, 3.5, 0.1)
    assert (rows[2]["loss"], rows[2]["grad_scale"], rows[2]["coef"]) == ("NaN", "Infinity", 1.0)
    assert server.of("finish")[0]["state"] == "finished"


def test_per_layer_numbers_come_at_a_lower_rate(server, trainer):
    """Of a hundred quick steps the first brings per-layer numbers, the others need not."""
    for _ in range(100):
        trainer.step()
    (layers,) = server.wait_for("layers")
    assert layers["norm"] == [pytest.approx(2.0)]
    assert layers["coef"] == [pytest.approx(0.5, rel=1e-5)]


def test_how_the_layers_ended_is_recorded(server, trainer):
    """The last step's per-layer numbers come with the end, however short the run was."""
    for norm in (2.0, 4.0, 8.0):
        trainer.step(norm)
    trainer.run.finish()
    layers = server.wait_for("layers")[-1]
    assert (layers["step"], layers["norm"]) == (3, [pytest.approx(8.0)])
    assert [row["norm"] for _, row in server.rows()] == [2.0, 4.0, 8.0]


def test_the_layer_of_a_gradient_that_is_not_finite_is_told(server, trainer):
    """As a line of the change log that names its step, whether or not the layers' numbers were due."""
    for norm in (1.0, 1.0, math.nan, math.inf):
        trainer.step(norm)
    (event,) = server.wait_for("event")
    assert (event["step"], event["kind"]) == (3, "warning")
    assert event["text"] == "NaN or infinity in the gradient of 0"
    assert event["data"] == {"nonfinite_in": ["0"], "layers": 1}


def test_exponents_always_travel(server, trainer):
    """A step that counted exponents is sent with its layers, whatever the clocks of the two say."""
    trainer.step()
    trainer.run._layers_due = math.inf
    trainer.clipper._exponents._due = 0.0
    server.wait_for("layers")
    trainer.step()
    _, layers = server.wait_for("layers", count=2)
    assert layers["histogram"] == {"first": 127, "counts": [4], "zeros": 0, "every": 1}


def test_a_control_is_answered_by_the_first_step_that_obeyed(server, trainer):
    """`applied` names the step and the whole configuration; the steps before keep the old bound."""
    trainer.step()
    server.wait_for("steps")
    server.send(type="control", id="c1", run=None, patch={"max_norm": 0.25})
    deadline = time.monotonic() + 5
    while not server.of("applied") and time.monotonic() < deadline:
        trainer.step()
        time.sleep(0.01)
    (applied,) = server.of("applied")
    trainer.run.finish()
    assert (applied["id"], applied["config"]["max_norm"]) == ("c1", 0.25)
    assert applied["changes"] == {"max_norm": [1.0, 0.25]}
    for seq, row in server.rows():
        assert row["threshold"] == (0.25 if seq >= applied["step"] else 1.0)


@pytest.mark.parametrize("patch", [{"max_norm": -1}, {"max_norm": "NaN"}, {"max_norm": "abc"}, {"mode": "x"}, {"y": 1}])
def test_a_bad_control_is_rejected_with_a_reason_and_changes_nothing(server, trainer, patch):
    """The clipper's own sentence travels back."""
    trainer.step()
    server.wait_for("steps")
    before = trainer.clipper.config
    server.send(type="control", id="c1", run=None, patch=patch)
    (rejected,) = server.wait_for("rejected")
    assert rejected["id"] == "c1"
    assert len(rejected["reason"]) > 10
    trainer.step()
    assert trainer.clipper.config == before


def test_a_change_by_the_script_is_announced_too(server, trainer):
    """The change log knows of updates that no browser asked for; they have no id."""
    trainer.clipper.update(max_norm=0.5)
    trainer.step()
    (applied,) = server.wait_for("applied")
    assert (applied["id"], applied["step"], applied["config"]["max_norm"]) == (None, 1, 0.5)


def test_a_control_is_announced_even_when_its_step_is_not_logged(server, trainer):
    """A script that logs now and then still tells when a patch took hold, once."""
    trainer.step()
    server.wait_for("steps")
    server.send(type="control", id="c1", run=None, patch={"max_norm": 0.25})
    deadline = time.monotonic() + 5
    while not server.of("applied") and time.monotonic() < deadline:
        trainer.parameter.grad = torch.ones(4)
        trainer.clipper.clip_()
        time.sleep(0.02)
    trainer.step()
    trainer.run.finish()
    assert [applied["id"] for applied in server.of("applied")] == ["c1"]


def test_a_change_by_the_script_is_announced_even_when_its_step_is_not_logged(server, trainer):
    """Each as soon as it holds, with its own step and in order, whichever steps are logged."""
    for step in range(2, 5):
        trainer.parameter.grad = torch.ones(4)
        trainer.clipper.update(max_norm=1 / step)
        trainer.clipper.clip_()
        server.wait_for("applied", count=step - 1)
    trainer.step()
    trainer.run.finish()
    assert [(applied["id"], applied["step"]) for applied in server.of("applied")] == [(None, 1), (None, 2), (None, 3)]
    assert [applied["config"]["max_norm"] for applied in server.of("applied")] == [1 / 2, 1 / 3, 1 / 4]


def test_what_was_not_acknowledged_comes_again_after_a_reconnect():
    """A server that vanishes without an ack gets the same rows, under the same numbers, when it is back."""
    first = ScriptedServer()
    first.acknowledges = False
    trainer = Trainer(first.url)
    for _ in range(3):
        trainer.step()
    first.wait_for("steps")
    first.close()
    trainer.step()
    second = ScriptedServer(port=first.port, welcome=(2, 0))
    second.wait_for("steps")
    trainer.run.finish()
    second.close()
    seqs = [seq for seq, _ in second.rows()]
    assert seqs[-1] == 4
    assert len(seqs) == len(set(seqs))
    assert {3, 4} <= set(seqs)


def test_an_exception_ends_the_run_as_failed_with_its_traceback(server):
    """The context manager tells what happened and lets the exception through."""
    trainer = Trainer(server.url)

    def train():
        with trainer.run:
            trainer.step()
            trainer.step(of_norm=1 / 0)

    with pytest.raises(ZeroDivisionError):
        train()
    (finish,) = server.of("finish")
    assert finish["state"] == "failed"
    assert "ZeroDivisionError" in finish["reason"]
    assert len(server.rows()) == 1


def until(holds):
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return holds()


def links():
    return [thread for thread in threading.enumerate() if thread.name == "clipcore-link"]


def test_a_run_that_was_let_go_ends_and_lets_go(server):
    """Of the Clipper at once; of its thread too, once the server has all of it."""
    before = len(links())
    trainer = Trainer(server.url)
    trainer.step()
    parameter, clipper, run = weakref.ref(trainer.parameter), weakref.ref(trainer.clipper), weakref.ref(trainer.run)
    server.wait_for("hello")
    del trainer
    (finish,) = server.wait_for("finish")
    assert finish["state"] == "stopped"
    assert finish["reason"] == "the script dropped its Clipper without calling run.finish()"
    assert len(server.rows()) == 1
    assert until(lambda: (parameter(), clipper(), run(), len(links())) == (None, None, None, before))


def test_a_run_that_was_let_go_introduces_itself_all_the_same():
    """Also where the server answers only later: it has its name, its configuration and its layers."""
    port = ScriptedServer()
    port.close()
    trainer = Trainer(port.url, name="gone")
    trainer.step()
    del trainer
    gc.collect()
    time.sleep(0.2)
    server = ScriptedServer(port=port.port)
    (hello,) = server.wait_for("hello", timeout=10)
    server.wait_for("finish")
    assert (hello["name"], hello["control"]["max_norm"], hello["layers"], hello["sizes"]) == ("gone", 1.0, ["0"], [4])
    server.close()


def test_another_run_of_the_same_clipper_ends_the_first(server):
    """As when a notebook's cell runs again."""
    trainer = Trainer(server.url, name="first")
    trainer.step()
    server.wait_for("steps")
    first, trainer.run = trainer.run, clipcore.connect(trainer.clipper, name="second", url=server.url)
    (finish,) = server.wait_for("finish")
    assert (finish["state"], finish["reason"]) == ("stopped", "its Clipper was given to another run")
    assert until(lambda: first._over)
    trainer.step()
    trainer.run.finish()
    assert [frame["state"] for frame in server.of("finish")] == ["stopped", "finished"]


EXITS = """
import sys, torch, clipcore
parameter = torch.nn.Parameter(torch.zeros(1))
clipper = clipcore.Clipper([parameter])
run = clipcore.connect(clipper, url=sys.argv[1])
parameter.grad = torch.ones(1)
run.log(clipper.clip_())
{last}
"""


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        ("", "finished", ""),
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("run.unless_finished('failed', 'broken off')", "failed", "broken off"),
        ("import time; del run, clipper; time.sleep(4)", "stopped", "without calling run.finish()"),
        ("import time; del run, clipper; time.sleep(0.3)", "finished", ""),
    ],
)
def test_a_script_that_ends_without_finish_ends_its_run(server, last, state, reason):
    """And the server has all of it; one that is about to exit is not taken for one that goes on without its run."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", EXITS.format(last=last), server.url], timeout=60)
    (finish,) = server.wait_for("finish")
    assert finish["state"] == state
    assert reason in finish["reason"]
    assert len(server.rows()) == 1


def test_pause_and_stop_reach_a_loop_that_proceeds(server):
    """`proceed()` waits while paused and returns False after stop; the run ends as stopped."""
    trainer = Trainer(server.url)
    done = threading.Event()

    def loop():
        while trainer.run.proceed():
            trainer.step()
            time.sleep(0.001)
        trainer.run.finish()
        done.set()

    threading.Thread(target=loop, daemon=True).start()
    server.wait_for("steps")
    server.send(type="command", id="k1", run=None, command="pause")
    (applied,) = server.wait_for("applied")
    assert (applied["id"], applied["command"]) == ("k1", "pause")
    assert applied["step"] == trainer.run._step
    server.send(type="command", id="k2", run=None, command="stop")
    assert done.wait(5)
    assert server.of("finish")[0]["state"] == "stopped"
    assert [event["data"]["state"] for event in server.of("event")] == ["running", "paused", "running"]
    assert [event["data"]["commands"] for event in server.of("event")] == [True, True, False]
    assert server.of("event")[-1]["text"] == "stopping"


def test_a_command_is_answered_with_the_step_that_obeys(server):
    """Resume and step name the next step to run, each step its own; pause and stop the last that ran before them."""
    trainer = Trainer(server.url)

    def loop(*commands, passes=1):
        for command in commands:
            trainer.run._gate.submit(command, command)
        for _ in range(passes):
            assert trainer.run.proceed()
            trainer.step()

    loop()
    loop("pause", "step")
    loop("step", "step", passes=2)
    loop("resume")
    trainer.run._gate.submit("stop", "stop")
    assert not trainer.run.proceed()
    trainer.run.finish()
    answers = [(frame["command"], frame["step"]) for frame in server.of("applied")]
    assert answers == [("pause", 1), ("step", 2), ("step", 3), ("step", 4), ("resume", 5), ("stop", 5)]


def test_the_state_is_told_before_the_command_is_answered(server):
    """So whoever has the answer finds the run in the state that the command led to."""
    trainer = Trainer(server.url)
    trainer.run.proceed()
    for command in ("pause", "resume", "pause", "step", "stop"):
        trainer.run._gate.submit(command, command)
    assert not trainer.run.proceed()
    trainer.run.finish()
    told = [frame for frame in server.frames if frame["type"] in ("event", "applied")]
    states = [(before["data"]["state"], frame["command"]) for before, frame in zip(told[1::2], told[2::2], strict=True)]
    assert states == [
        ("paused", "pause"),
        ("running", "resume"),
        ("paused", "pause"),
        ("paused", "step"),
        ("running", "stop"),
    ]


def test_stop_in_a_signal_handler_ends_a_paused_loop(server):
    """`proceed()` returns False although it was waiting on the very thread that the handler interrupts."""
    trainer = Trainer(server.url)

    def kill_once_paused():
        server.wait_for("applied")
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill_once_paused)
    before = signal.signal(signal.SIGTERM, lambda *_: trainer.run.stop())
    try:
        assert trainer.run.proceed()
        trainer.step()
        server.wait_for("steps")
        server.send(type="command", id="k1", run=None, command="pause")
        killer.start()
        while trainer.run.proceed():
            time.sleep(0.001)
    finally:
        signal.signal(signal.SIGTERM, before)
    killer.join()
    trainer.run.finish()
    assert server.of("finish")[0]["state"] == "stopped"


def test_a_script_without_proceed_rejects_commands(server, trainer):
    """The reason says what to add to the loop."""
    trainer.step()
    server.wait_for("steps")
    server.send(type="command", id="k1", run=None, command="pause")
    (rejected,) = server.wait_for("rejected")
    assert "run.proceed()" in rejected["reason"]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"norm": 1.0}, "'norm'"),
        ({"my metric": 1.0}, "'my metric'"),
        ({"loss": "high"}, "loss"),
        ({"loss": torch.ones(3)}, "loss"),
    ],
)
def test_a_metric_that_cannot_travel_is_left_out_and_said_once(server, trainer, caplog, metrics, said):
    """The step itself is recorded; the log has one sentence about it, the loop no exception."""
    for _ in range(3):
        trainer.step(**metrics)
    trainer.run.finish()
    assert len(server.rows()) == 3
    assert len([record for record in caplog.records if said in record.getMessage()]) == 1


class Unwilling:
    def __float__(self):
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "odd",
    [None, "high", "3", [1.0], torch.ones(3), 10**400, torch.tensor(1j), torch.ones((), device="meta"), Unwilling()],
)
def test_one_odd_metric_costs_only_itself(server, trainer, caplog, odd):
    """The step's other metrics are recorded; the log has one sentence however many steps and values."""
    for step in range(3):
        trainer.step(loss=float(step), odd=odd)
    trainer.run.finish()
    assert [row["loss"] for _, row in server.rows()] == [0.0, 1.0, 2.0]
    assert all("odd" not in row for _, row in server.rows())
    assert len([record for record in caplog.records if "'odd'" in record.getMessage()]) == 1


@pytest.mark.parametrize("name", ["self", "stats"])
def test_a_metric_may_have_the_name_of_an_argument(server, trainer, name):
    """Its name is the user's choice."""
    trainer.step(**{name: 1.5})
    trainer.run.finish()
    assert [row[name] for _, row in server.rows()] == [1.5]


@pytest.mark.parametrize("number", [True, np.bool_(True), np.float32(1), np.array(1.0), torch.ones(1), Fraction(1)])
def test_whatever_is_a_number_can_be_logged(server, trainer, number):
    """Python's, numpy's and torch's numbers of one element, and booleans as 0 and 1."""
    trainer.step(odd=number)
    trainer.run.finish()
    assert [row["odd"] for _, row in server.rows()] == [1.0]


def test_log_after_finish_keeps_nothing_and_says_so_once(trainer, caplog):
    """A loop that goes on after the run does not fill the memory."""
    trainer.run.finish()
    for _ in range(3):
        trainer.step()
    assert trainer.run._recorder.take() == []
    assert caplog.text.count("nothing after run.finish") == 1


FORKS = """
import logging, os, signal, sys, torch, clipcore
logging.basicConfig(stream=sys.stdout, format="%(message)s")
parameter = torch.nn.Parameter(torch.zeros(1))
clipper = clipcore.Clipper([parameter])
run = clipcore.connect(clipper, url="http://127.0.0.1:9")

def step():
    parameter.grad = torch.ones(1)
    run.log(clipper.clip_())

step()
with run._collecting, run._outbox._lock, run._gate._condition:  # as the link's thread may hold them
    child = os.fork()
if child == 0:
    signal.alarm(20)  # ends what hangs
    with run:
        step()
        assert run.proceed()
        run.stop()
        assert not run.proceed()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
step()
assert run._over == "" and run._outbox._seq + len(run._recorder._waiting) == 2
run.finish(timeout_s=0.1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_the_run_to_its_parent():
    """Whatever locks the link's thread held: the child trains on unrecorded and ends, and says nothing of the run."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said.count("run.log records nothing in a forked process") == 1
    assert sum("did not acknowledge" in line for line in said) == 1


def test_an_unknown_end_is_a_clear_error(trainer):
    """finish() knows three states; the run goes on."""
    with pytest.raises(ValueError, match="state must be one of finished, stopped, failed, got 'done'"):
        trainer.run.finish("done")
    assert not trainer.run._over


def test_a_control_that_fails_unforeseen_is_rejected_all_the_same(server, trainer):
    """Whoever asked is answered, and the link lives on."""
    trainer.step()
    server.wait_for("steps")
    server.send(type="control", id="c1", run=None, patch={"self": 1})
    server.send(type="control", id="c2", run=None, patch={"mode": "zclip", "warmup": 10**400})
    assert [rejected["id"] for rejected in server.wait_for("rejected", count=2)] == ["c1", "c2"]
    assert len(server.of("hello")) == 1


def test_a_long_complaint_is_cut(server, trainer):
    """A value is quoted by its ends, a name only as far as the server takes the answer."""
    trainer.step()
    server.wait_for("steps")
    server.send(type="control", id="c1", run=None, patch={"max_norm": "x" * 200_000})
    server.send(type="control", id="c2", run=None, patch={"x" * 200_000: 1})
    value, name = server.wait_for("rejected", count=2)
    assert value["reason"] == "max_norm must be a number >= 0, got 'xxxxxxxxxxxx...xxxxxxxxxxxxx'"
    assert len(name["reason"]) <= 100_000


def test_log_swallows_what_is_not_stats(trainer, caplog):
    """Even a wrong call never raises into the loop."""
    trainer.run.log(None, loss=1.0)
    assert "run.log could not record a step" in caplog.text


def test_a_refusal_is_said_and_training_goes_on(server, caplog):
    """The server's sentence appears in the log once, though the link goes on trying."""
    server.refusal = "this server speaks version 2 of the wire"
    trainer = Trainer(server.url)
    server.wait_for("hello", count=2)
    trainer.step()
    trainer.run.finish(timeout_s=0.1)
    assert sum("version 2 of the wire" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("answer", ["hello there", "[1, 2]", "{}", '{"type": "welcome"}', b"\xff"])
def test_what_is_no_clipcore_server_is_named_in_one_sentence(server, caplog, answer):
    """However often the link tries again, and without a traceback."""
    server.answer = answer
    trainer = Trainer(server.url)
    server.wait_for("hello", count=2)
    trainer.step()
    trainer.run.finish(timeout_s=0.1)
    said = [record for record in caplog.records if record.name.startswith("clipcore") and "no connection" in record.msg]
    assert len(said) == 1
    assert "this is not a clipcore server of this version: it sent" in said[0].getMessage()
    assert said[0].exc_info is None


def test_a_fault_of_ours_is_told_whole_and_once(server, caplog, monkeypatch):
    """The link tries again and again; training never hears of it."""
    monkeypatch.setattr("clipcore.run.socket.gethostname", lambda: 1 / 0)
    trainer = Trainer(server.url)
    trainer.step()
    time.sleep(1.0)
    trainer.run.finish(timeout_s=0.1)
    said = [record for record in caplog.records if "no connection" in record.msg]
    assert [record.exc_info[0] for record in said] == [ZeroDivisionError]


def test_a_run_that_was_taken_over_is_left_to_the_other_process(server, caplog):
    """The close code 4409 ends the link for good: it does not come back, a paused loop goes on, nothing piles up."""
    trainer = Trainer(server.url)
    steps = 0

    def loop():
        nonlocal steps
        while trainer.run.proceed():
            trainer.step()
            steps += 1

    looping = threading.Thread(target=loop)
    looping.start()
    server.wait_for("steps")
    server.send(type="command", id="k", command="pause")
    server.wait_for("applied")
    paused_at = steps
    server.send(type="error", reason="another connection has taken this run over")
    server.socket.close(4409)
    deadline = time.monotonic() + 5
    while steps < paused_at + 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    trainer.run.stop()
    looping.join()
    trainer.run.finish(timeout_s=1)
    assert steps >= paused_at + 10
    assert len(server.of("hello")) == 1
    assert "another process has taken over this run" in caplog.text
    assert "did not acknowledge" not in caplog.text


@pytest.mark.parametrize(
    ("steps", "lost"),
    [(0, "the end of the run, which is lost"), (1, "the last step, which is lost"), (5, "the last 5 steps, which are")],
)
def test_finish_without_a_server_gives_up_in_time_and_says_what_was_lost(caplog, steps, lost):
    """No server: the script ends after the timeout and the log counts the steps."""
    trainer = Trainer("http://127.0.0.1:9")
    for _ in range(steps):
        trainer.step()
    started = time.monotonic()
    trainer.run.finish(timeout_s=0.3)
    assert time.monotonic() - started < 3
    assert f"did not acknowledge {lost}" in caplog.text


def test_what_a_script_has_at_hand_is_taken(server):
    """The arguments of its command line, and a path as the name."""
    arguments = argparse.Namespace(lr=0.1, data=Path("corpus"))
    trainer = Trainer(server.url, name=Path("runs/first"), config=arguments)
    (hello,) = server.wait_for("hello")
    trainer.run.finish()
    assert (hello["name"], hello["config"]) == ("runs/first", {"lr": 0.1, "data": "corpus"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clipper": 3}, "clipper must be a clipcore.Clipper, got 3"),
        ({"name": 3}, "name must be a string, got 3"),
        ({"url": 3}, "url must be a string, got 3"),
        ({"config": [3]}, r"config must be a mapping, or an object with attributes, got \[3\]"),
    ],
)
def test_a_wrong_argument_is_named(wrong, said):
    """With its value and what is allowed."""
    clipper = clipcore.Clipper([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(TypeError, match=said):
        clipcore.connect(**{"clipper": clipper, **wrong})


@pytest.mark.parametrize("url", ["127.0.0.1:8420", "ftp://x", "http://", "http://x:99999", "http://x:y"])
def test_a_bad_url_is_a_clear_error(url):
    """The error names the argument, its value and the rule."""
    with pytest.raises(ValueError, match=r"url must be http\(s\)://host"):
        Trainer(url)


@pytest.fixture(autouse=True)
def _log_level(caplog):
    caplog.set_level(logging.WARNING, logger="clipcore")
