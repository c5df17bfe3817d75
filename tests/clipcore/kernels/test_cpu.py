"""What the C kernels promise beyond the contract of all kernels."""

import gc
import itertools
import math
import mmap
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

cpu = pytest.importorskip(
    "clipcore.kernels.cpu", reason="the C extension is not built: no C compiler", exc_type=ImportError
)
from clipcore.kernels import _cpu, eager  # noqa: E402  here, because it is missing where cpu is

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
HALVES = [torch.bfloat16, torch.float16]
POWERS = [1.0, 2.0, math.inf]
EXACT = 1e-13  # relative: float64 is added up in another order than the reference's
ROUNDED = 3e-7  # relative: at worst what adding eight floats in float, four and four, costs
EAGER = 1e-6  # relative: what the eager kernels promise
ROOT = Path(__file__).parents[3]


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def dense(dtype: torch.dtype) -> list[Tensor]:
    """Odd shapes whose elements lie side by side, in several orders of dimensions."""
    return [
        random(dtype=dtype),
        random(0, dtype=dtype),
        random(3, 0, 2, dtype=dtype),
        random(1, dtype=dtype),
        random(123, dtype=dtype),
        random(70, 60, dtype=dtype).t(),
        random(2, 3, 5, 7, dtype=dtype).to(memory_format=torch.channels_last),
        random(4, 1, 6, dtype=dtype).permute(2, 1, 0),
        random(100_003, dtype=dtype),
    ]


def norm(tensor: Tensor, p: float = 2.0) -> float:
    """By `sum`, which cascades; `vector_norm` adds one after the other and is off by 1e-11."""
    exact = tensor.double().abs()
    if p == math.inf:
        return float(exact.max()) if exact.numel() else 0.0
    return float((exact**p).sum() ** (1 / p))


def norms(tensors: list[Tensor], p: float = 2.0, rel: float = ROUNDED) -> list[object]:
    """What a list of norms is compared with; a float64 tensor's must agree to the last digits."""
    return [
        pytest.approx(norm(tensor, p), rel=EXACT if tensor.dtype == torch.float64 else rel, abs=0, nan_ok=True)
        for tensor in tensors
    ]


def parameter(shape: tuple[int, ...], **kind: object) -> torch.nn.Parameter:
    made = torch.nn.Parameter(torch.zeros(shape, **kind))  # type: ignore[arg-type]
    made.grad = torch.ones_like(made)
    return made


@torch.inference_mode()
def inferred() -> Tensor:
    return torch.ones(3)


def bind(*, direct: bool) -> None:
    """Without `direct` as if torch's C++ functions did something else by now."""
    made = parameter((1,))
    inference = inferred() if direct else torch.ones(3)
    assert _cpu.bind(torch._C.__file__, made, made.grad, inference) == (True, direct)  # type: ignore[arg-type]


@pytest.fixture(params=["functions", "attributes"])
def torch_side(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a test once with torch's C++ functions and once with attributes."""
    bind(direct=request.param == "functions")
    yield
    bind(direct=True)


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, but for which NaN it is."""
    return torch.equal(one.nan_to_num(7.0, math.inf, -math.inf), other.nan_to_num(7.0, math.inf, -math.inf))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_rounding_evens_out(p: float) -> None:
    """What eight floats lose in float is lost in both directions: over a million, the norm is good to 1e-9."""
    tensor = random(1_000_003, dtype=torch.float32)
    assert cpu.measure([tensor], p).norm.item() == pytest.approx(norm(tensor, p), rel=1e-9)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=200)
@given(st.lists(floats, min_size=8, max_size=8), st.integers(1, 5000), floats.map(abs), floats, st.sampled_from(POWERS))
def test_no_float32_is_lost(values: list[float], n: int, limit: float, coef: float, p: float) -> None:
    """Whatever eight floats are added up in float, over and over, the norms are right: rounding cannot pile up."""
    tensor = torch.tensor(values).repeat_interleave(16).repeat(n // 128 + 1)[:n]
    clamped, scaled = tensor.clone(), tensor.clone()
    measured = cpu.measure([tensor], p)
    assert measured.norm.tolist() == norms([tensor], p)
    clipped = cpu.clamp_([clamped], scalar(limit), p)
    assert torch.equal(clamped, tensor.clamp(-limit, limit))
    assert clipped.before.norm.tolist() == norms([tensor], p)
    assert clipped.norm.tolist() == norms([clamped], p)
    assert cpu.scale_([scaled], scalar(coef), measured.norm, p).tolist() == norms([scaled], p)


@pytest.mark.parametrize("p", [0.5, 3.0, -1.0, 0.0])
def test_other_norms_are_eager(p: float) -> None:
    """Norms other than p = 1, 2 and inf are the eager kernels'."""
    tensors = [tensor for tensor in dense(torch.float32) if tensor.numel()]
    assert torch.equal(cpu.measure(tensors, p).norm, eager.measure(tensors, p).norm)
    before = eager.measure(tensors, p).norm
    assert torch.equal(cpu.scale_(tensors, scalar(0.5), before, p), cpu.measure(tensors, p).norm)
    clipped = cpu.clamp_(tensors, scalar(0.1), p)
    assert torch.equal(clipped.norm, cpu.measure(tensors, p).norm)


class Tagged(torch.Tensor):
    pass


def test_subclasses_are_eager() -> None:
    """A subclass of Tensor may keep its elements anywhere, so torch's own operations clip it."""
    tensor = random(10, dtype=torch.float32).as_subclass(Tagged)
    assert _cpu.measure([tensor], 2, torch.empty(3, 1, dtype=torch.float64)) == ([0], [])
    assert cpu.measure([tensor]).norm.tolist() == norms([tensor], rel=EAGER)


@pytest.mark.parametrize("coef", [torch.tensor([1.0, 0.5, math.nan]), torch.tensor(1.0)])
def test_coefficient_one_writes_no_tensor_with_gaps_either(coef: Tensor) -> None:
    """Though the eager kernels, who take these, write whatever they are given; the norm is as it was measured."""
    tensors = [random(6, 10, dtype=torch.float32)[:, ::2] for _ in range(3)]
    versions = [tensor._version for tensor in tensors]
    norms = cpu.measure(tensors).norm
    written = cpu.scale_(tensors, coef, norms)
    changed = (coef != 1).expand(3).tolist()
    assert [tensor._version > version for tensor, version in zip(tensors, versions, strict=True)] == changed
    assert torch.equal(written[0], norms[0])
    torch.testing.assert_close(written, coef * norms, rtol=EAGER, atol=0, equal_nan=True)


def test_coefficient_one_costs_nothing() -> None:
    """A tensor whose coefficient is 1 is not written; its norm is taken on trust."""
    tensors = [torch.ones(4), torch.ones(4)]
    coef = torch.tensor([1.0, 0.5], dtype=torch.float64)
    written = cpu.scale_(tensors, coef, torch.tensor([123.0, 2.0], dtype=torch.float64))
    assert written.tolist() == [123.0, 1.0]
    assert [tensor._version for tensor in tensors] == [0, 1]


def test_one_coefficient_of_one_for_all_returns_the_norms_as_they_are() -> None:
    """Nothing is scaled, so nothing is made."""
    x, norm = torch.ones(4), torch.full((1,), 2.0, dtype=torch.float64)
    assert cpu.scale_([x], torch.ones(()), norm) is norm
    assert cpu.scale_([x], torch.ones(1), norm) is not norm
    assert x._version == 0


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("coef", [0.999, 1 / 3, 1e-4, 5.0, -0.0])
def test_halves_round_to_nearest_even(dtype: torch.dtype, coef: float) -> None:
    """Every one of the 65,536 values, scaled, is rounded as torch rounds it: subnormals, overflow and ties."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    scaled = every.clone()
    cpu.scale_([scaled], scalar(coef), cpu.measure([scaled]).norm)
    assert same(scaled, (every.float() * coef).to(dtype))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_read_exactly(dtype: torch.dtype) -> None:
    """Every one of the 65,536 values is read for what it is."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    measured = cpu.measure(list(every.unbind()), 1.0)
    assert same(measured.norm, every.double().abs())


def test_clamp_writes_only_what_it_must() -> None:
    """A tensor with nothing to clamp keeps its version."""
    tensors = [torch.ones(3000), torch.ones(3000)]
    tensors[1][2999] = 2.0
    versions = [tensor._version for tensor in tensors]
    assert cpu.clamp_(tensors, scalar(1.0)).count.tolist() == [0, 1]
    assert [tensor._version - version for tensor, version in zip(tensors, versions, strict=True)] == [0, 1]


def test_units_in_another_order_are_eager() -> None:
    """Rows that are not runs of memory, in gradient or weight, are left to them."""
    gradients = [random(30, 40, dtype=torch.float32).t(), random(30, 40, dtype=torch.float32)]
    weights = [random(40, 30, dtype=torch.float32), random(40, 30, dtype=torch.float32).t()]
    rows = torch.empty(5, 2, dtype=torch.float64)
    assert _cpu.clip_units(gradients, weights, scalar(1), scalar(1), rows)[0] == [0, 1]


@pytest.mark.parametrize("every", [1, 2, 7, 64, 1_000_000])
def test_sampled_exponents_are_the_eager_ones(every: int) -> None:
    """Both kernels look at the same blocks, numbered through all tensors."""
    tensors = [tensor for dtype in DTYPES for tensor in dense(dtype) if tensor.is_contiguous()]
    assert torch.equal(cpu.count_exponents(tensors, every), eager.count_exponents(tensors, every))


def test_threads_make_no_difference() -> None:
    """Results are bit for bit the same however many threads there are."""
    tensors = [random(n, dtype=dtype) for dtype in DTYPES for n in (300_001, 50_000, 7)]
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            written = [tensor.clone() for tensor in tensors]
            before = cpu.measure(written).norm
            clipped = cpu.clamp_(written, scalar(1.5))
            results.append(
                [before, cpu.scale_(written, scalar(0.3), clipped.norm), cpu.count_exponents(written), *written]
            )
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *results))


def test_torch_lends_its_threads() -> None:
    """The thread pool is found in every torch that we support."""
    assert cpu.pooled


def test_torch_says_which_gradients_there_are() -> None:
    """The C++ functions that gradients are got from are found in every torch that we support."""
    assert cpu.direct


def untouched_zeros(n: int) -> Tensor:
    """(n,) float16 in pages that take no room until they are written."""
    pages = mmap.mmap(-1, 2 * n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.float16)


def test_more_than_2_to_31_elements() -> None:
    """Elements are counted in 64 bits."""
    huge = untouched_zeros((1 << 31) + 5)
    huge[0], huge[-1] = 3.0, 4.0
    clipped = cpu.clamp_([huge], scalar(3.5))
    assert (clipped.before.norm.item(), clipped.count.item(), huge[-1].item()) == (5.0, 1, 3.5)


def test_python_runs_meanwhile() -> None:
    """A pass holds no interpreter lock."""
    zeros = untouched_zeros(1 << 28)
    worker = threading.Thread(target=cpu.measure, args=([zeros],))
    worker.start()
    turns = 0
    while worker.is_alive():
        turns += 1
    assert turns > 1000


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unaligned_memory(dtype: torch.dtype) -> None:
    """Elements may begin at any address."""
    values = random(3001, dtype=dtype)
    memory = bytearray(values.nbytes + 1)
    tensor = torch.frombuffer(memory, dtype=dtype, offset=1)
    tensor.copy_(values)
    assert tensor.data_ptr() % tensor.element_size()
    assert cpu.measure([tensor]).norm.tolist() == norms([values])
    assert cpu.clamp_([tensor], scalar(0.5)).norm.tolist() == norms([values.clamp(-0.5, 0.5)])
    cpu.scale_([tensor], scalar(0.5), scalar(0.0).view(1))
    assert torch.equal(tensor, values.clamp(-0.5, 0.5) * 0.5)


layouts = st.tuples(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 12), max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 2**31),
)


def laid_out(layout: tuple[torch.dtype, list[int], object, int]) -> tuple[Tensor, Tensor]:
    """A dense tensor in a random order of dimensions with a random offset, and the memory around it."""
    dtype, shape, rng, seed = layout
    order = rng.sample(range(len(shape)), len(shape))  # type: ignore[attr-defined]
    numel = math.prod(shape)
    memory = random(numel + 14, dtype=dtype, seed=seed)
    tensor = memory[7 : 7 + numel].view([shape[d] for d in order])
    return tensor.permute([order.index(d) for d in range(len(shape))]), memory


@settings(deadline=None, max_examples=80)
@given(st.lists(layouts, min_size=1, max_size=6), st.floats(0, 4), st.sampled_from(POWERS))
def test_any_list_of_tensors(drawn: list[tuple[torch.dtype, list[int], object, int]], bound: float, p: float) -> None:
    """Any tensors, in any order of dimensions, come out as float64 says, and the memory around them as it was."""
    pairs = [laid_out(layout) for layout in drawn]
    tensors, around = [pair[0] for pair in pairs], [pair[1].clone() for pair in pairs]
    originals = [tensor.clone() for tensor in tensors]
    measured = cpu.measure(tensors, p)
    assert measured.norm.tolist() == norms(originals, p)
    limits = [scalar(bound).to(tensor.dtype) for tensor in tensors]
    expected = [tensor.clamp(-limit, limit) for tensor, limit in zip(tensors, limits, strict=True)]
    clipped = cpu.clamp_(tensors, scalar(bound), p)
    assert all(map(torch.equal, tensors, expected))
    assert clipped.norm.tolist() == norms(expected, p)
    written = cpu.scale_(tensors, scalar(0.625), clipped.norm, p)
    assert written.tolist() == norms(tensors, p)
    assert all(map(torch.equal, tensors, [(tensor * 0.625) for tensor in expected]))
    for (_, memory), before in zip(pairs, around, strict=True):
        assert torch.equal(memory[:7], before[:7])
        assert torch.equal(memory[-7:], before[-7:])


def test_no_tensors() -> None:
    """An empty list has empty results."""
    assert [column.shape for column in cpu.measure([])] == [(0,)] * 3
    assert cpu.count_exponents([]).sum() == 0


@pytest.mark.usefixtures("torch_side")
def test_gather() -> None:
    """Plain gradients are gathered with the positions of their parameters; a parameter without one is left out."""
    parameters = [parameter((3,)), parameter((2, 2)), parameter((5,), dtype=torch.float64), torch.ones(1)]
    parameters[0].grad = None
    gradients, owners, elements, has_float64 = _cpu.gather(parameters, True)
    assert list(map(id, gradients)) == [id(parameters[1].grad), id(parameters[2].grad)]
    assert (owners, elements, has_float64) == ([1, 2], 9, True)
    assert _cpu.gather(parameters[:2], True)[1:] == ([1], 4, False)
    assert _cpu.gather(parameters[1:3], True)[1:] == (range(2), 9, True)
    assert _cpu.gather([], True)[1:] == (range(0), 0, False)


@pytest.mark.usefixtures("torch_side")
def test_gathered_gradients_are_a_sequence() -> None:
    """What gather returns has a length, indices and an end, and the passes take it as they take a list."""
    parameters = [parameter((3,)), parameter((2, 2))]
    gradients = _cpu.gather(parameters, True)[0]
    assert (len(gradients), gradients[1] is parameters[1].grad, gradients[-2] is parameters[0].grad) == (2, True, True)
    with pytest.raises(IndexError):
        gradients[2]
    assert torch.equal(cpu.measure(gradients).norm, cpu.measure(list(gradients)).norm)


def with_grads(*gradients: Tensor) -> list[Tensor]:
    parameters: list[Tensor] = []
    for gradient in gradients:
        made = torch.nn.Parameter(torch.zeros_like(gradient, layout=torch.strided))
        made.grad = gradient
        parameters.append(made)
    return parameters


MEMORY = torch.ones(6)
CLOSER_LOOKS = {
    "overlapping": with_grads(MEMORY[:4], MEMORY[2:]),
    "tied": [parameter((3,))] * 2,
    "inference": with_grads(inferred()),
    "gaps": with_grads(torch.ones(4, 4)[:, :2]),
    "expanded": with_grads(torch.ones(1).expand(4)),
    "complex": with_grads(torch.ones(3, dtype=torch.complex64)),
    "sparse": with_grads(torch.eye(3).to_sparse()),
    "subclass": with_grads(torch.ones(3).as_subclass(Tagged)),
    "elsewhere": with_grads(torch.ones(3, device="meta")),
    "not a leaf": [torch.ones(2, requires_grad=True) * 2],
    "no tensor": ["weights"],
}


@pytest.mark.usefixtures("torch_side")
@pytest.mark.parametrize("parameters", CLOSER_LOOKS.values(), ids=CLOSER_LOOKS.keys())
def test_gather_leaves_the_rest(parameters: list[Tensor]) -> None:
    """One gradient that is not plain memory of its own, and the whole list takes a closer look."""
    assert _cpu.gather([parameter((2,)), *parameters], True) is None


def test_gather_tensors() -> None:
    """Tensors that are only to be read may be anybody's, but must be plain memory that no two share."""
    tensors = [torch.ones(2, requires_grad=True) * 2, inferred(), torch.nn.Parameter(torch.ones(4).double())]
    gathered, owners, elements, has_float64 = _cpu.gather(tensors, False)  # type: ignore[misc]
    assert list(map(id, gathered)) == list(map(id, tensors))
    assert (owners, elements, has_float64) == (range(3), 9, True)
    assert _cpu.gather([*tensors, tensors[0]], False) is None
    for parameters in CLOSER_LOOKS["gaps"], CLOSER_LOOKS["sparse"], CLOSER_LOOKS["subclass"], CLOSER_LOOKS["elsewhere"]:
        assert _cpu.gather([parameters[0].grad], False) is None  # type: ignore[list-item]
    assert _cpu.gather(CLOSER_LOOKS["no tensor"], False) is None


@pytest.mark.usefixtures("torch_side")
def test_disjoint_in_any_order() -> None:
    """Gradients that share no memory are gathered however they lie, and any two that share some are found."""
    memory = torch.zeros(600)
    order = torch.randperm(100).tolist()
    pieces = [memory[6 * i : 6 * i + 6] for i in order]
    assert _cpu.gather(with_grads(*pieces), True)[2] == 600  # type: ignore[index]
    assert _cpu.gather(with_grads(*pieces, memory[0:0], memory[300:300]), True)[2] == 600  # type: ignore[index]
    for shared in (0, 299, 594):
        assert _cpu.gather(with_grads(*pieces, memory[shared : shared + 6]), True) is None


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 1 << 18), st.integers(0, 1 << 12)), min_size=2, max_size=12))
def test_overlap_is_found(stretches: list[tuple[int, int]]) -> None:
    """Gradients anywhere in a megabyte are gathered if and only if no two share an element."""
    memory = torch.zeros((1 << 18) + (1 << 12))
    ordered = sorted((first, first + n) for first, n in stretches if n)
    disjoint = all(one[1] <= other[0] for one, other in itertools.pairwise(ordered))
    gathered = _cpu.gather(with_grads(*(memory[first : first + n] for first, n in stretches)), True)
    assert (gathered is not None) == disjoint


@pytest.mark.usefixtures("torch_side")
def test_references_are_given_back() -> None:
    """What a pass holds on to it lets go of in the end, and so does a gathering that finds nothing plain."""
    parameters = [parameter((3,)), parameter((2, 2))]
    odd = [*parameters, *with_grads(torch.ones(4, 4)[:, :2])]
    tensors = [made.grad for made in parameters]
    kept = [*tensors, *parameters, None]
    gc.collect()  # what other tests have left behind refers to None too
    before = [sys.getrefcount(one) for one in kept]
    for _ in range(500):
        gradients = _cpu.gather(parameters, True)[0]  # type: ignore[index]
        assert _cpu.gather(odd, True) is None
        norms_before = cpu.measure(gradients).norm
        cpu.scale_(gradients, scalar(0.99), norms_before)
        cpu.clamp_(tensors, scalar(0.5))  # type: ignore[arg-type]
        cpu.clip_units_(gradients, parameters, scalar(1.0), scalar(1e-3))
        with pytest.raises(ValueError, match="expected a dense"):
            _cpu.clamp(gradients, scalar(0.1), 2, torch.empty(1))
        del gradients
    after = [sys.getrefcount(one) for one in kept]
    assert max(abs(now - then) for now, then in zip(after, before, strict=True)) < 250


def test_a_gradient_outlives_its_parameter_while_it_is_gathered() -> None:
    """Memory that is gathered stays where it is although nobody else wants it any more."""
    parameters = [parameter((300_000,))]
    gradients = _cpu.gather(parameters, True)[0]  # type: ignore[index]
    parameters[0].grad = None
    torch.full((300_000,), 7.0)
    assert cpu.measure(gradients).norm.tolist() == [pytest.approx(math.sqrt(300_000))]


def test_wrong_results_are_refused() -> None:
    """C writes into a tensor of the right size and dtype, or not at all."""
    with pytest.raises(ValueError, match="expected a dense float64 tensor of 3 elements on the CPU"):
        _cpu.measure([torch.ones(2)], 2, torch.empty(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="of 5 elements"):
        _cpu.clamp([torch.ones(2)], scalar(1.0), 2, torch.empty(5))
    with pytest.raises(ValueError, match="a weight for each tensor"):
        _cpu.clip_units([torch.ones(2)], [], scalar(1.0), scalar(1.0), torch.empty(5, dtype=torch.float64))
    with pytest.raises(ValueError, match="every must be >= 1, got 0"):
        cpu.count_exponents([torch.ones(2)], 0)


def test_missing_torch_functions_are_named() -> None:
    """What torch lacks is an ImportError, after which eager kernels are chosen."""
    with pytest.raises(ImportError, match="is not loaded"):
        _cpu.bind("/no/such/library.so", parameter((0,)), torch.ones(3), inferred())


def test_a_build_without_a_compiler_succeeds(tmp_path: Path) -> None:
    """Without a C compiler there is a warning and no extension, but no error."""
    build = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "temp"],
        cwd=ROOT, env={**os.environ, "CC": "/bin/false"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert build.returncode == 0
    assert 'building extension "clipcore.kernels._cpu" failed' in build.stdout + build.stderr
    assert not list(tmp_path.rglob("*.so"))


def test_python_m_says_which_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m clipcore.kernels` names the kernels, the reason and the threads."""
    runpy.run_module("clipcore.kernels", run_name="__main__")
    assert capsys.readouterr().out.startswith(
        f"cpu   cpu (native kernels for cpu, torch's threads: {torch.get_num_threads()})\n"
    )


def test_python_m_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the kernels would be quicker with."""
    monkeypatch.setattr(cpu, "pooled", False)
    monkeypatch.setattr(cpu, "direct", False)
    runpy.run_module("clipcore.kernels", run_name="__main__")
    assert "one thread: torch does not lend its own, and gradients are found by attribute" in capsys.readouterr().out
