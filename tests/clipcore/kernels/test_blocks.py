"""The Triton kernels as a GPU's compiler leaves them: no GPU is needed to look at that."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton")

import triton.language as tl

from clipcore.kernels import blocks

ROOT = Path(__file__).parents[3]
SIZES = {"f32": 4, "f64": 8, "bf16": 2, "f16": 2}
FLAT = ("measure", "scale", "clamp")

Variants = list[dict[str, Any]]


@pytest.fixture(scope="module", params=[80, 90], ids="sm_{}".format)
def variants(request: pytest.FixtureRequest, compiled: dict[int, Variants]) -> Variants:
    return compiled[request.param]


@pytest.fixture(scope="module")
def compiled() -> dict[int, Variants]:
    """What `compile_triton.py` prints for both architectures. A process of its own, as this one may interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)

    def compile_for(capability: int) -> Variants:
        command = [sys.executable, str(Path(__file__).with_name("compile_triton.py")), str(capability)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor() as pool:
        return dict(zip((80, 90), pool.map(compile_for, (80, 90)), strict=True))


def test_every_kernel_compiles_for_every_dtype(variants):
    """Nothing in them is beyond Triton's compiler or NVIDIA's assembler, from Ampere on."""
    dtypes = {kernel: {v["dtype"] for v in variants if v["kernel"] == kernel} for kernel in ("clip_units", *FLAT)}
    assert all(known == set(SIZES) for known in dtypes.values())
    assert {"fold", "fold_scaled", "count_exponents"} <= {v["kernel"] for v in variants}


def test_memory_is_accessed_16_bytes_at_a_time(variants):
    """A block without a mask takes one 16-byte access for each 4 KiB row and thread, reading and writing."""
    for variant in (v for v in variants if v["kernel"] in FLAT):
        wide = "v2.b64" if variant["dtype"] == "f64" else "v4.b32"
        rows = blocks.BLOCK.value * SIZES[variant["dtype"]] // blocks.ROW.value
        assert variant["global"][f"ld.global.{wide}"] == rows
        assert variant["global"].get(f"st.global.{wide}", 0) == (0 if variant["kernel"] == "measure" else rows)


def test_aligned_units_are_accessed_16_bytes_at_a_time(variants):
    """Under their mask too: gradients are loaded twice, weights once, gradients stored once."""
    for variant in (v for v in variants if v["kernel"] == "clip_units"):
        wide = "v2.b64" if variant["dtype"] == "f64" else "v4.b32"
        rows = 4 * 1024 * SIZES[variant["dtype"]] // blocks.ROW.value
        assert variant["global"][f"ld.global.{wide}"] == 3 * rows
        assert variant["global"][f"st.global.{wide}"] == rows


def test_two_programs_fit_on_a_multiprocessor(variants):
    """So that one loads while the other computes: 65,536 registers for 2 x 256 threads, none spilled."""
    for variant in (v for v in variants if v["kernel"] in FLAT and v["dtype"] != "f64"):
        assert variant["registers"] <= 128, variant
        assert variant["stack_bytes"] == 0, variant


def test_subnormals_are_not_flushed(variants):
    """The smallest gradients count: no instruction replaces subnormals by zero."""
    assert not any(variant["flushes_subnormals"] for variant in variants)


def test_blocks_beyond_two_to_the_31_elements():
    """A block's place in a tensor of 2^40 elements is computed in 64 bits; only its own memory has to exist here."""
    memory = torch.full((8192 + 32,), 2.0, device="cuda" if torch.cuda.is_available() else "cpu")
    block = memory[-memory.data_ptr() // 4 % 32 :][:8192]  # starts at a cache line
    before = 2**40 // 8192
    first, slot, address, elements = [-before, 1], 0, block.data_ptr() - 4 * 2**40, 2**40 + 8192
    table = torch.tensor([*first, slot, address, elements], device=memory.device)
    partials = torch.zeros(5, 1, dtype=torch.float64, device=memory.device)
    blocks.measure[(1,)](table, 1, partials, 1, DTYPE=tl.float32, NORM=1, num_warps=8, enable_fp_fusion=True)
    assert partials[:3, 0].tolist() == [2.0 * 8192, 2.0, 0.0]
