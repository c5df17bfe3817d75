"""The command's entry point, in an installation with the extra and in one without."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script):
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "start",
    ["from server.__main__ import main; main()", "import runpy; runpy.run_module('server', run_name='__main__')"],
    ids=["clipcore", "python -m server"],
)
@pytest.mark.parametrize("missing", ["click", "pydantic", "uvicorn", "fastapi", "prometheus_client"])
def test_without_the_extra_one_line_says_what_to_install(start, missing):
    """Whichever of its packages is missing; on stderr, with exit code 1."""
    done = run(f"import sys; sys.modules[{missing!r}] = None; {start}")
    sentence = "the clipcore command needs the server extra: pip install 'clipcore[server]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_with_the_extra_it_is_the_command():
    """It calls itself clipcore, however it was started."""
    done = run("import sys; sys.argv = ['x', '--help']; from server.__main__ import main; main()")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: clipcore ")


def test_a_fault_of_its_own_is_not_taken_for_a_missing_package():
    """Then the traceback is what helps."""
    done = run("import sys; sys.modules['server.cli'] = None; from server.__main__ import main; main()")
    assert "ModuleNotFoundError" in done.stderr
