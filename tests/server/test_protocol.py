"""The golden file speaks for both sides: the page's tests read the same messages."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import BaseModel, TypeAdapter, ValidationError

import clipcore
from clipcore.link import Link
from clipcore.metrics import Admission
from clipcore.outbox import FRAME_ROWS
from clipcore.wire import encode
from server import protocol
from server.protocol import (
    MAX_LAYERS,
    MAX_METRICS,
    MAX_ROWS,
    Columns,
    from_browser,
    from_trainer,
    to_browser,
    to_trainer,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "messages.json").read_text())
ADAPTERS: dict[str, TypeAdapter] = {
    "trainer_to_server": from_trainer,
    "server_to_trainer": to_trainer,
    "browser_to_server": from_browser,
    "server_to_browser": to_browser,
}
UNIONS = {
    "trainer_to_server": protocol.FromTrainer,
    "server_to_trainer": protocol.ToTrainer,
    "browser_to_server": protocol.FromBrowser,
    "server_to_browser": protocol.ToBrowser,
}
EXAMPLES = [(way, message) for way, messages in GOLDEN.items() for message in messages]

HELLO = GOLDEN["trainer_to_server"][0]
STEPS = GOLDEN["trainer_to_server"][1]


def columns(**changed):
    return {"step": [1], "time": [1.0], "mode": ["norm"], **changed}


@pytest.mark.parametrize(("way", "message"), EXAMPLES, ids=[f"{way}-{message['type']}" for way, message in EXAMPLES])
def test_golden_message_survives_a_round_trip(way, message):
    """What is parsed is written back as it was, with NaN and the infinities as strings."""
    parsed = ADAPTERS[way].validate_json(json.dumps(message))
    assert json.loads(parsed.model_dump_json()) == message


@pytest.mark.parametrize("way", ADAPTERS)
def test_every_message_has_an_example(way):
    """No message type is missing from the golden file, and none is in it that the wire does not know."""
    types: tuple[type[BaseModel], ...] = get_args(get_args(UNIONS[way])[0])
    assert {message["type"] for message in GOLDEN[way]} == {type_.model_fields["type"].default for type_ in types}


def test_every_step_metric_is_in_the_example():
    """The example of a batch carries all columns that a Clipper's step has."""
    assert set(protocol.STEP_METRICS) <= STEPS["columns"].keys()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nonfinite_numbers_travel_as_strings(value):
    """NaN and the infinities are strings in JSON and floats in Python, in columns and inside a patch."""
    written = Columns(**columns(norm=[value])).model_dump_json()
    assert json.loads(written)["norm"] == [{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]]
    (read,) = Columns.model_validate_json(written).metrics["norm"]
    assert repr(read) == repr(value)
    control = protocol.Control(id="c", patch={"max_norm": value})
    assert json.loads(control.model_dump_json())["patch"]["max_norm"] in ("NaN", "Infinity", "-Infinity")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({**HELLO, "surprise": 1}, "surprise"),
        ({**HELLO, "run": "../etc/passwd"}, "run"),
        ({**HELLO, "run": "a" * 65}, "run"),
        ({**HELLO, "name": ""}, "name"),
        ({**HELLO, "started": None}, "started"),
        ({**STEPS, "seq": 0}, "seq"),
        ({**STEPS, "seq": 2**53}, "seq"),
        (
            {**STEPS, "seq": 2**53 - 2, "columns": {"step": [1] * 3, "time": [1.0] * 3, "mode": ["norm"] * 3}},
            "the last row's seq must be at most 9007199254740991, got 9007199254740992",
        ),
        ({**STEPS, "columns": columns(step=[-1])}, "step"),
        ({**STEPS, "columns": columns(norm=["abc"])}, "norm"),
        ({**STEPS, "columns": columns(mode=['=HYPERLINK("http://evil")'])}, "mode"),
        ({**STEPS, "columns": columns(mode=["NaN"])}, "mode"),
        ({**STEPS, "columns": columns(mode=["norm\n"])}, "mode"),
        ({**STEPS, "columns": columns(seq=[1.0])}, "may not be called 'seq'"),
        ({**STEPS, "columns": columns(time=["NaN"])}, "time"),
        ({**STEPS, "columns": columns(time=[1e13])}, "time"),
        ({**STEPS, "columns": columns(time=[-1.0])}, "time"),
        ({**STEPS, "columns": columns(norm=[1.0, 2.0])}, r"'norm' must be as long as step \(=1\), got 2"),
        ({**STEPS, "columns": columns(**{"no spaces": [1.0]})}, "no spaces"),
        ({**STEPS, "columns": columns(**{f"m{n}": [1.0] for n in range(MAX_METRICS + 1)})}, f"{MAX_METRICS}"),
        (
            {**STEPS, "columns": {name: [1] * (MAX_ROWS + 1) for name in ("step", "time")} | {"mode": []}},
            f"{MAX_ROWS}",
        ),
        ({"type": "unheard of"}, "unheard of"),
        ([], "object"),
    ],
)
def test_what_is_no_message_is_refused(message, complaint):
    """The complaint names what is wrong."""
    with pytest.raises(ValidationError, match=complaint):
        from_trainer.validate_json(json.dumps(message))


@pytest.mark.parametrize("name", ["_", "_x", "loss", "val/acc-1.0", "m" * 64, "", "1st", "-a", "my metric", "m" * 65])
def test_metrics_are_called_as_the_trainer_lets_them_be_called(name):
    """What `run.log` sends is taken, and what is not taken is left out there, with a sentence."""
    admitted = Admission(lambda _: None).admit({name: 1.0})
    try:
        Columns(**columns(**{name: [1.0]}))
    except ValidationError:
        assert not admitted
    else:
        assert admitted


def test_layers_of_different_lengths_are_refused():
    """Each layer has all three numbers."""
    ragged = {"type": "layers", "step": 1, "norm": [1.0, 2.0], "coef": [1.0], "clamped": []}
    with pytest.raises(ValidationError, match="as long as each other, got 2, 1 and 0"):
        from_trainer.validate_python(ragged)


@pytest.mark.parametrize(("time", "taken"), [(253_402_300_799.9, True), (253_402_300_800.0, False), (1.75e12, False)])
def test_a_time_is_one_that_a_calendar_has(time, taken):
    """Seconds up to the end of the year 9999; milliseconds are a mistake."""
    try:
        Columns(**columns(time=[time]))
    except ValidationError:
        assert not taken
    else:
        datetime.fromtimestamp(time, UTC)


def test_the_longest_that_a_trainer_sends_is_taken(monkeypatch):
    """Whatever a script, its model and whoever steers it make of names, reasons and numbers."""
    monkeypatch.setattr(Link, "start", lambda _: None)
    monkeypatch.setattr(Link, "close", lambda *_: True)
    parameters = [(f"{number:05}{'x' * 300}", torch.nn.Parameter(torch.ones(1))) for number in range(MAX_LAYERS)]
    knobs = [clipcore.Knob(f"k{number:063}", 1.0, "x" * 1000) for number in range(32)]
    clipper = clipcore.Clipper(parameters, knobs=knobs, exponents=1)
    run = clipcore.connect(clipper, name="n" * 1000)
    too_long = "x" * 200_000
    patches = [{"mode": too_long}, {too_long: 1}, {"max_norm": too_long}]
    for patch in [*patches, {knob.name: 2.0 for knob in knobs}]:
        run._receive({"type": "control", "id": "i" * 80, "patch": patch})
    run.proceed()
    for command in (too_long, "resume"):
        run._receive({"type": "command", "id": "i" * 80, "command": command})
    for _, parameter in parameters:
        parameter.grad = torch.full((1,), math.inf)
    stats = clipper.clip_()
    metrics = {f"m{number:063}": math.nan for number in range(MAX_METRICS)}
    uncounted = replace(stats, exponents=None)
    for _ in range(FRAME_ROWS):  # of each that counts exponents, the record has the layers: a thousand take a gigabyte
        run.log(uncounted, **metrics)
    run.log(stats, **metrics)
    layers = run._collect()
    run.finish("failed", too_long)
    sent = [encode(run._hello()), encode(layers), *run._outbox.unsent()]
    taken = [from_trainer.validate_json(text).type for text in sent]
    assert set(taken) == {"hello", "steps", "layers", "applied", "rejected", "event", "finish"}
    assert taken.count("rejected") == len(patches) + 1
