"""Debian's packages, for what tests need beside Python and Node."""

import os
import shutil
import subprocess


def apt_get(*arguments: str) -> bool:
    """Run apt-get as root, if this machine has it and lets us; whether it did what was asked."""
    if not shutil.which("apt-get") or not (os.geteuid() == 0 or _sudo_without_password()):
        return False
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    return subprocess.run([*as_root, "apt-get", "--quiet", *arguments], check=False).returncode == 0


def _sudo_without_password() -> bool:
    return bool(shutil.which("sudo")) and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0
