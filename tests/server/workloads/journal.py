"""Train in this process, with no server, and look at every step."""

import torch

from server.workloads import find
from server.workloads.training import Training


class Journal:
    """What a training logs, row by row; stands where its run would."""

    def __init__(self, steps):
        self.steps = steps
        self.rows = []

    def proceed(self):
        return len(self.rows) < self.steps

    def log(self, stats, **metrics):
        row = {"norm": stats.norm, "clipped_norm": stats.clipped_norm, "coef": stats.coef, **metrics}
        self.rows.append({name: float(torch.as_tensor(value).detach()) for name, value in row.items()})

    def __getitem__(self, name):
        return [row[name] for row in self.rows if name in row]


def train(name, until_step=10_000, **config):
    """Train a workload until its last step, or until the run says at `until_step` that it is enough."""
    workload = find(name)
    journal = Journal(until_step)
    Training(workload, workload.options.parse(config)).loop(journal)
    return journal
