"""A page that nobody listens to.

Playwright hears of every request, and a page of many modules takes half as long again to come up with it.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

sys.path.append(str(Path(__file__).parents[1]))
from tests.e2e.browser import ARGUMENTS, installed

START_S = 20.0
SETTLE_S = 1.0  # what a browser does when it has started is over

Evaluate = Callable[[str], Any]


@contextmanager
def unheard(url: str, script: str, width: int, height: int) -> Iterator[Evaluate]:
    """Open a URL in a Chromium of its own, nothing cached, after a script; gives what evaluates an expression there."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        settings = (f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size={width},{height}")
        browser = subprocess.Popen(
            [installed() or "chromium", *ARGUMENTS, "--headless=new", *settings, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_first_tab(Path(profile) / "DevToolsActivePort"), max_size=None) as tab:
                time.sleep(SETTLE_S)
                call = partial(_call, tab, itertools.count(1))
                call("Page.enable")
                call("Page.addScriptToEvaluateOnNewDocument", source=script)
                call("Page.navigate", url=url)
                yield lambda text: call("Runtime.evaluate", expression=text, returnByValue=True)["result"].get("value")
        finally:
            browser.terminate()
            browser.wait(20)


def _first_tab(port_file: Path) -> str:
    """The address of the first tab, once the browser has written where it listens."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if port_file.exists() and (lines := port_file.read_text().split()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=START_S) as answer:
                for target in json.load(answer):
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise SystemExit(f"Chromium did not start within {START_S:.0f} s")


def _call(tab: ClientConnection, numbers: Iterator[int], method: str, **parameters: Any) -> dict[str, Any]:
    number = next(numbers)
    tab.send(json.dumps({"id": number, "method": method, "params": parameters}))
    while (answer := json.loads(tab.recv())).get("id") != number:
        pass  # news of the page
    result: dict[str, Any] = answer["result"]
    return result
