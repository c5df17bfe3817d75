"""Numbers of the training that are changed the way the clipping is."""

import math

import pytest
import torch

from clipcore import Clipper, Knob

LR = Knob("lr", 0.1, "learning rate", above_minimum=True)


def clipper(**arguments):
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.full((3,), 0.1)
    return Clipper([weight], knobs=[LR, Knob("dropout", 0, "", maximum=1.0)], **arguments)


def test_a_knob_is_part_of_the_configuration():
    """It starts at its default, as the number it is declared to be."""
    assert clipper().config == {
        "mode": "norm",
        "max_norm": 1.0,
        "norm_type": 2.0,
        "nonfinite": "propagate",
        "lr": 0.1,
        "dropout": 0.0,
    }


def test_a_knob_and_the_clipping_change_in_one_patch():
    """Both hold from the same step, and the update says what they were before."""
    steered = clipper()
    change = steered.update(max_norm=0.5, lr=0.01)
    assert steered.config["lr"] == 0.1
    steered.clip_()
    assert steered.config["lr"] == 0.01
    assert change.step == 1
    assert change.changes == {"max_norm": (1.0, 0.5), "lr": (0.1, 0.01)}


def test_a_knob_outlives_a_change_of_mode():
    """It belongs to the training, not to a rule."""
    steered = clipper(mode="zclip")
    steered.update(lr=0.01)
    steered.update(mode="off")
    steered.clip_()
    assert steered.config == {"mode": "off", "nonfinite": "propagate", "lr": 0.01, "dropout": 0.0}


def test_a_turned_knob_does_not_restart_a_rule():
    """The rule's statistics go on where they were."""
    weight = torch.nn.Parameter(torch.zeros(3))
    steered = Clipper([weight], mode="zclip", knobs=[LR])
    for lr in (0.3, 0.2, 0.1):
        steered.update(lr=lr)
        weight.grad = torch.full((3,), 0.1)
        steered.clip_()
    assert steered.state_dict()["rule"]["count"].item() == 3


@pytest.mark.parametrize(
    ("patch", "error", "sentence"),
    [
        ({"lr": 0}, ValueError, "lr must be > 0, got 0"),
        ({"lr": math.nan}, ValueError, "lr must be > 0, got nan"),
        ({"lr": "fast"}, TypeError, "lr must be a number > 0, got 'fast'"),
        ({"dropout": 2}, ValueError, "dropout must be >= 0 and <= 1, got 2"),
        ({"max_norm": 2.0, "lr": -1}, ValueError, "lr must be > 0, got -1"),
        (
            {"momentum": 0.9},
            ValueError,
            "mode 'norm' has no parameter 'momentum'; it has max_norm, norm_type, and the knobs are lr, dropout",
        ),
    ],
)
def test_a_bad_value_changes_nothing(patch, error, sentence):
    """Nor does what came with it."""
    steered = clipper()
    with pytest.raises(error) as raised:
        steered.update(**patch)
    assert str(raised.value) == sentence
    steered.clip_()
    assert steered.config == clipper().config


def test_knobs_are_saved_and_restored():
    """A training that goes on from a checkpoint has them as they were."""
    before, after = clipper(), clipper()
    before.update(lr=0.03)
    before.clip_()
    after.load_state_dict(before.state_dict())
    assert after.config == before.config


@pytest.mark.parametrize("name", ["max_norm", "mode", "nonfinite", "lambda_abs", "", "a b", "1st", "x" * 65])
def test_a_name_must_be_free_and_an_identifier(name):
    """So that a patch can name it beside the clipping's parameters."""
    with pytest.raises(ValueError, match=r"a knob's name must"):
        Knob(name, 1.0, "")


def test_a_default_must_be_allowed():
    """The first configuration holds no value that a patch could not set."""
    with pytest.raises(ValueError, match=r"lr must be >= 0, got -1"):
        Knob("lr", -1.0, "")


def test_two_knobs_of_one_name_are_refused():
    """Which of them a patch means could not be told."""
    with pytest.raises(ValueError, match=r"knobs has two named 'lr'"):
        Clipper([torch.nn.Parameter(torch.zeros(3))], knobs=[LR, LR])


def test_a_knob_without_a_lower_bound_has_none_in_its_schema():
    """Infinite bounds are left out, since JSON knows no infinity; finite ones are there."""
    schema = Knob("shift", 0.0, "", minimum=-math.inf).schema()
    assert schema.keys() & {"minimum", "exclusiveMinimum", "maximum"} == set()
    assert LR.schema()["exclusiveMinimum"] == 0.0


@pytest.mark.parametrize("knobs", [["lr"], Knob("lr", 0.1, "learning rate"), 3, "lr"])
def test_what_is_no_list_of_knobs_is_refused(knobs):
    """The error shows what was given: a name, a number, or a knob that is not in a list."""
    with pytest.raises(TypeError, match=r"knobs must be a list of clipcore.Knob, got .*(lr|3)"):
        Clipper([torch.nn.Parameter(torch.zeros(1))], knobs=knobs)


def test_a_knob_is_a_number():
    """Lists of names are for the clipping's own parameters."""
    with pytest.raises(ValueError, match="kind must be number or integer, got 'names'"):
        Knob("layers", ("a",), "which", kind="names")
