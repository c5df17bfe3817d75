"""No value is read on the host: a dispatch mode refuses whatever would wait for a device, on the eager kernels."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import clipcore
from clipcore import Clipper
from clipcore.kernels import eager, pieces
from clipcore.recorder import Recorder
from clipcore.rules import RULES

#: Operations whose result, or whose result's size, is known on the host only after the device has got there.
WAITS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::item",
    "aten::equal",
    "aten::allclose",
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave.Tensor",
}


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name() in WAITS or func.name().removesuffix(".default") in WAITS:
            raise AssertionError(f"{func.name()} waits for the device")
        if func.name().startswith("aten::index.Tensor") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise AssertionError("indexing by a mask waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def eager_in_small_pieces(monkeypatch):
    """So that small tensors take the ways of large ones."""
    monkeypatch.setenv("CLIPCORE_KERNELS", "eager")
    monkeypatch.setattr(pieces, "PIECE", 64)
    monkeypatch.setattr(eager, "BATCH", 256)


def model_with_gradients(seed=0, frozen=False):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(4, 5), nn.Linear(5, 5))
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    if frozen:
        model[1].weight.grad = None
    return model


@pytest.mark.parametrize("read", [lambda x: x.item(), bool, lambda x: x.view(1).nonzero(), lambda x: torch.equal(x, x)])
def test_the_mode_notices_a_wait(read):
    """Else the tests below would show nothing."""
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        read(torch.ones(()))


@pytest.mark.parametrize("mode", RULES)
@pytest.mark.parametrize("nonfinite", ["propagate", "skip", "zero"])
@pytest.mark.parametrize("frozen", [False, True])
def test_no_mode_reads_a_value(mode, nonfinite, frozen):
    """Whatever the policy, with and without parameters that have no gradient, warm or not, at every change of mode."""
    model = model_with_gradients(frozen=frozen)
    values = {"exclude": ["2.*"]} if mode == "agc" else {"warmup": 2} if mode in ("zclip", "adagc") else {}
    clipper = Clipper(model, mode, nonfinite=nonfinite, **values)
    with NoWaiting():
        for step in range(5):
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad * 2
            if step == 3:
                clipper.update(mode="norm")
                clipper.update(mode=mode)
            clipper.clip_()


def test_a_whole_history_is_kept_without_reading_it(monkeypatch):
    """Autoclip with window 0, past the point where its history grows."""
    monkeypatch.setattr("clipcore.rules.autoclip.FIRST_CAPACITY", 4)
    parameter = nn.Parameter(torch.zeros(1))
    clipper = Clipper([parameter], "autoclip", window=0)
    with NoWaiting():
        for _ in range(20):
            parameter.grad = torch.ones(1)
            clipper.clip_()


def test_the_drop_ins_read_no_value():
    """Unless error_if_nonfinite asks for it."""
    parameters = list(model_with_gradients().parameters())
    with NoWaiting():
        norm = clipcore.clip_grad_norm_(parameters, 1.0)
        clipcore.clip_grad_value_(parameters, 0.1)
        clipcore.clip_grads_with_norm_(parameters, 1.0, norm)
        clipcore.get_total_norm([parameter.grad for parameter in parameters])
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        clipcore.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)


def test_raise_is_the_policy_that_waits():
    """`clip_()` with nonfinite="raise" reads a value from the device."""
    model = model_with_gradients()
    clipper = Clipper(model, nonfinite="raise")
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        clipper.clip_()


def test_fused_optimizers_skip_without_a_wait_and_others_with_one():
    """With nonfinite="skip" a fused optimizer's step reads no value from the device; any other's does."""
    for fused in (True, False):
        model = model_with_gradients()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        clipper = Clipper(model, optimizer=optimizer, nonfinite="skip")
        clipper.clip_()
        if fused:
            with NoWaiting():
                optimizer.step()
        else:
            with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
                optimizer.step()


def test_recording_layers_reads_no_value():
    """The table is queued on the device like everything else."""
    stats = Clipper(model_with_gradients(frozen=True)).clip_()
    with NoWaiting():
        Recorder().push(stats, {"lr": 0.1}, layers=True)
