"""Which kernels clip, decided in one place."""

import logging

import pytest
import torch

from clipcore import kernels
from clipcore.kernels import choose, eager


@pytest.fixture(autouse=True)
def forget_choices(monkeypatch):
    monkeypatch.delenv("CLIPCORE_KERNELS", raising=False)
    kernels._choose.cache_clear()
    yield
    kernels._choose.cache_clear()


def test_the_environment_decides(monkeypatch):
    """CLIPCORE_KERNELS=eager takes torch's own operations anywhere."""
    monkeypatch.setenv("CLIPCORE_KERNELS", "eager")
    assert choose(torch.device("cpu")) == (eager, "CLIPCORE_KERNELS=eager")


def test_a_wrong_name_is_refused(monkeypatch):
    """With the names that are allowed."""
    monkeypatch.setenv("CLIPCORE_KERNELS", "cuda")
    with pytest.raises(ValueError, match="must be eager, cpu or triton, got 'cuda'"):
        choose(torch.device("cpu"))


def test_what_does_not_load_is_said_once(monkeypatch, caplog):
    """Without its kernels a device is clipped by torch's own operations, and the log says why."""

    def missing(name):
        if name == "cpu":
            raise ImportError("no compiler was there")
        return eager

    monkeypatch.setattr(kernels, "_load", missing)
    with caplog.at_level(logging.WARNING, logger="clipcore"):
        choices = [choose(torch.device("cpu")) for _ in range(3)]
    assert all(choice.kernels is eager for choice in choices)
    assert [record.getMessage() for record in caplog.records] == [
        "clipcore clips with torch's own operations, which is slower: "
        "the native kernels for cpu do not load: no compiler was there"
    ]


def test_a_forced_choice_that_does_not_load_is_an_error(monkeypatch):
    """Asking for kernels that are not there must not be answered with others."""

    def missing(name):
        raise ImportError(name)

    monkeypatch.setenv("CLIPCORE_KERNELS", "cpu")
    monkeypatch.setattr(kernels, "_load", missing)
    with pytest.raises(ImportError):
        choose(torch.device("cpu"))
