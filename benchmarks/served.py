"""A server in a process of its own, with an empty store, for a benchmark to load."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PORT = int(os.environ.get("CLIPCORE_PORT", "8499"))
URL = f"http://127.0.0.1:{PORT}"
KEEP_RUNS = 10_000  # more than any benchmark makes


@contextmanager
def served() -> Iterator[int]:
    """Start a server that ends with the context; its process id."""
    with tempfile.TemporaryDirectory() as directory:
        settings = {"PORT": PORT, "DATA_DIR": directory, "AUTOSTART": "", "KEEP_RUNS": KEEP_RUNS, "LOG_LEVEL": "error"}
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve"],
            env=os.environ | {f"CLIPCORE_{name}": str(value) for name, value in settings.items()},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None  # asked for above
            if not process.stdout.readline():  # it says where it is, or why not on its error output
                raise SystemExit("the server did not start")
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def get(path: str) -> Any:
    """The JSON at a path of the server's API."""
    with urllib.request.urlopen(URL + path) as answer:
        return json.load(answer)


def check_stored(run: str, steps: int) -> None:
    """End the benchmark unless the run has all of its steps."""
    if (stored := get(f"/api/runs/{run}")["seq"]) != steps:
        raise SystemExit(f"run {run}: {steps - stored:,} of {steps:,} steps did not arrive")


def rss_mb(pid: int) -> float:
    """Memory that a process holds, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """CPU time that a process has taken, s."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
