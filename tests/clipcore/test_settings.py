"""Configuration as immutable values."""

import math
from fractions import Fraction

import numpy as np
import pytest

from clipcore.settings import Settings


def test_a_patch_gives_new_settings():
    """The old ones stay as they were."""
    old = Settings()
    new = old.patched({"mode": "zclip", "z": 3, "nonfinite": "skip"})
    assert old.config == {"mode": "norm", "max_norm": 1.0, "norm_type": 2.0, "nonfinite": "propagate"}
    assert new.config == {"mode": "zclip", "alpha": 0.97, "z": 3.0, "warmup": 25, "max_norm": 1.0, "nonfinite": "skip"}


def test_a_mode_without_parameters_says_so():
    """Off has none to patch."""
    with pytest.raises(ValueError, match="mode 'off' has no parameter 'max_norm'; it has none"):
        Settings().patched({"mode": "off", "max_norm": 1.0})


def test_structure_is_what_makes_another_rule():
    """Another window does; another percentile is the same rule."""
    settings = Settings().patched({"mode": "autoclip"})
    assert settings.structure == settings.patched({"percentile": 50}).structure
    assert settings.structure != settings.patched({"window": 50}).structure
    assert settings.structure != settings.patched({"mode": "zclip"}).structure


@pytest.mark.parametrize(
    "patch",
    [
        {"mode": "autoclip", "window": 10**12},
        {"mode": "autoclip", "window": 10**400},
        {"mode": "zclip", "warmup": 10**30},
        {"mode": "adagc", "warmup": math.inf},
    ],
)
def test_a_value_that_no_step_could_survive_is_refused(patch):
    """Buffers and counters have bounds, so that no patch can end a training."""
    with pytest.raises(ValueError, match=r"must be"):
        Settings().patched(patch)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_any_real_number_is_a_number(number):
    """Values are kept as Python floats."""
    assert repr(Settings().patched({"max_norm": number}).config["max_norm"]) == "0.5"


def test_an_integer_beyond_float64_is_infinite():
    """max_norm=10**400 becomes inf, which bounds nothing."""
    assert Settings().patched({"max_norm": 10**400}).config["max_norm"] == math.inf


def test_the_largest_element_may_be_asked_for_by_name():
    """norm_type="inf", as in torch and the drop-ins; it is kept as the number."""
    assert Settings().patched({"norm_type": "inf"}).config["norm_type"] == math.inf


@pytest.mark.parametrize("patch", [{"norm_type": "2"}, {"norm_type": "-inf"}, {"max_norm": "inf"}])
def test_no_other_text_is_a_number(patch):
    """Not even where "inf" is one."""
    with pytest.raises(TypeError, match="must be a number"):
        Settings().patched(patch)


def test_a_saved_knob_that_is_gone_is_named():
    """Its value must not be lost without a word."""
    with pytest.raises(ValueError, match=r"the state has a knob 'lr' \(=0.05\) that this Clipper lacks: declare it"):
        Settings().restored("norm", "skip", {}, {"lr": 0.05})
