"""Options: defaults, bounds, and the sentences that refuse."""

import json

import pytest

from server.workloads import WORKLOADS, describe, find
from server.workloads.charlm import CharlmOptions
from server.workloads.rnn import RnnOptions


def test_a_workload_starts_with_its_own_bound():
    """Mode norm takes the workload's max_norm; what is asked for goes first."""
    assert RnnOptions.parse({}).clipping == {"mode": "norm", "max_norm": 0.5}
    assert RnnOptions.parse({"mode": "norm", "max_norm": 2}).clipping == {"mode": "norm", "max_norm": 2}


def test_another_mode_starts_with_its_own_parameters():
    """The workload's max_norm is mode norm's alone."""
    assert RnnOptions.parse({"mode": "value", "clip_value": 0.1}).clipping == {"mode": "value", "clip_value": 0.1}
    assert RnnOptions.parse({"mode": "layer"}).clipping == {"mode": "layer"}


def test_infinity_may_be_written_as_on_the_wire():
    """JSON has no infinity; the word stands for it."""
    assert RnnOptions.parse({"max_norm": "Infinity"}).clipping["max_norm"] == float("inf")


def test_options_survive_the_way_to_the_child():
    """What the server parsed is what the child parses from its JSON."""
    options = CharlmOptions.parse({"mode": "agc", "exclude": ["head.*"], "steps": 7, "lr": 0.25})
    assert CharlmOptions.parse(json.loads(options.model_dump_json())) == options
    infinite = CharlmOptions.parse({"max_norm": "Infinity"})
    assert CharlmOptions.parse(json.loads(infinite.model_dump_json())) == infinite
    scheduled = CharlmOptions.parse({"schedule": [{"step": 7, "patch": {"max_norm": "Infinity"}}]})
    assert scheduled.schedule[0].patch == {"max_norm": float("inf")}
    assert CharlmOptions.parse(json.loads(scheduled.model_dump_json())) == scheduled


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"steps": 0}, r"steps: .*greater than or equal to 1, got 0"),
        ({"steps": "many"}, r"steps: .*integer.*, got 'many'"),
        ({"lr": "NaN"}, r"lr: .*finite number, got nan"),
        ({"device": "tpu"}, r"device: .*'auto', 'cpu' or 'cuda', got 'tpu'"),
        ({"mode": "nrom"}, r"mode must be one of off, norm, .*, got 'nrom'"),
        ({"mode": 5}, r"mode: .*string, got 5"),
        ({"max_norm": -1}, r"max_norm must be >= 0, got -1"),
        ({"max_norm": "NaN"}, r"max_norm must be >= 0, got nan"),
        ({"max_norm": "small"}, r"max_norm must be a number >= 0, got 'small'"),
        ({"clip_value": 1}, r"there is no option 'clip_value' in mode 'norm'; there are steps, .*, max_norm"),
        ({"step": 1}, r"there is no option 'step' in mode 'norm'; there are steps, "),
        ({"nonfinite": "ignore"}, r"nonfinite must be one of propagate, .*, got 'ignore'"),
        ({"schedule": [{"step": 0, "patch": {}}]}, r"schedule.0.step: .*greater than or equal to 1, got 0"),
        (
            {"schedule": [{"step": 3, "patch": {"clip_value": 1}}]},
            r"schedule, step 3: mode 'norm' has no parameter 'clip_value'",
        ),
        ({"schedule": [{"step": 3, "patch": {}}, {"step": 1, "patch": {}}]}, r"steps must not fall, got 1 after 3"),
    ],
)
def test_a_bad_option_is_refused_with_a_sentence(config, sentence):
    """The sentence names the option, the rule and the value."""
    with pytest.raises(ValueError, match=sentence):
        CharlmOptions.parse(config)


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    """At once, and not by a child that fails later."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device must be auto or cpu .*, got 'cuda'"):
        CharlmOptions.parse({"device": "cuda"})


def test_an_unknown_workload_is_refused_with_the_known_ones():
    """The sentence lists what there is."""
    with pytest.raises(ValueError, match="workload must be one of charlm, rnn, got 'gpt'"):
        find("gpt")


@pytest.mark.parametrize("described", describe(), ids=lambda described: described["name"])
def test_every_option_is_described_with_default_and_help(described):
    """A form can be made from it, and asking for all defaults is asking for nothing."""
    properties = described["options"]["properties"]
    defaults = {name: option["default"] for name, option in properties.items()}
    options = WORKLOADS[described["name"]].options
    assert all(option["description"] and option["title"] == name for name, option in properties.items())
    assert options.parse(defaults) == options.parse({})
    assert json.loads(options.parse({}).model_dump_json()) == {**defaults, "schedule": []}  # which is no form's
    assert described["title"]
    assert described["help"]
