"""The nginx that the page is tested behind: the machine's own, else Debian's program without its service."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.debian import apt_get

#: Where `install` puts it: installed as a package it would start to serve the machine's port 80.
EXTRACTED = Path(sys.prefix) / "nginx"

CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {site}
}}
"""


def installed() -> str | None:
    """Path of an nginx on this machine, if there is one."""
    places = [path for path in (shutil.which("nginx"), "/usr/sbin/nginx", f"{EXTRACTED}/usr/sbin/nginx") if path]
    return next((path for path in places if Path(path).exists()), None)


def install() -> None:
    """Take an nginx out of Debian's package unless there is one."""
    if installed():
        return
    apt_get("update")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["apt-get", "--quiet", "download", "nginx"], cwd=directory, check=True)
        (package,) = Path(directory).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, EXTRACTED], check=True)


class Nginx:
    """A running nginx.

    Args:
        directory: for what it writes.
        site: what stands in its `http` section.
    """

    def __init__(self, directory: Path, site: str) -> None:
        configuration = directory / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(directory=directory, site=site))
        program = installed()
        assert program, "there is no nginx: make .venv/browser.stamp installs one"
        self._process = subprocess.Popen([program, "-e", "stderr", "-p", directory, "-c", configuration])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


if __name__ == "__main__":
    install()
