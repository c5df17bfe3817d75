"""What `torch.set_default_device` says concerns the user's tensors, not ours; "meta" stands in for "cuda"."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import clipcore
from clipcore import Clipper
from clipcore.memory import find_overlap
from clipcore.recorder import Recorder
from clipcore.rules import RULES
from clipcore.upload import Kept, upload

pytestmark = pytest.mark.usefixtures("kernels")


def parameters():
    """Four, one of them without a gradient and one that is not dense."""
    made = [nn.Parameter(torch.ones(4, 6)) for _ in range(4)]
    for parameter in made[:2]:
        parameter.grad = torch.full((4, 6), 3.0)
    made[2].grad = torch.full((4, 12), 3.0)[:, ::2]
    return made


def recorded(made, mode):
    """All numbers of a step, as a reader on the host gets them."""
    recorder = Recorder()
    recorder.push(Clipper(made, mode, nonfinite="zero", exponents=1).clip_(), {"loss": 0.5}, layers=True)
    (record,) = recorder.take()
    return record.values, record.layers, record.exponents


@pytest.mark.parametrize("mode", RULES)
def test_every_mode_gives_the_same_numbers(mode):
    """Also where a parameter has no gradient and another is not dense."""
    ours, usual = parameters(), parameters()
    with torch.device("meta"):
        got = recorded(ours, mode)
    torch.testing.assert_close(got, recorded(usual, mode), equal_nan=True, rtol=0, atol=0)
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours[:3], usual[:3], strict=True))


@pytest.mark.parametrize(
    "clip",
    [
        lambda made: clipcore.clip_grad_norm_(made, 1.0),
        lambda made: clipcore.clip_grad_norm_(made, 1.0, norm_type=3.0),
        lambda made: clipcore.clip_grad_value_(made, 1.0),
        lambda made: clipcore.get_total_norm([parameter.grad for parameter in made[:3]]),
        lambda made: clipcore.clip_grads_with_norm_(made, 1.0, torch.ones((), device="cpu")),
    ],
)
def test_every_drop_in_works(clip):
    """Under another default device the results and gradients are those without one, bit for bit."""
    ours, usual = parameters(), parameters()
    with torch.device("meta"):
        got = clip(ours)
    expected = clip(usual)
    assert got is expected is None or torch.equal(got, expected)
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours[:3], usual[:3], strict=True))


@pytest.mark.filterwarnings("ignore:clip_.. found no gradient")
def test_what_is_made_on_the_host_stays_there():
    """A step without gradients, indices, recorded norms, the map of overlaps, the memory of captures."""
    x = torch.zeros(9)
    parameter = nn.Parameter(torch.zeros(1))
    with torch.device("meta"):
        stats = Clipper([parameter]).clip_()
        assert (stats.norm.item(), stats.layers.tolist()) == (0, [[0], [1], [0]])
        assert upload(torch.device("cpu"), [3, 4]).tolist() == [3, 4]
        assert clipcore.replay([1.0, 2.0], "autoclip").threshold[0] == 1.0
        assert find_overlap([x[::2], x[1::2], x[:3]]) is not None
        kept = Kept(pinned=False)
        kept.reserve(2)
        assert kept.keep(torch.ones(2, dtype=torch.int64, device="cpu")).tolist() == [1, 1]


def test_the_kernels_load():
    """In a process whose default device was set before anything was imported."""
    script = (
        "import torch; torch.set_default_device('meta'); import clipcore\n"
        "w = torch.nn.Parameter(torch.zeros(2, device='cpu')); w.grad = torch.tensor([3.0, 4.0], device='cpu')\n"
        "assert clipcore.clip_grad_norm_([w], 1.0) == 5"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
