"""Whose gradients are clipped, and by what names they are known."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from clipcore import Clipper
from clipcore.model import Model, _matching


def test_patterns_fit_together():
    """A name fits itself and shell-style patterns; what none fits is not there."""
    model = Model.of([(name, nn.Parameter(torch.zeros(1))) for name in ("a.bias", "a.weight", "b[0]", "c")])
    assert model.matching(["*.bias", "b[0]"]) == {"a.bias", "b[0]"}
    assert model.matching(()) == set()


def test_a_name_of_no_parameter_brings_the_closest():
    """Three at most, the likeliest first, however long the name that was given."""
    names = ("head.weight", "head.bias", "body.0.weight", "body.0.bias")
    clipper = Clipper([(name, nn.Parameter(torch.zeros(1))) for name in names])
    with pytest.raises(ValueError, match=r"no parameter; the closest are 'head.bias', 'body.0.bias', 'head.weight'$"):
        clipper.update(mode="agc", exclude=["haed.bias"])
    with pytest.raises(ValueError, match=r"which is the name of no parameter; the closest are") as caught:
        clipper.update(mode="agc", exclude=["x" * 10**6])
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match=r"the name of no parameter$"):
        Clipper([], "agc", exclude=["head"])


@pytest.mark.parametrize("count", [1, 100])
def test_patterns_are_compared_once(count):
    """However many there are, a step looks up what the step before did."""
    pairs = [(f"layer{number}", nn.Parameter(torch.ones(2))) for number in range(count + 1)]
    clipper = Clipper(pairs, "agc", exclude=[name for name, _ in pairs[:count]])
    misses = []
    for _ in range(3):
        for _, parameter in pairs:
            parameter.grad = torch.ones(2)
        clipper.clip_()
        misses.append(_matching.cache_info().misses)
    assert misses[1] == misses[2]


def module():
    """One whose own parts are called as a wrapper's is."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"module": nn.Linear(2, 2)}))
    return model, tuple(name for name, _ in model.named_parameters())


def compiled(model):
    return torch.compile(model, backend="eager")


WRAPPERS = {
    "compile": compiled,
    "DataParallel": nn.DataParallel,
    "compile of DataParallel": lambda model: compiled(nn.DataParallel(model)),
    "DataParallel of compile": lambda model: nn.DataParallel(compiled(model)),
    "a compiled part": lambda model: nn.Sequential(compiled(model[0]), model[1]),
    "a checkpointed part": lambda model: nn.Sequential(checkpoint_wrapper(model[0]), model[1]),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_names_are_those_of_the_module_inside(wrap):
    """So that exclude and the layers on the page stay the same when a training is compiled or spread."""
    model, names = module()
    assert Model.of(wrap(model)).names == names


def test_names_of_pairs_lose_what_can_only_be_a_wrappers():
    """`module` may be the user's own."""
    model, names = module()
    assert Model.of(compiled(model).named_parameters()).names == names
    assert Model.of([("module.a", nn.Parameter(torch.ones(1)))]).names == ("module.a",)
