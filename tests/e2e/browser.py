"""The Chromium that the page's tests drive: the machine's own, else Debian's package, else Playwright's download."""

import os
import shutil
import subprocess
import sys

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
    if installed():
        return
    if shutil.which("apt-get") and (os.geteuid() == 0 or _sudo_without_password()):
        as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
        subprocess.run([*as_root, "apt-get", "update", "--quiet"], check=True)
        command = [*as_root, "apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "chromium"]
        if subprocess.run(command, check=False).returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


def _sudo_without_password() -> bool:
    return bool(shutil.which("sudo")) and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0


if __name__ == "__main__":
    install()
