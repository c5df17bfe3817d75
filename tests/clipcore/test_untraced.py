"""A compiled training step clips as an ordinary one does."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from clipcore import Clipper, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm


@pytest.fixture
def compiled():
    """Compiles by Dynamo and AOTAutograd, without code generation."""
    torch._dynamo.reset()
    yield lambda step: torch.compile(step, backend="aot_eager")
    torch._dynamo.reset()


def clipper_of(mode, **values):
    parameter = nn.Parameter(torch.zeros(4))
    return parameter, Clipper([parameter], mode, **values)


@pytest.mark.parametrize(
    ("mode", "patches"),
    [
        ("norm", [{"max_norm": 0.5}, {"max_norm": 0.25}, {"mode": "value", "clip_value": 0.125}]),
        ("value", [{"clip_value": 0.5}, {"clip_value": 0.25}]),
        ("zclip", [{"max_norm": 0.5}, {"max_norm": 0.25}]),
    ],
)
def test_a_compiled_step_obeys_every_update(mode, patches, compiled):
    """From the next clip_() on, and the handle says so."""
    parameter, clipper = clipper_of(mode)
    step = compiled(lambda: clipper.clip_())
    for number, patch in enumerate([{}, {}, *patches], start=1):
        update = clipper.update(**patch)
        parameter.grad = torch.tensor([3.0, 4.0, 0.0, 0.0])
        stats = step()
        bound = patch.get("max_norm", patch.get("clip_value", 1.0))
        assert (stats.step, update.step, stats.threshold) == (number, number, bound)
        reached = parameter.grad.norm(p=math.inf if stats.mode == "value" else 2.0)
        assert reached.item() == pytest.approx(bound)


def test_compiled_sync_params_puts_patches_into_force(compiled):
    """Where the graph of a replay reads them."""
    parameter, clipper = clipper_of("norm")
    parameter.grad = torch.ones(4)
    clipper.clip_()
    sync = compiled(lambda: clipper.sync_params())
    for bound in (0.5, 0.25, 0.125):
        update = clipper.update(max_norm=bound)
        sync()
        assert (clipper._rule.values["max_norm"], update.step) == (bound, 2)


@pytest.mark.filterwarnings("error")
def test_the_drop_ins_work_in_a_compiled_step(compiled):
    """With the bound of each call, and without a word of Dynamo's about what is inside them."""
    parameter = nn.Parameter(torch.zeros(4))

    def step(bound):
        norm = clip_grad_norm_([parameter], bound)
        clip_grads_with_norm_([parameter], bound / 2, norm)
        total = get_total_norm([parameter.grad])
        clip_grad_value_([parameter], bound / 8)
        return norm, total

    compiled_step = compiled(step)
    for bound in (1.0, 0.5, 0.25):
        outcomes = []
        for each in (step, compiled_step):
            parameter.grad = torch.tensor([3.0, 4.0, 0.0, 0.0])
            outcomes.append([*each(bound), parameter.grad])
        assert all(map(torch.equal, *outcomes))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "inside",
    [
        lambda measure: torch.func.vmap(measure)(torch.ones(2, 4)),
        lambda measure: torch.func.grad(measure)(torch.ones(4)),
        lambda measure: torch.func.jvp(measure, (torch.ones(4),), (torch.ones(4),)),
    ],
    ids=["vmap", "grad", "jvp"],
)
def test_what_functorch_wraps_is_refused_with_the_way_out(inside):
    """A transformed function's tensors have no memory that could be read."""
    with pytest.raises(TypeError, match=r"tensors are inside of torch.func.vmap, grad or jvp.* outside"):
        inside(lambda gradient: get_total_norm([gradient]))


@pytest.mark.parametrize(
    "clip",
    [lambda parameter: clip_grad_norm_([parameter], 1.0), lambda parameter: Clipper([parameter]).clip_().norm],
    ids=["drop-in", "clipper"],
)
def test_a_gradient_that_functorch_wraps_is_refused_in_an_ordinary_parameter(clip):
    """Only `.grad` has no memory then."""

    def measure(gradient):
        parameter = nn.Parameter(torch.zeros(4))
        parameter.grad = gradient
        return clip(parameter)

    with pytest.raises(TypeError, match=r"gradients are inside of torch.func.vmap, grad or jvp.* outside"):
        torch.func.vmap(measure)(torch.ones(2, 4))


def test_clipping_does_not_load_the_compiler():
    """Which takes seconds, and most trainings never need it."""
    script = (
        "import sys, torch, clipcore; w = torch.nn.Parameter(torch.zeros(2)); w.grad = torch.ones(2); "
        "clipcore.Clipper([w]).clip_(); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
