"""Host numbers to a device, without waiting for it, and while a CUDA graph is captured too.

A copy from pinned memory is queued and nobody waits for it; torch's host allocator keeps the pinned block until it is
done. What was uploaded once is kept, for one stream, whose readers are queued behind the copy.

While a CUDA graph is captured nothing runs: a copy queued then is made by every replay and not before. So it must not
be kept for others, nor may what is kept for others be used, since it could be dropped under the graph. A capture
uploads anew whatever it needs, from pinned memory that stays as it is for good, since a graph does not say when it
dies. Torch before 2.11 cannot pin memory while it captures, so that memory is reserved by the uploads before.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, wraps
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def upload(device: torch.device, numbers: Sequence[int]) -> Tensor:
    """The numbers as a tensor on the device: (n,) int64.

    Raises:
        RuntimeError: a CUDA graph is captured, and nothing like it was uploaded before.

    >>> upload(torch.device("cpu"), [3, 4])
    tensor([3, 4])
    """
    host = torch.tensor(numbers, dtype=torch.int64, device="cpu")
    if device.type == "cuda":
        if torch.cuda.is_current_stream_capturing():
            host = _captured.keep(host)
        else:
            _captured.reserve(len(host))
            host = host.pin_memory()
    return host.to(device, non_blocking=True)


def kept_on_device(build: Callable[..., T]) -> Callable[..., T]:
    """Keep what *build*(device, *key) uploads, for the device's current stream; but not while that captures."""

    @lru_cache(maxsize=64)
    def on_stream(_stream: int, device: torch.device, *key: Hashable) -> T:
        return build(device, *key)

    @wraps(build)
    def look_up(device: torch.device, *key: Hashable) -> T:
        if torch._C._len_torch_dispatch_stack():  # fake numbers are nobody else's
            return build(device, *key)
        if device.type != "cuda":
            return on_stream(0, device, *key)
        with torch.cuda.device(device):
            if torch.cuda.is_current_stream_capturing():
                return build(device, *key)
            _captured.reserve()
            return on_stream(torch.cuda.current_stream().cuda_stream, device, *key)

    return look_up


class Kept:
    """Pinned memory that CUDA graphs copy from: handed out piece by piece, never freed and never written again.

    Args:
        pinned: a host can pin memory only where there is CUDA.
    """

    UPLOADS = 32  # of the largest so far, that a capture finds room for: ten clip_() in one graph, and more

    def __init__(self, *, pinned: bool = True) -> None:
        self._pinned = pinned
        self._lock = threading.Lock()
        self._largest = 0
        self._pages: list[Tensor] = []
        self._free = torch.empty(0, dtype=torch.int64, device="cpu")

    def reserve(self, size: int = 0) -> None:
        """Have room for further captures, of uploads of so many numbers too."""
        with self._lock:
            self._largest = max(self._largest, size)
            if len(self._free) < self.UPLOADS * self._largest:
                room = 2 * self.UPLOADS * self._largest
                self._free = torch.empty(room, dtype=torch.int64, device="cpu", pin_memory=self._pinned)
                self._pages.append(self._free)

    def keep(self, numbers: Tensor) -> Tensor:
        """The numbers, in reserved memory.

        Raises:
            RuntimeError: there is not enough of it.
        """
        size = len(numbers)
        with self._lock:
            if size > len(self._free):
                raise RuntimeError(
                    f"{size} numbers must be copied in a CUDA graph, and {len(self._free)} fit into the memory "
                    "reserved for that: call clip_() once on these gradients before the capture"
                )
            place, self._free = self._free[:size], self._free[size:]
        return place.copy_(numbers)


_captured = Kept()
