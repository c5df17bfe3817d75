"""Configuration as immutable values."""

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


def test_structure_is_what_statistics_depend_on():
    """A rule with another window starts anew; another percentile is the same rule."""
    settings = Settings().patched({"mode": "autoclip"})
    assert settings.structure == settings.patched({"percentile": 50}).structure
    assert settings.structure != settings.patched({"window": 50}).structure
    assert settings.structure != settings.patched({"mode": "zclip"}).structure
