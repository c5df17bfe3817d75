"""transformers: a callback that clips in place of `TrainingArguments(max_grad_norm=...)`."""

# ruff: noqa: ARG002  the signatures are the Trainer's

import base64
import io
import json
from typing import Any, cast

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from clipcore.clipper import Clipper
from clipcore.integrations.session import Session, checked
from clipcore.stats import ClipStats


class ClipCallback(TrainerCallback, ExportableState):
    """Clips all gradients of the model before each step of the optimizer.

    The Trainer calls it once the micro-batches of `gradient_accumulation_steps` are in and mixed precision has unscaled
    the gradients. Just before, it measures their norm by torch's clipping to an infinite bound, and that makes all of
    them NaN when the norm is not finite: which parameter was the first is lost. A checkpoint carries the Clipper's
    state in `trainer_state.json`, and a training resumed from it goes on with that, wherever its `output_dir` is.
    `TrainingArguments(restore_callback_states_from_checkpoint=True)` puts another callback in this one's place, without
    those settings that are not JSON, such as knobs, and is not needed.

    Args:
        mode: of `clipcore.Clipper`.
        run: the name under which a clipcore server shows the training, which its page then pauses and stops too;
            CLIPCORE_URL and CLIPCORE_TOKEN say where the server is. None to clip without one.
        **settings: the mode's parameters and other arguments of `Clipper`.

    Raises:
        ValueError: an unknown mode, a parameter that the mode lacks, a value out of bounds.
        TypeError: a value of the wrong kind.

    Attributes:
        clipper: the Clipper; None before training starts.

    Example:
        arguments = TrainingArguments(..., max_grad_norm=0)
        trainer = Trainer(model, arguments, callbacks=[ClipCallback("norm", max_norm=1.0, run="my run")], ...)
    """

    def __init__(self, mode: str = "norm", *, run: str | None = None, **settings: Any) -> None:
        self.clipper: Clipper | None = None
        self.saved = ""  # the Clipper's state when the Trainer made this callback of a checkpoint's
        self._settings = checked({"mode": mode, **settings})
        self._run = run
        self._session: Session | None = None
        self._stats: ClipStats | None = None
        self._lr = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the Clipper, now that model and optimizer are prepared.

        Raises:
            ValueError: the Trainer clips too.
        """
        if args.max_grad_norm:
            raise ValueError(
                f"TrainingArguments(max_grad_norm={args.max_grad_norm}) clips as well: set max_grad_norm=0"
            )
        if self._session is not None:  # the Trainer does not say when an exception ends a training
            self._session.break_off()
        model: nn.Module = kwargs["model"]
        prepared = kwargs["optimizer"]  # accelerate's, around the real one
        self._session = Session(
            model, self._run, optimizer=prepared.optimizer, scaler=prepared.scaler, **self._settings
        )
        self.clipper = self._session.clipper
        if state.global_step and (saved := self._resumed(state)):
            self._session.resume(torch.load(saved, map_location="cpu", weights_only=True))
        # the Trainer updates what it has read of a checkpoint, which may have been saved without this callback
        _exported(state).setdefault(type(self).__name__, self.state())

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Clip."""
        assert self.clipper is not None
        self._stats = self.clipper.clip_()
        self._lr = kwargs["optimizer"].param_groups[0]["lr"]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record the step, unless the Trainer is about to tell its loss."""
        if not control.should_log:
            self._end_step(control)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record the step with the loss: the mean since the last one told."""
        loss = kwargs["logs"].get("loss")
        self._end_step(control, **({} if loss is None else {"loss": loss}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the run."""
        if self._session is not None:
            self._session.finish()
            self._session = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint is to hold: the arguments that JSON knows, and the Clipper's state, encoded."""
        known = {name: value for name, value in self._settings.items() if _is_json(value)}
        return {"args": {"run": self._run, **known}, "attributes": {"saved": self._encoded()}}

    def _encoded(self) -> str:
        if self.clipper is None:
            return self.saved
        buffer = io.BytesIO()
        torch.save(self.clipper.state_dict(), buffer)
        return base64.b64encode(buffer.getvalue()).decode()

    def _resumed(self, state: TrainerState) -> io.BytesIO | None:
        """The Clipper's state in the checkpoint that the Trainer resumes from."""
        exported = _exported(state).get(type(self).__name__)
        exported = exported[0] if isinstance(exported, list) else exported
        encoded = exported["attributes"]["saved"] if exported else ""
        return io.BytesIO(base64.b64decode(encoded)) if encoded else None

    def _end_step(self, control: TrainerControl, **metrics: float) -> None:
        """Record the step that was taken, if one was, and do what the page asks for."""
        if self._stats is not None and self._session is not None:
            self._session.log(self._stats, lr=self._lr, **metrics)
            self._stats = None
            control.should_training_stop |= not self._session.proceed()


def _exported(state: TrainerState) -> dict[str, Any]:
    """By class, what callbacks had to say when the checkpoint was saved."""
    return cast("dict[str, Any]", state.stateful_callbacks)  # a list only until TrainerState is made


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
