"""The clipping benchmark runs, and its last line is its result."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_run() -> None:
    """A quick run times every contender of every case and ends with one JSON document."""
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_clip.py"), "--quick"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    result = json.loads(output[-1])
    ours = [row for row in result["rows"] if row["contender"] == "clipcore"]
    cases = {"nothing to clip", "clipping", "value and count"} | {
        f"mode {mode}" for mode in ("layer", "agc", "autoclip", "zclip", "adagc")
    }
    assert {row["case"] for row in ours} == cases
    assert all(row["ms"] > 0 and row["times_roof"] > 0 for row in result["rows"])
    assert len(output) == 2 + len(result["rows"])
    assert all(model["relative_error"]["clipcore"] < 1e-6 for model in result["models"].values())
