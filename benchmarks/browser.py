"""The Chromium that the page's tests drive, and what a page in it holds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, sync_playwright

sys.path.append(str(Path(__file__).parents[1]))
from tests.e2e.browser import ARGUMENTS, installed


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; it ends with the context."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=installed(), args=list(ARGUMENTS))
        yield launched
        launched.close()


def heap_mb(session: CDPSession) -> float:
    """What a page's objects and buffers hold after a garbage collection, MB."""
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage["backingStorageSize"]) / 1e6
