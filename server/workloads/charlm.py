"""charlm: a small GPT-style transformer learns to continue Python source code, character by character.

Pre-norm blocks with causal attention and learned positions, trained by AdamW after a linear warm-up.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2).
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.optim import AdamW, Optimizer

from server.workloads.options import Options
from server.workloads.text import ALPHABET

WIDTH = 96
HEADS = 4
DEPTH = 2


class CharlmOptions(Options):
    """Defaults with which a bound of 1 is felt: it clips a quarter of the first 4,000 steps, then the odd spike."""

    lr: float = Field(8e-3, gt=0, allow_inf_nan=False, description="AdamW's learning rate after the warm-up")
    warmup: int = Field(400, ge=0, description="steps over which the learning rate rises linearly from 0")
    batch: int = Field(8, ge=1, le=4096, description="windows of text a step")


class Block(nn.Module):
    """Attention, then a perceptron, each adding to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attention_out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.perceptron_norm = nn.LayerNorm(WIDTH)
        self.perceptron_in = nn.Linear(WIDTH, 4 * WIDTH)
        self.perceptron_out = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, WIDTH) to the same."""
        x = x + self.attend(self.attention_norm(x))
        return x + self.think(self.perceptron_norm(x))

    def attend(self, x: Tensor) -> Tensor:
        """Let each character look at itself and at those before it."""
        heads = self.query_key_value(x).unflatten(2, (3, HEADS, WIDTH // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (batch, HEADS, context, WIDTH // HEADS)
        seen = scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.attention_out(seen.transpose(1, 2).flatten(2))
        return mixed

    def think(self, x: Tensor) -> Tensor:
        """Work on each character by itself."""
        worked: Tensor = self.perceptron_out(gelu(self.perceptron_in(x)))
        return worked


class CharTransformer(nn.Module):
    """For each character of a window, what may follow it."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), WIDTH)
        self.positions = nn.Embedding(context, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(ALPHABET), bias=False)
        self._initialise()

    def forward(self, characters: Tensor) -> Tensor:
        """(batch, context) int64 to (batch, context, len(ALPHABET)) logits."""
        places = torch.arange(characters.shape[1], device=characters.device)
        x = self.blocks(self.characters(characters) + self.positions(places))
        logits: Tensor = self.head(self.norm(x))
        return logits

    def _initialise(self) -> None:
        """As in GPT-2: what a block adds starts smaller the more blocks there are."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = 0.02 / math.sqrt(2 * DEPTH) if name.endswith("_out.weight") else 0.02
                nn.init.normal_(parameter, std=std)


def build(options: Options, device: torch.device) -> tuple[nn.Module, Optimizer]:
    """The model, and who trains it."""
    model = CharTransformer(options.context).to(device)
    return model, AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
