"""What the workloads read: the source of Python's own standard library, one character at a time.

Real text that every machine already has. The alphabet is printable ASCII and the newline; tabs become spaces, any other
character a question mark.
"""

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))

HELD_OUT_EVERY = 10  # one file in ten is never trained on

_CODES = bytes(ALPHABET.index(chr(byte) if chr(byte) in ALPHABET else "?") for byte in range(256))


class Corpus(NamedTuple):
    """Two texts without a file in common."""

    train: Tensor  # (n,) uint8, indices into ALPHABET
    held_out: Tensor  # (m,) uint8


def standard_library(folder: Path | None = None) -> Corpus:
    """Read the top-level modules of the standard library, about 4.7 million characters, in the order of their names.

    Args:
        folder: where the modules lie; where this Python has them when not given.

    Raises:
        FileNotFoundError: this Python came without its library's source files.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.glob("*.py") if path.stem in sys.stdlib_module_names)
    if len(files) < HELD_OUT_EVERY:
        raise FileNotFoundError(f"{folder} holds {len(files)} standard library modules as .py files: no text to read")
    held_out = files[::HELD_OUT_EVERY]
    return Corpus(_read(path for path in files if path not in held_out), _read(held_out))


def encode(text: str) -> Tensor:
    """Characters as (n,) uint8 indices into ALPHABET."""
    codes = text.expandtabs(4).encode("ascii", errors="replace").translate(_CODES)
    return torch.frombuffer(bytearray(codes), dtype=torch.uint8)


class Windows:
    """Random windows of a text: what a model sees, and the same shifted by one character, which it is to predict.

    Args:
        text: (n,) uint8, on the device that trains.
        batch: windows a sample.
        context: characters a window.
        seed: of the windows' places, which are the same on every device.
    """

    def __init__(self, text: Tensor, *, batch: int, context: int, seed: int) -> None:
        self._text = text
        self._starts = (len(text) - context, (batch, 1))
        self._offsets = torch.arange(context + 1)
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (batch, context) int64."""
        starts = torch.randint(*self._starts, generator=self._generator)
        windows = self._text[(starts + self._offsets).to(self._text.device)].long()
        return windows[:, :-1], windows[:, 1:]


def _read(files: Iterable[Path]) -> Tensor:
    return encode("\n".join(path.read_text(encoding="utf-8") for path in files))
