"""Compile the Triton kernels for a GPU that need not be there, and print what came out as JSON lines.

    python compile_triton.py 90

A line for each kernel and dtype: the pass, the dtype, registers a thread and bytes of stack as the assembler reports
them, and PTX's accesses of global memory. Needs no driver: Triton brings its compiler and NVIDIA's assembler.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from clipcore.kernels import blocks, unit_blocks

DTYPES = {"f32": tl.float32, "f64": tl.float64, "bf16": tl.bfloat16, "f16": tl.float16}
TYPES = {
    **dict.fromkeys(("table", "counts"), "*i64"),
    **dict.fromkeys(("partials", "sums", "coef", "norm", "written", "clipping", "eps", "floats"), "*fp64"),
    **dict.fromkeys(("tensors", "blocks", "stride", "n", "every"), "i32"),
}


def variants() -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """Every kernel, with the constants that `clipcore.kernels.triton` launches it with."""
    for name, dtype in DTYPES.items():
        for kernel in (blocks.measure, blocks.scale, blocks.clamp):
            yield kernel, name, {"DTYPE": dtype, "NORM": 2}
        yield unit_blocks.clip_units, name, {"DTYPE": dtype, "WEIGHT": dtype, "ROWS": 4, "WIDTH": 1024, "ALIGNED": True}
        yield blocks.count_exponents, name, {"DTYPE": dtype}
    for norm in (0, 1):
        yield blocks.measure, "f32", {"DTYPE": tl.float32, "NORM": norm}
    yield blocks.fold, "f64", {"NORM": 2, "CLIPPED": True}
    yield blocks.fold, "f64", {"NORM": 0, "CLIPPED": False}
    yield blocks.fold_scaled, "f64", {"DTYPE": tl.float64, "NORM": 2}


def compiled(kernel: Any, constants: dict[str, Any], capability: int) -> dict[str, Any]:
    """What the kernel becomes: resources and PTX accesses."""
    types = {**TYPES, "limit": f"*{constants.get('DTYPE', tl.float32).name}"}
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    warps = 4 if "fold" in kernel.__name__ or "count" in kernel.__name__ else 8
    binary = triton.compile(
        ASTSource(kernel, signature=signature, constexprs=constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "enable_fp_fusion": True},
    )
    ptx = binary.asm["ptx"]
    return {
        "kernel": kernel.__name__,
        "constants": {name: str(value) for name, value in constants.items()},
        **resources(binary.asm["cubin"]),
        "global": Counter(re.findall(r"\b(?:ld|st)\.global\.[\w.]+", ptx)),
        "flushes_subnormals": ".ftz" in ptx,
    }


def resources(cubin: bytes) -> dict[str, int]:
    """Registers a thread and bytes of stack, where spilled registers go."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        printed = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", printed)
    if not found:
        raise RuntimeError(f"cuobjdump said nothing of registers: {printed}")
    return {"registers": int(found[1]), "stack_bytes": int(found[2])}


if __name__ == "__main__":
    for variant, name, chosen in variants():
        print(json.dumps({"dtype": name, **compiled(variant, chosen, int(sys.argv[1]))}), flush=True)
