"""An environment without numpy, which neither torch nor the engine declares."""

import subprocess
import sys

SCRIPT = """
import sys
sys.modules["numpy"] = None  # whoever imports it gets ImportError
import torch, torch.distributed as dist
import clipcore
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
w = torch.nn.Parameter(torch.zeros(2))
clipper = clipcore.Clipper([w], group=dist.group.WORLD)
change = clipper.update(max_norm=0.5)
for _ in range(3):
    w.grad = torch.tensor([3.0, 4.0])
    stats = clipper.clip_()
assert change.step == 2 and stats.threshold == 0.5
dist.destroy_process_group()
"""


def test_clipping_needs_no_numpy():
    """A patch reaches the ranks of a group, and their gradients are clipped by it."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
