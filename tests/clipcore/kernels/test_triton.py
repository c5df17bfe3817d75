"""What the Triton kernels promise beyond the contract of all kernels: on a GPU where there is one, else interpreted."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton", reason="needs Triton")

from clipcore import Clipper
from clipcore.kernels import triton
from clipcore.rules import RULES

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=DEVICE)


class HostReads(TorchDispatchMode):
    """Refuses to bring a device's value to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read on the host"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_nothing_is_read_on_the_host(norm_type):
    """No pass needs a value of the device, tensors with gaps included, so none waits for it."""
    tensors = [normal(), normal(0, 3), normal(123), normal(6, 7).t(), normal(8, 10)[:, ::2], normal(9001)[1:]]
    weights = [tensor + 1 for tensor in tensors]
    coef, limit, eps = scalar(0.5), scalar(0.1), scalar(1e-3)
    with HostReads():
        measured = triton.measure(tensors, norm_type)
        triton.scale_(tensors, coef, measured.norm, norm_type)
        triton.clamp_(tensors, limit, norm_type)
        triton.clip_units_(tensors, weights, limit, eps)
        triton.count_exponents(tensors)


@pytest.mark.parametrize("mode", RULES)
def test_every_mode_clips_as_with_eager(mode, monkeypatch):
    """Through the public Clipper, records and gradients of six steps are those of the reference kernels."""

    def train(kernels: str) -> list[Tensor]:
        monkeypatch.setenv("CLIPCORE_KERNELS", kernels)
        shapes = [(8, 6), (8,), (3, 8), ()]
        parameters = [torch.nn.Parameter(normal(*shape)) for shape in shapes]
        clipper = Clipper(parameters, mode, **({"warmup": 2} if mode in ("zclip", "adagc") else {}))
        seen: list[Tensor] = []
        for step in range(6):
            for parameter in parameters:
                parameter.grad = (parameter.detach() + 0.1) * (10.0 if step == 4 else 1.0)
            stats = clipper.clip_()
            seen += [stats.numbers, stats.layers, *(parameter.grad for parameter in parameters)]
        return seen

    for ours, reference in zip(train("triton"), train("eager"), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-7, equal_nan=True)
