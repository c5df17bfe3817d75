"""Patches that hold on every rank from the same step on."""

import json
from typing import Any

import torch
import torch.distributed as dist

Patch = dict[str, Any]


class Lockstep:
    """Brings the patches of a group's first rank to all of its ranks.

    Each `exchange` starts one broadcast of 8 bytes and collects the one that the call before started, so that nobody
    waits for it: a patch takes effect two calls later. Only a step that brings patches has a second broadcast,
    which is waited for. All ranks must call `exchange` equally often.

    Args:
        group: of ranks that clip together; it must be able to broadcast from host memory.

    Raises:
        ValueError: the group's backend cannot.
        TypeError: it is no group of this rank's.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        if not isinstance(group, dist.ProcessGroup):
            raise TypeError(f"group must be a torch.distributed.ProcessGroup that this rank is in, got {group!r}")
        if "cpu:" not in (backends := dist.get_backend_config(group)):
            raise ValueError(
                f"group (={backends}) cannot broadcast host memory: use torch.distributed.new_group(backend='gloo')"
            )
        self.group = group
        self.leads = dist.get_rank(group) == 0
        self._offered: list[Patch] = []
        self._bytes = torch.zeros(1, dtype=torch.int64, device="cpu")
        self._coming: dist.Work | None = None

    def exchange(self, patches: list[Patch]) -> list[Patch]:
        """The patches that hold from now on; on the first rank, those of `patches` that come first."""
        arrived = self._collect()
        self._offer(patches[len(arrived) :])
        return arrived

    def drop(self) -> None:
        """Forget the patches that are on their way, on all ranks: all of them must call it after the same exchange."""
        self._collect()
        self._coming = None

    def _collect(self) -> list[Patch]:
        if self._coming is None:
            return []
        self._coming.wait()
        if not self._bytes:
            return []
        text = json.dumps(self._offered).encode() if self.leads else bytes(int(self._bytes))
        payload = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        dist.broadcast(payload, group=self.group, group_src=0)
        patches: list[Patch] = json.loads(bytes(payload.tolist()))
        return patches

    def _offer(self, patches: list[Patch]) -> None:
        self._offered = patches
        self._bytes.fill_(len(json.dumps(patches).encode()) if patches else 0)
        self._coming = dist.broadcast(self._bytes, group=self.group, group_src=0, async_op=True)
