"""rnn: a plain tanh network learns from Python source code, by back-propagation through 100 steps, if it is clipped.

Its recurrent weights start with a spectral radius above 2, where such a network is chaotic: on its way back through the
window the gradient grows, to a norm of a million at the first step (seed 0). Mode off takes that step, which leaves the
units saturated: 500 steps later the loss is still above 4, worse than the 3.1 of only knowing how frequent each
character is. In mode norm the same gradients point well enough: after 500 steps the loss is 2.07.

Clipping decides here because the start was chosen so; from a spectral radius of 1 the network learns without it too.

Source: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from server.workloads.options import Options
from server.workloads.text import ALPHABET

WIDTH = 64
SPECTRAL_RADIUS = 2.25


class RnnOptions(Options):
    """Defaults with which mode norm learns and mode off does not."""

    first_max_norm: ClassVar[float] = 0.5

    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="learning rate of SGD with momentum 0.9")
    context: int = Field(100, ge=2, le=4096, description="characters a window, and steps of back-propagation")


class CharRnn(nn.Module):
    """For each character of a window, what may follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), WIDTH)
        self.recurrence = nn.RNN(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, len(ALPHABET))
        nn.init.normal_(self.characters.weight, std=0.5)
        nn.init.normal_(self.recurrence.get_parameter("weight_hh_l0"), std=SPECTRAL_RADIUS / math.sqrt(WIDTH))

    def forward(self, characters: Tensor) -> Tensor:
        """(batch, context) int64 to (batch, context, len(ALPHABET)) logits."""
        states, _ = self.recurrence(self.characters(characters))
        logits: Tensor = self.head(states)
        return logits


def build(options: Options, device: torch.device) -> tuple[nn.Module, Optimizer]:
    """The model, and who trains it."""
    model = CharRnn().to(device)
    return model, SGD(model.parameters(), lr=options.lr, momentum=0.9)
