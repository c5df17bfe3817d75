"""Lightning's own Trainer, with clipcore clipping in it."""

# ruff: noqa: ARG002  the signatures are the framework's

import logging
import math
import threading

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader, TensorDataset

from clipcore import Knob
from clipcore.integrations.lightning import ClipCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # Lightning's own use of torch
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
]


class Module(LightningModule):
    """A line through points, whose gradients are far above 1; it remembers what each step of the optimizer found."""

    def __init__(self, scale=100.0, optimizers=1, *, fused=False):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)
        self.scale = scale
        self.optimizers_made = optimizers
        self.fused = fused
        self.found = []
        self.losses = []

    def training_step(self, batch, batch_idx):
        loss = (self.layer(batch[0]).square().mean() + 1) * self.scale
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        made = [torch.optim.SGD(self.parameters(), lr=0.01, fused=self.fused) for _ in range(self.optimizers_made)]
        made[0].register_step_post_hook(lambda *_: self.found.append(norm_of(self)))
        return made


def norm_of(module):
    """The 2-norm of all gradients that there are; None if there are none."""
    gradients = [parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None]
    return torch.cat(gradients).norm().item() if gradients else None


def fit(module, *callbacks, batches=6, max_epochs=1, ckpt_path=None, **options):
    seed_everything(0, verbose=False)
    data = DataLoader(TensorDataset(torch.randn(2 * batches, 4)), batch_size=2)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        **quiet,
        **options,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def test_every_step_of_the_optimizer_finds_clipped_gradients():
    """Right up to the bound, since they all were beyond it."""
    module, clip = Module(), ClipCallback(max_norm=0.5)
    fit(module, clip)
    assert module.found == pytest.approx([0.5] * 6, rel=1e-5)
    assert clip.clipper.state_dict()["step"] == 6


def test_gradients_are_clipped_once_all_micro_batches_are_in():
    """Two steps of three micro-batches end in the weights that the Trainer's own `gradient_clip_val` gives."""
    ours, theirs, clip = Module(), Module(), ClipCallback(max_norm=0.5)
    fit(ours, clip, accumulate_grad_batches=3)
    fit(theirs, accumulate_grad_batches=3, gradient_clip_val=0.5)
    assert clip.clipper.state_dict()["step"] == 2
    torch.testing.assert_close(ours.layer.weight, theirs.layer.weight)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_mixed_precision_has_unscaled_the_gradients(precision, fused):
    """A scale of 1,024 neither passes for a large gradient nor lets one pass, whoever would have divided by it."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if precision == "16-mixed" else None
    module, clip = Module(scale=1.0, fused=fused), ClipCallback(max_norm=1e6)
    fit(module, clip, plugins=[MixedPrecision(precision, "cpu", scaler)])
    assert len(module.found) == 6
    assert max(module.found) < 100
    bounded, clip = Module(fused=fused), ClipCallback(max_norm=0.5)
    fit(bounded, clip, plugins=[MixedPrecision(precision, "cpu", scaler)])
    stepped = [norm for norm in bounded.found if math.isfinite(norm)]  # a fused step itself skips what overflowed
    assert len(stepped) >= 3
    assert stepped == pytest.approx([0.5] * len(stepped), rel=1e-5)
    assert bounded.layer.weight.isfinite().all()


@pytest.mark.filterwarnings("ignore:clip_.. found no gradient")
@pytest.mark.filterwarnings("ignore:.training_step. returned .None.")
@pytest.mark.parametrize("fused", [False, True])
def test_a_batch_without_a_loss_takes_no_step_and_the_next_one_does(fused):
    """Though a scaler unscales once a step only."""

    class Sparing(Module):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 2 else super().training_step(batch, batch_idx)

    module, scaler = Sparing(scale=1.0, fused=fused), torch.amp.GradScaler("cpu", init_scale=1024.0)
    fit(module, ClipCallback(max_norm=1e-3), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert module.found == pytest.approx([1e-3] * 5, rel=1e-2)


@pytest.mark.parametrize("policy", ["skip", "zero"])
def test_a_gradient_that_is_not_finite_changes_no_parameter(policy):
    """Though Lightning clips inside of the optimizer's step."""
    module = Module(scale=math.nan)
    before = module.layer.weight.detach().clone()
    fit(module, ClipCallback(nonfinite=policy))
    assert torch.equal(module.layer.weight, before)


def test_a_trainer_that_clips_too_is_refused():
    """The two bounds would act one after the other."""
    with pytest.raises(ValueError, match=r"Trainer\(gradient_clip_val=1.0\) clips as well: leave it out"):
        fit(Module(), ClipCallback(), gradient_clip_val=1.0)


def test_several_optimizers_are_refused():
    """A step of one would clip the gradients of all."""
    module = Module(optimizers=2)
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="needs a module with one optimizer, got 2"):
        fit(module, ClipCallback())


def test_a_checkpoint_carries_the_clipper(tmp_path):
    """Training goes on with its statistics, its settings and its count of steps."""
    clip, again = ClipCallback("zclip", warmup=3), ClipCallback()
    fit(Module(), clip).save_checkpoint(tmp_path / "saved.ckpt")
    saved = clip.clipper.state_dict()
    fit(Module(), again, max_epochs=2, ckpt_path=tmp_path / "saved.ckpt")
    assert again.clipper.config["warmup"] == 3
    assert again.clipper.state_dict()["step"] == saved["step"] + 6
    assert again.clipper.state_dict()["rule"]["count"] == saved["rule"]["count"] + 6


def test_the_settings_that_a_checkpoint_replaces_are_logged(tmp_path, caplog):
    """Those given to the callback do not hold: one line names them, and a checkpoint that agrees has none."""
    caplog.set_level(logging.INFO, "clipcore")
    fit(Module(), ClipCallback("autoclip")).save_checkpoint(tmp_path / "saved.ckpt")
    again = ClipCallback("norm", max_norm=0.123)
    fit(Module(), again, max_epochs=2, ckpt_path=tmp_path / "saved.ckpt")
    fit(Module(), ClipCallback("autoclip"), max_epochs=2, ckpt_path=tmp_path / "saved.ckpt")
    assert again.clipper.config["mode"] == "autoclip"
    assert [record.getMessage() for record in caplog.records if record.name == "clipcore"] == [
        "clipping goes on with the checkpoint's settings, not those given: mode 'norm' -> 'autoclip', "
        "max_norm 0.123 -> inf"
    ]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"mode": "bogus"}, ValueError, "mode must be one of .*, got 'bogus'"),
        ({"clip_value": 1.0}, ValueError, "mode 'norm' has no parameter 'clip_value'"),
        ({"max_norm": -1.0}, ValueError, "max_norm must be >= 0, got -1"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite must be one of"),
        ({"max_norm": "1"}, TypeError, "max_norm must be a number"),
    ],
)
def test_what_no_model_would_make_right_is_refused_at_once(settings, error, message):
    """Not when `fit` has begun."""
    with pytest.raises(error, match=message):
        ClipCallback(**settings)


def test_what_is_right_for_some_model_is_taken():
    """Names of layers are the model's, knobs may come from a generator, and other arguments are no settings."""
    clip = ClipCallback(
        "agc", exclude=["layer.bias"], knobs=(Knob(name, 0.5, "") for name in "ab"), a=0.25, exponents=0
    )
    fit(Module(), clip)
    assert {name: clip.clipper.config[name] for name in ("exclude", "a", "b")} == {
        "exclude": ("layer.bias",),
        "a": 0.25,
        "b": 0.5,
    }


def test_another_fit_goes_on_with_the_statistics():
    """As Lightning's own callbacks do."""
    module, clip = Module(), ClipCallback("zclip", warmup=3)
    fit(module, clip)
    fit(module, clip)
    state = clip.clipper.state_dict()
    assert (state["step"], state["rule"]["count"]) == (12, 12)


def test_a_loaded_state_is_not_lost_before_training_starts():
    """A checkpoint that is saved in between carries it on."""
    first, second, third = ClipCallback(max_norm=0.5), ClipCallback(), ClipCallback()
    fit(Module(), first)
    second.load_state_dict(first.state_dict())
    third.load_state_dict(second.state_dict())
    fit(Module(), third)
    assert third.clipper.state_dict()["step"] == 12
    assert third.clipper.config["max_norm"] == 0.5


def test_a_run_shows_every_step_with_its_loss_and_learning_rate(page):
    """The loss is the mean of the step's micro-batches."""
    module = Module()
    fit(module, ClipCallback(max_norm=0.5, run="watched"), accumulate_grad_batches=2)
    assert (page.run["name"], page.run["state"]) == ("watched", "finished")
    assert page.column("clipped_norm") == pytest.approx([0.5] * 3, rel=1e-5)
    assert page.column("lr") == [0.01] * 3
    losses = torch.tensor(module.losses).view(3, 2).mean(1)
    assert page.column("loss") == pytest.approx(losses.tolist())


def test_an_exception_fails_the_run(page):
    """The run ends as "failed", keeps the steps before, and its reason holds the traceback."""

    class Fails(Module):
        def training_step(self, batch, batch_idx):
            return 1 / (3 - batch_idx) * super().training_step(batch, batch_idx)

    with pytest.raises(ZeroDivisionError):
        fit(Fails(), ClipCallback(run="fails"))
    assert page.column("step") == [1, 2, 3]
    assert page.run["state"] == "failed"
    assert "ZeroDivisionError" in page.run["reason"]


@pytest.mark.timeout(60)
def test_the_page_stops_the_training(page):
    """Which would not end by itself."""

    class Watched(Module):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 2 and not clicking.ident:
                clicking.start()

    module, clicking = Watched(), threading.Thread(target=page.click, args=("stop",))
    fit(module, ClipCallback(run="stopped"), max_epochs=-1)
    clicking.join()
    assert page.run["state"] == "stopped"
