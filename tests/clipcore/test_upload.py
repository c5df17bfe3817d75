"""What is uploaded once is kept. What uploading does on a GPU and in a CUDA graph is in test_cuda.py."""

import pytest
import torch
from torch import Tensor

from clipcore.upload import Kept, kept_on_device, upload

CPU = torch.device("cpu")


def test_numbers_arrive_as_they_were():
    """Any number of 64-bit integers, and none at all."""
    assert upload(CPU, [2**62, -1]).tolist() == [2**62, -1]
    assert upload(CPU, ()).shape == (0,)


def test_the_same_numbers_are_uploaded_once():
    """An equal key gives the very same tensor, another key another one."""
    uploads = []

    @kept_on_device
    def index(device: torch.device, positions: tuple[int, ...]) -> Tensor:
        uploads.append(positions)
        return upload(device, positions)

    assert index(CPU, (1, 2)) is index(CPU, (1, 2))
    assert index(CPU, (2, 1)).tolist() == [2, 1]
    assert uploads == [(1, 2), (2, 1)]


def test_what_a_graph_copies_from_is_never_written_again():
    """Every piece stays what it was, through further pieces and further reservations."""
    kept = Kept(pinned=False)
    pieces = []
    for round_ in range(200):
        kept.reserve(3 if round_ == 0 else 0)
        pieces.append(kept.keep(torch.tensor([round_] * 3)))
    assert [piece.tolist() for piece in pieces] == [[round_] * 3 for round_ in range(200)]
    assert len({piece.data_ptr() for piece in pieces}) == 200


def test_a_capture_without_a_call_before_it_is_refused():
    """Memory cannot be pinned during a capture, and the error says how to have it."""
    kept = Kept(pinned=False)
    kept.reserve(1)
    with pytest.raises(RuntimeError, match=r"100 numbers .* and 64 fit .*: call clip_\(\) once"):
        kept.keep(torch.arange(100))
