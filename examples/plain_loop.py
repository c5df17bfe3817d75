"""Attach any script in two lines: a small regression whose clipping the page shows and steers.

Start a server (`make run`, or `clipcore serve`), then: python examples/plain_loop.py [STEPS]
"""

import sys

import torch

import clipcore


def main(steps: int = 2_000) -> None:
    """Fit noisy targets with a heavy tail, so that some gradients are far larger than the rest."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    teacher = torch.randn(32, 1)

    clipper = clipcore.Clipper(model, mode="norm", max_norm=1.0)
    with clipcore.connect(clipper, name="plain loop", config={"steps": steps}) as run:  # line one
        for _ in range(steps):
            inputs = torch.randn(64, 32)
            noise = torch.distributions.StudentT(2.0).sample((64, 1))
            loss = torch.nn.functional.mse_loss(model(inputs), inputs @ teacher + noise)
            optimizer.zero_grad()
            loss.backward()
            stats = clipper.clip_()
            optimizer.step()
            run.log(stats, loss=loss, lr=0.05)  # line two


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
