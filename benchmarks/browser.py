"""A page in a real Chromium that nobody listens to: it is asked, and works undisturbed in between.

Playwright hears of every request and of every message of a websocket, and takes half as much time again for that as a
page takes itself.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

sys.path.append(str(Path(__file__).parents[1]))
from tests.e2e.browser import ARGUMENTS, installed

DESKTOP = (1440, 900)
PHONE = (390, 844)

START_S = 20.0
SETTLE_S = 1.0  # what a browser does when it has started is over


class Page:
    """A tab, over Chromium's own protocol."""

    def __init__(self, tab: ClientConnection) -> None:
        self._tab = tab
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol; what the tab says of itself meanwhile is left out."""
        number = next(self._numbers)
        self._tab.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._tab.recv())).get("id") != number:
            pass
        result: dict[str, Any] = answer["result"]
        return result

    def evaluate(self, expression: str) -> Any:
        """The value of an expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 60.0) -> Any:
        """The value of an expression once it is true; asked seldom, since to ask takes the page's time."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise SystemExit(f"{expression} was not true within {timeout_s:.0f} s")
            time.sleep(0.2)
        return value

    def press(self, key: str) -> None:
        """Type a character."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def busy_s(self) -> float:
        """CPU that the main thread has taken, seconds."""
        self.call("Performance.enable", timeDomain="threadTicks")
        metrics = {metric["name"]: metric["value"] for metric in self.call("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def heap_mb(self) -> float:
        """What the page's objects and buffers hold after a garbage collection, MB."""
        self.call("HeapProfiler.collectGarbage")
        usage = self.call("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage["backingStorageSize"]) / 1e6


@contextmanager
def page(url: str, script: str = "", size: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """Open a URL in a Chromium of its own, nothing cached, after a script; it ends with the context."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        settings = (f"--user-data-dir={profile}", "--remote-debugging-port=0", "--headless=new")
        browser = subprocess.Popen(
            [installed() or "chromium", *ARGUMENTS, *settings, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_first_tab(Path(profile) / "DevToolsActivePort"), max_size=None) as tab:
                time.sleep(SETTLE_S)
                opened = Page(tab)
                width, height = size
                opened.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                opened.call("Page.enable")
                opened.call("Page.addScriptToEvaluateOnNewDocument", source=script)
                opened.call("Page.navigate", url=url)
                yield opened
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
