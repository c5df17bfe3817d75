"""What all three implementations of the passes promise, against float64; `Kernels` has it in words.

Triton's kernels run on a GPU where there is one, else by Triton's interpreter.
"""

import importlib
import math

import pytest
import torch
from torch import Tensor

from clipcore.kernels import eager
from clipcore.memory import is_dense

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
POWERS = [1.0, 2.0, math.inf]  # other norms are eager in all three, and tensors with gaps are but in C
#: Relative error of a norm: of float64, added up in another order than the reference's, and of the rest.
NORM_ERROR = {"eager": (1e-12, 1e-6), "cpu": (1e-13, 3e-7), "triton": (1e-13, 1e-6)}
#: One rounding of an element. Triton's interpreter truncates where a GPU rounds to nearest, hence a whole unit.
TRUNCATED = {torch.float32: 2**-23, torch.float64: 2**-52, torch.bfloat16: 2**-7, torch.float16: 2**-10}

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
by_norm_type = pytest.mark.parametrize("norm_type", POWERS)


@pytest.fixture(params=["eager", "cpu", "triton"])
def passes(request):
    """The module under test; new tensors are made where it works."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="needs Triton")
    elif request.param == "cpu":
        pytest.importorskip("clipcore.kernels._cpu", reason="the C extension is not built: no C compiler")
    with torch.device("cuda" if request.param == "triton" and torch.cuda.is_available() else "cpu"):
        yield importlib.import_module(f"clipcore.kernels.{request.param}")


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(sum(shape)), device="cpu")
    return values.to(torch.get_default_device(), dtype)


def long(passes) -> int:
    """More elements than a pass takes at once, as few as Triton's interpreter bears."""
    return 9001 if passes.name == "triton" else 100_003


def gradients(passes, dtype: torch.dtype) -> list[Tensor]:
    """0-d, empty, tiny, odd, of several blocks, in other orders, aligned to their element only, and with gaps."""
    return [
        normal(dtype=dtype),
        normal(0, dtype=dtype),
        normal(3, 0, 2, dtype=dtype),
        normal(1, dtype=dtype),
        normal(123, dtype=dtype),
        normal(3, 5, 7, dtype=dtype),
        normal(8192, dtype=dtype),
        normal(long(passes), dtype=dtype),
        normal(70, 60, dtype=dtype).t(),
        normal(2, 3, 5, 7, dtype=dtype).to(memory_format=torch.channels_last),
        normal(4, 1, 6, dtype=dtype).permute(2, 1, 0),
        normal(9001, dtype=dtype)[1:],
        normal(8, 10, dtype=dtype)[:, ::2],
        normal(600, 700, dtype=dtype)[::2, ::3],  # more than eager takes at once
    ]


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def norm(tensor: Tensor, norm_type: float = 2.0) -> Tensor:
    """0-d float64; by `sum`, which cascades where `vector_norm` adds one after the other and is off by 1e-11."""
    exact = tensor.double().abs()
    if norm_type == math.inf:
        return exact.max() if exact.numel() else exact.sum()
    return (exact**norm_type).sum() ** (1 / norm_type)


def norms(tensors: list[Tensor], norm_type: float = 2.0) -> Tensor:
    return torch.stack([norm(tensor, norm_type) for tensor in tensors])


def near(actual: Tensor, expected: Tensor, error: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=error, atol=0, equal_nan=True)


def right(passes, actual: Tensor, tensors: list[Tensor], norm_type: float = 2.0) -> None:
    """The (n,) norms are the tensors'."""
    assert actual.dtype == torch.float64
    for got, tensor in zip(actual, tensors, strict=True):
        own = norm_type in POWERS and (is_dense(tensor) or passes.name == "cpu")
        near(got, norm(tensor, norm_type), NORM_ERROR[passes.name if own else "eager"][tensor.dtype != torch.float64])


def rounded(passes, actual: Tensor, expected: Tensor, error: float = 0.0) -> None:
    """The elements are those expected, rounded once."""
    near(actual, expected, error + (TRUNCATED[actual.dtype] if passes.name == "triton" else 0.0))


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, but for which NaN it is."""
    return torch.equal(one.nan_to_num(7.0, math.inf, -math.inf), other.nan_to_num(7.0, math.inf, -math.inf))


@by_dtype
@pytest.mark.parametrize("norm_type", [*POWERS, 0.5, 1.5, 3.0])
def test_every_pass_is_exact(passes, dtype, norm_type):
    """Norms and maxima agree with float64 before and after, whatever the dtype, shape, order, alignment and gaps."""
    tensors = gradients(passes, dtype)
    measured = passes.measure(tensors, norm_type)
    right(passes, measured.norm, tensors, norm_type)
    assert torch.equal(measured.max_abs, norms(tensors, math.inf))
    assert measured.nonfinite.tolist() == [0] * len(tensors)
    clipped = passes.clamp_(tensors, scalar(0.7), norm_type)
    near(clipped.before.norm, measured.norm, 1e-13)
    assert all(map(torch.equal, clipped.before[1:], measured[1:]))
    right(passes, clipped.norm, tensors, norm_type)
    right(passes, passes.scale_(tensors, scalar(0.3), clipped.norm, norm_type), tensors, norm_type)


def test_equal_elements_do_not_drift(passes):
    """A sum of a hundred thousand equal squares, where float32 accumulation is off by 1e-5, is as good as any."""
    tensors = [torch.full((100_000,), 0.7)]
    right(passes, passes.measure(tensors).norm, tensors)
    right(passes, passes.measure(tensors, 1.0).norm, tensors, 1.0)


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
        (torch.bfloat16, [1e-37, -1e-37]),  # subnormals of this dtype are beyond Triton's interpreter, see test_cuda.py
        (torch.float16, [60000.0] * 4),
        (torch.float16, [6e-8, -6e-8]),
    ],
)
def test_nothing_overflows_or_vanishes(passes, dtype, values, norm_type):
    """Norms are right at both ends of a dtype's range, where float32 squares are infinite or zero."""
    tensors = [torch.tensor(values, dtype=dtype)]
    measured = passes.measure(tensors, norm_type)
    right(passes, measured.norm, tensors, norm_type)
    clipped = passes.clamp_(tensors, scalar(0.5 * max(values)), norm_type)
    assert torch.equal(clipped.before.norm, measured.norm)
    right(passes, clipped.norm, tensors, norm_type)
    right(passes, passes.scale_(tensors, scalar(0.5), clipped.norm, norm_type), tensors, norm_type)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # numpy's, under the interpreter
def test_float64_overflows_as_in_torch(passes):
    """Squares of float64 are not rescued: torch's own tests ask for the infinity."""
    assert passes.measure([torch.full((2,), 2e200, dtype=torch.float64)]).norm.tolist() == [math.inf]


@by_dtype
@by_norm_type
def test_what_is_not_finite_is_seen(passes, dtype, norm_type):
    """NaN wins over infinity in norm and maximum, the neighbours stay finite; both are counted, wherever they are."""
    clean, infinite, both = (normal(long(passes), dtype=dtype) for _ in range(3))
    infinite[[3, -1]] = torch.tensor([math.inf, -math.inf], dtype=dtype)
    both[[0, -800, -1]] = torch.tensor([-math.inf, math.nan, -math.nan], dtype=dtype)
    tensors = [clean, infinite, both]
    measured = passes.measure(tensors, norm_type)
    assert measured.nonfinite.tolist() == [0, 2, 3]
    assert [column.tolist()[1:] for column in measured[:2]] == [pytest.approx([math.inf, math.nan], nan_ok=True)] * 2
    right(passes, measured.norm[:1], [clean], norm_type)


@by_dtype
@by_norm_type
def test_each_tensor_has_its_coefficient(passes, dtype, norm_type):
    """They are multiplied in place, in float32 at least, and the norms returned are of the elements as rounded."""
    tensors, originals = gradients(passes, dtype), gradients(passes, dtype)
    coef = torch.linspace(0.1, 0.9, len(tensors), dtype=torch.float64)
    written = passes.scale_(tensors, coef, passes.measure(tensors, norm_type).norm, norm_type)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for tensor, original, factor in zip(tensors, originals, coef.to(wide), strict=True):
        rounded(passes, tensor, (original.to(wide) * factor).to(dtype))
        assert tensor.stride() == original.stride()
    right(passes, written, tensors, norm_type)


@by_dtype
def test_one_coefficient_holds_for_all(passes, dtype):
    """It is 0-d and of any float dtype."""
    tensors = gradients(passes, dtype)
    expected = [tensor * 0.5 for tensor in tensors]
    for coef in (scalar(0.5), torch.tensor(1.0)):
        passes.scale_(tensors, coef, passes.measure(tensors).norm)
        assert all(map(torch.equal, tensors, expected))


def test_a_coefficient_of_one_changes_nothing(passes):
    """Such a tensor keeps its bits, NaN included, and the norm handed in is handed back."""
    tensors = [torch.full((300,), math.nan), normal(300)]
    kept = tensors[0].view(torch.int32).clone()
    given = torch.tensor([42.0, 43.0], dtype=torch.float64)
    written = passes.scale_(tensors, torch.tensor([1.0, 0.5]), given)
    assert torch.equal(tensors[0].view(torch.int32), kept)
    assert written[0] == 42
    right(passes, written[1:], tensors[1:])


@by_dtype
def test_a_negative_coefficient_fills_with_zeros(passes, dtype):
    """Zeros are filled in, since NaN times zero would stay NaN; a NaN coefficient propagates, as in torch."""
    tensors = [torch.full((300,), math.nan, dtype=dtype), torch.full((3,), math.inf, dtype=dtype), normal(5).to(dtype)]
    written = passes.scale_(tensors, torch.tensor([-1.0, -1.0, math.nan]), passes.measure(tensors).norm)
    assert not torch.cat(tensors[:2]).any()
    assert tensors[2].isnan().all()
    assert written.tolist() == pytest.approx([0.0, 0.0, math.nan], abs=0, nan_ok=True)


@by_dtype
@pytest.mark.parametrize("limit", [0.7, 1e-3, 0.0, 100.0, math.inf])
def test_clamps_as_torch_does(passes, dtype, limit):
    """Elements and counts are those of torch's clamp at the limit as the dtype has it."""
    tensors, originals = gradients(passes, dtype), gradients(passes, dtype)
    bound = torch.tensor(limit, dtype=dtype)
    clipped = passes.clamp_(tensors, scalar(limit))
    assert all(map(torch.equal, tensors, [tensor.clamp(-bound, bound) for tensor in originals]))
    assert clipped.count.tolist() == [int((tensor.abs() > bound).sum()) for tensor in originals]
    right(passes, clipped.before.norm, originals)
    right(passes, clipped.norm, tensors)


@by_dtype
@by_norm_type
def test_a_clamp_keeps_nan_and_bounds_infinity(passes, dtype, norm_type):
    """NaN is not counted as clamped; both are counted as what they were."""
    tensors = [normal(5000, dtype=dtype) for _ in range(2)]
    tensors[0][[1, 4999]] = torch.tensor([math.inf, -math.inf], dtype=dtype)
    tensors[1][[17, 2500]] = torch.tensor([math.nan, math.inf], dtype=dtype)
    expected = [tensor.clamp(-0.5, 0.5) for tensor in tensors]
    beyond = [int((tensor.abs() > 0.5).sum()) for tensor in tensors]
    clipped = passes.clamp_(tensors, scalar(0.5), norm_type)
    assert all(map(same, tensors, expected))
    assert clipped.count.tolist() == beyond
    assert clipped.before.nonfinite.tolist() == [2, 2]
    assert clipped.before.max_abs.tolist() == pytest.approx([math.inf, math.nan], nan_ok=True)
    right(passes, clipped.norm, tensors, norm_type)


@by_dtype
def test_neighbours_in_memory_are_left_alone(passes, dtype):
    """Nothing is written before or behind a view, wherever in a cache line it lies, nor into its gaps."""
    memory = [torch.ones(8192 + 200, dtype=dtype) for _ in range(3)] + [torch.ones(40, 50, dtype=dtype)]
    views = [*(one[start:-77] for one, start in zip(memory, (1, 3, 64), strict=False)), memory[3][:, 7:31]]
    passes.scale_(views, scalar(0.5), passes.measure(views).norm)
    passes.clamp_(views, scalar(0.25))
    passes.clip_units_(views[3:], [torch.zeros_like(views[3])], scalar(1.0), scalar(0.25))
    assert all(view.eq(0.25).all() for view in views[:3])
    assert views[3].double().norm(dim=1).max() <= 0.251
    for view in views:
        view.fill_(1.0)
    assert all(one.eq(1).all() for one in memory)


def unit_gradients(passes, dtype: torch.dtype) -> list[Tensor]:
    """Narrow, odd, aligned and very long units, convolutions in both orders, one and zero dimensions, no unit."""
    n = long(passes)
    shapes = [(70, 8), (5, 300), (16, 64), (3, n), (8, 3, 3, 3), (n,), (123,), (1,), (), (1, 7), (5, 1)]
    return [
        *(normal(*shape, dtype=dtype) for shape in shapes),
        normal(8, 3, 3, 3, dtype=dtype).to(memory_format=torch.channels_last),
        normal(7, 6, dtype=dtype).t(),
        normal(6, 7, dtype=dtype),
        normal(0, 4, dtype=dtype),
        normal(5, 0, dtype=dtype),
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
def test_units_are_clipped_to_a_fraction_of_their_weights(passes, dtype, weight_dtype):
    """Every output row ends within its bound, rows within it keep their bits, and rows and norms are reported."""
    tensors, originals = unit_gradients(passes, dtype), unit_gradients(passes, dtype)
    weights = [0.7 * (tensor + 0.5).to(weight_dtype or dtype) for tensor in tensors]
    weights[-3] = weights[-3].t().contiguous().t()  # rows of a weight, too, may be no runs of memory
    wanted = [clip_by_units(g, w, 1.25, 1e-3) for g, w in zip(tensors, weights, strict=True)]
    before = passes.measure(tensors)
    clipped = passes.clip_units_(tensors, weights, scalar(1.25), scalar(1e-3))
    for tensor, old, (expected, beyond) in zip(tensors, originals, wanted, strict=True):
        near(tensor, expected, 2e-6 + TRUNCATED[dtype] if dtype != torch.float64 else 1e-6)
        if tensor.dim() > 1:
            assert torch.equal(tensor[~beyond.ravel()], old[~beyond.ravel()])
    assert clipped.count.tolist() == [int(beyond.sum()) for _, beyond in wanted]
    assert 0 < int(clipped.count[0]) < 70
    right(passes, clipped.before.norm, originals)
    assert all(map(torch.equal, clipped.before[1:], before[1:]))
    right(passes, clipped.norm, tensors)


def test_units_with_nan_and_tiny_weights(passes):
    """A unit or a weight that holds NaN leaves the unit alone; weights below eps count as eps."""
    tensor = torch.tensor([[math.nan, 1.0], [3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    weight = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [math.nan, 0.0]])
    clipped = passes.clip_units_([tensor], [weight], scalar(0.5), scalar(2.0))
    assert tensor[0].tolist() == pytest.approx([math.nan, 1.0], nan_ok=True)
    assert tensor[1:].tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0], [3.0, 4.0]]
    assert clipped.count.tolist() == [1]
    assert clipped.before.nonfinite.tolist() == [1]


@by_dtype
def test_every_exponent_is_counted(passes, dtype):
    """Each element is in the bin of its float32 exponent: 0 subnormals, 255 what is not finite, 256 the zeros."""
    tiny = [1e-7] if passes.name == "triton" and dtype == torch.bfloat16 else [1e-7, 1e-41]  # subnormals, or zeros
    values = torch.tensor([0.0, -0.0, 1.0, -1.5, 2.0, 0.5, math.inf, -math.inf, math.nan, *tiny], dtype=dtype)
    tensors = [values, torch.ones(3, 4, dtype=dtype)[:, ::2], normal(9000, dtype=dtype)]
    bits = torch.cat([tensor.reshape(-1) for tensor in tensors]).float().view(torch.int32) & 0x7FFFFFFF
    expected = torch.bincount(torch.where(bits == 0, 256, bits >> 23), minlength=257)
    assert torch.equal(passes.count_exponents(tensors, 1), expected)
    assert expected[255] == 3


@by_dtype
@pytest.mark.parametrize("every", [3, 64, 1_000_000])
def test_sampled_exponents_are_the_reference_s(passes, dtype, every):
    """All look at the same blocks, numbered through all tensors of a dtype."""
    tensors = [tensor for tensor in gradients(passes, dtype) if tensor.is_contiguous()]
    assert torch.equal(passes.count_exponents(tensors, every), eager.count_exponents(tensors, every))


def test_results_keep_the_callers_order(passes):
    """Tensors of all dtypes in one call, with and without gaps, are answered in the order they came in."""
    lists = [gradients(passes, dtype) for dtype in DTYPES]
    tensors = [tensor for several in zip(*lists, strict=True) for tensor in several]
    measured = passes.measure(tensors)
    right(passes, measured.norm, tensors)
    coef = torch.linspace(0.1, 1.0, len(tensors))
    expected = [(tensor.double() * c) for tensor, c in zip(tensors, coef, strict=True)]
    passes.scale_(tensors, coef, measured.norm)
    near(norms(tensors), norms(expected), 1e-2)


def test_writing_raises_version_counters(passes):
    """Autograd notices every pass that writes, and none that only reads; the memory stays where it is."""
    tensors, weights = [normal(4, 5)], [normal(4, 5)]
    place, version = tensors[0].data_ptr(), tensors[0]._version
    norm = passes.measure(tensors).norm
    passes.count_exponents(tensors)
    assert tensors[0]._version == version
    for write in (
        lambda: passes.scale_(tensors, scalar(0.5), norm),
        lambda: passes.clamp_(tensors, scalar(0.5)),
        lambda: passes.clip_units_(tensors, weights, scalar(0.1), scalar(0.1)),
    ):
        write()
        assert tensors[0]._version > version
        version = tensors[0]._version
    assert tensors[0].data_ptr() == place
