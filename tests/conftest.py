"""What all tests share. Without a GPU, Triton's interpreter stands in; it must be asked for before its import."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(params=["eager", "cpu"])
def kernels(request, monkeypatch):
    """Runs a test once with torch's own operations and once with the C kernels."""
    if request.param == "cpu":
        pytest.importorskip("clipcore.kernels._cpu", reason="the C extension is not built")
    monkeypatch.setenv("CLIPCORE_KERNELS", request.param)
    return request.param


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)
