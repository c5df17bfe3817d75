"""Builds the optional CPU kernels; everything else about the package is in pyproject.toml.

Without a C compiler, or on Windows, the installation goes on without them, and clipping uses torch's own operations.
"""

import sys

from setuptools import Extension, setup

KERNELS = Extension(
    "clipcore.kernels._cpu",
    sources=[f"clipcore/kernels/{name}.c" for name in ("cpu", "cpu_passes", "cpu_runs", "cpu_tensors", "cpu_torch")],
    depends=[f"clipcore/kernels/{name}.h" for name in ("cpu", "cpu_halves", "cpu_loops", "cpu_tensors", "cpu_torch")],
    # Loops vectorise without OpenMP's threads and without -ffast-math, which would let a clamp turn NaN into a number.
    extra_compile_args=["-O3", "-fopenmp-simd", "-fno-trapping-math", "-fvisibility=hidden"],
    optional=True,
)

setup(ext_modules=[] if sys.platform == "win32" else [KERNELS])
