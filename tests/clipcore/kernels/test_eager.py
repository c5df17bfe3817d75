"""What the reference kernels promise beyond the contract of all kernels."""

import math

import pytest
import torch

from clipcore.kernels import eager


def norm_of(tensor, norm_type=2.0):
    return torch.linalg.vector_norm(tensor.to(torch.complex128 if tensor.is_complex() else torch.float64), norm_type)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1.0, 1e15, 1e30, 3e38])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 4.0])
def test_no_magnitude_overflows_or_underflows(scale, norm_type):
    """From the smallest float32 to the largest, also when a tensor holds both."""
    tensor = torch.cat([torch.full((70_000,), scale), torch.full((70_000,), 1e-3 * scale)])
    measured = eager.measure([tensor], norm_type)
    expected = norm_of(tensor, 1.0 if norm_type == 1.0 else math.inf)
    if norm_type != 1.0:
        expected = expected * norm_of(tensor.double() / expected, norm_type)
    torch.testing.assert_close(measured.norm[0], expected, rtol=1e-6, atol=0)


def test_a_clamp_of_complex_elements_counts_what_it_changes():
    """The modulus counts; norms before and after are right."""
    tensors = [torch.randn(shape, dtype=torch.complex64) for shape in [(), (1,), (123,), (3, 5, 7), (70_000,)]]
    before = [tensor.clone() for tensor in tensors]
    done = eager.clamp_(tensors, torch.tensor(0.5, dtype=torch.float64))
    for tensor, old, count in zip(tensors, before, done.count.tolist(), strict=True):
        assert tensor.abs().le(0.5).all()
        assert count == (tensor != old).sum() == (old.abs() > 0.5).sum()
    torch.testing.assert_close(done.before.norm, torch.stack([norm_of(old) for old in before]), rtol=1e-6, atol=0)
    torch.testing.assert_close(done.norm, torch.stack([norm_of(tensor) for tensor in tensors]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("limit", [1e-30, 0.0, 1 / 3, 0.7, 1e30])
def test_clamping_complex_elements_twice_changes_nothing(dtype, limit):
    """They are within the limit the first time, in their own direction, though polar coordinates are rounded."""
    tensor = torch.randn(100_000, dtype=dtype) * limit * 3
    original = tensor.clone()
    eager.clamp_([tensor], torch.tensor(limit, dtype=torch.float64))
    once = tensor.clone()
    assert eager.clamp_([tensor], torch.tensor(limit, dtype=torch.float64)).count.item() == 0
    assert torch.equal(tensor, once)
    torch.testing.assert_close(
        once, original * (limit / original.abs()).clamp(max=1) if limit else once, rtol=1e-5, atol=0
    )


def test_sampled_exponents_look_at_one_block_in_many():
    """Blocks are numbered through all tensors, so small tensors weigh no more than large ones."""
    blocks = 640
    tensors = [torch.ones(eager.BLOCK * blocks), *[torch.full((eager.BLOCK,), 2.0)] * blocks]
    counts = eager.count_exponents(tensors, every=64)
    assert counts[127] == counts[128] == blocks // 64 * eager.BLOCK
    assert counts.sum() == counts[127] + counts[128]
