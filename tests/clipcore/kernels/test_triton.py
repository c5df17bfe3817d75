"""The Triton kernels against float64: on a GPU where there is one, else by Triton's interpreter."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton", reason="needs Triton")

from clipcore import Clipper
from clipcore.kernels import eager, triton
from clipcore.rules import RULES

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
NORM_ERROR = {torch.float32: 1e-6, torch.float64: 1e-13, torch.bfloat16: 1e-6, torch.float16: 1e-6}
# One rounding of an element. Triton's interpreter truncates where a GPU rounds to nearest, hence a whole unit.
ROUNDING = {torch.float32: 2**-23, torch.float64: 2**-52, torch.bfloat16: 2**-7, torch.float16: 2**-10}

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
by_norm_type = pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE, dtype)


def gradients(dtype: torch.dtype) -> list[Tensor]:
    """0-d, empty, tiny, odd, permuted, with gaps, aligned to its element only, and of several blocks."""
    return [
        normal(dtype=dtype),
        normal(0, 3, dtype=dtype),
        normal(1, dtype=dtype),
        normal(123, dtype=dtype),
        normal(8192, dtype=dtype),
        normal(6, 7, dtype=dtype).t(),
        normal(4, 3, 5, 5, dtype=dtype).to(memory_format=torch.channels_last),
        normal(8, 10, dtype=dtype)[:, ::2],
        normal(9001, dtype=dtype)[1:],
    ]


def norms(tensors: list[Tensor], norm_type: float = 2.0) -> Tensor:
    return torch.stack([t.double().abs().sum() if norm_type == 1 else _norm(t, norm_type) for t in tensors])


def _norm(tensor: Tensor, norm_type: float) -> Tensor:
    return torch.linalg.vector_norm(tensor.double().ravel(), norm_type) if tensor.numel() else norms([tensor], 1.0)[0]


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=DEVICE)


def assert_near(actual: Tensor, expected: Tensor, error: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=error, atol=0, equal_nan=True)


@by_dtype
@by_norm_type
def test_measures_to_a_millionth(dtype, norm_type):
    """Norm, largest element and non-finite count agree with float64 whatever the shape, order or alignment."""
    tensors = gradients(dtype)
    measured = triton.measure(tensors, norm_type)
    assert_near(measured.norm, norms(tensors, norm_type), NORM_ERROR[dtype])
    assert torch.equal(measured.max_abs, norms(tensors, math.inf))
    assert measured.nonfinite.tolist() == [0] * len(tensors)


def test_equal_elements_do_not_drift():
    """A sum of a hundred thousand equal squares, where float32 accumulation is off by 1e-5, is good to 1e-6."""
    tensors = [torch.full((100_000,), 0.7, device=DEVICE)]
    assert_near(triton.measure(tensors).norm, norms(tensors), NORM_ERROR[torch.float32])
    assert_near(triton.measure(tensors, 1.0).norm, norms(tensors, 1.0), NORM_ERROR[torch.float32])


@by_norm_type
@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (torch.float32, [1e20] * 4),
        (torch.float32, [1e-23] * 4),
        (torch.float32, [3.4e38, -3.4e38]),
        (torch.float32, [1e-45, -3e-40, 0.0]),
        (torch.float32, [3e38, 1e-30]),
        (torch.bfloat16, [3e38, -3e38, 1.0]),
        (torch.bfloat16, [2e-38, -2e-38]),  # subnormals of this dtype are beyond the interpreter, see test_cuda.py
        (torch.float16, [60000.0] * 4),
        (torch.float16, [6e-8, -6e-8]),
    ],
)
def test_nothing_overflows_or_vanishes(dtype, values, norm_type):
    """Norms are right at both ends of a dtype's range, where float32 squares are infinite or zero."""
    tensors = [torch.tensor(values, dtype=dtype, device=DEVICE)]
    assert_near(triton.measure(tensors, norm_type).norm, norms(tensors, norm_type), NORM_ERROR[dtype])


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # numpy's, under the interpreter
def test_float64_overflows_as_in_torch():
    """Squares of float64 are not rescued: torch's own tests ask for the infinity."""
    tensors = [torch.tensor([2e200], dtype=torch.float64, device=DEVICE)]
    assert triton.measure(tensors).norm.tolist() == [math.inf]


@by_dtype
@by_norm_type
def test_counts_what_is_not_finite(dtype, norm_type):
    """NaN and infinities are counted and make norm and maximum NaN or infinite; the neighbours stay finite."""
    clean, infinite, both = (normal(9000, dtype=dtype) for _ in range(3))
    infinite[[0, 8999]] = torch.tensor([math.inf, -math.inf], dtype=dtype, device=DEVICE)
    both[[1, 8200, 8201]] = torch.tensor([math.nan, math.inf, -math.nan], dtype=dtype, device=DEVICE)
    measured = triton.measure([clean, infinite, both], norm_type)
    assert measured.nonfinite.tolist() == [0, 2, 3]
    assert_near(measured.norm, norms([clean, infinite, both], norm_type), NORM_ERROR[dtype])
    assert measured.max_abs.tolist()[1:] == pytest.approx([math.inf, math.nan], nan_ok=True)


@by_dtype
@by_norm_type
def test_scales_each_tensor_by_its_coefficient(dtype, norm_type):
    """Tensors are multiplied in place and the norms returned are of the elements as they were rounded."""
    tensors = gradients(dtype)
    coef = torch.linspace(0.1, 0.9, len(tensors), device=DEVICE)
    expected = [(t.double() * c).to(dtype) for t, c in zip(tensors, coef.double(), strict=True)]
    written = triton.scale_(tensors, coef, triton.measure(tensors, norm_type).norm, norm_type)
    for tensor, wanted in zip(tensors, expected, strict=True):
        assert_near(tensor, wanted, ROUNDING[dtype])
    assert_near(written, norms(tensors, norm_type), NORM_ERROR[dtype])


def test_a_coefficient_of_one_neither_reads_nor_writes():
    """Such a tensor keeps its bits, NaN included, and the norm handed in is handed back."""
    tensors = [torch.full((300,), math.nan, device=DEVICE), normal(300)]
    kept = tensors[0].view(torch.int32).clone()
    given = torch.tensor([42.0, 43.0], dtype=torch.float64, device=DEVICE)
    written = triton.scale_(tensors, torch.tensor([1.0, 0.5], device=DEVICE), given)
    assert torch.equal(tensors[0].view(torch.int32), kept)
    assert written[0].item() == 42.0
    assert written[1].item() == pytest.approx(norms(tensors)[1].item(), rel=1e-6)


def test_a_negative_coefficient_fills_with_zeros():
    """Zeros are filled in, since NaN times zero would stay NaN; a NaN coefficient propagates."""
    tensors = [torch.full((300,), math.nan, device=DEVICE), torch.full((3,), math.inf, device=DEVICE), normal(5)]
    coef = torch.tensor([-1.0, -1.0, math.nan], device=DEVICE)
    written = triton.scale_(tensors, coef, triton.measure(tensors).norm)
    assert not tensors[0].any()
    assert not tensors[1].any()
    assert tensors[2].isnan().all()
    assert_near(written, torch.tensor([0.0, 0.0, math.nan], dtype=torch.float64, device=DEVICE), 0)


@by_dtype
def test_one_coefficient_holds_for_all(dtype):
    """A 0-d coefficient, of whatever float dtype, scales every tensor."""
    tensors = gradients(dtype)
    expected = [tensor * 0.5 for tensor in tensors]
    triton.scale_(tensors, scalar(0.5), triton.measure(tensors).norm)
    assert all(map(torch.equal, tensors, expected))


@by_dtype
@by_norm_type
def test_clamps_as_torch_does(dtype, norm_type):
    """Clamped elements, counts, and norms before and after agree with torch's clamp, limits rounded to the dtype."""
    tensors = gradients(dtype)
    limit = scalar(0.7)
    before, bound = triton.measure(tensors, norm_type), limit.to(dtype)
    expected = [tensor.clamp(-bound, bound) for tensor in tensors]
    beyond = [int((tensor.abs() > bound).sum()) for tensor in tensors]
    clipped = triton.clamp_(tensors, limit, norm_type)
    assert all(map(torch.equal, tensors, expected))
    assert clipped.count.tolist() == beyond
    assert all(map(torch.equal, clipped.before, before))
    assert_near(clipped.norm, norms(tensors, norm_type), NORM_ERROR[dtype])


@by_dtype
def test_clamping_keeps_nan_and_bounds_infinity(dtype):
    """NaN stays NaN and is not counted; infinities become the limit; 0 is an allowed limit."""
    tensor = torch.tensor([math.nan, math.inf, -math.inf, 0.5, -0.25], dtype=dtype, device=DEVICE)
    clipped = triton.clamp_([tensor], scalar(0.25))
    assert tensor.tolist() == pytest.approx([math.nan, 0.25, -0.25, 0.25, -0.25], nan_ok=True)
    assert clipped.count.tolist() == [3]
    assert clipped.before.nonfinite.tolist() == [3]
    triton.clamp_([tensor], scalar(0.0))
    assert tensor[1:].tolist() == [0.0] * 4


@by_dtype
def test_neighbours_in_memory_are_left_alone(dtype):
    """A view's pass writes nothing before or behind it, wherever in a cache line the view lies."""
    for start in (1, 3, 64):
        memory = torch.ones(8192 + 200, dtype=dtype, device=DEVICE)
        view = memory[start:-77]
        triton.scale_([view], scalar(0.5), triton.measure([view]).norm)
        triton.clamp_([view], scalar(0.25))
        assert memory[:start].eq(1).all()
        assert memory[-77:].eq(1).all()
        assert view.eq(0.25).all()


def unit_gradients(dtype: torch.dtype) -> list[Tensor]:
    """Narrow, odd, aligned and very long units, convolutions in both orders, one and zero dimensions, no unit."""
    return [
        normal(70, 8, dtype=dtype),
        normal(5, 300, dtype=dtype),
        normal(16, 64, dtype=dtype),
        normal(3, 5000, dtype=dtype),
        normal(8, 3, 3, 3, dtype=dtype),
        normal(8, 3, 3, 3, dtype=dtype).to(memory_format=torch.channels_last),
        normal(7, 6, dtype=dtype).t(),
        normal(123, dtype=dtype),
        normal(dtype=dtype),
        normal(0, 4, dtype=dtype),
    ]


def clip_by_units(gradient: Tensor, weight: Tensor, clipping: float, eps: float) -> tuple[Tensor, Tensor]:
    """Brock et al.'s rule in float64: the clipped gradient, and which units were beyond their bound."""
    shape = (gradient.shape[0], -1) if gradient.dim() > 1 else (1, -1)
    rows, weights = (x.double().reshape(shape) if x.numel() else x.double() for x in (gradient, weight))
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    bound = clipping * torch.linalg.vector_norm(weights, dim=1, keepdim=True).clamp(min=eps)
    clipped = torch.where(norm > bound, rows * bound / norm.clamp(min=1e-6), rows)
    return clipped.reshape(gradient.shape).to(gradient.dtype), norm > bound


@by_dtype
@pytest.mark.parametrize("weight_dtype", [None, torch.float32], ids=["same", "float32"])
def test_clips_units_to_a_fraction_of_their_weights(dtype, weight_dtype):
    """Every output row ends within its bound, rows within it keep their bits, and rows and norms are reported."""
    tensors = unit_gradients(dtype)
    weights = [0.7 * (tensor + 0.5).to(weight_dtype or dtype) for tensor in tensors]
    error = max(NORM_ERROR[dtype], NORM_ERROR[weight_dtype or dtype])
    wanted = [clip_by_units(g, w, 1.25, 1e-3) for g, w in zip(tensors, weights, strict=True)]
    before = triton.measure(tensors)
    kept = [tensor.clone() for tensor in tensors]
    clipped = triton.clip_units_(tensors, weights, scalar(1.25), scalar(1e-3))
    for tensor, old, (expected, beyond) in zip(tensors, kept, wanted, strict=True):
        assert_near(tensor, expected, error + ROUNDING[dtype])
        if tensor.dim() > 1:
            assert torch.equal(tensor[~beyond.ravel()], old[~beyond.ravel()])
    assert clipped.count.tolist() == [int(beyond.sum()) for _, beyond in wanted]
    assert 0 < int(clipped.count[0]) < 70
    assert_near(clipped.before.norm, before.norm, NORM_ERROR[dtype])
    assert torch.equal(clipped.before.max_abs, before.max_abs)
    assert not clipped.before.nonfinite.any()
    assert_near(clipped.norm, norms(tensors), NORM_ERROR[dtype])


def test_units_with_nan_and_tiny_weights():
    """A unit that holds NaN is left and counted as not finite; weights below eps count as eps."""
    tensor = torch.tensor([[math.nan, 1.0], [3.0, 4.0], [0.0, 0.0]], device=DEVICE)
    clipped = triton.clip_units_([tensor], [torch.zeros(3, 2, device=DEVICE)], scalar(0.5), scalar(2.0))
    assert tensor[0].tolist() == pytest.approx([math.nan, 1.0], nan_ok=True)
    assert tensor[1:].tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]
    assert clipped.count.tolist() == [1]
    assert clipped.before.nonfinite.tolist() == [1]


@by_dtype
@pytest.mark.parametrize("every", [1, 3, 64])
def test_exponents_are_counted_as_the_reference_does(dtype, every):
    """All elements, or one block in so many through all tensors, fall into the bins that `eager` says."""
    tensors = [t for t in gradients(dtype) if t.is_contiguous()]
    tensors[3][:6] = torch.tensor([0.0, -0.0, math.inf, math.nan, 1.0, -2.0], dtype=dtype, device=DEVICE)
    counts = triton.count_exponents(tensors, every)
    assert torch.equal(counts, eager.count_exponents(tensors, every))
    assert every > 1 or int(counts.sum()) == sum(t.numel() for t in tensors)


def test_exponent_bins():
    """Bin 0 holds subnormals, 127 holds [1, 2), 255 what is not finite, 256 the zeros; tensors with gaps count too."""
    values = torch.tensor([1e-40, 1.0, -1.5, 2.0, math.inf, math.nan, 0.0, -0.0], device=DEVICE)
    counts = triton.count_exponents([values, torch.ones(3, 4, device=DEVICE)[:, ::2]], 1)
    filled = {int(bin_): int(counts[bin_]) for bin_ in counts.nonzero().ravel()}
    assert filled == {0: 1, 127: 2 + 6, 128: 1, 255: 2, 256: 2}


def test_results_keep_the_callers_order():
    """Tensors of all dtypes in one call, with and without gaps, are answered in the order they came in."""
    tensors = [tensor for several in zip(*map(gradients, DTYPES), strict=True) for tensor in several]
    assert_near(triton.measure(tensors).norm, norms(tensors), 1e-6)
    coef = torch.linspace(0.1, 1.0, len(tensors), device=DEVICE)
    expected = [tensor.double().abs().sum() * c for tensor, c in zip(tensors, coef, strict=True)]
    triton.scale_(tensors, coef, triton.measure(tensors).norm)
    assert_near(norms(tensors, 1.0), torch.stack(expected), 1e-2)


def test_other_norm_types_go_to_eager():
    """There is no kernel for p = 3, and the reference answers."""
    tensors = gradients(torch.float32)
    assert_near(triton.measure(tensors, 3.0).norm, norms(tensors, 3.0), 1e-5)
    clipped = triton.clamp_(tensors, scalar(0.5), 3.0)
    assert_near(clipped.norm, norms(tensors, 3.0), 1e-5)
    assert_near(triton.scale_(tensors, scalar(0.5), clipped.norm, 3.0), 0.5 * clipped.norm, 1e-5)


class HostReads(TorchDispatchMode):
    """Refuses to bring a device's value to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read on the host"
        return func(*args, **(kwargs or {}))


@by_norm_type
def test_nothing_is_read_on_the_host(norm_type):
    """No pass needs a value of the device, tensors with gaps included, so none waits for it."""
    tensors = gradients(torch.float32)
    weights = [tensor + 1 for tensor in tensors]
    coef, limit, eps = scalar(0.5), scalar(0.1), scalar(1e-3)
    with HostReads():
        measured = triton.measure(tensors, norm_type)
        triton.scale_(tensors, coef, measured.norm, norm_type)
        triton.clamp_(tensors, limit, norm_type)
        triton.clip_units_(tensors, weights, limit, eps)
        triton.count_exponents(tensors)


def test_writing_raises_version_counters():
    """Autograd notices every pass that writes, and none that only reads; the memory stays where it is."""
    tensors, weights = [normal(4, 5)], [normal(4, 5)]
    place, version = tensors[0].data_ptr(), tensors[0]._version
    norm = triton.measure(tensors).norm
    assert tensors[0]._version == version
    for write in (
        lambda: triton.scale_(tensors, scalar(0.5), norm),
        lambda: triton.clamp_(tensors, scalar(0.5)),
        lambda: triton.clip_units_(tensors, weights, scalar(0.5), scalar(0.1)),
    ):
        write()
        assert tensors[0]._version > version
        version = tensors[0]._version
    assert tensors[0].data_ptr() == place


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
