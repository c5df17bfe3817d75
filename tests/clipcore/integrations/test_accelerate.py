"""accelerate's own Accelerator, with clipcore clipping in its loop."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from clipcore import Clipper
from clipcore.integrations.accelerate import clip_


@pytest.fixture(autouse=True)
def fresh_state():
    """Else one test's precision is the next one's."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def train(accelerator, max_norm, scale=100.0, **settings):
    """The records of four batches, the norm that each step of the optimizer found, and the model."""
    torch.manual_seed(0)
    batches = torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2)
    model = torch.nn.Linear(4, 1)
    model, optimizer, batches = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01), batches)
    clipper = Clipper(model, max_norm=max_norm, optimizer=optimizer.optimizer, scaler=accelerator.scaler, **settings)
    records, found = [], []
    optimizer.optimizer.register_step_post_hook(lambda *_: found.append(norm_of(model)))
    for batch in batches:
        with accelerator.accumulate(model):
            accelerator.backward((model(batch).square().mean() + 1) * scale)
            records.append(clip_(accelerator, clipper))
            optimizer.step()
            optimizer.zero_grad()
    return records, found, model


def norm_of(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item()


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_every_step_of_the_optimizer_finds_clipped_gradients(precision):
    """Right up to the bound, since they all were beyond it."""
    records, found, _ = train(Accelerator(cpu=True, mixed_precision=precision), 0.5)
    assert found == pytest.approx([0.5] * 4, rel=1e-5)
    assert [stats.step for stats in records] == [1, 2, 3, 4]


def test_gradients_are_clipped_once_all_micro_batches_are_in():
    """While they accumulate, nothing happens."""
    records, found, _ = train(Accelerator(cpu=True, gradient_accumulation_steps=2), 0.5)
    assert [stats and stats.step for stats in records] == [None, 1, None, 2]
    assert found == pytest.approx([0.5] * 2, rel=1e-5)


def test_gradients_are_unscaled_before_they_are_clipped():
    """A scale of 1,024 does not pass for a large gradient."""
    accelerator = Accelerator(cpu=True)  # mixed_precision="fp16" wants a GPU here, where torch does not
    accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    records, found, _ = train(accelerator, 1e6, scale=1.0)
    assert max(found) < 100
    assert found == pytest.approx([stats.norm.item() for stats in records], rel=1e-3)


def test_a_wrapped_optimizer_is_refused_with_the_way_out():
    """It has no hooks of its own."""
    model = torch.nn.Linear(4, 1)
    optimizer = Accelerator(cpu=True).prepare(torch.optim.SGD(model.parameters()))
    with pytest.raises(TypeError, match="or the one inside if it is wrapped, got AcceleratedOptimizer"):
        Clipper(model, optimizer=optimizer)


def test_a_skipped_step_changes_no_parameter():
    """The Clipper knows the optimizer inside."""
    _, _, model = train(Accelerator(cpu=True), 0.5, scale=float("nan"), nonfinite="skip")
    torch.manual_seed(0)
    torch.randn(8, 4)
    assert torch.equal(model.weight, torch.nn.Linear(4, 1).weight)
