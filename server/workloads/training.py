"""The training loop that all workloads share."""

from collections import deque

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipcore import Clipper, Run
from server.workloads import Workload
from server.workloads.options import Options
from server.workloads.text import Windows, standard_library

HELD_OUT_INTERVAL = 250  # steps between two looks at files that are never trained on
HELD_OUT_SAMPLES = 8  # always the same


class Training:
    """A model, its text, its optimizer and its clipper.

    Args:
        workload: what to train.
        options: of that workload.
    """

    def __init__(self, workload: Workload, options: Options) -> None:
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        device = torch.device(options.device if options.device != "auto" else _best_device())
        text = standard_library()
        held_out = Windows(text.held_out.to(device), batch=options.batch, context=options.context, seed=0)
        self.options = options
        self.schedule = deque(options.schedule)  # what is still to come
        self.windows = Windows(text.train.to(device), batch=options.batch, context=options.context, seed=options.seed)
        self.held_out = [held_out.sample() for _ in range(HELD_OUT_SAMPLES)]
        self.model, self.optimizer = workload.build(options, device)
        self.clipper = Clipper(self.model, optimizer=self.optimizer, knobs=options.knobs, **options.clipping)

    def loop(self, run: Run) -> None:
        """Train until the last step, or until the run is told to stop."""
        step = 0
        while step < self.options.steps and run.proceed():
            step += 1
            loss = self.loss(*self.windows.sample())
            self.optimizer.zero_grad()
            loss.backward()
            self.follow_schedule(step)
            stats = self.clipper.clip_()
            metrics: dict[str, float | Tensor] = {"loss": loss, "lr": self.warm_up(step)}
            if step <= self.options.verify_steps:
                metrics["verify_norm"] = gradient_norm(self.model)
            self.optimizer.step()
            if step % HELD_OUT_INTERVAL == 0:
                metrics["val_loss"] = self.held_out_loss()
            run.log(stats, **metrics)

    def follow_schedule(self, step: int) -> None:
        """Make the changes that hold from this step on; the clipper's own count of steps is the same."""
        while self.schedule and self.schedule[0].step == step:
            self.clipper.update(**self.schedule.popleft().patch)

    def warm_up(self, step: int) -> float:
        """Set and return the learning rate of a step; the knob may have been turned for this very step."""
        lr: float = self.clipper.config["lr"] * min(1.0, step / max(1, self.options.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def loss(self, characters: Tensor, next_characters: Tensor) -> Tensor:
        """Mean cross-entropy in nats, of (batch, context) characters and what follows each."""
        loss: Tensor = cross_entropy(self.model(characters).flatten(0, 1), next_characters.flatten())
        return loss

    @torch.no_grad()
    def held_out_loss(self) -> Tensor:
        """The loss on files that are never trained on."""
        return torch.stack([self.loss(*sample) for sample in self.held_out]).mean()


def gradient_norm(model: nn.Module) -> Tensor:
    """The global norm in float64, of the gradients as they are and not as the clipper says they are."""
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.cat(gradients).double())
    return norm


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
