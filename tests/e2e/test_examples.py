"""The examples run as they stand, against a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_plain_loop_shows_up_as_a_finished_run_with_every_step(make_server):
    """Two lines attach a script: its run, its steps and its losses are on the server."""
    server = make_server(autostart="")
    subprocess.run(
        [sys.executable, EXAMPLES / "plain_loop.py", "300"], env=os.environ | {"CLIPCORE_URL": server.url}, check=True
    )
    run = server.run()
    assert (run["name"], run["state"], run["seq"]) == ("plain loop", "finished", 300)
    columns = server.series(run["id"], "norm", "loss")["columns"]
    assert columns["step"] == list(range(1, 301))
    assert None not in columns["loss"]


def test_the_plain_loop_runs_without_a_server():
    """No server, no harm: the script ends by itself, and says that nothing was delivered."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "plain_loop.py", "50"],
        env=os.environ | {"CLIPCORE_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "did not acknowledge the last 50 steps, which are lost" in done.stderr
