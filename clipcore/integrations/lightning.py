"""Lightning: a callback that clips in place of `Trainer(gradient_clip_val=...)`."""

# ruff: noqa: ARG002  the signatures are Lightning's

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.optim import Optimizer

from clipcore.clipper import Clipper
from clipcore.integrations.session import Session, checked
from clipcore.stats import ClipStats


class ClipCallback(Callback):
    """Clips all gradients of a module before each step of its one optimizer.

    Lightning calls it once the micro-batches of `accumulate_grad_batches` are in and mixed precision has unscaled the
    gradients. A checkpoint carries the Clipper's state, and another `fit` goes on with it.

    Args:
        mode: of `clipcore.Clipper`.
        run: the name under which a clipcore server shows the training, which its page then pauses and stops too;
            CLIPCORE_URL and CLIPCORE_TOKEN say where the server is. None to clip without one.
        **settings: the mode's parameters and other arguments of `Clipper`. With `nonfinite="skip"` the verdict is read
            before each step, which waits for the device.

    Raises:
        ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds.
        TypeError: a value of the wrong kind.

    Attributes:
        clipper: the Clipper; None before training starts.

    Example:
        trainer = lightning.Trainer(callbacks=[ClipCallback("norm", max_norm=1.0, run="my run")])
    """

    def __init__(self, mode: str = "norm", *, run: str | None = None, **settings: Any) -> None:
        self.clipper: Clipper | None = None
        self._settings = checked({"mode": mode, **settings})
        self._run = run
        self._session: Session | None = None
        self._saved: dict[str, Any] = {}  # what training starts from
        self._stats: ClipStats | None = None
        self._lr = 0.0
        self._loss: Tensor | float = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the Clipper, now that the parameters are where they stay.

        Raises:
            ValueError: the Trainer clips too, or the module has several optimizers.
        """
        if trainer.gradient_clip_val:
            raise ValueError(f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) clips as well: leave it out")
        if len(trainer.optimizers) != 1:
            raise ValueError(f"ClipCallback needs a module with one optimizer, got {len(trainer.optimizers)}")
        self._saved = self.state_dict()
        self._session = Session(pl_module, self._run, **self._settings)
        self.clipper = self._session.clipper
        if self._saved:
            self._session.resume(self._saved)
        self._saved = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Clip."""
        assert self.clipper is not None
        self._log()  # of a module that steps several times a batch
        _unscale(trainer, optimizer)
        self._stats = self.clipper.clip_()
        self._lr = optimizer.param_groups[0]["lr"]
        if self.clipper.config["nonfinite"] == "skip" and self._stats.skipped:
            optimizer.zero_grad()  # Lightning clips inside of step(), which takes no step without gradients

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the step with the mean loss of its micro-batches, and do what the page asks for."""
        assert self._session is not None
        if isinstance(outputs, Mapping):
            self._loss += outputs.get("loss", 0.0)  # Lightning has divided it by their number
        if self._stats is not None:
            self._log(loss=self._loss)
            self._loss = 0.0
            trainer.should_stop |= not self._session.proceed()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run."""
        if self._session is not None:
            self._session.finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run, and say why."""
        if self._session is not None:
            self._session.finish(exception)

    def state_dict(self) -> dict[str, Any]:
        """The Clipper's state, for a checkpoint, and before training starts what it will start from."""
        return self._saved or (self.clipper.state_dict() if self.clipper is not None else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint when training starts."""
        self._saved = state_dict

    def _log(self, **metrics: Tensor | float) -> None:
        if self._stats is not None and self._session is not None:
            self._session.log(self._stats, lr=self._lr, **metrics)
        self._stats = None


def _unscale(trainer: Trainer, optimizer: Optimizer) -> None:
    """Divide by the loss scale what Lightning leaves to a fused optimizer's step, and thus until after clipping."""
    plugin = trainer.precision_plugin
    if not isinstance(plugin, MixedPrecision) or plugin.scaler is None:
        return
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    # a batch without a loss has no gradients and no step, which alone lets a scaler unscale again
    if getattr(optimizer, "_step_supports_amp_scaling", False) and any(p.grad is not None for p in parameters):
        plugin.scaler.unscale_(optimizer)
