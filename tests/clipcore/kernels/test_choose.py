"""Which kernels clip, decided in one place."""

import logging
import subprocess
import sys

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


def test_kernels_that_a_fake_mode_loaded_work_afterwards():
    """What they learn of tensors when they load, they learn of real ones."""
    script = """
import torch, clipcore
from torch._subclasses.fake_tensor import FakeTensorMode
w = torch.nn.Parameter(torch.zeros(2))
with FakeTensorMode():
    fake = torch.nn.Parameter(torch.zeros(2))
    fake.grad = torch.ones(2)
    clipcore.Clipper([fake]).clip_()
w.grad = torch.tensor([3.0, 4.0])
assert clipcore.Clipper([w]).clip_().norm == 5.0
"""
    subprocess.run([sys.executable, "-c", script], check=True)
