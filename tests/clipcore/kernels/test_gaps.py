"""Tensors with gaps on the CPU come out as if they had none."""

import pytest
import torch

cpu = pytest.importorskip(
    "clipcore.kernels.cpu", reason="the C extension is not built: no C compiler", exc_type=ImportError
)
from clipcore.kernels import gaps, pieces  # noqa: E402  here, because it is for cpu only


@pytest.fixture
def tensors(monkeypatch):
    """Of several pieces each, in several batches, of two dtypes."""
    monkeypatch.setattr(pieces, "PIECE", 64)
    monkeypatch.setattr(gaps, "BATCH", 100)
    shapes = [(3, 4), (40, 10), (7, 30), (5, 5)]
    made = [torch.randn(2 * rows, 3 * columns)[::2, ::3] for rows, columns in shapes]
    return [*made[:3], made[3].bfloat16().t()[::2]]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_they_are_measured_scaled_and_clamped_like_dense_ones(tensors, norm_type):
    """However they are cut into pieces and batches."""
    dense = [tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors]
    coef, limit = torch.tensor([0.5, 0.3, -1.0, 2.0], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    for one, other in zip(gaps.measure(cpu.measure, tensors, norm_type), cpu.measure(dense, norm_type), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    ours, theirs = gaps.clamp_(cpu.clamp_, tensors, limit, norm_type), cpu.clamp_(dense, limit, norm_type)
    assert all(map(torch.equal, tensors, dense))
    assert torch.equal(ours.count, theirs.count)
    for one, other in zip((*ours.before, ours.norm), (*theirs.before, theirs.norm), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    written = gaps.scale_(cpu.scale_, tensors, coef, norm_type)
    torch.testing.assert_close(written, cpu.scale_(dense, coef, theirs.norm, norm_type), rtol=1e-6, atol=0)
    assert all(map(torch.equal, tensors, dense))


def test_what_needs_no_clamp_is_not_written(tensors):
    """As with dense tensors, autograd sees a change only where there is one."""
    versions = [tensor._version for tensor in tensors]
    gaps.clamp_(cpu.clamp_, tensors, torch.tensor(100.0), 2.0)
    assert [tensor._version for tensor in tensors] == versions
