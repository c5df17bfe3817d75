"""transformers' own Trainer, with clipcore clipping in it."""

# ruff: noqa: ARG002  the signatures are the framework's

import threading

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from clipcore import Knob
from clipcore.integrations.transformers import ClipCallback

EXAMPLES = [{"input_ids": torch.arange(8) % 5 + i % 3, "labels": torch.arange(8) % 5 + i % 3} for i in range(12)]


class Watch(TrainerCallback):
    """What each step of the optimizer found."""

    def __init__(self):
        self.found = []

    def on_optimizer_step(self, args, state, control, *, model, **kwargs):
        self.found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item())


def make_trainer(folder, *callbacks, **options):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "steps"}
    defaults = {"per_device_train_batch_size": 2, "num_train_epochs": 1, "max_grad_norm": 0, "logging_steps": 1}
    arguments = TrainingArguments(folder, use_cpu=True, **{**quiet, **defaults, **options})
    return Trainer(model, arguments, train_dataset=EXAMPLES, callbacks=list(callbacks))


def train(folder, *callbacks, **options):
    trainer = make_trainer(folder, *callbacks, **options)
    trainer.train()
    return trainer


@pytest.mark.parametrize("precision", [{}, {"bf16": True}])
def test_every_step_of_the_optimizer_finds_clipped_gradients(tmp_path, precision):
    """Right up to the bound, since they all were beyond it."""
    watch, clip = Watch(), ClipCallback(max_norm=0.01)
    train(tmp_path, clip, watch, **precision)
    assert watch.found == pytest.approx([0.01] * 6, rel=1e-3)
    assert clip.clipper.state_dict()["step"] == 6


def test_gradients_are_clipped_once_all_micro_batches_are_in(tmp_path):
    """Two steps of three micro-batches end in the weights that the Trainer's own `max_grad_norm` gives."""
    clip = ClipCallback(max_norm=0.01)
    ours = train(tmp_path, clip, gradient_accumulation_steps=3)
    theirs = train(tmp_path, gradient_accumulation_steps=3, max_grad_norm=0.01)
    assert clip.clipper.state_dict()["step"] == 2
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_skipped_step_changes_no_parameter(tmp_path):
    """The Clipper knows the optimizer."""
    trainer = make_trainer(tmp_path, ClipCallback(nonfinite="skip"))
    trainer.model.lm_head.weight.register_hook(lambda gradient: gradient * float("nan"))
    before = trainer.model.lm_head.weight.detach().clone()
    trainer.train()
    assert torch.equal(trainer.model.lm_head.weight, before)


def test_a_trainer_that_clips_too_is_refused(tmp_path):
    """Which it does by default."""
    with pytest.raises(ValueError, match=r"TrainingArguments\(max_grad_norm=1.0\) clips as well: set max_grad_norm=0"):
        train(tmp_path, ClipCallback(), max_grad_norm=1.0)


def test_a_checkpoint_carries_the_clipper(tmp_path):
    """Training goes on with its statistics, its settings and its count of steps."""
    train(tmp_path, ClipCallback("zclip", warmup=3), save_strategy="epoch")
    again = ClipCallback()
    make_trainer(tmp_path, again, num_train_epochs=2).train(resume_from_checkpoint=True)
    state = again.clipper.state_dict()
    assert (state["step"], state["rule"]["count"], again.clipper.config["warmup"]) == (12, 12, 3)


def test_a_training_resumed_elsewhere_goes_on_too(tmp_path):
    """The checkpoint has the state, not the folder that it was written to."""
    train(tmp_path / "first", ClipCallback("autoclip", window=5), save_strategy="epoch")
    again = ClipCallback()
    trainer = make_trainer(tmp_path / "other", again, num_train_epochs=2)
    trainer.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-6"))
    assert (again.clipper.state_dict()["step"], again.clipper.config["window"]) == (12, 5)


def test_the_trainer_may_restore_the_callback_itself(tmp_path):
    """Then another one, with the checkpoint's settings, takes the place of the one that was given."""
    train(tmp_path, ClipCallback("zclip", knobs=[Knob("noise", 0.5, "")]), save_strategy="epoch")
    trainer = make_trainer(tmp_path, ClipCallback(), num_train_epochs=2, restore_callback_states_from_checkpoint=True)
    trainer.train(resume_from_checkpoint=True)
    (restored,) = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, ClipCallback)]
    assert (restored.clipper.state_dict()["step"], restored.clipper.config["mode"]) == (12, "zclip")


def test_a_checkpoint_without_the_callback_is_resumed_and_saved(tmp_path):
    """It is one of a training that clipped otherwise."""
    train(tmp_path, save_strategy="epoch")
    again = ClipCallback()
    trainer = make_trainer(tmp_path, again, num_train_epochs=2, save_strategy="epoch")
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert (again.clipper.state_dict()["step"], again.clipper.config["mode"]) == (6, "norm")
    assert "ClipCallback" in (tmp_path / "checkpoint-12" / "trainer_state.json").read_text()


def test_another_training_starts_anew(tmp_path):
    """Though the Trainer asks the callback for its state then too."""
    clip = ClipCallback("zclip")
    trainer = make_trainer(tmp_path, clip)
    for _ in range(2):
        trainer.train()
        assert clip.clipper.state_dict()["step"] == 6


def test_a_run_shows_every_step_with_its_learning_rate(page, tmp_path):
    """And the loss where the Trainer tells it."""
    trainer = train(tmp_path, ClipCallback(max_norm=0.01, run="watched"), logging_steps=2, learning_rate=0.01)
    assert (page.run["name"], page.run["state"]) == ("watched", "finished")
    assert page.column("clipped_norm") == pytest.approx([0.01] * 6, rel=1e-4)
    assert page.column("lr") == pytest.approx([0.01 * (6 - step) / 6 for step in range(6)])
    told = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert [loss for loss in page.column("loss") if isinstance(loss, float)] == pytest.approx(told)


def test_a_training_that_an_exception_ended_is_told_as_failed_by_the_next(page, tmp_path):
    """The Trainer tells no callback of it."""

    class Breaks(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise ZeroDivisionError

    trainer = make_trainer(tmp_path, ClipCallback(run="broken"), Breaks())
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    trainer.remove_callback(Breaks)
    trainer.train()
    runs = page.runs
    assert [run["state"] for run in runs] == ["finished", "failed"]
    assert "training ended before it was complete" in runs[1]["reason"]


@pytest.mark.timeout(60)
def test_the_page_stops_the_training(page, tmp_path):
    """Which would go on for long."""
    clicking = threading.Thread(target=page.click, args=("stop",))

    class Clicks(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                clicking.start()

    train(tmp_path, ClipCallback(run="stopped"), Clicks(), max_steps=10**9, logging_steps=5)
    clicking.join()
    assert page.run["state"] == "stopped"
