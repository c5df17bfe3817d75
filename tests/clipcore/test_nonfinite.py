"""What happens to NaN and infinity, by policy."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.rules import RULES

pytestmark = pytest.mark.usefixtures("kernels")

BAD = [math.nan, math.inf, -math.inf]


def parameters_with(*values):
    parameters = [nn.Parameter(torch.ones(len(value))) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(value)
    return parameters


@pytest.mark.parametrize("mode", RULES)
@pytest.mark.parametrize("bad", BAD)
class TestPolicies:
    def test_raise_names_the_parameters_and_changes_nothing(self, mode, bad):
        """Gradients and the rule's statistics are as before the step."""
        parameters = parameters_with([9.0], [bad, 1.0], [bad])
        clipper = Clipper([("a", parameters[0]), ("b", parameters[1]), ("c", parameters[2])], mode, nonfinite="raise")
        with pytest.raises(RuntimeError, match=r"the gradients of 'b', 'c' are not finite; nothing was changed"):
            clipper.clip_()
        assert parameters[0].grad == 9.0
        assert parameters[1].grad[1] == 1.0
        state = clipper.state_dict()["rule"]
        assert all(torch.equal(state[name], fresh) for name, fresh in clipper._rule.initial_state().items())

    def test_skip_leaves_the_gradients(self, mode, bad):
        """The step counts as skipped, no tensor as clipped, and every element is what it was."""
        parameters = parameters_with([9.0], [bad, 1.0])
        stats = Clipper(parameters, mode, nonfinite="skip").clip_()
        assert stats.skipped == 1
        assert stats.clipped_tensors == 0
        assert parameters[0].grad == 9.0
        assert parameters[1].grad[1] == 1.0
        assert not parameters[1].grad[0].isfinite()

    def test_zero_zeroes_every_gradient(self, mode, bad):
        """By filling: 0 * NaN would be NaN."""
        parameters = parameters_with([9.0], [bad, 1.0])
        stats = Clipper(parameters, mode, nonfinite="zero").clip_()
        assert not any(parameter.grad.any() for parameter in parameters)
        assert (stats.clipped_norm, stats.skipped, stats.nonfinite) == (0, 0, 1)

    @pytest.mark.parametrize("nonfinite", ["propagate", "zero", "skip"])
    def test_statistics_never_see_it(self, mode, bad, nonfinite):
        """The step after is judged as if the bad one had not been."""
        (disturbed,), (clean,) = parameters_with([1.0, 1.0]), parameters_with([1.0, 1.0])
        one, other = Clipper([disturbed], mode, nonfinite=nonfinite), Clipper([clean], mode)
        disturbed.grad = torch.tensor([bad, 1.0])
        one.clip_()
        for value in [2.0, 0.5, 3.0]:
            disturbed.grad, clean.grad = torch.tensor([value, 1.0]), torch.tensor([value, 1.0])
            assert torch.equal(one.clip_().numbers.nan_to_num(-1), other.clip_().numbers.nan_to_num(-1))


@pytest.mark.parametrize("nonfinite", ["raise", "skip", "zero"])
@pytest.mark.parametrize("mode", RULES)
def test_finite_gradients_are_clipped_as_ever(mode, nonfinite):
    """A policy changes nothing when there is nothing to it."""
    (guarded,), (plain,) = parameters_with([3.0, 4.0]), parameters_with([3.0, 4.0])
    one, other = Clipper([guarded], mode, nonfinite=nonfinite).clip_(), Clipper([plain], mode).clip_()
    assert torch.equal(guarded.grad, plain.grad)
    assert torch.equal(one.numbers.nan_to_num(-1), other.numbers.nan_to_num(-1))


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}),
    (torch.optim.AdamW, {"lr": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1, "fused": True}),
    (torch.optim.Adagrad, {"lr": 0.1, "fused": True}),
    (torch.optim.RMSprop, {"lr": 0.1}),
]
NAMES = [f"{kind.__name__}{'-fused' if values.get('fused') else ''}" for kind, values in OPTIMIZERS]


def everything(optimizer):
    """Parameters, momenta, step counts: all that a step may move."""
    state = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    parameters = [parameter.detach() for group in optimizer.param_groups for parameter in group["params"]]
    return [tensor.clone() for tensor in [*parameters, *state]]


@pytest.mark.parametrize(("kind", "values"), OPTIMIZERS, ids=NAMES)
class TestSkippedSteps:
    def test_a_skipped_step_moves_nothing(self, kind, values):
        """Neither parameters nor momenta nor step counts; the gradients are still there afterwards."""
        parameters = parameters_with([3.0, 4.0], [1.0])
        optimizer = kind(parameters, **values)
        clipper = Clipper(parameters, optimizer=optimizer, nonfinite="skip")
        clipper.clip_()
        optimizer.step()
        before = everything(optimizer)
        parameters[0].grad = torch.tensor([math.nan, 1.0])
        assert clipper.clip_().skipped == 1
        optimizer.step()
        assert all(map(torch.equal, everything(optimizer), before))
        assert parameters[0].grad[1] == 1.0

    def test_the_step_after_is_taken(self, kind, values):
        """As if the skipped one had never been asked for."""
        disturbed, clean = parameters_with([3.0, 4.0]), parameters_with([3.0, 4.0])
        for parameters, steps in [(disturbed, [1.0, math.inf, 2.0]), (clean, [1.0, 2.0])]:
            optimizer = kind(parameters, **values)
            clipper = Clipper(parameters, optimizer=optimizer, nonfinite="skip")
            for value in steps:
                parameters[0].grad = torch.tensor([value, 1.0])
                clipper.clip_()
                optimizer.step()
        assert torch.equal(disturbed[0], clean[0])

    def test_other_policies_do_not_skip(self, kind, values):
        """Gradients that propagate reach the parameters, and no verdict of an earlier step lingers."""
        parameters = parameters_with([math.nan, 1.0])
        optimizer = kind(parameters, **values)
        clipper = Clipper(parameters, optimizer=optimizer, nonfinite="skip")
        clipper.clip_()
        optimizer.step()
        parameters[0].grad = torch.tensor([math.nan, 1.0])
        clipper.clip_()
        clipper.update(nonfinite="propagate")
        parameters[0].grad = torch.tensor([math.nan, 1.0])
        clipper.clip_()
        optimizer.step()
        assert parameters[0].isnan().any()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("guilty", [0, 1])
def test_several_clippers_skip_the_step_of_one_optimizer(fused, guilty):
    """Each speaks for its own parameters, and one of them is enough; the steps after are taken."""
    parameters = parameters_with([1.0, 1.0], [1.0, 1.0])
    optimizer = torch.optim.AdamW(parameters, lr=0.1, fused=fused)
    clippers = [Clipper([parameter], optimizer=optimizer, nonfinite="skip") for parameter in parameters]
    for bad in (True, False):
        for parameter in parameters:
            parameter.grad = torch.ones(2)
        if bad:
            parameters[guilty].grad[0] = math.nan
        for clipper in clippers:
            clipper.clip_()
        optimizer.step()
        assert [bool((parameter == 1).all()) for parameter in parameters] == [bad, bad]
        assert not hasattr(optimizer, "found_inf")


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, momentum=0.9),
        partial(torch.optim.SGD, fused=True),
        partial(torch.optim.AdamW, fused=True),
        torch.optim.LBFGS,
    ],
    ids=["sgd", "fused sgd", "fused adamw", "lbfgs"],
)
def test_a_clip_inside_a_closure_skips_the_step_that_called_it(make):
    """The parameters stay, the gradients are there afterwards, and the next step is taken."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = make([parameter], lr=0.1)
    clipper = Clipper([parameter], mode="off", optimizer=optimizer, nonfinite="skip")

    def closure(factor):
        optimizer.zero_grad()
        loss = (parameter * factor).square().sum()
        loss.backward()
        skipped.append(clipper.clip_().skipped.item())
        return loss.detach()

    skipped = []
    optimizer.step(lambda: closure(math.nan))
    assert (set(skipped), parameter.tolist()) == ({1.0}, [1.0, 1.0])
    assert parameter.grad.isnan().all()
    optimizer.step(lambda: closure(1.0))
    assert (parameter < 1).all()


@pytest.mark.filterwarnings("ignore:the optimizer updates parameters that no Clipper of it knows")
def test_a_scaler_finds_its_own_verdict_untouched_after_the_step():
    """Both may want to skip a fused step; what the scaler saw as finite, a Clipper of other gradients may not."""
    (parameter,), (other,) = parameters_with([1.0, 1.0]), parameters_with([math.nan])
    optimizer = torch.optim.SGD([parameter], lr=0.1, fused=True)
    optimizer.grad_scale, optimizer.found_inf = None, (theirs := torch.zeros(()))
    clipper = Clipper([other], optimizer=optimizer, nonfinite="skip")
    clipper.clip_()
    optimizer.step()
    assert (parameter == 1).all()
    assert optimizer.found_inf is theirs
    assert theirs == 0


@pytest.mark.filterwarnings("ignore:clip_.. found no gradient")
def test_a_verdict_does_not_outlive_its_gradients():
    """clip_() after zero_grad() finds nothing to judge, so the coming step is taken."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    clipper = Clipper([parameter], optimizer=optimizer, nonfinite="skip")
    parameter.grad = torch.tensor([math.nan])
    clipper.clip_()
    parameter.grad = None
    assert clipper.clip_().skipped == 0
    parameter.grad = torch.tensor([1.0])
    optimizer.step()
    assert parameter == -1.0


def test_a_step_that_raises_loses_no_gradient():
    """The hidden gradients come back with the next clip_(), unless newer ones are there."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    clipper = Clipper([parameter], optimizer=optimizer, nonfinite="skip")
    parameter.grad = torch.tensor([math.nan])
    clipper.clip_()
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    assert parameter.grad is None
    new = parameter.grad = torch.tensor([1.0])
    clipper.clip_()
    assert parameter.grad is new
    optimizer.step()
    assert parameter.item() == pytest.approx(-1.0, rel=1e-5)


def test_a_global_norm_that_overflows_is_told_from_gradients_that_are_not_finite():
    """In float64, where it can."""
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    parameter.grad = torch.tensor([2e200, 2e200], dtype=torch.float64)
    with pytest.raises(RuntimeError, match="every gradient is finite, but their global norm is not finite"):
        Clipper([("w", parameter)], nonfinite="raise").clip_()
