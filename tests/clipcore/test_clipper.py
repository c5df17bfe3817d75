"""The Clipper: what it clips, what it says of it, and how it is steered while it runs."""

import copy
import json
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.rules import RULES

pytestmark = pytest.mark.usefixtures("kernels")


def model_with(*grads):
    parameters = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    give(parameters, *grads)
    return parameters


def give(parameters, *grads):
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = None if grad is None else grad.clone()


def backward(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


class TestStats:
    def test_norm_mode(self):
        """Norms, coefficient and threshold; the norm after is measured, not computed."""
        stats = Clipper(model_with(torch.tensor([3.0, 0.0]), torch.tensor([4.0])), max_norm=1.0).clip_()
        assert (stats.step, stats.mode, stats.names) == (1, "norm", ("0", "1"))
        assert stats.threshold == 1.0
        assert stats.norm == 5.0
        assert stats.clipped_norm.item() == pytest.approx(1.0, rel=1e-6)
        assert stats.coef.item() == pytest.approx(0.2, rel=1e-6)
        assert (stats.clamped, stats.clamped_fraction, stats.clipped_tensors) == (0, 0, 2)
        assert (stats.nonfinite, stats.max_abs, stats.skipped) == (0, 4.0, 0)
        torch.testing.assert_close(stats.layers[0], torch.tensor([3.0, 4.0]).double())
        torch.testing.assert_close(stats.layers[1], torch.tensor([0.2, 0.2]).double(), rtol=1e-6, atol=0)
        assert stats.numbers.dtype == stats.layers.dtype == torch.float64

    def test_value_mode(self):
        """Clamped elements are counted, in all and by layer."""
        stats = Clipper(model_with(torch.tensor([3.0, 0.5]), torch.tensor([0.1, 0.2])), "value", clip_value=1.0).clip_()
        assert (stats.threshold, stats.clamped, stats.clamped_fraction, stats.clipped_tensors) == (1.0, 1, 0.25, 1)
        assert stats.layers[2].tolist() == [1, 0]
        assert stats.norm.item() == pytest.approx(math.sqrt(9.3))
        assert stats.clipped_norm.item() == pytest.approx(math.sqrt(1.3))

    def test_layer_mode(self):
        """Each gradient has its own coefficient."""
        stats = Clipper(model_with(torch.tensor([4.0]), torch.tensor([0.5])), "layer", max_norm=2.0).clip_()
        assert stats.layers[1].tolist() == pytest.approx([0.5, 1.0])
        assert stats.clipped_tensors == 1

    def test_agc_mode(self):
        """Rows are bounded by their weights; excluded parameters only measured."""
        model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False))
        for layer in model:
            layer.weight.data.fill_(1.0)
            layer.weight.grad = torch.full_like(layer.weight, 2.0)
        stats = Clipper(model, "agc", clipping=0.5, exclude=["1.*"]).clip_()
        torch.testing.assert_close(model[0].weight.grad, torch.full((2, 3), 0.5))
        torch.testing.assert_close(model[1].weight.grad, torch.full((1, 2), 2.0))
        assert stats.threshold.isnan()
        assert (stats.clamped, stats.clipped_tensors) == (0, 1)
        assert stats.layers[1].tolist() == pytest.approx([0.25, 1.0])

    def test_agc_of_a_sparse_gradient_looks_at_its_rows_weights(self):
        """An embedding's gradient has only the rows that were used."""
        embedding = nn.Embedding(4, 2, sparse=True)
        embedding.weight.data.copy_(torch.arange(1.0, 5)[:, None].expand(4, 2))
        embedding(torch.tensor([3, 1])).sum().mul(100).backward()
        Clipper(embedding, "agc", clipping=0.1).clip_()
        expected = torch.tensor([0.0, 2.0, 0.0, 4.0])[:, None].expand(4, 2) * 0.1
        torch.testing.assert_close(embedding.weight.grad.to_dense(), expected)

    def test_off_mode_writes_nothing(self):
        """But measures all the same."""
        parameters = model_with(torch.tensor([3.0, 4.0]))
        version = parameters[0].grad._version
        stats = Clipper(parameters, "off").clip_()
        assert (stats.norm, stats.clipped_norm, stats.coef, stats.clipped_tensors) == (5.0, 5.0, 1.0, 0)
        assert stats.threshold.isnan()
        assert parameters[0].grad._version == version

    def test_a_zero_norm_has_coefficient_one(self):
        """0 / 0 counts as 1, for all gradients together and for each layer: nothing was taken away."""
        stats = Clipper(model_with(torch.zeros(3))).clip_()
        assert (stats.norm, stats.coef, stats.layers[1, 0]) == (0.0, 1.0, 1.0)

    @pytest.mark.parametrize("mode", RULES)
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_nonfinite_gradient_has_coefficient_nan(self, mode, bad):
        """It is counted, and the first parameter that holds one is named."""
        parameters = model_with(torch.ones(2), torch.tensor([1.0, bad, bad]), torch.tensor([bad]))
        stats = Clipper(parameters, mode).clip_()
        assert stats.coef.isnan()
        assert stats.layers[1, 1].isnan()
        assert stats.nonfinite == 3
        assert stats.first_nonfinite == "1"

    @pytest.mark.parametrize("mode", RULES)
    @pytest.mark.parametrize("policy", ["propagate", "skip", "zero"])
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_clipped_tensors_are_those_that_changed_also_when_norms_are_not_finite(self, mode, policy, bad):
        """A NaN coefficient changes all that it multiplies; zeroing changes what was not zero."""
        parameters = model_with(torch.full((2,), 1e-6), torch.tensor([1e-6, bad]), torch.zeros(2), torch.zeros(0))
        before = [parameter.grad.clone() for parameter in parameters]
        stats = Clipper(parameters, mode, nonfinite=policy).clip_()
        same = [torch.allclose(p.grad, g, 0, 0, equal_nan=True) for p, g in zip(parameters, before, strict=True)]
        assert stats.clipped_tensors == same.count(False)

    def test_a_nan_norm_changes_every_tensor(self):
        """As the coefficient is NaN too."""
        assert Clipper(model_with(torch.ones(2), torch.tensor([1.0, math.nan]))).clip_().clipped_tensors == 2

    def test_parameters_without_gradient_keep_their_place(self):
        """Their layer shows norm 0, coefficient 1."""
        parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
        parameters[1].grad = torch.tensor([math.nan, 4.0])
        stats = Clipper(parameters, "value").clip_()
        assert stats.first_nonfinite == "1"
        assert stats.layers[0].isnan().tolist() == [False, True, False]
        assert stats.layers[1, ::2].tolist() == [1.0, 1.0]
        assert stats.layers[2].tolist() == [0, 1, 0]

    @pytest.mark.filterwarnings("ignore:clip_.. found no gradient")
    def test_without_any_gradient_the_norm_is_zero(self):
        """A no-op with a whole record."""
        stats = Clipper([nn.Parameter(torch.zeros(2))], "value").clip_()
        assert (stats.norm, stats.clipped_norm, stats.coef, stats.clamped, stats.skipped) == (0, 0, 1, 0, 0)
        assert stats.threshold.isnan()
        assert stats.first_nonfinite is None
        assert stats.layers.tolist() == [[0.0], [1.0], [0.0]]

    def test_repr_shows_the_numbers(self):
        """As a person would want them in a log."""
        text = repr(Clipper(model_with(torch.tensor([3.0, 4.0])), max_norm=2.5).clip_())
        assert text.startswith("ClipStats(step=1, mode='norm', threshold=2.5, norm=5, clipped_norm=2.5, coef=0.5, ")

    @pytest.mark.parametrize("mode", RULES)
    def test_clipped_norm_is_that_of_the_gradients(self, mode):
        """Recomputed in float64 from the gradients themselves, step after step."""
        model = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 5))
        clipper = Clipper(model, mode)
        for step in range(30):
            backward(model, step)
            stats = clipper.clip_()
            gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
            torch.testing.assert_close(stats.clipped_norm, gradient.norm(), rtol=1e-6, atol=0)

    def test_norm_type(self):
        """In mode norm, norms and the bound are p-norms."""
        stats = Clipper(model_with(torch.tensor([3.0, -4.0])), norm_type=math.inf, max_norm=2.0).clip_()
        assert (stats.norm, stats.clipped_norm) == (4.0, pytest.approx(2.0))


class TestParameters:
    def test_a_module_gives_names(self):
        """Tied weights are one layer."""
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[1].weight = model[0].weight
        assert Clipper(model).names == ("0.weight", "0.bias", "1.bias")

    def test_pairs_give_names_and_tensors_get_numbers(self):
        """A tensor given twice has its first name only, and a lone tensor is number 0."""
        one, other = model_with(torch.ones(1), torch.ones(1))
        assert Clipper([("a", one), ("b", other), ("again", one), ("a", one)]).names == ("a", "b")
        assert Clipper([one, other, one]).names == ("0", "1")
        assert Clipper(one).names == ("0",)

    def test_an_exhausted_generator_warns(self):
        """With torch's text, and clips nothing."""
        with pytest.warns(UserWarning, match="`parameters` is an empty generator, no gradient clipping will occur"):
            assert Clipper(parameter for parameter in []).names == ()

    def test_wrong_parameters_are_refused(self):
        """A name twice, and what is no tensor."""
        one, other = model_with(torch.ones(1), torch.ones(1))
        with pytest.raises(ValueError, match="two tensors named 'a'"):
            Clipper([("a", one), ("a", other)])
        for wrong in (3, [one, 3], [(3, one)], [("a", one, other)]):
            with pytest.raises(TypeError, match=r"`parameters` must be a module, tensors or .* got .*3|tensor"):
                Clipper(wrong)

    def test_wrong_settings_are_refused(self):
        """Each with what is allowed."""
        parameters = model_with(torch.ones(1))
        with pytest.raises(ValueError, match=r"mode must be one of off, norm, value, .* got 'l2'"):
            Clipper(parameters, "l2")
        with pytest.raises(ValueError, match="nonfinite must be one of propagate, raise, skip, zero, got 'ignore'"):
            Clipper(parameters, nonfinite="ignore")
        with pytest.raises(ValueError, match="mode 'value' has no parameter 'max_norm'; it has clip_value"):
            Clipper(parameters, "value", max_norm=1.0)
        with pytest.raises(ValueError, match=r"exclude has 'head', which is the name of no parameter; the closest are"):
            Clipper(parameters, "agc", exclude=["head"])

    @pytest.mark.parametrize(
        ("wrong", "error", "text"),
        [
            ({"optimizer": "adam"}, TypeError, "optimizer must be a torch.optim.Optimizer, .* got 'adam'"),
            ({"scaler": 1024.0}, TypeError, "scaler must be a torch.amp.GradScaler, got 1024.0"),
            ({"mode": np.array(["norm", "value"])}, ValueError, "mode must be one of off, norm, "),
            ({"nonfinite": ["skip"]}, ValueError, r"nonfinite must be one of propagate, .* got \['skip'\]"),
        ],
    )
    def test_wrong_arguments_are_refused_by_name(self, wrong, error, text):
        """At once, with the value and what is allowed."""
        with pytest.raises(error, match=text):
            Clipper(model_with(torch.ones(1)), **wrong)


class TestUpdate:
    def test_the_next_clip_obeys(self):
        """The handle says from which step on, what changed, and the whole configuration."""
        parameters = model_with(torch.tensor([3.0, 4.0]))
        clipper = Clipper(parameters, max_norm=1.0)
        assert clipper.clip_().updates == ()
        update = clipper.update(max_norm=0.5)
        assert (update.step, update.config, update.changes) == (None, None, None)
        assert clipper.config["max_norm"] == 1.0
        give(parameters, torch.tensor([3.0, 4.0]))
        stats = clipper.clip_()
        assert stats.updates == (update,)
        assert stats.threshold == 0.5
        assert stats.clipped_norm.item() == pytest.approx(0.5)
        assert update.step == 2
        assert update.changes == {"max_norm": (1.0, 0.5)}
        assert update.config == clipper.config
        assert clipper.config == {"mode": "norm", "max_norm": 0.5, "norm_type": 2.0, "nonfinite": "propagate"}

    def test_a_mode_comes_back_with_its_last_values(self):
        """Each mode keeps its own."""
        parameters = model_with(torch.ones(2))
        clipper = Clipper(parameters, max_norm=0.7)
        for patch in [{"mode": "value", "clip_value": 0.1}, {"mode": "norm"}]:
            update = clipper.update(**patch)
            give(parameters, torch.ones(2))
            clipper.clip_()
        assert clipper.config["max_norm"] == 0.7
        assert update.changes == {"mode": ("value", "norm"), "max_norm": (None, 0.7), "norm_type": (None, 2.0)} | {
            "clip_value": (0.1, None)
        }

    def test_a_mode_that_comes_back_starts_its_statistics_anew(self):
        """And goes on with them while it stays, whatever else changes."""
        parameters = model_with(torch.tensor([8.0]))
        clipper = Clipper(parameters, "autoclip", percentile=50)
        clipper.clip_()
        clipper.update(percentile=0)
        give(parameters, torch.tensor([2.0]))
        assert clipper.clip_().threshold == 2.0
        clipper.update(percentile=100)
        give(parameters, torch.tensor([2.0]))
        assert clipper.clip_().threshold == 8.0
        clipper.update(mode="norm")
        clipper.update(mode="autoclip")
        give(parameters, torch.tensor([2.0]))
        assert clipper.clip_().threshold == 2.0

    def test_naming_the_mode_in_force_leaves_its_statistics(self):
        """The page names the mode with every change of a number."""
        parameters = model_with(torch.tensor([8.0]))
        clipper = Clipper(parameters, "autoclip", percentile=0)
        clipper.clip_()
        clipper.update(mode="autoclip", percentile=100)
        give(parameters, torch.tensor([2.0]))
        assert clipper.clip_().threshold == 8.0

    def test_another_window_keeps_the_newest_norms(self):
        """Unlike another mode, which has a history of its own."""
        parameters = model_with(torch.tensor([8.0]))
        clipper = Clipper(parameters, "autoclip", percentile=100)
        clipper.clip_()
        clipper.update(window=500)
        give(parameters, torch.tensor([2.0]))
        assert clipper.clip_().threshold == 8.0
        assert clipper.state_dict()["rule"]["count"] == 2

    def test_a_bad_patch_changes_nothing(self):
        """Not even its good part, and what waits is not disturbed."""
        clipper = Clipper(model_with(torch.ones(2)))
        waiting = clipper.update(max_norm=0.25)
        bad = [{"max_norm": -1}, {"mode": "value", "max_norm": 1}, {"max_norm": 2, "nonfinite": "?"}, {"x": 1}]
        for patch, reason in zip(
            bad, ["must be >= 0", "has no parameter", "must be one of", "no parameter"], strict=True
        ):
            with pytest.raises(ValueError, match=reason):
                clipper.update(**patch)
        with pytest.raises(TypeError, match="max_norm must be a number"):
            clipper.update(max_norm="1")
        assert clipper.clip_().updates == (waiting,)
        assert clipper.config["max_norm"] == 0.25

    def test_patches_build_on_those_that_wait(self):
        """A parameter of the mode that is on its way is known."""
        clipper = Clipper(model_with(torch.ones(2)))
        clipper.update(mode="value")
        clipper.update(clip_value=0.1)
        with pytest.raises(ValueError, match="mode 'value' has no parameter 'max_norm'"):
            clipper.update(max_norm=1.0)
        assert clipper.clip_().threshold == 0.1

    def test_any_thread_may_update(self):
        """Every patch is applied once, in some order, and each handle gets its step."""
        parameters = model_with(torch.ones(2))
        clipper = Clipper(parameters)
        updates = []

        def turn(low):
            updates.extend(clipper.update(max_norm=low + i / 1000) for i in range(100))

        threads = [threading.Thread(target=turn, args=(low,)) for low in range(4)]
        for thread in threads:
            thread.start()
        seen, running = [], True
        while running:
            running = any(thread.is_alive() for thread in threads)
            give(parameters, torch.ones(2))
            seen.append(clipper.clip_().updates)
        applied = [update for batch in seen for update in batch]
        assert sorted(map(id, applied)) == sorted(map(id, updates))
        assert all(update.step is not None for update in updates)
        assert clipper.config["max_norm"] == applied[-1].config["max_norm"]

    def test_sync_params_applies_before_the_next_step(self):
        """The first step that obeys is the coming one, and its record names the patch."""
        clipper = Clipper(model_with(torch.ones(2)))
        update = clipper.update(max_norm=0.5)
        clipper.sync_params()
        assert clipper.config["max_norm"] == 0.5
        assert update.step == 1
        assert clipper.clip_().updates == (update,)


class TestState:
    @pytest.mark.parametrize("mode", RULES)
    def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(self, mode, tmp_path):
        """Through a file, with torch.load's safe default."""
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        first, second = Clipper(model, mode), Clipper(model)
        for step in range(10):
            backward(model, step)
            first.clip_()
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second.load_state_dict(torch.load(tmp_path / "state.pt"))
        assert second.config == first.config
        for step in range(10, 20):
            backward(model, step)
            one = first.clip_()
            backward(model, step)
            other = second.clip_()
            assert one.step == other.step
            assert torch.equal(one.numbers.nan_to_num(-1), other.numbers.nan_to_num(-1))

    def test_other_modes_values_are_kept(self):
        """A mode that was left is restored with its last values."""
        parameters = model_with(torch.ones(2))
        first, second = Clipper(parameters, max_norm=0.3), Clipper(parameters)
        first.update(mode="value", clip_value=0.2)
        first.clip_()
        second.load_state_dict(first.state_dict())
        second.update(mode="norm")
        second.clip_()
        assert second.config["max_norm"] == 0.3

    def test_a_state_that_does_not_fit_changes_nothing(self):
        """Statistics of another model, or values that are not allowed."""
        small, large = model_with(torch.ones(2)), model_with(torch.ones(2), torch.ones(2))
        other = Clipper(large, "adagc")
        other.clip_()
        clipper = Clipper(small, max_norm=0.5)
        with pytest.raises(ValueError, match=r"state of mode 'adagc' must have the shapes"):
            clipper.load_state_dict(other.state_dict())
        with pytest.raises(ValueError, match="max_norm must be >= 0"):
            clipper.load_state_dict({**clipper.state_dict(), "values": {"norm": {"max_norm": -1}}})
        assert clipper.config["max_norm"] == 0.5


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_clipper_is_not_copied_but_its_state_is(copied):
    """It belongs to live parameters; the error says what to do instead."""
    with pytest.raises(TypeError, match=r"a Clipper .* cannot be copied or pickled: save its state_dict\(\)"):
        copied(Clipper(model_with(torch.ones(1))))


@pytest.mark.parametrize(
    "broken",
    [
        {"step": "x"},
        {"step": None},
        {"step": -4},
        {"mode": "x"},
        {"values": 3},
        {"values": {"x": {}}},
        {"values": {"norm": {"max_norm": "9"}}},
        {"knobs": 3},
        {"rule": {}},
        {"rule": 3},
        {"rule": {"history": 3, "count": 1}},
    ],
)
@pytest.mark.parametrize("window", [0, 5])
def test_a_broken_state_changes_nothing(broken, window):
    """What has a wrong part is refused as a whole."""
    saved = Clipper([nn.Parameter(torch.ones(1))], "autoclip", window=window).state_dict()
    clipper = Clipper([nn.Parameter(torch.ones(1))], max_norm=9.0)
    with pytest.raises(ValueError, match=r"state|step|mode|invalid literal"):
        clipper.load_state_dict({**saved, **broken})
    assert (clipper.config["mode"], clipper.config["max_norm"]) == ("norm", 9.0)


@pytest.mark.parametrize("broken", [{}, {"step": 1}, None, 3])
def test_what_is_no_state_is_refused(broken):
    """What lacks a part of it, or all."""
    with pytest.raises(ValueError, match=r"this one lacks|must be what Clipper.state_dict\(\) returned"):
        Clipper([nn.Parameter(torch.ones(1))]).load_state_dict(broken)


def test_a_name_fits_itself_whatever_its_characters():
    """Though brackets are a pattern's."""
    parameter = model_with(torch.ones(2))[0]
    clipper = Clipper([("a[0]", parameter)], "agc", exclude=["a[0]"], clipping=1e-6)
    assert clipper.clip_().clipped_tensors == 0


def test_an_empty_name_is_refused():
    """Nothing could speak of that layer."""
    with pytest.raises(ValueError, match="has a tensor whose name is empty"):
        Clipper([("", nn.Parameter(torch.ones(1)))])


def test_a_group_that_is_none_is_refused():
    """The error shows what was given, and says what a group is."""
    with pytest.raises(TypeError, match=r"group must be a torch.distributed.ProcessGroup .*, got 'g'"):
        Clipper([nn.Parameter(torch.ones(1))], group="g")


@pytest.mark.parametrize("kind", [Clipper, type("Derived", (Clipper,), {})])
@pytest.mark.parametrize(("name", "value"), [("max_norm", 5), ("mode", "value"), ("nonfinite", "skip"), ("z", 2.0)])
def test_a_setting_cannot_be_assigned(kind, name, value):
    """It would change nothing, in a derived class neither: the error names `update`, which does."""
    clipper = kind([nn.Parameter(torch.zeros(1))])
    with pytest.raises(AttributeError, match=rf"{name} is set with clipper.update\({name}={value!r}\)"):
        setattr(clipper, name, value)


def test_no_other_attribute_can_be_assigned():
    """Nothing would read it."""
    with pytest.raises(AttributeError, match="optimizer"):
        Clipper([nn.Parameter(torch.zeros(1))]).optimizer = None


def test_a_changed_configuration_is_a_copy():
    """What is done to it changes neither the next one nor the clipping."""
    clipper = Clipper([nn.Parameter(torch.zeros(1))])
    clipper.config["max_norm"] = 9.0
    assert clipper.config["max_norm"] == 1.0


def test_a_configuration_can_be_written_down():
    """As JSON, and in a checkpoint."""
    config = Clipper([nn.Parameter(torch.zeros(1))], "agc", exclude=["0"]).config
    assert json.loads(json.dumps(config)) == {**config, "exclude": ["0"]}
    assert pickle.loads(pickle.dumps(config)) == config
