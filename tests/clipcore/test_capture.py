"""What of CUDA graphs can be shown without a GPU: what is refused, and that replays see new numbers in old memory."""

import math

import pytest
import torch
from torch import nn

import clipcore.clipper
from clipcore import Clipper


@pytest.fixture
def capture(monkeypatch):
    """Calls clip_() as if its stream were being captured."""

    def captured(clipper):
        with monkeypatch.context() as patch:
            patch.setattr(clipcore.clipper, "_capturing", lambda _: True)
            return clipper.clip_()

    return captured


def clipper_of(mode="norm", *, clipped=True, **settings):
    parameter = nn.Parameter(torch.zeros(2))
    clipper = Clipper([parameter], mode, **settings)
    if clipped:
        parameter.grad = torch.tensor([3.0, 4.0])
        clipper.clip_()
    parameter.grad = torch.tensor([3.0, 4.0])
    return clipper


def test_the_first_clip_cannot_be_captured(capture):
    """Each replay would make its state and its thresholds anew."""
    with pytest.raises(RuntimeError, match=r"call clip_\(\) once before capturing it"):
        capture(clipper_of(clipped=False))


@pytest.mark.parametrize(
    ("mode", "settings"), [("norm", {"nonfinite": "raise"}), ("autoclip", {"window": 0})], ids=["raise", "all history"]
)
def test_what_needs_the_host_at_every_step_cannot_be_captured(mode, settings, capture):
    """A replay runs no Python."""
    with pytest.raises(RuntimeError, match="a CUDA graph cannot capture"):
        capture(clipper_of(mode, **settings))


@pytest.mark.parametrize("fused", [True, False])
def test_skipping_is_captured_with_a_fused_optimizer_only(fused, capture):
    """Any other reads the verdict on the host."""
    parameter = nn.Parameter(torch.zeros(2))
    clipper = Clipper([parameter], optimizer=torch.optim.SGD([parameter], fused=fused), nonfinite="skip")
    parameter.grad = torch.tensor([3.0, 4.0])
    clipper.clip_()
    parameter.grad = torch.tensor([3.0, 4.0])
    if fused:
        capture(clipper)
    else:
        with pytest.raises(RuntimeError, match="an optimizer that is not fused"):
            capture(clipper)


def test_new_numbers_come_into_the_captured_memory(capture):
    """sync_params writes the threshold where the graph reads it, and announces the first step that obeys."""
    clipper = clipper_of(max_norm=1.0)
    capture(clipper)
    place = clipper._rule.values["max_norm"]
    update = clipper.update(max_norm=0.5)
    stats = clipper.sync_params()
    assert clipper._rule.values["max_norm"] is place
    assert place == 0.5
    assert (stats.step, stats.updates, update.step) == (2, (update,), 2)


def test_each_replay_has_a_record_of_its_own_step(capture):
    """Over the numbers that the graph fills in."""
    clipper = clipper_of()
    numbers = capture(clipper).numbers
    records = [clipper.sync_params() for _ in range(3)]
    assert [stats.step for stats in records] == [2, 3, 4]
    assert all(stats.numbers is numbers for stats in records)
    assert clipper.state_dict()["step"] == 4


def test_a_patch_that_waits_is_not_captured(capture):
    """The graph would write its numbers anew at every replay, over all later ones."""
    clipper = clipper_of(max_norm=1.0)
    clipper.update(max_norm=0.5)
    capture(clipper)
    assert clipper.config["max_norm"] == 1.0
    clipper.sync_params()
    assert clipper.config["max_norm"] == 0.5


@pytest.mark.parametrize("patch", [{"mode": "value"}, {"norm_type": math.inf}, {"nonfinite": "zero"}])
def test_what_a_graph_cannot_follow_is_refused(patch, capture):
    """Until a clip_() outside of it says that Python is in charge again."""
    clipper = clipper_of()
    capture(clipper)
    with pytest.raises(ValueError, match=r"captured in a CUDA graph, which obeys new numbers but cannot follow"):
        clipper.update(**patch)
    clipper.clip_()
    clipper.update(**patch)
    assert clipper.sync_params() is None


@pytest.mark.parametrize("patch", [{"mode": "value"}, {"norm_type": math.inf}, {"nonfinite": "zero"}])
def test_a_change_that_waits_for_the_graph_is_refused(patch, capture):
    """The graph would hold the operations of before, and the configuration say otherwise."""
    clipper = clipper_of()
    clipper.update(**patch)
    with pytest.raises(RuntimeError, match=r"cannot capture clip_\(\) with .* waits to be obeyed: call clip_\(\) once"):
        capture(clipper)
    clipper.clip_()
    capture(clipper)


@pytest.mark.parametrize("clipped", [True, False])
def test_a_state_is_loaded_into_the_captured_memory(clipped, capture):
    """Numbers and statistics, those of a Clipper that has not clipped yet too."""
    clipper, other = clipper_of("zclip"), clipper_of("zclip", max_norm=0.25, clipped=clipped)
    capture(clipper)
    rule, places = clipper._rule, {**clipper._rule.values, **clipper._rule.state}
    clipper.load_state_dict(other.state_dict())
    assert clipper._rule is rule
    assert all(place is places[name] for name, place in {**rule.values, **rule.state}.items())
    assert (places["max_norm"], places["count"]) == (0.25, int(clipped))
    clipper.update(max_norm=0.125)
    assert clipper.sync_params().step == 1 + clipped
    assert places["max_norm"] == 0.125


def test_a_state_that_a_graph_cannot_follow_is_refused(capture):
    """Until a clip_() outside of it says that Python is in charge again."""
    clipper, state = clipper_of(max_norm=0.5), clipper_of("value").state_dict()
    capture(clipper)
    with pytest.raises(ValueError, match=r"captured in a CUDA graph .* cannot follow a state with {'mode': 'value'"):
        clipper.load_state_dict(state)
    assert clipper.config["mode"] == "norm"
    clipper.clip_()
    clipper.load_state_dict(state)


def test_the_exponents_are_not_counted_in_a_graph(capture):
    """They are taken by the clock, which a replay does not look at."""
    assert capture(clipper_of()).exponents is None
