"""The loop: its order, its metrics, its end."""

import pytest
import torch

from server.workloads import find
from server.workloads.training import HELD_OUT_INTERVAL, Training, gradient_norm
from tests.server.workloads.journal import train


def test_a_seed_fixes_the_run():
    """The same seed and threads give the same losses bit for bit, another seed others."""
    first, again, other = (train("charlm", steps=5, seed=seed)["loss"] for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("mode", [{"mode": "norm", "max_norm": 0.5}, {"mode": "value", "clip_value": 0.01}])
def test_the_clipped_norm_is_the_norm_of_the_gradients(mode):
    """For `verify_steps` steps ||grad|| is computed anew in float64, and is what the clipper reports."""
    journal = train("charlm", steps=6, verify_steps=4, **mode)
    assert len(journal["verify_norm"]) == 4
    assert journal["verify_norm"] == pytest.approx(journal["clipped_norm"][:4], rel=1e-7)
    assert max(journal["coef"]) < 1


def test_the_learning_rate_rises_linearly_then_stays():
    """The logged rate is the optimizer's."""
    workload = find("charlm")
    training = Training(workload, workload.options.parse({"lr": 0.1, "warmup": 4}))
    assert [training.warm_up(step) for step in (1, 2, 4, 5)] == pytest.approx([0.025, 0.05, 0.1, 0.1])
    assert training.optimizer.param_groups[0]["lr"] == 0.1


def test_a_scheduled_change_holds_from_its_step():
    """Not one step before, and each in force until the next."""
    schedule = [{"step": 3, "patch": {"max_norm": 0.02}}, {"step": 5, "patch": {"max_norm": 0.03}}]
    journal = train("rnn", steps=6, max_norm=0.01, schedule=schedule)
    assert journal["clipped_norm"] == pytest.approx([0.01, 0.01, 0.02, 0.02, 0.03, 0.03], rel=1e-3)


def test_held_out_text_is_looked_at_now_and_then():
    """val_loss comes with every 250th step, and looking changes nothing about the training."""
    journal = train("rnn", steps=HELD_OUT_INTERVAL + 1)
    assert ["val_loss" in row for row in journal.rows] == [False] * (HELD_OUT_INTERVAL - 1) + [True, False]
    assert journal["val_loss"][0] == pytest.approx(journal["loss"][-1], abs=0.5)


def test_the_loop_ends_when_the_run_is_told_to():
    """No step begins after `proceed()` said no."""
    assert len(train("charlm", until_step=3, steps=1000).rows) == 3


def test_the_norm_is_computed_in_float64():
    """Gradients whose squares underflow float32 still have a norm."""
    model = torch.nn.Linear(2, 2)
    model.weight.grad = torch.full((2, 2), 1e-30)
    assert gradient_norm(model).item() == pytest.approx(2e-30)
