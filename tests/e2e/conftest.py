"""The real thing: a server process with its worker, and a page in Chromium."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e import browser


class Server:
    """A `clipcore serve` process on a free port, with its data in a directory of its own."""

    def __init__(self, directory, **settings):
        self.directory = directory
        self.settings = settings
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIPCORE_")}
        environment |= {"CLIPCORE_PORT": str(self.port), "CLIPCORE_DATA_DIR": str(self.directory / "data")}
        environment |= {f"CLIPCORE_{name.upper()}": str(value) for name, value in self.settings.items()}
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve"],
                env=environment,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_until(self.ready, "the server to be ready")
        return self

    def ready(self):
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/readyz") is not None
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            finally:
                self.process.kill()

    def log(self):
        return (self.directory / "server.log").read_text(errors="replace")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path, body):
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def run(self, run_id=None):
        """The run of that id; the newest when not given, None when there is none."""
        newest = None if run_id else next(iter(self.get("/api/runs")["runs"]), None)
        return self.get(f"/api/runs/{run_id or newest['id']}") if run_id or newest else None

    def series(self, run_id, *metrics, points=100_000):
        return self.get(f"/api/runs/{run_id}/series?metrics={','.join(metrics)}&points={points}")

    def wait_until(self, condition, what, timeout_s=60.0):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.05)
        pytest.fail(f"waited {timeout_s} s for {what}; the server's log:\n{self.log()}")


@pytest.fixture
def make_server(tmp_path):
    """Start servers that end with the test."""
    servers = []

    def make(**settings):
        directory = tmp_path / f"server{len(servers)}"
        directory.mkdir()
        servers.append(Server(directory, **settings))
        return servers[-1].start()

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def chromium():
    """One browser process for a file's tests: while it lives, Playwright keeps an event loop that others need."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.installed(), args=list(browser.ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def open_page(chromium):
    """Open pages, each a browser of its own, and fail the test when one logs an error of its own making."""
    contexts, errors = [], []

    def open_(url, **options):
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
