"""`python -m clipcore.kernels`: which kernels clip on this machine, and why."""

import torch

from clipcore.kernels import choose


def describe() -> list[str]:
    """One line for each kind of device that this machine has."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return [f"{device:5} {_choice(torch.device(device))}" for device in devices]


def _choice(device: torch.device) -> str:
    kernels, reason = choose(device)
    return f"{kernels.name} ({reason}{_found() if kernels.name == 'cpu' else ''})"


def _found() -> str:
    """What the C kernels found of torch."""
    from clipcore.kernels import cpu  # here, because it is not built everywhere

    threads = f"torch's threads: {torch.get_num_threads()}" if cpu.pooled else "one thread: torch does not lend its own"
    return f", {threads}{'' if cpu.direct else ', and gradients are found by attribute, which is slower'}"


if __name__ == "__main__":
    print(*describe(), sep="\n")
