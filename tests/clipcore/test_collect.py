"""Which memory is clipped: each gradient once, and a clear sentence for what cannot be."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import clipcore
from clipcore.collect import collect, collect_tensors
from clipcore.kernels import choose
from clipcore.rules import RULES

pytestmark = pytest.mark.usefixtures("kernels")


def parameter_with(grad):
    parameter = nn.Parameter(torch.zeros(grad.shape, dtype=grad.dtype))
    parameter.grad = grad
    return parameter


def clip(*grads, max_norm=1.0):
    parameters = [parameter_with(grad) for grad in grads]
    return clipcore.clip_grad_norm_(parameters, max_norm), [parameter.grad for parameter in parameters]


def test_views_of_one_storage_are_different_tensors():
    """Buckets of DistributedDataParallel are disjoint views of one buffer."""
    bucket = torch.tensor([3.0, 0.0, 0.0, 4.0])
    norm, _ = clip(bucket[:2], bucket[2:])
    assert norm == 5.0
    torch.testing.assert_close(bucket, torch.tensor([0.6, 0.0, 0.0, 0.8]))


def test_interleaved_views_are_different_tensors():
    """Two blocks of columns, such as parts of a fused projection, share a stretch of memory but no element."""
    matrix = torch.ones(4, 4)
    norm, _ = clip(matrix[:, :2], matrix[:, 2:])
    assert norm == 4.0
    torch.testing.assert_close(matrix, torch.full((4, 4), 0.25))


@pytest.mark.parametrize("other", [slice(1, 3), slice(0, 1), slice(0, 2)])
def test_partial_overlap_raises(other):
    """Scaling a shared element twice would be wrong, and so would once: nobody can know."""
    memory = torch.ones(4)
    grads = memory[:2], memory[other].view(1, -1)
    with pytest.raises(ValueError, match=r"gradients of number 0 and number 1 overlap in memory"):
        clip(*grads)
    assert torch.equal(memory, torch.ones(4))


@pytest.mark.parametrize("coalesced", [True, False])
def test_a_sparse_gradient_is_coalesced_and_clipped(coalesced):
    """Its values count, entries of one index summed; p.grad stays the same object."""
    grad = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 2.0, 4.0], (3,), check_invariants=True)
    grad = grad.coalesce() if coalesced else grad
    norm, (clipped,) = clip(grad)
    assert clipped is grad
    assert norm == 5.0
    torch.testing.assert_close(grad.to_dense(), torch.tensor([0.6, 0.0, 0.8]))


def test_measuring_leaves_a_sparse_tensor_as_it_is():
    """get_total_norm does not coalesce its argument."""
    tensor = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 2.0, 4.0], (3,), check_invariants=True)
    assert clipcore.get_total_norm([tensor]) == 5.0
    assert not tensor.is_coalesced()


def without_memory(kind):
    return FakeTensorMode() if kind == "fake" else torch.device("meta")


@pytest.mark.parametrize("kind", ["meta", "fake"])
@pytest.mark.parametrize("mode", RULES)
def test_gradients_without_memory_are_different_tensors(mode, kind):
    """A step can be tried out on device meta or under FakeTensorMode: all have address 0, and none overlaps."""
    with without_memory(kind):
        parameters = [nn.Parameter(torch.ones(shape)) for shape in [(3, 4), (3,), (3, 3), (3,)]]
        for parameter in parameters[:3]:
            parameter.grad = torch.ones_like(parameter)
        stats = clipcore.Clipper(parameters, mode).clip_()
        assert (stats.owners, stats.layers.shape) == ([0, 1, 2], (3, 4))


def test_what_was_looked_up_without_memory_is_not_kept():
    """The next real step has numbers."""
    for around in (FakeTensorMode(), nullcontext()):
        with around:
            parameters = [nn.Parameter(torch.ones(2, 2)) for _ in range(7)]
            for parameter in parameters[2:]:
                parameter.grad = torch.ones_like(parameter)
            layers = clipcore.Clipper(parameters, "layer").clip_().layers
    assert layers[0].tolist() == [0, 0, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_of_complex_gradients_the_modulus_counts(norm_type):
    """The norm of 3 + 4i is 5, and every norm of complex tensors is that of `torch.linalg.vector_norm`."""
    norm, (grad,) = clip(torch.tensor([3 + 4j, 0j]), max_norm=1.0)
    assert norm == 5.0
    torch.testing.assert_close(grad, torch.tensor([0.6 + 0.8j, 0j]))
    tensor = torch.randn(10, dtype=torch.complex64)
    torch.testing.assert_close(
        clipcore.get_total_norm([tensor], norm_type), torch.linalg.vector_norm(tensor, norm_type)
    )


def test_zero_dimensional_and_empty_gradients_are_fine():
    """A 0-d gradient counts, an empty one does not."""
    norm, grads = clip(torch.tensor(3.0), torch.empty(0), torch.empty(2, 0), torch.tensor([4.0]))
    assert norm == 5.0
    torch.testing.assert_close(grads[0], torch.tensor(0.6))


@pytest.mark.parametrize(
    "grad",
    [
        torch.randn(4, 6).t(),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(8, 8)[:, ::2],
        torch.randn(2, 70_000)[:, ::2],
        torch.randn(3, 4, 5).permute(2, 0, 1)[1:],
    ],
    ids=["transposed", "channels_last", "columns", "long rows with gaps", "permuted slice"],
)
def test_any_strides_are_clipped_in_place(grad):
    """Dense in any order of dimensions or with gaps: right, and the gaps stay untouched."""
    storage = grad.untyped_storage()
    memory = torch.empty(0, dtype=grad.dtype).set_(storage)
    before, everything = grad.clone(), memory.clone()
    norm, (clipped,) = clip(grad)
    assert clipped is grad
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(grad, before / before.norm())
    grad.copy_(before)
    assert torch.equal(memory, everything)


def test_expanded_memory_is_refused():
    """Its elements are one place, so scaling in place is ill-defined."""
    with pytest.raises(ValueError, match=r"number 0 is expanded .* assign `p.grad = p.grad.clone\(\)`"):
        clip(torch.ones(1).expand(3))


def test_integers_are_refused():
    """With the dtypes that are allowed."""
    with pytest.raises(TypeError, match=r"number 0 is torch.int64; it must be float32, bfloat16"):
        collect_tensors([torch.ones(3, dtype=torch.int64)])


def test_a_device_without_float64_is_refused():
    """Apple's GPUs; a fake tensor stands in for one there."""
    with FakeTensorMode():
        parameter = nn.Parameter(torch.ones(2, device="mps"))
        parameter.grad = torch.ones(2, device="mps")
        with pytest.raises(TypeError, match=r"is on mps:0, which has no float64: clipcore clips on CPU and CUDA"):
            clipcore.clip_grad_norm_([parameter], 1.0)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_other_sparse_layouts_are_refused():
    """Naming those that can be clipped."""
    with pytest.raises(TypeError, match=r"layout torch.sparse_csr; strided and sparse COO can be clipped"):
        collect_tensors([torch.eye(3).to_sparse_csr()])


def test_gradients_made_in_inference_mode_are_refused():
    """Outside it; inside they are clipped."""
    with torch.inference_mode():
        grad = torch.full((4,), 2.0)
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = grad
    with pytest.raises(ValueError, match=r"made in inference mode .* torch.no_grad\(\)"):
        clipcore.clip_grad_norm_([parameter], 1.0)
    with torch.inference_mode():
        assert clipcore.clip_grad_norm_([parameter], 1.0) == 4.0
        torch.testing.assert_close(grad, torch.full((4,), 0.5))


def test_memory_from_inference_mode_is_refused():
    """Neither a gradient that was given such memory nor one made there and given other memory is clipped outside."""
    with torch.inference_mode():
        memory, grad = torch.full((4,), 2.0), torch.full((4,), 2.0)
    ordinary = torch.full((4,), 2.0)
    ordinary.data, grad.data = memory, ordinary.clone()
    with pytest.raises(ValueError, match="made in inference mode"):
        clip(ordinary)
    with pytest.raises(RuntimeError, match="inference tensor outside InferenceMode"):
        clip(grad)


def test_a_non_leaf_without_grad_is_refused():
    """One that retains its gradient is clipped."""
    leaf = torch.ones(4, requires_grad=True)
    inner = leaf * 2
    with pytest.raises(ValueError, match=r"number 0 is not a leaf .* `.retain_grad\(\)`"):
        clipcore.clip_grad_norm_([inner], 1.0)
    inner.retain_grad()
    inner.sum().backward()
    assert clipcore.clip_grad_norm_([inner], 1.0) == 2.0
    torch.testing.assert_close(inner.grad, torch.full((4,), 0.5))


def test_errors_name_the_parameter_when_there_are_names():
    """As a Clipper has them."""
    with pytest.raises(ValueError, match=r"the gradient of 'head.weight' is expanded"):
        collect([parameter_with(torch.ones(1).expand(3))], ["head.weight"])


def test_ordinary_and_unusual_models_collect_the_same():
    """The quick way for ordinary gradients agrees with the careful one."""
    grads = [torch.randn(3, 4), torch.randn(5), torch.randn(2, 2).bfloat16()]
    parameters = [parameter_with(grad) for grad in grads]
    parameters.insert(1, nn.Parameter(torch.zeros(7)))
    quick = collect(parameters)
    careful = collect([*parameters, parameters[0]])  # a repetition takes the careful way
    assert list(quick.owners) == list(careful.owners) == [0, 2, 3]
    assert all(one is other for one, other in zip(quick.tensors, careful.tensors, strict=True))
    assert quick.elements == careful.elements == 21
    assert quick.dtype == careful.dtype == torch.float32


def test_gradients_are_ordinary_in_any_order_of_dimensions_and_with_gaps():
    """So a model in channels_last is as quickly collected as another; what may share memory takes a closer look."""
    images, matrix = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.randn(4, 6).t()
    assert collect([parameter_with(images), parameter_with(matrix)]).plain
    assert collect([parameter_with(images), parameter_with(torch.randn(4, 6)[:, ::2])]).plain
    assert not collect([parameter_with(part) for part in torch.randn(4, 6).split(3, dim=1)]).plain


MOVES = {
    "set_": lambda grad, memory: grad.set_(memory),
    "data": lambda grad, memory: setattr(grad, "data", memory),
    "resize_": lambda grad, memory: grad.resize_(50_000).resize_(3, 4).copy_(memory),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_gradient_may_move_between_calls(move):
    """The same tensor object with other memory: that is what is clipped, and what it had before is left alone."""
    parameters = [parameter_with(torch.full((3, 4), 2.0)) for _ in range(3)]
    clipper = clipcore.Clipper(parameters, max_norm=1.0)
    assert clipper.clip_().norm.item() == pytest.approx(12.0)
    grad = parameters[1].grad
    former = grad.detach()[:]
    before = former.clone()
    parameters[0].grad = None
    parameters[2].grad = torch.zeros(3, 4)
    move(grad, torch.full((3, 4), 5.0))
    stats = clipper.clip_()
    assert stats.norm.item() == pytest.approx(5 * 12**0.5)
    torch.testing.assert_close(grad.norm(), torch.tensor(1.0))
    assert torch.equal(former, before) or former.data_ptr() == grad.data_ptr()  # a resized storage moves with its views


def test_create_graph_notices_a_later_use():
    """A gradient that autograd saved for a second backward is known to have changed."""
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    (weight.grad,) = torch.autograd.grad((weight**3).sum(), weight, create_graph=True)
    penalty = (weight.grad**2).sum()
    clipcore.clip_grad_norm_([weight], 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        penalty.backward()


def test_other_devices_do_not_ask_for_the_cpus_kernels(monkeypatch):
    """So that nobody is told that these do not load who does not need them."""
    asked = []
    monkeypatch.setattr("clipcore.collect.choose", lambda device: asked.append(device.type) or choose(device))
    parameter = nn.Parameter(torch.zeros(2, device="meta"))
    parameter.grad = torch.ones(2, device="meta")
    collect([parameter])
    collect_tensors([parameter.grad])
    assert "cpu" not in asked
