"""Trainings that come with the server: real models on real text, for looking at and for trying things out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from server.workloads import charlm, rnn
from server.workloads.options import Options


class Workload(NamedTuple):
    """What can be trained."""

    name: str
    title: str
    help: str
    options: type[Options]
    build: Callable[[Options, torch.device], tuple[nn.Module, Optimizer]]  # the model on the device, its optimizer


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "charlm",
            "Character transformer",
            "A small GPT learns to write Python from the standard library's source. Clipping tames its first steps.",
            charlm.CharlmOptions,
            charlm.build,
        ),
        Workload(
            "rnn",
            "Recurrent network",
            "A plain RNN whose gradients explode on their way through 100 characters: it learns if they are clipped.",
            rnn.RnnOptions,
            rnn.build,
        ),
    )
}


def find(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in WORKLOADS:
        raise ValueError(f"workload must be one of {', '.join(WORKLOADS)}, got {name!r}")
    return WORKLOADS[name]


def describe() -> list[dict[str, Any]]:
    """All workloads for a form: name, title, help, and the options as JSON Schema."""
    return [
        {"name": name, "title": title, "help": help_, "options": options.full_schema()}
        for name, title, help_, options, _ in WORKLOADS.values()
    ]
