"""What only a GPU can show: no waiting for the device, CUDA graphs, streams, rounding, and memory in use."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

import clipcore
from clipcore.recorder import Recorder
from clipcore.rules import RULES

GIB = 2**30


def available(bytes_: int = 0) -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_properties(0).total_memory >= bytes_


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a CUDA device")]

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SHAPES = [(300, 70), (70,), (), (3, 9000), (0, 4), (16, 3, 3, 3)]


def parameters(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator("cuda").manual_seed(0)
    made = [torch.randn(shape, generator=generator, device="cuda").to(dtype) for shape in SHAPES]
    return [tensor.requires_grad_() for tensor in made]


def give_gradients(params: Sequence[Tensor], factor: float = 1.0) -> None:
    """New gradients, in new memory."""
    for param in params:
        param.grad = (param.detach() + 0.1) * factor


def global_norm(params: Sequence[Tensor]) -> float:
    return torch.cat([param.grad.double().ravel() for param in params if param.grad is not None]).norm().item()


@pytest.fixture
def forbid_waiting() -> Iterator[Callable[[], None]]:
    """From the call on, whatever waits for the device raises."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("nonfinite", ["propagate", "zero", "skip"])
@pytest.mark.parametrize("mode", RULES)
def test_no_mode_waits_for_the_device(mode, nonfinite, forbid_waiting):
    """Once compiled, clip_() only queues work: for gradients in new places, other parameters, a new threshold."""
    params = parameters()
    clipper = clipcore.Clipper(params, mode, nonfinite=nonfinite)
    patch = {RULES[mode].bound: 0.5} if RULES[mode].bound else {}
    for _ in range(2):
        give_gradients(params)
        clipper.clip_()
    forbid_waiting()
    for step in range(4):
        give_gradients(params, factor=1.0 + step)
        params[step].grad = None
        if step == 2 and patch:
            clipper.update(**patch)
        stats = clipper.clip_()
        layers = stats.layers
    torch.cuda.set_sync_debug_mode("default")
    assert stats.clipped_norm.item() == pytest.approx(global_norm(params), rel=1e-6)
    assert layers[0, 3].item() == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_drop_ins_do_not_wait_for_the_device(dtype, forbid_waiting):
    """The functions in torch's place return tensors that nobody has waited for."""
    params = parameters(dtype)
    for allowed in (True, False):
        give_gradients(params)
        if not allowed:
            forbid_waiting()
        before = clipcore.clip_grad_norm_(params, 1.0)
        clamped = clipcore.clip_grad_value_(params, 0.01)
        total = clipcore.get_total_norm([param.grad for param in params if param.grad is not None])
        torch.cuda.set_sync_debug_mode("default")
    assert before.item() > 1.0
    assert clamped.item() > 0
    assert total.item() == pytest.approx(global_norm(params), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaling_rounds_to_nearest(dtype):
    """Elements are the product in float32 (float64 for float64), rounded once, bit for bit; subnormals included."""
    values = torch.randn(100_000, device="cuda").to(dtype)
    values[:2] = torch.finfo(dtype).tiny / 2
    expected = (values.to(torch.promote_types(dtype, torch.float32)) * 0.3).to(dtype)
    kernels = clipcore.kernels.choose(values.device).kernels
    assert kernels.name == "triton"
    kernels.scale_([values], torch.tensor(0.3, dtype=torch.float64, device="cuda"), kernels.measure([values]).norm)
    assert torch.equal(values, expected)


def test_bfloat16_subnormals_count():
    """The norm of numbers below bfloat16's smallest normal one is right."""
    values = torch.tensor([1e-39, -1e-40], dtype=torch.bfloat16, device="cuda")
    norm = clipcore.kernels.choose(values.device).kernels.measure([values]).norm
    assert norm.item() == pytest.approx(values.double().norm().item(), rel=1e-6)


def test_runs_repeat_to_the_bit():
    """Sums are added in a fixed order, whatever order the blocks finish in."""
    tensors = [torch.randn(3_000_017, device="cuda"), torch.randn(1000, 1000, device="cuda")]
    kernels = clipcore.kernels.choose(tensors[0].device).kernels
    first = kernels.measure(tensors)
    for _ in range(20):
        assert all(map(torch.equal, kernels.measure(tensors), first))


def captured_clip(clipper: clipcore.Clipper, params: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """A graph of one clip_() over gradients that stay where they are, and the numbers that each replay fills in."""
    give_gradients(params)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        clipper.clip_()  # compiles
    torch.cuda.current_stream().wait_stream(stream)
    give_gradients(params)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        stats = clipper.clip_()
    return graph, stats.numbers


def refill(params: Sequence[Tensor], factor: float) -> None:
    """New numbers in the same memory."""
    for param in params:
        param.grad.zero_().add_(param.detach() + 0.1, alpha=factor)


@pytest.mark.parametrize(
    ("mode", "bound"),
    [("norm", "max_norm"), ("value", "clip_value"), ("layer", "max_norm"), ("agc", "clipping"), ("zclip", "max_norm")],
)
def test_a_graph_obeys_a_threshold_changed_later(mode, bound):
    """Replays clip by the threshold in force: the captured one, then those that sync_params() brings."""
    params = parameters()
    without_gradient = torch.zeros(7, device="cuda", requires_grad=True)
    clipper = clipcore.Clipper([*params, without_gradient], mode, **{bound: 0.5})
    graph, _ = captured_clip(clipper, params)
    norms = []
    for value in (0.5, 0.05, 0.2):
        clipper.update(**{bound: value})
        clipper.sync_params()
        refill(params, 10.0)
        graph.replay()
        norms.append(global_norm(params))
        replayed = [param.grad.clone() for param in params]
        refill(params, 10.0)
        clipcore.Clipper(params, mode, **{bound: value}).clip_()
        for param, gradient in zip(params, replayed, strict=True):
            torch.testing.assert_close(gradient, param.grad)
    assert norms[1] < norms[2] < norms[0]


def test_a_graph_keeps_the_addresses_it_was_captured_with():
    """Replays find the gradients after other gradients, other tables and other host memory came and went."""
    params, others = parameters(), parameters()
    clipper = clipcore.Clipper(params, max_norm=0.5)
    graph, numbers = captured_clip(clipper, params)
    for _ in range(100):
        give_gradients(others)
        clipcore.clip_grad_norm_(others, 1.0)
        torch.zeros(len(params) * 8, dtype=torch.int64).pin_memory()
    refill(params, 3.0)
    before = global_norm(params)
    graph.replay()
    torch.cuda.synchronize()
    names = clipcore.stats.COLUMNS
    assert numbers[names.index("norm")].item() == pytest.approx(before, rel=1e-6)
    assert numbers[names.index("clipped_norm")].item() == pytest.approx(global_norm(params), rel=1e-6)
    assert global_norm(params) == pytest.approx(0.5, rel=1e-5)


def test_gradients_may_be_clipped_on_any_stream():
    """A table made on one stream is not taken for ready on another."""
    params = parameters()
    clipper = clipcore.Clipper(params, max_norm=0.5)
    for _ in range(20):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            give_gradients(params)
            clipper.clip_()
        torch.cuda.current_stream().wait_stream(stream)
        assert global_norm(params) == pytest.approx(0.5, rel=1e-5)


def test_records_are_at_most_two_steps_late():
    """When the device has finished a step, all but the last two records are there, in order, and at the end all."""
    params, recorder = parameters(), Recorder()
    clipper = clipcore.Clipper(params, max_norm=0.5)
    records = []
    for step in range(1, 21):
        give_gradients(params, factor=step)
        recorder.push(clipper.clip_(), {"loss": torch.full((), float(step), device="cuda")}, layers=True)
        torch.cuda.synchronize()
        records += recorder.take()
        assert len(records) >= step - 2
    records += recorder.flush(timeout_s=5.0)
    assert [record.step for record in records] == list(range(1, 21))
    assert [record.values["loss"] for record in records] == [float(step) for step in range(1, 21)]
    assert all(record.values["clipped_norm"] == pytest.approx(0.5, rel=1e-5) for record in records)


def test_recording_does_not_wait_for_the_device(forbid_waiting):
    """Neither pushing nor taking waits; what has not arrived comes later."""
    params, recorder = parameters(), Recorder()
    clipper = clipcore.Clipper(params, max_norm=0.5)
    give_gradients(params)
    recorder.push(clipper.clip_(), {})
    records = recorder.flush(timeout_s=5.0)
    forbid_waiting()
    for _ in range(5):
        give_gradients(params)
        recorder.push(clipper.clip_(), {"loss": torch.ones((), device="cuda")}, layers=True)
        records += recorder.take()
    torch.cuda.set_sync_debug_mode("default")
    records += recorder.flush(timeout_s=5.0)
    assert [record.step for record in records] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_no_copy_of_the_gradients_is_made(mode):
    """Clipping 256 MiB of gradients takes less than 2 MiB on the side."""
    param = torch.full((8192, 8192), 0.1, device="cuda", requires_grad=True)
    clipper = clipcore.Clipper([param], mode)
    param.grad = torch.ones_like(param)
    for measured in (False, True):
        param.grad = param.grad + 1.0
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        clipper.clip_()
        assert not measured or torch.cuda.max_memory_allocated() - held < 2 * 2**20


@pytest.mark.skipif(not available(12 * GIB), reason="needs a CUDA device with 12 GiB")
def test_more_than_two_to_the_31_elements():
    """The last element of a tensor that 32 bits cannot index is measured, clamped and counted."""
    param = torch.zeros(2**31 + 9000, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    param.grad = torch.zeros_like(param)
    param.grad[-1] = 3.0
    assert clipcore.clip_grad_norm_([param], 1.0).item() == 3.0
    assert clipcore.clip_grad_value_([param], 0.5).item() == 1
    assert param.grad[-1].item() == 0.5


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs 2 CUDA devices")
def test_gradients_on_two_devices_have_one_norm():
    """Parameters on several GPUs are clipped together; the result is on the first one's."""
    params = parameters() + [param.detach().to("cuda:1").requires_grad_() for param in parameters()]
    give_gradients(params)
    expected = sum(param.grad.double().norm().item() ** 2 for param in params) ** 0.5
    norm = clipcore.clip_grad_norm_(params, 1.0)
    assert norm.device == params[0].device
    assert norm.item() == pytest.approx(expected, rel=1e-6)
    after = sum(param.grad.double().norm().item() ** 2 for param in params) ** 0.5
    assert after == pytest.approx(1.0, rel=1e-5)
