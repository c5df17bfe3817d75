"""The formulas, each against the same formula in plain Python floats."""

import math
import random
import statistics

import numpy as np
import pytest
import torch

from clipcore.rules import RULES, Norms, Parameter, schema


def rule_of(mode, count=1, **values):
    defaults = {parameter.name: parameter.default for parameter in RULES[mode].parameters}
    return RULES[mode]({**defaults, **values}, count)


def decide(rule, total, each=None, present=None):
    each = [total] if each is None else each
    norms = Norms(
        torch.tensor(each, dtype=torch.float64),
        torch.tensor(total, dtype=torch.float64),
        None if present is None else torch.tensor(present),
    )
    coef, threshold = rule.decide(norms)
    return coef.tolist(), threshold.item()


def noisy_norms(count, seed=0):
    generator = random.Random(seed)
    return [math.exp(generator.gauss(0, 0.3)) * (20 if step % 40 == 39 else 1) for step in range(count)]


@pytest.mark.parametrize("max_norm", [0.0, 1e-3, 1.0, 50.0])
def test_norm(max_norm):
    """The coefficient is min(1, max_norm / (N + 1e-6))."""
    for total in [0.0, 1e-9, 1.0, 1e30]:
        coef, threshold = decide(rule_of("norm", max_norm=max_norm), total)
        assert coef == pytest.approx(min(1, max_norm / (total + 1e-6)))
        assert threshold == max_norm


@pytest.mark.parametrize("mode", ["norm", "layer"])
@pytest.mark.parametrize("total", [0.0, 5.0, math.inf, math.nan])
def test_an_infinite_bound_never_clips(mode, total):
    """Since inf / inf would be NaN."""
    coef, _ = decide(rule_of(mode, max_norm=math.inf), total)
    assert coef in (1.0, [1.0])


def test_layer():
    """c_i = min(1, max_norm / (||g_i|| + 1e-6))."""
    coef, threshold = decide(rule_of("layer", count=3, max_norm=2.0), 9.0, each=[0.0, 1.0, 8.0])
    assert coef == pytest.approx([1.0, 1.0, 2 / (8 + 1e-6)])
    assert threshold == 2.0


class TestAutoClip:
    @pytest.mark.parametrize("percentile", [0.0, 10.0, 50.0, 99.0, 100.0])
    @pytest.mark.parametrize("window", [0, 1, 7, 1000])
    def test_threshold_is_the_percentile_of_the_window(self, percentile, window):
        """This norm included, interpolated linearly, as numpy does."""
        rule = rule_of("autoclip", percentile=percentile, window=window)
        norms = noisy_norms(60)
        for step, norm in enumerate(norms, start=1):
            history = torch.tensor(norms[max(0, step - window) if window else 0 : step], dtype=torch.float64)
            expected = history.quantile(percentile / 100).item()
            coef, threshold = decide(rule, norm)
            assert threshold == pytest.approx(expected, rel=1e-12)
            assert coef == pytest.approx(1.0 if norm <= expected else expected / (norm + 1e-6))

    def test_max_norm_caps_the_threshold(self):
        """A percentile of the history above max_norm gives max_norm."""
        assert decide(rule_of("autoclip", percentile=100.0, max_norm=0.5), 2.0)[1] == 0.5

    def test_a_history_that_is_kept_whole_grows(self, monkeypatch):
        """Beyond its first capacity nothing is forgotten."""
        monkeypatch.setattr("clipcore.rules.autoclip.FIRST_CAPACITY", 8)
        rule = rule_of("autoclip", window=0, percentile=0.0)
        thresholds = {decide(rule, norm)[1] for norm in [0.25, *[1.0] * 50]}
        assert thresholds == {0.25}

    def test_a_history_that_is_kept_whole_does_not_grow_by_being_saved(self, monkeypatch):
        """However often a training is resumed, there is room for twice its norms at most."""
        monkeypatch.setattr("clipcore.rules.autoclip.FIRST_CAPACITY", 8)
        rule = rule_of("autoclip", window=0, percentile=100.0)
        for resumed in range(20):
            state = rule.state_dict()
            rule = rule_of("autoclip", window=0, percentile=100.0)
            rule.load_state_dict(state)
            assert decide(rule, 1.0 + resumed)[1] == 1.0 + resumed
            assert len(rule.state["history"]) <= max(8, 2 * (resumed + 1))
        assert rule.state["count"] == 20

    @pytest.mark.parametrize("window", [0, 5])
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_nonfinite_norm_is_not_remembered(self, window, bad):
        """Before any other and between others."""
        rule = rule_of("autoclip", window=window, percentile=50.0)
        assert decide(rule, bad)[1] == math.inf
        assert decide(rule, 2.0)[1] == 2.0
        assert decide(rule, bad)[1] == 2.0
        assert decide(rule, 4.0)[1] == 3.0

    @pytest.mark.parametrize("seen", [0, 3, 5, 17])
    @pytest.mark.parametrize("window", [0, 2, 5, 9])
    def test_another_window_keeps_the_newest_norms(self, seen, window, monkeypatch):
        """As many as it has room for and the former one remembered, and forgets the oldest first."""
        monkeypatch.setattr("clipcore.rules.autoclip.FIRST_CAPACITY", 4)
        norms = noisy_norms(seen + 12)
        former, rule = rule_of("autoclip", window=5), rule_of("autoclip", window=window, percentile=50.0)
        for norm in norms[:seen]:
            decide(former, norm)
        rule.succeed(former)
        remembered = norms[:seen][-5:]
        for norm in norms[seen:]:
            remembered = [*remembered, norm][-window:]
            expected = torch.tensor(remembered, dtype=torch.float64).quantile(0.5).item()
            assert decide(rule, norm)[1] == pytest.approx(expected, rel=1e-12)

    def test_of_a_history_that_is_kept_whole_nothing_is_taken_over(self):
        """It is sorted: nothing tells which norms are the newest."""
        former, rule = rule_of("autoclip", window=0), rule_of("autoclip", window=5, percentile=50.0)
        decide(former, 8.0)
        rule.succeed(former)
        assert decide(rule, 2.0)[1] == 2.0


@pytest.mark.parametrize(
    ("mode", "values"), [("autoclip", {"percentile": 100}), ("zclip", {"max_norm": math.inf}), ("zclip", {})]
)
def test_a_norm_that_is_its_own_threshold_stays_exactly(mode, values):
    """Unlike in mode norm, which takes torch's 1e-6 off it."""
    assert decide(rule_of(mode, **values), 1.0)[0] == 1.0
    assert decide(rule_of("norm"), 1.0)[0] == 1 / (1 + 1e-6)


class Reference:
    """ZClip as RULES states it, in floats."""

    def __init__(self, alpha, z, warmup, max_norm):
        self.alpha, self.z, self.warmup, self.max_norm = alpha, z, warmup, max_norm
        self.buffer = []

    def step(self, norm):
        if len(self.buffer) < self.warmup:
            self.buffer.append(norm)
            self.mean, self.var = statistics.fmean(self.buffer), statistics.pvariance(self.buffer)
            return self.max_norm
        sigma = math.sqrt(self.var)
        score = (norm - self.mean) / (sigma + 1e-6)
        target = self.mean + self.z**2 * sigma / score if score > self.z else norm
        self.mean = self.alpha * self.mean + (1 - self.alpha) * target
        self.var = self.alpha * self.var + (1 - self.alpha) * (target - self.mean) ** 2
        return min(target, self.max_norm)


class TestZClip:
    @pytest.mark.parametrize("max_norm", [1.0, math.inf])
    @pytest.mark.parametrize("z", [1.0, 2.5])
    @pytest.mark.parametrize("warmup", [1, 25])
    def test_thresholds_follow_the_formula(self, max_norm, z, warmup):
        """Warm-up, outliers and ordinary norms; what is within the threshold stays exactly."""
        rule = rule_of("zclip", max_norm=max_norm, z=z, warmup=warmup)
        reference = Reference(0.97, z, warmup, max_norm)
        for norm in noisy_norms(200):
            expected = reference.step(norm)
            coef, threshold = decide(rule, norm)
            assert threshold == pytest.approx(expected, rel=1e-9)
            assert coef == (1.0 if norm <= threshold else pytest.approx(expected / (norm + 1e-6), rel=1e-9))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("when", [0, 10, 40])
    def test_a_nonfinite_norm_is_not_remembered(self, bad, when):
        """Neither in warm-up nor after; a NaN norm is not an outlier, so max_norm is the bound."""
        clean, disturbed = rule_of("zclip"), rule_of("zclip")
        for step, norm in enumerate(noisy_norms(60)):
            if step == when:
                assert decide(disturbed, bad)[1] <= 1.0
                assert disturbed.state == clean.state
            assert decide(disturbed, norm) == decide(clean, norm)

    def test_a_warm_up_that_is_over_does_not_begin_again(self):
        """A longer one counts from the first norm too."""
        usual, changed = rule_of("zclip", warmup=2), rule_of("zclip", warmup=2)
        for step, norm in enumerate(noisy_norms(20)):
            if step == 10:
                changed.set({"alpha": 0.97, "z": 2.5, "warmup": 8, "max_norm": 1.0})
            assert decide(changed, norm) == decide(usual, norm)


class TestAdaGC:
    def test_follows_the_formula(self):
        """Warm-up clips all together and keeps the least clipped norm; then each has its own moving average."""
        rule = rule_of("adagc", count=2, warmup=10, beta=0.9)
        gamma = [math.inf, math.inf]
        for step, (one, other) in enumerate(zip(noisy_norms(60, 1), noisy_norms(60, 2), strict=True)):
            each, total = [one, other], math.hypot(one, other)
            if step < 10:
                coef = [min(1, 1.0 / (total + 1e-6))] * 2
                gamma = [min(g, c * n) for g, c, n in zip(gamma, coef, each, strict=True)]
            else:
                coef = [min(1, 1.05 * g / n) for g, n in zip(gamma, each, strict=True)]
                gamma = [0.9 * g + 0.1 * c * n for g, c, n in zip(gamma, coef, each, strict=True)]
            assert decide(rule, total, each)[0] == pytest.approx(coef)
            assert rule.state["gamma"].tolist() == pytest.approx(gamma)

    def test_a_gradient_that_was_zero_is_not_clipped_until_it_has_an_average(self):
        """Else the average 0 would keep it at 0 for ever."""
        rule = rule_of("adagc", count=2, warmup=2)
        for _ in range(3):
            coef, _ = decide(rule, 0.5, [0.5, 0.0])
        assert coef[1] == 1.0
        assert decide(rule, 7.0, [0.5, 7.0])[0][1] == 1.0
        assert rule.state["gamma"][1] == 7.0
        assert decide(rule, 70.0, [0.5, 70.0])[0][1] == pytest.approx(1.05 * 7 / 70)

    def test_what_has_no_average_is_never_clipped_by_it(self):
        """Not even to zero times infinity."""
        rule = rule_of("adagc", count=2, warmup=0, lambda_rel=0.0)
        assert decide(rule, 5.0, [3.0, 4.0])[0] == [1.0, 1.0]
        assert decide(rule, 5.0, [3.0, 4.0])[0] == [0.0, 0.0]

    def test_a_parameter_without_gradient_keeps_its_average(self):
        """No gradient is no measurement."""
        rule = rule_of("adagc", count=2, warmup=0)
        decide(rule, 5.0, [3.0, 4.0])
        decide(rule, 3.0, [3.0, 0.0], present=[True, False])
        assert rule.state["gamma"].tolist() == [3.0, 4.0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("warmup", [0, 100])
    def test_a_nonfinite_norm_is_not_remembered(self, bad, warmup):
        """Not for any parameter, and it does not count as a warm-up step."""
        rule = rule_of("adagc", count=2, warmup=warmup)
        decide(rule, 5.0, [3.0, 4.0])
        before = rule.state_dict()
        decide(rule, bad, [3.0, bad])
        assert {name: state.tolist() for name, state in rule.state.items()} == {
            name: state.tolist() for name, state in before.items()
        }


@pytest.mark.parametrize(
    ("mode", "values"), [("autoclip", {}), ("autoclip", {"window": 0}), ("zclip", {}), ("adagc", {"warmup": 10})]
)
def test_state_carries_over(mode, values):
    """A rule that loads another's state decides as the other would have."""
    norms = noisy_norms(80)
    first = rule_of(mode, **values)
    for norm in norms[:50]:
        decide(first, norm)
    second = rule_of(mode, **values)
    second.load_state_dict(first.state_dict())
    assert [decide(second, norm)[0] for norm in norms[50:]] == [decide(first, norm)[0] for norm in norms[50:]]


def test_state_of_another_model_is_refused():
    """The error names the mode, the shapes that are needed and those that the state has."""
    with pytest.raises(ValueError, match=r"state of mode 'adagc' must have the shapes .*\(2,\).* got .*\(3,\)"):
        rule_of("adagc", count=2).load_state_dict(rule_of("adagc", count=3).state_dict())


class TestParameters:
    @pytest.mark.parametrize("mode", RULES)
    def test_defaults_are_allowed_and_explained(self, mode):
        """Every parameter has a help sentence, and its own default passes its check."""
        for parameter in RULES[mode].parameters:
            assert parameter.check(parameter.default) == parameter.default
            assert parameter.help.endswith(".")

    @pytest.mark.parametrize("mode", RULES)
    def test_the_schema_says_the_same(self, mode):
        """Each mode's knob is one of its properties; off has none."""
        described = schema()[mode]
        assert list(described["properties"]) == [parameter.name for parameter in RULES[mode].parameters]
        assert described["bound"] in described["properties"] or mode == "off"

    def test_the_schema_says_what_is_bounded(self):
        """Each mode but off bounds one kind of thing, and those that learn from norms say that their bound moves."""
        assert {mode: described["bounds"] for mode, described in schema().items()} == {
            "off": None,
            "norm": "global norm",
            "value": "element",
            "layer": "parameter",
            "agc": "output unit",
            "autoclip": "global norm",
            "zclip": "global norm",
            "adagc": "parameter",
        }
        assert {mode for mode, described in schema().items() if described["adaptive"]} == {"autoclip", "zclip", "adagc"}

    @pytest.mark.parametrize("mode", RULES)
    def test_an_adaptive_mode_remembers(self, mode):
        """A rule has statistics exactly when its bound moves."""
        assert bool(rule_of(mode).state) == RULES[mode].adaptive

    @pytest.mark.parametrize("value", [-1, -0.5, math.nan, -math.inf])
    def test_a_value_out_of_bounds_is_refused(self, value):
        """With the bound and the value."""
        with pytest.raises(ValueError, match=f"max_norm must be >= 0, got {value}"):
            Parameter("max_norm", 1.0, "").check(value)

    @pytest.mark.parametrize("value", ["1.0", None, True, [1.0]])
    def test_a_value_of_another_kind_is_refused(self, value):
        """Text is no number, nor is a bool."""
        with pytest.raises(TypeError, match="max_norm must be a number >= 0, got"):
            Parameter("max_norm", 1.0, "").check(value)

    def test_numbers_of_numpy_are_numbers(self):
        """Numpy's float32 and int64, which configurations often hold, are taken as numbers."""
        assert Parameter("max_norm", 1.0, "").check(np.float32(0.5)) == 0.5
        assert Parameter("window", 1, "", kind="integer").check(np.int64(5)) == 5

    def test_upper_and_open_bounds(self):
        """The error names an upper bound beside the lower one, and tells "> 0" from ">= 0"."""
        with pytest.raises(ValueError, match="percentile must be >= 0 and <= 100, got 101"):
            Parameter("percentile", 1.0, "", maximum=100.0).check(101)
        with pytest.raises(ValueError, match="eps must be > 0, got 0"):
            Parameter("eps", 1.0, "", above_minimum=True).check(0)

    @pytest.mark.parametrize("value", [1.5, math.inf])
    def test_an_integer_is_whole(self, value):
        """2.0 is; 1.5 and inf are not."""
        window = Parameter("window", 1, "", kind="integer")
        assert window.check(2.0) == 2
        with pytest.raises(ValueError, match="window must be a whole number, got"):
            window.check(value)

    @pytest.mark.parametrize("value", ["head", 3, [1]])
    def test_names_are_a_list_of_text(self, value):
        """A lone string would be taken letter by letter."""
        with pytest.raises(TypeError, match="exclude must be a list of names or patterns, got"):
            Parameter("exclude", (), "", kind="names").check(value)
