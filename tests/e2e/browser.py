"""The Chromium that the page's tests drive: the machine's own, else Debian's package, else Playwright's download."""

import shutil
import subprocess
import sys

from tests.debian import apt_get

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
)


def installed() -> str | None:
    """Path of a Chromium on this machine; None when Playwright's own (or none) is to be used."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> None:
    """Install a Chromium unless there is one."""
    if installed() or (apt_get("update") and apt_get("install", "--yes", "--no-install-recommends", "chromium")):
        return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    install()
