"""What holds for any gradients: properties, with hypothesis looking for the exception."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import clipcore

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-6, torch.bfloat16: 2**-7, torch.float16: 2**-9}

scales = st.sampled_from([1e-6, 1e-3, 1.0, 1e3])
bounds = st.floats(1e-3, 1e3)


@st.composite
def models(draw, dtypes=tuple(DTYPES)):
    """A few parameters with gradients of odd shapes, any dtype and a magnitude of their own."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    parameters = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(1, 6), max_size=3))
        dtype = draw(st.sampled_from(dtypes))
        gradient = (torch.randn(shape, generator=generator) * draw(scales)).to(dtype)
        parameters.append(nn.Parameter(torch.zeros_like(gradient)))
        parameters[-1].grad = gradient
    return parameters


def flat(parameters):
    return torch.cat([parameter.grad.flatten().double() for parameter in parameters])


@pytest.fixture(params=["eager", "cpu"], scope="module", autouse=True)
def kernels(request):
    """Once for the module: hypothesis does not mix with fixtures of a function."""
    if request.param == "cpu":
        pytest.importorskip("clipcore.kernels._cpu", reason="the C extension is not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPCORE_KERNELS", request.param)
        yield request.param


few = settings(max_examples=40, deadline=None)


@few
@given(models(), bounds)
def test_the_norm_is_that_of_float64_and_ends_within_the_bound(parameters, bound):
    """Whatever the dtypes, to what the dtype can hold."""
    before = flat(parameters)
    norm = clipcore.clip_grad_norm_(parameters, bound)
    assert norm.item() == pytest.approx(before.norm().item(), rel=1e-6)
    rounding = max(ROUNDING[parameter.dtype] for parameter in parameters)
    assert flat(parameters).norm() <= bound * (1 + rounding)


@few
@given(models(dtypes=[torch.float32, torch.float64]), bounds)
def test_the_direction_is_kept(parameters, bound):
    """All elements are multiplied by one factor of at most 1."""
    before = flat(parameters)
    clipcore.clip_grad_norm_(parameters, bound)
    factor = min(1.0, bound / (before.norm().item() + 1e-6))
    torch.testing.assert_close(flat(parameters), before * factor, rtol=3e-7, atol=1e-37)


@few
@given(models(), bounds)
def test_below_the_bound_nothing_changes(parameters, bound):
    """Gradients whose norm is below the bound stay bit for bit."""
    total = flat(parameters).norm().item()
    before = [parameter.grad.clone() for parameter in parameters]
    clipcore.clip_grad_norm_(parameters, total + bound)
    assert all(torch.equal(parameter.grad, old) for parameter, old in zip(parameters, before, strict=True))


@few
@given(models(dtypes=[torch.float64]), st.floats(1e-5, 1e3))
def test_a_second_clip_gives_what_the_formula_says(parameters, bound):
    """max_norm^2 / (max_norm + 1e-6) when the first one met a norm far above the bound, as with torch."""
    for parameter in parameters:
        parameter.grad.copy_(torch.sign(parameter.grad)).mul_(1e6)
    clipcore.clip_grad_norm_(parameters, bound)
    clipcore.clip_grad_norm_(parameters, bound)
    assert flat(parameters).norm().item() == pytest.approx(bound**2 / (bound + 1e-6), rel=1e-6)


@few
@given(models(), bounds)
def test_clamping_is_idempotent_and_counts_what_it_changes(parameters, limit):
    """A second clamp finds nothing to do."""
    before = [parameter.grad.clone() for parameter in parameters]
    count = clipcore.clip_grad_value_(parameters, limit)
    changed = sum((p.grad != old).sum().item() for p, old in zip(parameters, before, strict=True))
    assert count == changed
    assert clipcore.clip_grad_value_(parameters, limit) == 0
    for parameter, old in zip(parameters, before, strict=True):
        bound = torch.tensor(limit, dtype=torch.float64).to(old.dtype)
        assert torch.equal(parameter.grad, old.clamp(-bound, bound))


@few
@given(models(), st.sampled_from(["norm", "layer", "autoclip", "zclip", "adagc", "agc", "value"]))
def test_no_rule_makes_a_gradient_larger(parameters, mode):
    """Tensor by tensor; and the record says what was written."""
    before = [parameter.grad.double().norm() for parameter in parameters]
    stats = clipcore.Clipper(parameters, mode).clip_()
    after = [parameter.grad.double().norm() for parameter in parameters]
    assert all(new <= old for new, old in zip(after, before, strict=True))
    assert stats.clipped_norm.item() == pytest.approx(math.hypot(*map(float, after)), rel=1e-6)
    torch.testing.assert_close(stats.layers[0], torch.stack(before), rtol=1e-6, atol=0)
