"""The reference kernels against float64."""

import math

import pytest
import torch

from clipcore.kernels import eager

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
NORM_TYPES = [0.5, 1.0, 1.5, 2.0, 4.0, math.inf]
SHAPES = [(), (0,), (1,), (123,), (3, 5, 7), (70_000,), (3, 65_536)]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12, torch.bfloat16: 1e-6, torch.float16: 1e-6}


def wide(tensor):
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def norm_of(tensor, norm_type=2.0):
    return torch.linalg.vector_norm(wide(tensor), norm_type) if tensor.numel() else torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_measure_agrees_with_float64(dtype, norm_type):
    """Norms to 1e-6 at any size, maxima exactly, for odd shapes and strides."""
    tensors = [torch.randn(shape).to(dtype) for shape in SHAPES]
    tensors += [torch.randn(300, 700).to(dtype).t(), torch.randn(600, 700).to(dtype)[::2, ::3]]
    measured = eager.measure(tensors, norm_type)
    expected = torch.stack([norm_of(tensor, norm_type) for tensor in tensors])
    torch.testing.assert_close(measured.norm, expected, rtol=TOLERANCE[dtype], atol=0)
    peaks = torch.stack([norm_of(tensor, math.inf) for tensor in tensors])
    assert torch.equal(measured.max_abs, peaks)
    assert not measured.nonfinite.any()


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


def test_nonfinite_elements_are_counted_and_show():
    """Each NaN and infinity counts; norm and maximum are not finite."""
    tensor = torch.randn(100_000)
    tensor[[5, 70_000]] = torch.tensor([math.nan, math.inf])
    measured = eager.measure([torch.ones(3), tensor])
    assert measured.nonfinite.tolist() == [0, 2]
    assert measured.norm.isfinite().tolist() == [True, False]
    assert measured.max_abs.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_multiplies_each_tensor_by_its_own_coefficient(dtype):
    """In float32 at least, rounded once; the norm comes back as written, and coefficient 1 leaves every bit."""
    tensors = [torch.randn(shape).to(dtype) for shape in SHAPES]
    before = [tensor.clone() for tensor in tensors]
    coef = torch.linspace(0.0, 1.0, len(tensors), dtype=torch.float64)
    norm = eager.scale_(tensors, coef, eager.measure(tensors).norm)
    for tensor, old, c in zip(tensors, before, coef, strict=True):
        wide_old = old.float() if dtype in (torch.float16, torch.bfloat16) else old
        assert torch.equal(tensor, (wide_old * c).to(dtype))
    torch.testing.assert_close(norm, torch.stack([norm_of(tensor) for tensor in tensors]), rtol=1e-6, atol=0)


def test_a_negative_coefficient_fills_with_zeros():
    """Even NaN goes, which multiplying would keep."""
    tensors = [torch.tensor([math.nan, 1.0]), torch.tensor([math.inf])]
    norm = eager.scale_(tensors, torch.tensor(-1.0), torch.ones(2, dtype=torch.float64))
    assert norm.tolist() == [0.0, 0.0]
    assert [tensor.tolist() for tensor in tensors] == [[0.0, 0.0], [0.0]]


def test_where_the_coefficient_is_one_the_given_norm_comes_back():
    """The kernel need not read the tensor."""
    norm = eager.scale_([torch.ones(4)] * 1, torch.ones(1), torch.tensor([123.0], dtype=torch.float64))
    assert norm.tolist() == [123.0]


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64])
def test_clamp_counts_what_it_changes(dtype):
    """Exactly; norms before and after are right."""
    tensors = [torch.randn(shape).to(dtype) for shape in SHAPES]
    before = [tensor.clone() for tensor in tensors]
    done = eager.clamp_(tensors, torch.tensor(0.5, dtype=torch.float64))
    for tensor, old, count in zip(tensors, before, done.count.tolist(), strict=True):
        assert tensor.abs().le(0.5 * (1 + 1e-6)).all()
        assert count == (tensor != old).sum() == (old.abs() > 0.5).sum()
    torch.testing.assert_close(done.before.norm, torch.stack([norm_of(old) for old in before]), rtol=1e-6, atol=0)
    torch.testing.assert_close(done.norm, torch.stack([norm_of(tensor) for tensor in tensors]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(), (5,), (6, 4), (4, 3, 2, 2), (5, 0), (2, 300_000)])
def test_units_are_scaled_to_their_bound(shape):
    """An output row, or a whole vector: ||G_u|| <= clipping * max(||W_u||, eps), row by row."""
    gradient, weight = torch.randn(shape) * 3, torch.randn(shape)
    old = gradient.clone()
    done = eager.clip_units_([gradient], [weight], torch.tensor(0.3), torch.tensor(1e-3))
    rows = [gradient.reshape(1, -1)] if gradient.dim() <= 1 else gradient.flatten(1)
    scaled = 0
    units = zip(
        torch.stack([norm_of(row) for row in rows]) if len(rows) else [],
        old.reshape(len(rows), -1),
        weight.reshape(len(rows), -1),
        strict=True,
    )
    for norm, g, w in units:
        bound = 0.3 * max(float(norm_of(w)), 1e-3)
        expected = min(float(norm_of(g)), bound)
        scaled += expected < float(norm_of(g))
        torch.testing.assert_close(float(norm), expected, rtol=1e-5, atol=1e-12)
    assert done.count.item() == scaled


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponents_are_counted_exactly_on_request(dtype):
    """By the float32 exponent byte; zeros apart, non-finite in bin 255."""
    values = [0.0, -0.0, 1.0, -1.5, 2.0, 0.5, math.inf, -math.inf, math.nan]
    counts = eager.count_exponents([torch.tensor(values, dtype=dtype), torch.ones(70_000, dtype=dtype)], every=1)
    assert counts.sum() == 70_009
    found = {exponent: count for exponent, count in enumerate(counts.tolist()) if count}
    assert found == {126: 1, 127: 70_002, 128: 1, 255: 3, 256: 2}


def test_sampled_exponents_look_at_one_block_in_many():
    """Blocks are numbered through all tensors, so small tensors weigh no more than large ones."""
    blocks = 640
    tensors = [torch.ones(eager.BLOCK * blocks), *[torch.full((eager.BLOCK,), 2.0)] * blocks]
    counts = eager.count_exponents(tensors, every=64)
    assert counts[127] == counts[128] == blocks // 64 * eager.BLOCK
    assert counts.sum() == counts[127] + counts[128]
