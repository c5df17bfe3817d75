"""Mistakes in the loop are named once, and good loops are left in peace."""

import re
import warnings

import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.warn import ClipWarning


class Loop:
    """A training loop whose parts a test may put in any order."""

    def __init__(self, *, scaler=None, set_to_none=True, know_optimizer=True):
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scaler = scaler
        self.set_to_none = set_to_none
        self.clipper = Clipper(self.model, optimizer=self.optimizer if know_optimizer else None, scaler=scaler)

    def zero(self):
        self.optimizer.zero_grad(set_to_none=self.set_to_none)

    def backward(self):
        loss = self.model(torch.randn(3, 4)).square().mean()
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def unscale(self):
        self.scaler.unscale_(self.optimizer)

    def clip(self):
        self.clipper.clip_()

    def step(self):
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()

    def run(self, order, times=3):
        for _ in range(times):
            for part in order.split():
                getattr(self, part)()


def scaler():
    return torch.amp.GradScaler("cpu", init_scale=1024.0)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("know_optimizer", [True, False])
@pytest.mark.parametrize(
    ("with_scaler", "order"),
    [
        (False, "zero backward clip step"),
        (False, "backward clip step zero"),
        (False, "zero backward backward backward clip step"),
        (True, "zero backward unscale clip step"),
        (True, "zero backward backward unscale clip step"),
    ],
)
def test_good_loops_are_left_in_peace(with_scaler, order, set_to_none, know_optimizer, recwarn):
    """Whatever way gradients are reset, with micro-batches and with a scaler, nothing is warned about."""
    loop = Loop(scaler=scaler() if with_scaler else None, set_to_none=set_to_none, know_optimizer=know_optimizer)
    loop.run(order)
    assert not recwarn.list


def test_steps_that_the_scaler_skips_are_no_mistake(recwarn):
    """Several `clip_()` without a step between them, because gradients overflowed, raise no warning."""
    loop = Loop(scaler=torch.amp.GradScaler("cpu", init_scale=1e38))
    loop.run("zero backward unscale clip step", times=5)
    assert not recwarn.list


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize(
    ("with_scaler", "order", "notice"),
    [
        (True, "zero backward clip unscale step", r"before scaler.unscale_\(optimizer\), .* call scaler.unscale_"),
        (True, "zero backward clip step", r"before scaler.unscale_\(optimizer\)"),
        (
            False,
            "zero backward step clip",
            r"optimizer.step\(\) ran without clip_\(\) .* call clip_\(\) after backward",
        ),
        (False, "zero backward step", r"optimizer.step\(\) ran without clip_\(\)"),
        (False, "zero backward clip clip step", r"ran twice on the gradients of one backward: call it once"),
        (False, "zero backward clip backward clip step", r"accumulated onto clipped ones: .* after the last backward"),
        (True, "zero backward unscale clip clip step", r"ran twice on the gradients of one backward"),
    ],
)
def test_a_mistake_is_named_once_with_its_fix(with_scaler, order, notice, set_to_none):
    """However often it is made."""
    loop = Loop(scaler=scaler() if with_scaler else None, set_to_none=set_to_none)
    with pytest.warns(ClipWarning) as caught:
        loop.run(order, times=4)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == len(set(texts))
    assert any(re.search(notice, text) for text in texts)


def behind_autograds_back(gradient, values):
    """As a replayed CUDA graph writes: no version counter rises."""
    gradient.numpy()[...] = values.numpy()


@pytest.mark.parametrize("know_optimizer", [True, False])
@pytest.mark.parametrize(
    "write", [lambda gradient, values: gradient.data.copy_(values), torch.Tensor.copy_, behind_autograds_back]
)
def test_gradients_that_stay_where_they_are_are_left_in_peace(write, know_optimizer, recwarn):
    """New ones can be written so that nobody sees it; that the parameters have moved on is seen."""
    loop = Loop(know_optimizer=know_optimizer)
    loop.run("zero backward", times=1)
    for _ in range(3):
        for parameter in loop.model.parameters():
            write(parameter.grad, torch.randn(parameter.shape))
        loop.run("clip step", times=1)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("order", "notice", "know_optimizer"),
    [
        ("clip clip", "ran twice", False),
        ("clip clip", "ran twice", True),
        ("clip backward clip", "accumulated onto", True),
    ],
)
def test_a_repeated_clip_is_named_at_once(order, notice, know_optimizer):
    """In the first step, before the gradients are used."""
    loop = Loop(know_optimizer=know_optimizer)
    with pytest.warns(ClipWarning, match=notice):
        loop.run(f"backward {order}", times=1)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
def test_a_closure_that_clips_is_left_in_peace(kind, recwarn):
    """It does so during the step, as often as the optimizer asks."""
    model = nn.Linear(4, 1)
    optimizer = kind(model.parameters(), lr=0.1)
    clipper = Clipper(model, optimizer=optimizer)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(3, 4)).square().mean()
        loss.backward()
        clipper.clip_()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert not recwarn.list


@pytest.mark.parametrize("reset", [lambda gradient: gradient.data.zero_(), torch.Tensor.zero_])
def test_a_loop_written_by_hand_is_left_in_peace(reset, recwarn):
    """One that steps behind autograd's back, as books have it."""
    loop = Loop(know_optimizer=False)
    for _ in range(3):
        loop.run("backward clip", times=1)
        for parameter in loop.model.parameters():
            parameter.data.add_(parameter.grad.data, alpha=-0.1)
            reset(parameter.grad)
    assert not recwarn.list


def test_gradients_that_are_gone_are_named():
    """`clip_()` after `zero_grad()` warns that there is no gradient, and gives the right order."""
    loop = Loop()
    with pytest.warns(ClipWarning, match=r"found no gradient at all: .* The order is backward, clip_"):
        loop.run("backward zero clip", times=1)


def test_shards_of_fsdp1_are_named():
    """Its flat parameters are this rank's part, and plain tensors for all one can see."""
    loop = Loop()
    for parameter in loop.model.parameters():
        parameter._fsdp_flattened = True
    with pytest.warns(ClipWarning, match=r"sharded by FullyShardedDataParallel, so clip_\(\) sees only the norm"):
        loop.run("backward clip", times=1)


def test_a_notice_points_at_the_users_line():
    """Not into this package or torch."""
    loop = Loop()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run("backward step clip clip", times=2)
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


def test_a_clipped_module_can_be_converted_by_swapping():
    """Nothing keeps a weak reference on its gradients."""
    loop = Loop()
    loop.run("zero backward clip", times=1)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        loop.model.to(torch.float64)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert loop.model[0].weight.grad.dtype == torch.float64
    loop.clip()


def test_gradients_kept_by_the_user_are_no_mistake(recwarn):
    """A list of old gradients is not the gradients."""
    loop = Loop()
    kept = []
    for _ in range(3):
        loop.run("zero backward", times=1)
        kept.append([parameter.grad for parameter in loop.model.parameters()])
        loop.run("clip step", times=1)
    assert not recwarn.list
